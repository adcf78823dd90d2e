"""Fee quotes."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from dexlane.events.base import Event, FeeCap
from dexlane.values.amounts import Amount
from dexlane.values.base import digest
from dexlane.values.chains import BlockRef


class FeeTier(StrEnum):
    """How much is paid for how soon."""

    COST_EFFICIENT = "cost_efficient"
    BALANCED = "balanced"
    PROTECTED = "protected"
    SPEED = "speed"
    EMERGENCY = "emergency"


class FeeQuoted(Event):
    """Fees for the block after ``block``; last value per chain.

    ``next_base_fee_per_gas_wei`` is exact; each tier's cap leaves room for the base fee to rise.
    """

    NAME: ClassVar[str] = "fee.quoted"

    block: BlockRef
    next_base_fee_per_gas_wei: Amount
    tiers: dict[FeeTier, FeeCap]
    sampled_blocks: int = Field(ge=0, description="how many blocks of fee history the tips come from")

    @staticmethod
    def make_id(chain_id: int, block_hash: str) -> str:
        """One quote per block."""
        return digest("fee.quoted", chain_id, block_hash)
