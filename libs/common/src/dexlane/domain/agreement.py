"""What several providers' words about one slot amount to. No provider is believed alone where two can be asked.

Two levels of evidence: *complete* is enough for what can be taken back (send again, raise the fee, cancel in the same
slot, count a fill provisionally); *quorate* is needed for what cannot (final, used by somebody else).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dexlane.domain.send_values import Inclusion, Sighting


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What one provider says about one slot at its ``head``.

    ``used``: whether the account's nonce has passed the slot, None when that went unanswered. ``answered``: whether
    every receipt that was asked for was answered. ``absent``: it has no attempt, neither in a block nor in its pool;
    None when not all was answered.
    """

    head: int
    used: bool | None = None
    seen: Sighting | None = None
    answered: bool = True
    absent: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """The words of all providers together. ``dissenters`` are those whose word cannot be true if the others' is."""

    seen: Sighting | None = None
    used: bool = False
    complete: bool = False
    quorate: bool = False
    absent: bool = False
    dissenters: tuple[str, ...] = ()


def weigh(words: Mapping[str, Word], quorum: int, before: Inclusion | None = None) -> Weighed:
    """Weigh the words on a slot, in the order of preference. ``before`` is where it was seen until now: between two
    equally supported claims the known one holds."""
    claims = {name: word.seen for name, word in words.items() if word.seen is not None}
    return _weigh_claims(words, claims, quorum, before) if claims else _weigh_absence(words, quorum)


def agreed_height(heights: Sequence[int], quorum: int) -> int | None:
    """The highest block that at least ``quorum`` providers have reached; None when too few said anything."""
    return sorted(heights, reverse=True)[quorum - 1] if len(heights) >= quorum else None


def _weigh_claims(
    words: Mapping[str, Word], claims: Mapping[str, Sighting], quorum: int, before: Inclusion | None
) -> Weighed:
    def rank(claim: Sighting) -> tuple[int, bool]:
        known = before is not None and claim.block == before.block and claim.success == before.success
        return sum(other == claim for other in claims.values()), known

    best = max(claims.values(), key=rank)  # the first of equals: that of the preferred provider
    support = sum(claim == best for claim in claims.values())
    dissenters = tuple(
        name
        for name, word in words.items()
        if (word.seen is not None and word.seen != best)
        or (word.seen is None and word.answered and word.head >= best.block.number)
    )
    return Weighed(seen=best, used=True, complete=True, quorate=support >= quorum, dissenters=dissenters)


def _weigh_absence(words: Mapping[str, Word], quorum: int) -> Weighed:
    heard = [word for word in words.values() if word.answered and word.used is not None]
    if not heard:
        return Weighed()
    used = heard[0].used
    if any(word.used is not used for word in heard):
        return Weighed()  # one of them lags: whatever is done now may be wrong a moment later
    return Weighed(
        used=bool(used),
        complete=True,
        quorate=len(heard) >= quorum,
        absent=all(word.absent is True for word in heard),
    )
