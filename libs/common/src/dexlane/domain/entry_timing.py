"""Whether an entry is better made in a later block: the smart lane has time, the fast lane never waits."""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.domain.circumstances import Market, PlanningRules
from dexlane.domain.fees import TimingReason
from dexlane.domain.objections import GWEI_DECIMALS
from dexlane.events.base import FeeCap
from dexlane.events.fees import InclusionTip, SendTiming
from dexlane.events.risk import VerdictApproved
from dexlane.values.amounts import decimal_text


def why_later(
    verdict: VerdictApproved, market: Market, rules: PlanningRules, last_block: int | None = None
) -> str | None:
    """A sentence when gas is expected to be cheaper in a later block that is still in time; None to trade now.

    The quote may be of the block before: what it said holds until the next one comes. One block is kept in hand, for
    the decision is looked at again between blocks. A cycle is gone in a block, so it never waits. After ``last_block``
    no book would take it any more; None when that is not limited.
    """
    if not rules.waits_for_cheaper_blocks or market.fee_quote is None or verdict.opportunity.route.is_cycle:
        return None
    deadline = min(verdict.opportunity.deadline_block, market.block.number + rules.max_wait_blocks)
    deadline = deadline if last_block is None else min(deadline, last_block + 1)
    timing = _timing_within(market.fee_quote.timing, deadline - market.block.number - 1)
    if timing is None or not timing.waits:
        return None
    price, why = decimal_text(timing.price_now_wei, GWEI_DECIMALS), _WHY.get(timing.reason, timing.reason)
    return f"gas costs {price} gwei now and {why} in the next {timing.blocks_left} blocks"


_WHY = {
    TimingReason.BASE_FEE_NOT_LOW.value: "should be cheaper once",
    TimingReason.BASE_FEE_FALLING.value: "is still falling, to be cheaper",
}


def patient_fee(fee: FeeCap, known: Sequence[InclusionTip], blocks: int) -> FeeCap:
    """A fee with the tip that is enough within so many blocks, where that is known and less."""
    within = max((one for one in known if one.within_blocks <= blocks), key=lambda one: one.within_blocks, default=None)
    if within is None or within.tip_per_gas_wei >= fee.max_priority_fee_per_gas_wei:
        return fee
    return fee.model_copy(update={"max_priority_fee_per_gas_wei": within.tip_per_gas_wei})


def _timing_within(known: tuple[SendTiming, ...], blocks: int) -> SendTiming | None:
    """That of the longest deadline that is no longer than so many blocks."""
    return max((one for one in known if one.blocks_left <= blocks), key=lambda one: one.blocks_left, default=None)
