"""Candles from per-block prices and volumes, with undo for reorganisations.

A price is an integer: smallest quote units for one whole base token, times ``PRICE_SCALE``. With USDC (6 decimals),
2,000 USDC per WETH is ``2_000 * 10**6 * PRICE_SCALE``. The scale keeps twelve further digits for tokens worth
less than one unit; prices are rounded down to it. Volume is in smallest quote units.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from dexlane.values.chains import BlockRef

PRICE_SCALE = 10**12

INTERVALS: dict[str, int] = {"1s": 1, "1m": 60, "5m": 300, "1h": 3_600, "1d": 86_400}
"""Known intervals and their length in seconds."""


def scaled_price(ratio: tuple[int, int], base_decimals: int) -> int:
    """Scale a spot price ratio (quote units per base unit, numerator and denominator) to a candle price."""
    numerator, denominator = ratio
    return int(numerator * 10**base_decimals * PRICE_SCALE // denominator)


@dataclass(frozen=True, slots=True)
class BlockTrade:
    """What one block says about a market: its time, the price at its end, and what was traded in it."""

    block: BlockRef
    timestamp_s: int
    price: int
    volume: int


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices and volume of the blocks whose time lies in ``[start_s, start_s + interval)``. Empty times have none.

    ``open`` is the price at the end of the first block inside, so a candle needs nothing from before it.
    """

    start_s: int
    open: int
    high: int
    low: int
    close: int
    volume: int

    def with_trade(self, trade: BlockTrade) -> Candle:
        """The candle after one more block."""
        return replace(
            self,
            high=max(self.high, trade.price),
            low=min(self.low, trade.price),
            close=trade.price,
            volume=self.volume + trade.volume,
        )


@dataclass(frozen=True, slots=True)
class _Undo:
    """A block and, per interval, the newest candle as it was before it (None where there was none)."""

    block: BlockRef
    before: tuple[Candle | None, ...]


class CandleSeries:
    """Candles of one market: the last ``keep`` of every interval, with undo of the last ``undo_depth`` blocks."""

    def __init__(self, keep: int = 1_500, undo_depth: int = 128) -> None:
        self._candles: dict[str, deque[Candle]] = {interval: deque(maxlen=keep) for interval in INTERVALS}
        self._undo: deque[_Undo] = deque()
        self._undo_depth = undo_depth
        self._forgotten = -1
        """Number of the newest counted block that can no longer be undone."""

    def candles(self, interval: str) -> tuple[Candle, ...]:
        """Candles in order of time. ``KeyError`` for an unknown interval."""
        return tuple(self._candles[interval])

    def add(self, trade: BlockTrade) -> None:
        """Count one more block; a block that is already counted is ignored.

        Raises ``ValueError`` when its number is not above the last one's: undo the replaced blocks first.
        """
        if any(undo.block.hash == trade.block.hash for undo in self._undo):
            return
        if self._undo and trade.block.number <= self._undo[-1].block.number:
            raise ValueError(f"block {trade.block.number} does not come after block {self._undo[-1].block.number}")
        before: list[Candle | None] = []
        for interval, seconds in INTERVALS.items():
            kept = self._candles[interval]
            start_s = trade.timestamp_s - trade.timestamp_s % seconds
            before.append(kept[-1] if kept else None)
            if kept and kept[-1].start_s == start_s:
                kept[-1] = kept[-1].with_trade(trade)
            else:
                kept.append(Candle(start_s, trade.price, trade.price, trade.price, trade.price, trade.volume))
        self._undo.append(_Undo(trade.block, tuple(before)))
        if len(self._undo) > self._undo_depth:
            self._forgotten = self._undo.popleft().block.number

    def undo_to(self, ancestor: BlockRef) -> int:
        """Forget the counted blocks above ``ancestor`` and return how many those were.

        Blocks without a trade are never counted, so the ancestor itself need not be known. Raises ``ValueError`` when
        the reorganisation is deeper than remembered: build the series anew.
        """
        if ancestor.number < self._forgotten:
            raise ValueError(f"blocks up to {self._forgotten} can no longer be undone")
        undone = 0
        while self._undo and self._undo[-1].block.number > ancestor.number:
            for interval, candle in zip(INTERVALS, self._undo.pop().before, strict=True):
                kept = self._candles[interval]
                newest = kept.pop()
                if candle is not None and (candle.start_s == newest.start_s or not kept):
                    kept.append(candle)
            undone += 1
        return undone
