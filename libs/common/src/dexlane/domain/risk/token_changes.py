"""What new facts about a token say against it: what it is, and what changed since it was seen before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dexlane.domain.risk.evidence import Flag, TokenFacts
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
