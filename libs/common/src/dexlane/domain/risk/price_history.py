"""The prices of pools over the last blocks, and how much they moved."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import pairwise
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


class PriceHistory:
    """Prices per pool and block over a sliding window; a state machine without a clock.

    ``window`` counts moves, so ``window + 1`` prices are kept. A reorganisation is followed with :meth:`undo_to`; after
    a gap between blocks the history of a pool begins anew.
    """

    def __init__(self, window: int = 32) -> None:
        self._window = window
        self._prices: dict[str, deque[tuple[int, Price]]] = {}
        self._memory: dict[str, Volatility] = {}

    def record(self, block: int, prices: Mapping[str, Price]) -> None:
        """Remember the price of every pool after ``block``. An older or repeated block changes nothing."""
        for pool, price in prices.items():
            kept = self._prices.setdefault(pool, deque(maxlen=self._window + 1))
            if kept and kept[-1][0] >= block:
                continue
            if kept and kept[-1][0] != block - 1:
                kept.clear()
            kept.append((block, price))
            self._memory.pop(pool, None)

    def undo_to(self, block: int) -> None:
        """Forget everything above ``block``."""
        for kept in self._prices.values():
            while kept and kept[-1][0] > block:
                kept.pop()
        self._memory.clear()

    def newest(self, pool: str) -> int:
        """The last block with a price of the pool; -1 when there is none."""
        kept = self._prices.get(pool)
        return kept[-1][0] if kept else -1

    def volatility(self, pool: str) -> Volatility | None:
        """Mean (rounded up) and peak move per block; None while no move of the pool is known."""
        known = self._memory.get(pool)
        if known is None:
            known = self._measure(pool)
            if known is not None:
                self._memory[pool] = known
        return known

    def _measure(self, pool: str) -> Volatility | None:
        prices = [price for _, price in self._prices.get(pool, ())]
        moves = [move_pips(before, after) for before, after in pairwise(prices)]
        if not moves:
            return None
        return Volatility(mean_move_pips=-(-sum(moves) // len(moves)), peak_move_pips=max(moves), samples=len(moves))
