"""EIP-1559 fees: the exact next base fee of each chain, and fee caps per tier from recent tips.

Recorded blocks reproduce the rule to the wei: Ethereum with elasticity 2 and denominator 8, Base with 3 and 50,
Polygon with 2 and 64. Two chains here do not follow it: BNB Smart Chain keeps its base fee at zero, and Arbitrum
prices by the gas backlog of its sequencer (ArbOS), which headers do not carry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from dexlane.events.base import FeeCap
from dexlane.events.fees import FeeTier

GWEI = 10**9


class BaseFeeRule(StrEnum):
    """How a chain finds the base fee of its next block."""

    EIP_1559 = "eip_1559"
    """From the parent's base fee and gas, exactly."""
    ZERO = "zero"
    """There is none."""
    CARRIED = "carried"
    """Not knowable from the header: the current one is the best estimate, so it is no exact figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeParameters:
    """Fee rules of one chain.

    ``elasticity`` divides the gas limit into the gas target, ``denominator`` bounds the change per block (EIP-1559:
    2 and 8). ``minimum_base_fee_wei`` is a floor set by the chain. ``minimum_tip_wei`` is what block producers of the
    chain take at least. ``has_l1_data_fee`` marks rollups that charge for data beside the gas.
    """

    elasticity: int = 2
    denominator: int = 8
    rule: BaseFeeRule = BaseFeeRule.EIP_1559
    minimum_base_fee_wei: int = 0
    minimum_tip_wei: int = 1
    has_l1_data_fee: bool = False


_PARAMETERS: Mapping[int, FeeParameters] = MappingProxyType(
    {
        1: FeeParameters(),
        56: FeeParameters(rule=BaseFeeRule.ZERO, minimum_tip_wei=GWEI // 20),
        137: FeeParameters(denominator=64, minimum_tip_wei=25 * GWEI),
        8_453: FeeParameters(elasticity=3, denominator=50, has_l1_data_fee=True),
        42_161: FeeParameters(rule=BaseFeeRule.CARRIED, minimum_base_fee_wei=GWEI // 100, minimum_tip_wei=0),
    }
)


def fee_parameters(chain_id: int) -> FeeParameters:
    """The fee rules of a chain; those of Ethereum for a chain that is not in the table (EIP-1559 as written)."""
    return _PARAMETERS.get(chain_id, _PARAMETERS[1])


def next_base_fee(base_fee_wei: int, gas_used: int, gas_limit: int, params: FeeParameters) -> int:
    """Base fee per gas of the block after the given one, in wei (EIP-1559, function ``validate_block``).

    A full block raises it by at least one wei; an empty one lowers it by at most ``1 / denominator``.
    Raises ``ValueError`` for a gas limit whose target would be zero, or for more gas used than the limit.
    """
    if params.rule is BaseFeeRule.ZERO:
        return 0
    if params.rule is BaseFeeRule.CARRIED:
        return max(base_fee_wei, params.minimum_base_fee_wei)
    target = gas_limit // params.elasticity
    if target <= 0 or not 0 <= gas_used <= gas_limit:
        raise ValueError(f"{gas_used} gas used of a limit of {gas_limit} is no block")
    if gas_used > target:
        change = max(base_fee_wei * (gas_used - target) // target // params.denominator, 1)
    else:
        change = -(base_fee_wei * (target - gas_used) // target // params.denominator)
    return max(base_fee_wei + change, params.minimum_base_fee_wei)


def highest_base_fee_after(base_fee_wei: int, blocks: int, params: FeeParameters) -> int:
    """The most that the base fee can be after so many full blocks, in wei (rounded up at each step).

    On Ethereum that is a growth of one eighth per block. A carried base fee has no bound; one eighth is taken for it.
    """
    if params.rule is BaseFeeRule.ZERO:
        return 0
    exact = params.rule is BaseFeeRule.EIP_1559
    numerator, denominator = (params.elasticity - 1, params.denominator) if exact else (1, 8)
    for _ in range(blocks):
        base_fee_wei += max(-(-base_fee_wei * numerator // denominator), 1)
    return base_fee_wei


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
TIP_PERCENTILES: tuple[int, ...] = tuple(sorted({rule.tip_percentile for rule in TIER_RULES.values()}))
"""The percentiles to ask ``eth_feeHistory`` for, in the order it wants them."""


@dataclass(frozen=True, slots=True)
class BlockFees:
    """Fees paid in one past block: ``tips_wei`` per gas at each of ``TIP_PERCENTILES``, weighted by gas."""

    number: int
    gas_used_ratio: float
    tips_wei: tuple[int, ...] = field(default=())


def tiers(history: Sequence[BlockFees], next_base_fee_wei: int, params: FeeParameters) -> dict[FeeTier, FeeCap]:
    """Fee caps per tier, in wei per gas, for the block whose base fee is given.

    The tip is the median, over the non-empty blocks given, of the tier's percentile, and at least the chain's
    minimum. Empty blocks say nothing about the price of inclusion (nodes report zeros for them) and are left out. A
    dearer tier never tips or caps below a cheaper one.
    """
    tips = [row.tips_wei for row in history if row.gas_used_ratio > 0 and len(row.tips_wei) == len(TIP_PERCENTILES)]
    caps: dict[FeeTier, FeeCap] = {}
    tip = params.minimum_tip_wei
    for tier, rule in TIER_RULES.items():
        column = TIP_PERCENTILES.index(rule.tip_percentile)
        tip = max(tip, _median([row[column] for row in tips]))
        cap = highest_base_fee_after(next_base_fee_wei, rule.horizon_blocks, params) + tip
        caps[tier] = FeeCap(max_fee_per_gas_wei=cap, max_priority_fee_per_gas_wei=tip)
    return caps


def _median(values: list[int]) -> int:
    """The upper median; zero of nothing."""
    return sorted(values)[len(values) // 2] if values else 0
