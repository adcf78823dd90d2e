"""Fee quotes."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from dexlane.events.base import Event, FeeCap
from dexlane.values.amounts import Amount
from dexlane.values.base import Value, digest
from dexlane.values.chains import BlockRef


class FeeTier(StrEnum):
    """How much is paid for how soon."""

    COST_EFFICIENT = "cost_efficient"
    BALANCED = "balanced"
    PROTECTED = "protected"
    SPEED = "speed"
    EMERGENCY = "emergency"


class DataFeeRule(StrEnum):
    """How an OP-stack rollup prices the data of a transaction: the upgrade whose formula holds."""

    ECOTONE = "ecotone"
    FJORD = "fjord"


class DataFeeTerms(Value):
    """What a rollup's fee for data is computed from, as its predeploys say it at one block.

    Fees are wei per gas (of L1) and wei per blob gas, scalars have six decimals. The operator fee (Isthmus) is
    ``operator_per_gas_millionths`` millionths of a wei per gas of the transaction, and a constant.
    """

    rule: DataFeeRule
    l1_base_fee_wei: Amount
    l1_blob_base_fee_wei: Amount
    base_fee_scalar: int = Field(ge=0)
    blob_base_fee_scalar: int = Field(ge=0)
    operator_per_gas_millionths: int = Field(default=0, ge=0)
    operator_constant_wei: Amount = 0


class FeeLevel(StrEnum):
    """Where the price of gas stands against the ceilings of its chain."""

    NORMAL = "normal"
    WARN = "warn"
    """At or above the ceiling that people are told of."""
    BLOCK = "block"
    """At or above the ceiling of entries."""
    STOP = "stop"
    """So high that only an operator lets entries begin again."""


class InclusionTip(Value):
    """The least tip per gas that is included within so many blocks with that probability, by the recent blocks."""

    within_blocks: int = Field(ge=1)
    probability_bps: int = Field(gt=0, lt=10_000)
    tip_per_gas_wei: Amount


class SendTiming(Value):
    """Whether a trade with so many blocks left is better sent for the next block or later, in wei per gas.

    ``price_by_waiting_wei`` is what the block after the next is expected to cost; None in the last block.
    """

    blocks_left: int = Field(ge=1)
    waits: bool
    reason: str = Field(pattern="^[a-z_]{1,32}$")
    price_now_wei: Amount
    price_by_waiting_wei: Amount | None = None


class FeeQuoted(Event):
    """Fees for the block after ``block``; last value per chain.

    ``next_base_fee_per_gas_wei`` is exact; each tier's cap leaves room for the base fee to rise.
    """

    NAME: ClassVar[str] = "fee.quoted"

    block: BlockRef
    next_base_fee_per_gas_wei: Amount
    tiers: dict[FeeTier, FeeCap]
    sampled_blocks: int = Field(ge=0, description="how many blocks of fee history the tips come from")
    inclusion: tuple[InclusionTip, ...] = Field(default=(), description="tips by deadline, shortest deadline first")
    timing: tuple[SendTiming, ...] = Field(default=(), description="now or later by deadline, shortest deadline first")
    data_fee: DataFeeTerms | None = Field(default=None, description="of a rollup that charges for data; else None")
    level: FeeLevel = Field(
        default=FeeLevel.NORMAL, description="the price (next base fee and balanced tip) against the chain's ceilings"
    )
    entry_ceiling_wei: Amount | None = Field(
        default=None, description="price from which on no entry is made; None for no ceiling"
    )

    @staticmethod
    def make_id(chain_id: int, block_hash: str) -> str:
        """One quote per block."""
        return digest("fee.quoted", chain_id, block_hash)
