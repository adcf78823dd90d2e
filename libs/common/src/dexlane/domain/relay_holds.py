"""What relays hold of one slot: who was given which attempt, until when it may include it, and whom to give it next.

A relay keeps private bytes for some blocks and then forgets them, without a word. Until then the nodes' pools know
nothing of them, and need not. The bytes stay valid after that: what a relay forgot, or only says to have forgotten, can
still be included, so that giving them to another relay is the same bytes in the same slot and never a second trade.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Hold:
    """One attempt at one relay. Blocks are numbers of the chain.

    ``since`` is the tip when it first took it and ``given`` when it last did, ``until`` the last block it may include
    it in. ``missed`` counts blocks that could have included what it had of this slot and did not. ``ended`` says that
    it holds it no more.
    """

    relay: str
    attempt: int
    since: int
    given: int
    until: int
    missed: int = 0
    ended: bool = False

    def lasts(self, tip: int) -> bool:
        """Whether it may still include it in a block after ``tip``."""
        return not self.ended and tip < self.until


@dataclass(frozen=True, slots=True)
class RacePolicy:
    """How many relays are given an attempt at once, after how many blocks without inclusion one more is, and how many
    blocks that could have included it make a broken promise."""

    at_once: int = 2
    widen_after_blocks: int = 2
    lie_after_blocks: int = 10


def taken(holds: Sequence[Hold], hold: Hold) -> tuple[Hold, ...]:
    """A relay took an attempt, or took it again: the time that it had it before goes on counting, and what it missed
    of an earlier attempt with it."""
    before = next((one for one in holds if _is_same(one, hold)), hold)
    missed = max((one.missed for one in holds if one.relay == hold.relay), default=0)
    now = replace(hold, since=before.since, missed=missed)
    return (*(one for one in holds if not _is_same(one, hold)), now)


def let_go(holds: Sequence[Hold], relay: str, attempt: int) -> tuple[Hold, ...]:
    """A relay says that it does not have the attempt any more."""
    return tuple(replace(one, ended=True) if (one.relay, one.attempt) == (relay, attempt) else one for one in holds)


def passed(holds: Sequence[Hold], attempt: int) -> tuple[Hold, ...]:
    """A block that could have included the attempt did not."""
    return tuple(replace(one, missed=one.missed + 1) if one.attempt == attempt else one for one in holds)


def broken(holds: Iterable[Hold], policy: RacePolicy) -> list[Hold]:
    """Holds that are broken promises: missed too often."""
    return [one for one in holds if one.missed >= policy.lie_after_blocks and not one.ended]


def is_held(holds: Sequence[Hold], tip: int) -> bool:
    """Whether any relay may still include something; also when nothing is on record, as after a restart."""
    return not holds or any(one.lasts(tip) for one in holds)


def next_relays(
    holds: Sequence[Hold], attempt: int, tip: int, usable: Sequence[str], policy: RacePolicy
) -> Sequence[str]:
    """Which relays are to be given the attempt at this tip, best first, of those that can be used.

    As many as race at once hold it; one more for every ``widen_after_blocks`` that passed without an inclusion.
    """
    mine = [one for one in holds if one.attempt == attempt]
    holding = {one.relay for one in mine if one.lasts(tip)} & set(usable)
    waited = max((one.missed for one in holds), default=0)
    wanted = policy.at_once + waited // policy.widen_after_blocks
    given_before = _names(mine)
    fresh = [name for name in usable if name not in holding]
    # Who has it already and must be given it again comes first; a relay that has never seen it widens the circle.
    ordered = sorted(fresh, key=lambda name: name not in given_before)
    return ordered[: max(0, wanted - len(holding))]


def _names(holds: Iterable[Hold]) -> Collection[str]:
    return {one.relay for one in holds}


def _is_same(one: Hold, other: Hold) -> bool:
    return (one.relay, one.attempt) == (other.relay, other.attempt)
