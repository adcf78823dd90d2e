"""The recent blocks' fees of one chain, extended by one block at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from dexlane.chain.answers import FeeHistory
from dexlane.domain.fees import BlockFees, FeeOutlook, FeeParameters, FeeWindows
from dexlane.events.market import BlockApplied
from dexlane.values.chains import BlockRef


class FeeWindow:
    """Fees of the last blocks up to ``newest``, and what they say about the next one."""

    def __init__(self, params: FeeParameters, windows: FeeWindows) -> None:
        self._params = params
        self._windows = windows
        self.size = max(windows.tip_blocks, windows.base_fee_blocks, windows.tier_blocks)
        self.newest: BlockRef | None = None
        self._rows: deque[BlockFees] = deque(maxlen=self.size)
        self.outlook = FeeOutlook(params, windows)

    def __len__(self) -> int:
        """How many blocks are known."""
        return len(self._rows)

    @property
    def rows(self) -> Sequence[BlockFees]:
        """Oldest first."""
        return tuple(self._rows)

    def missing(self, event: BlockApplied) -> int:
        """How many blocks up to this one to ask the node for: one when it follows, else the whole window."""
        if self.newest is not None and event.parent_hash == self.newest.hash:
            return 1
        return self.size

    def last_base_fees(self, count: int) -> list[int]:
        """Of the last so many blocks, as far as they are known."""
        recent = list(self._rows)[-count:]
        return [row.base_fee_wei for row in recent if row.base_fee_wei is not None]

    def extend(self, event: BlockApplied, history: FeeHistory) -> None:
        """Take what the node answered for ``missing`` blocks. It may know fewer, as after a fresh start."""
        if self.newest is None or event.parent_hash != self.newest.hash:
            self._rows.clear()
            self.outlook = FeeOutlook(self._params, self._windows)
        tips, base_fees = history.tips_per_gas_wei, history.base_fees_per_gas_wei
        for index, ratio in enumerate(history.gas_used_ratios):
            number = history.oldest_block + index
            if number <= event.block.number:
                row_tips = tips[index] if index < len(tips) else ()
                base_fee = base_fees[index] if index < len(base_fees) else None
                self._take(BlockFees(number, ratio, row_tips, base_fee))
        self.newest = event.block

    def _take(self, row: BlockFees) -> None:
        self._rows.append(row)
        self.outlook.add(row)
