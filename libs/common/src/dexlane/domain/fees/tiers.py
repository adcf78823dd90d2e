"""Fee caps per tier, from the tips of recent blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from dexlane.domain.fees.base_fees import FeeParameters, highest_base_fee_after
from dexlane.domain.fees.blocks import BlockFees
from dexlane.events.base import FeeCap
from dexlane.events.fees import FeeTier


@dataclass(frozen=True, slots=True)
class TierRule:
    """A tier: the percentile its tip is taken from, and how many full blocks in a row its cap survives."""

    tip_percentile: int
    horizon_blocks: int


TIER_RULES: Mapping[FeeTier, TierRule] = MappingProxyType(
    {
        FeeTier.COST_EFFICIENT: TierRule(10, 2),
        FeeTier.BALANCED: TierRule(30, 4),
        FeeTier.PROTECTED: TierRule(50, 6),
        FeeTier.SPEED: TierRule(75, 8),
        FeeTier.EMERGENCY: TierRule(95, 12),
    }
)


def tiers(history: Sequence[BlockFees], next_base_fee_wei: int, params: FeeParameters) -> dict[FeeTier, FeeCap]:
    """Fee caps per tier, in wei per gas, for the block whose base fee is given.

    The tip is the median, over the non-empty blocks given, of the tier's percentile, and at least the chain's
    minimum. Empty blocks say nothing about the price of inclusion (nodes report zeros for them) and are left out. A
    dearer tier never tips or caps below a cheaper one.
    """
    caps: dict[FeeTier, FeeCap] = {}
    tip = params.minimum_tip_wei
    for tier, rule in TIER_RULES.items():
        paid = (block.tip(rule.tip_percentile) for block in history)
        tip = max(tip, _median([found for found in paid if found is not None]))
        cap = highest_base_fee_after(next_base_fee_wei, rule.horizon_blocks, params) + tip
        caps[tier] = FeeCap(max_fee_per_gas_wei=cap, max_priority_fee_per_gas_wei=tip)
    return caps


def _median(values: list[int]) -> int:
    """The upper median; zero of nothing."""
    return sorted(values)[len(values) // 2] if values else 0
