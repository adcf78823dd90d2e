"""Which way a trade leaves: the public pool, where a front runner sees it, or private relays alone.

The public pool is open to a trade that no sandwich is worth the trouble of and that will not revert. Everything else
goes to relays where the book asks for it; where none can be used, an entry is not made. An exit may wait only so long:
not getting out can cost more than a sandwich, whose gain is bounded by the exit's minimum out.
"""

from __future__ import annotations

from dataclasses import dataclass

from dexlane.domain.circumstances import Market, Objection, Planned
from dexlane.domain.sandwich import sandwich_value_wei
from dexlane.events.execution import Plan, Purpose, SendPath, Submission
from dexlane.values.amounts import BPS_DENOMINATOR, decimal_text
from dexlane.values.books import RelayPolicy, RelayRules

TIGHT_BPS = 10
"""A minimum out nearer to the quote than this fails when the price moves in one block as it usually does."""
NATIVE_DECIMALS = 18
NO_RELAY = "no_relay"
"""The outcome of a decision against a trade that needs a relay."""


@dataclass(frozen=True, slots=True)
class Relays:
    """What can be used just now: how many relays the chain has, and how many of them are healthy."""

    configured: int
    healthy: int


def choose(
    planned: Planned, rules: RelayRules, market: Market, relays: Relays, *, waited_blocks: int = 0
) -> Submission | Objection | None:
    """Which way a planned trade goes. None when neither book nor level asks: by the public pool.

    ``waited_blocks`` is how long an exit has been wanted already. The objection of a trade that needs a relay passes
    by waiting as long as relays are configured; that of an exit always does.
    """
    if rules.policy is RelayPolicy.PUBLIC:
        return None
    is_exit = planned.purpose is Purpose.EXIT
    against = _against_any(planned, rules)
    if against is not None and not is_exit and not relays.healthy:
        return _without_relay(against, relays)  # no matter what a sandwich is worth
    # Whoever makes one pays his own gas, at the base fee at least; what we tip is no matter of his.
    value_wei = sandwich_value_wei(market.pools, planned.plan, market.chain_id, market.next_base_fee_wei)
    against = against or _against_value(rules, value_wei)
    if against is None:
        reason = f"a sandwich would take {_native(value_wei)} at most, and the book allows {_limit(rules)}"
        return Submission(path=SendPath.PUBLIC, reason=reason, sandwich_value_wei=value_wei)
    patience = rules.exits_public_after_blocks if is_exit else None
    if relays.healthy:
        return Submission(
            path=SendPath.PRIVATE, reason=against, sandwich_value_wei=value_wei, public_after_blocks=patience
        )
    if patience is not None and waited_blocks >= patience:
        reason = f"{against}; {_why_none(relays)}, and the exit has waited {waited_blocks} blocks"
        return Submission(path=SendPath.PUBLIC, reason=reason, sandwich_value_wei=value_wei)
    return _without_relay(against, relays, passing=is_exit)


def _without_relay(against: str, relays: Relays, *, passing: bool = False) -> Objection:
    return Objection(NO_RELAY, f"{against}, so it needs a private relay, and {_why_none(relays)}", passing=passing)


def _why_none(relays: Relays) -> str:
    if relays.configured:
        return f"{relays.configured} relays are configured and none of them can be used"
    return "no relay is configured for this chain"


def _against_any(planned: Planned, rules: RelayRules) -> str | None:
    """Why the public pool is refused to such a trade of any size, as a clause; None when it is not."""
    if rules.policy is RelayPolicy.PRIVATE_ONLY:
        return "the book or its level sends by private relays alone"
    may_revert = why_it_may_revert(planned.plan, planned.purpose)
    if may_revert is not None:
        return f"the trade may revert in the public pool: {may_revert}"
    return None


def _against_value(rules: RelayRules, value_wei: int | None) -> str | None:
    """Why the public pool is refused for what a sandwich would take, as a clause; None when it is not."""
    if value_wei is None:
        return "what a sandwich would take is not known"
    if value_wei > rules.sandwich_limit_wei:
        return f"a sandwich could take {_native(value_wei)}, more than the {_limit(rules)} that the book allows"
    return None


def why_it_may_revert(plan: Plan, purpose: Purpose) -> str | None:
    """Why nobody can prove on today's state that the trade succeeds in the next block; None when it is likely to."""
    if purpose is Purpose.GAP:
        return "a gap is gone when somebody else takes it first"
    if plan.taxes:
        return "a token of it keeps a part of each transfer, and may change which"
    slack_bps = (plan.quoted_out - plan.minimum_out) * BPS_DENOMINATOR // plan.quoted_out
    if slack_bps < TIGHT_BPS:
        return f"its minimum out is within {TIGHT_BPS} bps of the quote"
    return None


def _native(wei: int | None) -> str:
    return "an unknown amount" if wei is None else f"{decimal_text(wei, NATIVE_DECIMALS)} of native coin"


def _limit(rules: RelayRules) -> str:
    return decimal_text(rules.sandwich_limit_wei, NATIVE_DECIMALS)
