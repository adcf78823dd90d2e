"""The prices of pools over the last blocks, and how much they moved."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dexlane.domain.risk.evidence import Volatility
from dexlane.values.amounts import PIPS_DENOMINATOR


class Price(NamedTuple):
    """A price as a ratio of integers: ``numerator / denominator`` of token1 per token0, both positive."""

    numerator: int
    denominator: int


def move_pips(before: Price, after: Price) -> int:
    """The absolute relative move in pips (hundredths of a basis point), rounded up."""
    old, new = before.numerator * after.denominator, after.numerator * before.denominator
    return -(-abs(new - old) * PIPS_DENOMINATOR // old)


class _Change(NamedTuple):
    """The price from a block on, None where the pool has lost it, and how far it lies from the one before."""

    block: int
    price: Price | None
    move_pips: int = 0


class PriceHistory:
    """Prices per pool over the last blocks; a state machine without a clock.

    Of many pools a block moves few, so only changes are kept; between them a price moves by zero. ``window`` counts
    moves, one per block. A reorganisation of up to ``undo_depth`` blocks is followed with :meth:`undo_to`; after a gap
    between blocks everything begins anew.
    """

    def __init__(self, window: int = 32, undo_depth: int = 128) -> None:
        self._window = window
        self._kept = window + undo_depth
        self._changes: dict[str, deque[_Change]] = {}
        self._begun = self._tip = -1

    def record(self, block: int, prices: Mapping[str, Price], moved: Iterable[str]) -> None:
        """Remember the prices after ``block``, of which those of ``moved`` alone may have changed since the block
        before. An older or repeated block changes nothing."""
        if block <= self._tip:
            return
        if block != self._tip + 1:
            self._changes.clear()
            self._begun, moved = block, prices
        self._tip = block
        for pool in moved:
            self._note(pool, block, prices.get(pool))

    def undo_to(self, block: int) -> None:
        """Forget everything above ``block``."""
        if block < self._begun:
            self._changes.clear()
            self._begun = self._tip = -1
        elif block < self._tip:
            self._tip = block
            for pool, changes in list(self._changes.items()):
                while changes and changes[-1].block > block:
                    changes.pop()
                if not changes:
                    del self._changes[pool]

    def forget(self, pool: str) -> None:
        """Nobody reports the pool any more."""
        self._changes.pop(pool, None)

    def newest(self, pool: str) -> int:
        """The last block with a price of the pool; -1 when there is none."""
        changes = self._changes.get(pool)
        if changes is None:
            return -1
        return self._tip if changes[-1].price is not None else changes[-1].block - 1

    def volatility(self, pool: str) -> Volatility | None:
        """Mean (rounded up) and peak move per block; None while no move of the pool is known."""
        end = began = self.newest(pool)
        moves: list[int] = []
        for change in reversed(self._changes.get(pool, ())):
            if change.block > end:
                continue  # the price was lost here
            if change.price is None:
                break
            began = max(change.block, end - self._window)
            if change.block <= end - self._window:
                break
            moves.append(change.move_pips)
        if began == end:
            return None
        samples = end - began
        return Volatility(
            mean_move_pips=-(-sum(moves) // samples), peak_move_pips=max(moves, default=0), samples=samples
        )

    def _note(self, pool: str, block: int, price: Price | None) -> None:
        changes = self._changes.get(pool)
        before = None if changes is None else changes[-1].price
        if price is before:
            return
        changes = self._changes.setdefault(pool, deque())
        changes.append(_Change(block, price, move_pips(before, price) if before and price else 0))
        while len(changes) > 1 and changes[1].block < block - self._kept:
            changes.popleft()
