"""What new facts about a token say against it: what it is, and what changed since it was seen before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dexlane.domain.risk.evidence import Flag, TokenFacts, TrialFacts
from dexlane.values.tokens import Token


class Finding(NamedTuple):
    """A flag and its reason in a sentence."""

    flag: Flag
    reason: str


def findings(token: Token, facts: TokenFacts, before: TokenFacts | None, *, sanctioned: bool) -> tuple[Finding, ...]:
    """Everything that speaks against a token as it now is, compared with what was seen ``before``."""
    found = list(_as_it_is(token, facts))
    if sanctioned:
        found.append(Finding(Flag.SANCTIONED, "the token or its owner is on the sanctions list"))
    if before is not None and facts.code_hash is not None:
        found.extend(_since(before, facts))
    return tuple(found)


def _as_it_is(token: Token, facts: TokenFacts) -> Iterator[Finding]:
    if facts.code_hash is None:
        yield Finding(Flag.NO_CODE, f"there is no contract at {token.address}")
    elif facts.decimals is None:
        yield Finding(Flag.NO_DECIMALS, "decimals() gives no answer")
    elif facts.decimals != token.decimals:
        yield Finding(Flag.WRONG_DECIMALS, f"decimals() says {facts.decimals}, the pool was read with {token.decimals}")


def _since(before: TokenFacts, facts: TokenFacts) -> Iterator[Finding]:
    compared = (
        (Flag.CODE_CHANGED, "code hash", before.code_hash, facts.code_hash),
        (Flag.DECIMALS_CHANGED, "decimals", before.decimals, facts.decimals),
        (Flag.IMPLEMENTATION_CHANGED, "implementation", before.implementation, facts.implementation),
        (Flag.OWNER_CHANGED, "owner", before.owner, facts.owner),
    )
    for flag, name, old, new in compared:
        if old is not None and old != new:
            yield Finding(flag, f"its {name} was {old} and is now {new if new is not None else 'unknown'}")


TAX_TOLERANCE_BPS = 50
"""Rounding and the token's own dealings with its pool move a measured tax by this much."""


def turned(before: TrialFacts | None, now: TrialFacts) -> tuple[Finding, ...]:
    """What an executed check says that the one ``before`` did not: the token keeps more of a sale, or is unsafe, for
    the first time, or by a higher tax than before, or because nobody can sell any more."""
    found = []
    old, new = None if before is None else before.sell_tax_bps, now.sell_tax_bps
    raised = old is not None and new is not None and new > old + TAX_TOLERANCE_BPS
    if raised:
        found.append(Finding(Flag.TAX_RAISED, f"a sale now loses {new} bps to the token, it was {old}"))
    stopped = before is not None and not before.unsellable and now.unsellable
    if now.verdict == "unsafe" and (before is None or before.verdict != "unsafe" or raised or stopped):
        found.append(Finding(Flag.FAILED_TRIAL, next(iter(now.reasons), "an executed check found it unsafe")))
    return tuple(found)
