"""EIP-1559: the exact next base fee of each chain, and how far it can rise.

Recorded blocks reproduce the rule to the wei: Ethereum with elasticity 2 and denominator 8, Base with 3 and 50,
Polygon with 2 and 64. Two chains here do not follow it: BNB Smart Chain keeps its base fee at zero, and Arbitrum
prices by the gas backlog of its sequencer (ArbOS), which headers do not carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

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
