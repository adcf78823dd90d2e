"""From a block and the fees before it to the quote for the next one. No input and no output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from dexlane.domain.fee_limits import FeeCeilings, price_of
from dexlane.domain.fees import BlockFees, FeeParameters, fee_parameters, tiers, tip_for, when_to_send
from dexlane.events.fees import DataFeeTerms, FeeQuoted, InclusionTip, SendTiming
from dexlane.events.market import BlockApplied

DEADLINES = (1, 3, 5, 10, 25, 50)
"""In how many blocks something may have to be included."""
BPS = 10_000


@dataclass(frozen=True, kw_only=True)
class QuoteRules:
    """How quotes are made. Tiers look at the last ``tier_blocks`` blocks, the rest at all that are known;
    ``probability_bps`` is how sure the tips by deadline are."""

    tier_blocks: int
    probability_bps: int
    ceilings: FeeCeilings


def fee_quote(
    event: BlockApplied, rows: Sequence[BlockFees], data_fee: DataFeeTerms | None, rules: QuoteRules, now_ms: int
) -> FeeQuoted:
    """The quote for the block after ``event``; ``data_fee`` are a rollup's terms at that block."""
    base_fee, params = event.next_base_fee_per_gas_wei, fee_parameters(event.chain_id)
    recent = rows[-rules.tier_blocks :]
    quote = FeeQuoted(
        id=FeeQuoted.make_id(event.chain_id, event.block.hash),
        chain_id=event.chain_id,
        occurred_at_ms=now_ms,
        block=event.block,
        next_base_fee_per_gas_wei=base_fee,
        tiers=tiers(recent, base_fee, params),
        sampled_blocks=len(recent),
        inclusion=_inclusion(rows, rules.probability_bps, params),
        timing=_timing(rows, base_fee, params),
        data_fee=data_fee,
        entry_ceiling_wei=rules.ceilings.block_wei,
    )
    return quote.model_copy(update={"level": rules.ceilings.level_of(price_of(quote))})


def _inclusion(rows: Sequence[BlockFees], probability_bps: int, params: FeeParameters) -> tuple[InclusionTip, ...]:
    probability = Fraction(probability_bps, BPS)
    return tuple(
        InclusionTip(
            within_blocks=blocks,
            probability_bps=probability_bps,
            tip_per_gas_wei=tip_for(rows, within_blocks=blocks, probability=probability, params=params),
        )
        for blocks in DEADLINES
    )


def _timing(rows: Sequence[BlockFees], base_fee_wei: int, params: FeeParameters) -> tuple[SendTiming, ...]:
    found = []
    for blocks in DEADLINES:
        timing = when_to_send(rows, next_base_fee_wei=base_fee_wei, blocks_left=blocks, params=params)
        found.append(
            SendTiming(
                blocks_left=blocks,
                waits=timing.waits,
                price_now_wei=timing.price_now_wei,
                price_by_waiting_wei=timing.price_by_waiting_wei,
            )
        )
    return tuple(found)
