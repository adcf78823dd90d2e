"""Fees per gas: the exact next base fee, the tip that buys inclusion, when to send, and the tiers of the quote."""

from dexlane.domain.fees.base_fees import (
    GWEI,
    BaseFeeRule,
    FeeParameters,
    fee_parameters,
    highest_base_fee_after,
    next_base_fee,
)
from dexlane.domain.fees.blocks import TIP_PERCENTILES, BlockFees, inclusion_tip
from dexlane.domain.fees.outlook import FeeOutlook, FeeWindows
from dexlane.domain.fees.tiers import TIER_RULES, TierRule, tiers
from dexlane.domain.fees.timing import NextBlock, Timing, TimingReason

__all__ = [
    "GWEI",
    "TIER_RULES",
    "TIP_PERCENTILES",
    "BaseFeeRule",
    "BlockFees",
    "FeeOutlook",
    "FeeParameters",
    "FeeWindows",
    "NextBlock",
    "TierRule",
    "Timing",
    "TimingReason",
    "fee_parameters",
    "highest_base_fee_after",
    "inclusion_tip",
    "next_base_fee",
    "tiers",
]
