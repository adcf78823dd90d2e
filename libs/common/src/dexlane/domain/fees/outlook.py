"""What the recent blocks of a chain say about the next one's fees, extended by one block at a time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

from dexlane.domain.fees.base_fee_window import BaseFeeWindow
from dexlane.domain.fees.base_fees import FeeParameters
from dexlane.domain.fees.blocks import TIP_PERCENTILES, BlockFees, inclusion_tip
from dexlane.domain.fees.inclusion import tip_within
from dexlane.domain.fees.offers import offers
from dexlane.domain.fees.tiers import tiers
from dexlane.domain.fees.timing import LONGEST_DEADLINE_BLOCKS, NextBlock
from dexlane.events.base import FeeCap
from dexlane.events.fees import FeeTier


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeWindows:
    """How many recent blocks count, for tips, for base fees, and for the tiers of the quote; and which percentile of
    a block's tips is taken as what inclusion costs (5, 10 or 20)."""

    tip_blocks: int = 100
    base_fee_blocks: int = 200
    tier_blocks: int = 20
    inclusion_percentile: int = 5


class FeeOutlook:
    """The recent fees of one chain. Feed it every block in order; after a reorganisation make a new one."""

    def __init__(self, params: FeeParameters, windows: FeeWindows | None = None) -> None:
        self._params = params
        self._windows = windows or FeeWindows()
        self._base_fees = BaseFeeWindow(self._windows.base_fee_blocks)
        self._tips, self._medians, self._dearest = (_TipWindow(self._windows.tip_blocks) for _ in range(3))
        self._tier_blocks: deque[BlockFees] = deque(maxlen=self._windows.tier_blocks)

    def add(self, block: BlockFees) -> None:
        """The block after the last one. A row without tips counts for the base fees alone."""
        if block.base_fee_wei is not None:
            self._base_fees.add(block.base_fee_wei)
        self._tier_blocks.append(block)
        if len(block.tips_wei) != len(TIP_PERCENTILES):
            return
        tip = inclusion_tip(block, self._windows.inclusion_percentile)
        least = self._params.minimum_tip_wei
        self._tips.add(None if tip is None else max(tip, least))
        self._medians.add(block.tip(50))
        self._dearest.add(block.tip(95))

    def tip_for(self, *, within_blocks: int, probability: Fraction | float) -> int:
        """See :func:`dexlane.domain.fees.inclusion.tip_within`, over the last ``tip_blocks``."""
        return tip_within(self._tips.rows, within_blocks, Fraction(probability), self._params.minimum_tip_wei)

    def tiers(self, next_base_fee_wei: int) -> dict[FeeTier, FeeCap]:
        """See :func:`dexlane.domain.fees.tiers`, over the last ``tier_blocks``."""
        return tiers(self._tier_blocks, next_base_fee_wei, self._params)

    def before(self, next_base_fee_wei: int) -> NextBlock:
        """What is known before the block with that base fee: a frozen value that decides for any deadline."""
        tips = self._tips
        return NextBlock(
            params=self._params,
            base_fee=self._base_fees.look_at(next_base_fee_wei),
            offers=offers(tips.ordered, tips.empty_blocks, self._surest_tip(), LONGEST_DEADLINE_BLOCKS),
        )

    def _surest_tip(self) -> int:
        """As sure as the recent blocks allow: what would have been included in every one of them that took anybody,
        and no less than the middle of their medians. It is no more than the middle of their 95th percentiles: a
        producer who fills one block with dear transactions of his own must not set our tip for the next hundred."""
        highest = self._tips.ordered[-1] if self._tips.ordered else 0
        return max(self._params.minimum_tip_wei, self._medians.middle, min(highest, self._dearest.middle))


class _TipWindow:
    """One tip of each of the last blocks, in order of time and of height; None of a block that took nobody."""

    def __init__(self, size: int) -> None:
        self.rows: deque[int | None] = deque()
        self.ordered: list[int] = []
        self._size = size

    def add(self, tip_wei: int | None) -> None:
        """The next block's; the oldest leaves."""
        self.rows.append(tip_wei)
        if tip_wei is not None:
            insort(self.ordered, tip_wei)
        if len(self.rows) > self._size and (oldest := self.rows.popleft()) is not None:
            del self.ordered[bisect_left(self.ordered, oldest)]

    @property
    def empty_blocks(self) -> int:
        """How many took nobody."""
        return len(self.rows) - len(self.ordered)

    @property
    def middle(self) -> int:
        """The upper median; zero of nothing."""
        return self.ordered[len(self.ordered) // 2] if self.ordered else 0
