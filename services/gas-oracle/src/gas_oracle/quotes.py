"""From a block and the fees before it to the quote for the next one. No input and no output."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from dexlane.domain.fee_limits import FeeCeilings
from dexlane.domain.fees import FeeOutlook, NextBlock
from dexlane.events.fees import DataFeeTerms, FeeQuoted, FeeTier, InclusionTip, SendTiming
from dexlane.events.market import BlockApplied
from dexlane.values.amounts import BPS_DENOMINATOR

DEADLINES = (1, 3, 5, 10, 25, 50)
"""In how many blocks something may have to be included."""


@dataclass(frozen=True, kw_only=True)
class QuoteRules:
    """How quotes are made. ``tier_blocks`` are what tiers are sampled from, ``probability_bps`` is how sure the tips by
    deadline are."""

    tier_blocks: int
    probability_bps: int
    ceilings: FeeCeilings


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a quote is made from: the recent fees, how many blocks of them there are, and a rollup's terms for data."""

    outlook: FeeOutlook
    blocks: int
    data_fee: DataFeeTerms | None


def fee_quote(event: BlockApplied, known: Known, rules: QuoteRules, now_ms: int) -> FeeQuoted:
    """The quote for the block after ``event``."""
    base_fee, outlook = event.next_base_fee_per_gas_wei, known.outlook
    next_block, caps = outlook.before(base_fee), outlook.tiers(base_fee)
    probability = Fraction(rules.probability_bps, BPS_DENOMINATOR)
    tips = ((blocks, outlook.tip_for(within_blocks=blocks, probability=probability)) for blocks in DEADLINES)
    return FeeQuoted(
        id=FeeQuoted.make_id(event.chain_id, event.block.hash),
        chain_id=event.chain_id,
        occurred_at_ms=now_ms,
        block=event.block,
        next_base_fee_per_gas_wei=base_fee,
        tiers=caps,
        sampled_blocks=min(known.blocks, rules.tier_blocks),
        inclusion=tuple(_inclusion(blocks, tip, rules.probability_bps) for blocks, tip in tips),
        timing=tuple(_timing(next_block, blocks) for blocks in DEADLINES),
        data_fee=known.data_fee,
        level=rules.ceilings.level_of(base_fee + caps[FeeTier.BALANCED].max_priority_fee_per_gas_wei),
        entry_ceiling_wei=rules.ceilings.block_wei,
    )


def _inclusion(blocks: int, tip_wei: int, probability_bps: int) -> InclusionTip:
    return InclusionTip.unchecked(
        {"within_blocks": blocks, "probability_bps": probability_bps, "tip_per_gas_wei": tip_wei}
    )


def _timing(next_block: NextBlock, blocks: int) -> SendTiming:
    timing = next_block.timing(blocks)
    return SendTiming.unchecked(
        {
            "blocks_left": blocks,
            "waits": timing.waits,
            "reason": timing.reason.value,
            "price_now_wei": timing.price_now_wei,
            "price_by_waiting_wei": timing.price_by_waiting_wei,
        }
    )
