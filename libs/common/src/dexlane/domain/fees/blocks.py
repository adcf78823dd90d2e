"""What is known of a past block's fees, and what it took to be included in it."""

from __future__ import annotations

from dataclasses import dataclass, field

TIP_PERCENTILES: tuple[int, ...] = (5, 10, 20, 30, 50, 75, 95)
"""The percentiles to ask ``eth_feeHistory`` for, in the order it wants them."""
_COLUMNS = {percentile: column for column, percentile in enumerate(TIP_PERCENTILES)}

FULL_RATIO = 0.99
"""From here on a block counts as full: its cheapest transactions had to outbid others."""


@dataclass(frozen=True, slots=True)
class BlockFees:
    """Fees paid in one past block: ``tips_wei`` per gas at each of ``TIP_PERCENTILES``, weighted by gas.

    ``base_fee_wei`` is the block's own base fee per gas; None where it was not asked for.
    """

    number: int
    gas_used_ratio: float
    tips_wei: tuple[int, ...] = field(default=())
    base_fee_wei: int | None = None

    def tip(self, percentile: int) -> int | None:
        """The tip at one of ``TIP_PERCENTILES``; None for an empty block (nodes report zeros) or an unread one."""
        if self.gas_used_ratio <= 0 or len(self.tips_wei) != len(TIP_PERCENTILES):
            return None
        return self.tips_wei[_COLUMNS[percentile]]


def inclusion_tip(block: BlockFees, percentile: int = 5) -> int | None:
    """The least tip per gas, in wei, that counts as included in this block; None for a block that took nobody.

    It is the given percentile of the tips paid there, or the tenth (if that is higher) in a full block. What fewer
    gas paid less for may have come another way (a bundle, the producer's own), so the very lowest tip is not taken.
    """
    tip = block.tip(percentile)
    full = block.tip(10) if block.gas_used_ratio >= FULL_RATIO else None
    return tip if tip is None or full is None else max(tip, full)
