"""The recent blocks' fees of one chain, extended by one block at a time."""

from __future__ import annotations

from collections import deque

from dexlane.chain.answers import FeeHistory
from dexlane.domain.fees import BlockFees
from dexlane.events.market import BlockApplied
from dexlane.values.chains import BlockRef


class FeeWindow:
    """Fees of the last ``size`` blocks up to ``newest``."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.newest: BlockRef | None = None
        self._rows: deque[BlockFees] = deque(maxlen=size)

    @property
    def rows(self) -> tuple[BlockFees, ...]:
        """Oldest first."""
        return tuple(self._rows)

    def missing(self, event: BlockApplied) -> int:
        """How many blocks up to this one to ask the node for: one when it follows, else the whole window."""
        if self.newest is not None and event.parent_hash == self.newest.hash:
            return 1
        return self.size

    def extend(self, event: BlockApplied, history: FeeHistory) -> None:
        """Take what the node answered for ``missing`` blocks. It may know fewer, as after a fresh start."""
        if self.newest is None or event.parent_hash != self.newest.hash:
            self._rows.clear()
        tips, base_fees = history.tips_per_gas_wei, history.base_fees_per_gas_wei
        for index, ratio in enumerate(history.gas_used_ratios):
            number = history.oldest_block + index
            if number <= event.block.number:
                row_tips = tips[index] if index < len(tips) else ()
                base_fee = base_fees[index] if index < len(base_fees) else None
                self._rows.append(BlockFees(number, ratio, row_tips, base_fee))
        self.newest = event.block
