"""Candles of many markets from the swaps of each block, with undo for reorganisations.

A price is an integer: smallest quote units for one whole base token, times ``PRICE_SCALE``. With USDC (6 decimals),
2,000 USDC per WETH is ``2_000 * 10**6 * PRICE_SCALE``. The scale keeps twelve further digits for tokens worth
less than one unit; prices are rounded down to it. Volumes are in smallest units of either token.

Candles are a function of the canonical blocks with swaps and of nothing else: a block that is undone leaves no trace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from dexlane.values.chains import BlockRef

PRICE_SCALE_DIGITS = 12
PRICE_SCALE: int = 10**PRICE_SCALE_DIGITS

INTERVALS: dict[str, int] = {
    "1s": 1,
    "5s": 5,
    "1m": 60,
    "5m": 300,
    "15m": 900,
    "1h": 3_600,
    "4h": 14_400,
    "1d": 86_400,
}
"""Known intervals and their length in seconds. A candle starts at a whole multiple of it since 1970, UTC."""

_LENGTHS = tuple(INTERVALS.items())


def scaled_price(ratio: tuple[int, int], base_decimals: int) -> int:
    """Scale a spot price ratio (quote units per base unit, numerator and denominator) to a candle price."""
    numerator, denominator = ratio
    return int(numerator * 10**base_decimals * PRICE_SCALE // denominator)


class BlockTrade(NamedTuple):
    """What one block says about a market: its time, the price at its end, and the gross amounts that swaps moved."""

    timestamp_s: int
    price: int
    base_volume: int
    quote_volume: int


class Candle(NamedTuple):
    """Prices and volumes of the blocks whose time lies in ``[start_s, start_s + interval)``. Empty times have none.

    ``open`` is the price at the end of the first block inside, so a candle needs nothing from before it. ``blocks``
    counts those with swaps.
    """

    start_s: int
    open: int
    high: int
    low: int
    close: int
    base_volume: int
    quote_volume: int
    blocks: int

    @classmethod
    def of(cls, start_s: int, trade: BlockTrade) -> Candle:
        """A candle of one block."""
        price = trade.price
        return cls(start_s, price, price, price, price, trade.base_volume, trade.quote_volume, 1)

    def with_trade(self, trade: BlockTrade) -> Candle:
        """The candle after one more block."""
        return Candle(
            self.start_s,
            self.open,
            max(self.high, trade.price),
            min(self.low, trade.price),
            trade.price,
            self.base_volume + trade.base_volume,
            self.quote_volume + trade.quote_volume,
            self.blocks + 1,
        )


OpenCandles: TypeAlias = tuple[Candle, ...]
"""The candle that is still open of each interval, in the order of ``INTERVALS``."""


class ClosedCandle(NamedTuple):
    """A candle that a later one followed."""

    market: str
    interval: str
    candle: Candle


@dataclass(slots=True)
class _Counted:
    """A counted block: the open candles of each market before it, and the candles it closed."""

    block: BlockRef
    before: dict[str, OpenCandles | None] = field(default_factory=dict)
    closed: list[ClosedCandle] = field(default_factory=list)


class CandleBook:
    """The open candles of every market, with undo of the last ``undo_depth`` blocks that had swaps.

    Closed candles are handed out once and not kept, so memory is bounded by the markets and by the swaps of those
    blocks.
    """

    def __init__(self, undo_depth: int = 128) -> None:
        self._open: dict[str, OpenCandles] = {}
        self._counted: deque[_Counted] = deque()
        self._undo_depth = undo_depth
        self._forgotten = -1
        """Number of the newest counted block that can no longer be undone."""

    def open_candles(self, market: str) -> Mapping[str, Candle]:
        """The open candle of each interval; empty for a market without swaps so far."""
        return dict(zip(INTERVALS, self._open.get(market, ()), strict=False))

    def forget(self, market: str) -> None:
        """Drop a market."""
        self._open.pop(market, None)
        for counted in self._counted:
            counted.before.pop(market, None)

    def add(self, block: BlockRef, trades: Mapping[str, BlockTrade]) -> list[ClosedCandle]:
        """Count one more block with its trades by market; returns the candles that it closed.

        A block that is already counted is ignored. Raises ``ValueError`` when its number is not above the last one's:
        undo the replaced blocks first.
        """
        if not trades or any(counted.block.hash == block.hash for counted in self._counted):
            return []
        if self._counted and block.number <= self._counted[-1].block.number:
            raise ValueError(f"block {block.number} does not come after block {self._counted[-1].block.number}")
        counted = _Counted(block)
        for market, trade in trades.items():
            known = self._open.get(market)
            counted.before[market] = known
            self._open[market] = _opened(trade) if known is None else _continued(market, known, trade, counted.closed)
        self._counted.append(counted)
        if len(self._counted) > self._undo_depth:
            self._forgotten = self._counted.popleft().block.number
        return list(counted.closed)

    def undo_to(self, ancestor: BlockRef) -> tuple[set[str], list[ClosedCandle]]:
        """Forget the counted blocks above ``ancestor``.

        Returns the markets that they changed and the candles that they had closed, which are open again or gone. Blocks
        without swaps are never counted, so the ancestor itself need not be known. Raises ``ValueError`` when the
        reorganisation is deeper than remembered: begin anew.
        """
        if ancestor.number < self._forgotten:
            raise ValueError(f"blocks up to {self._forgotten} can no longer be undone")
        changed: set[str] = set()
        reopened: list[ClosedCandle] = []
        while self._counted and self._counted[-1].block.number > ancestor.number:
            counted = self._counted.pop()
            for market, before in counted.before.items():
                changed.add(market)
                if before is None:
                    self._open.pop(market, None)
                else:
                    self._open[market] = before
            reopened += counted.closed
        return changed, reopened


def _opened(trade: BlockTrade) -> OpenCandles:
    return tuple(Candle.of(trade.timestamp_s - trade.timestamp_s % seconds, trade) for _, seconds in _LENGTHS)


def _continued(market: str, known: OpenCandles, trade: BlockTrade, closed: list[ClosedCandle]) -> OpenCandles:
    now: list[Candle] = []
    for (interval, seconds), candle in zip(_LENGTHS, known, strict=True):
        start_s = trade.timestamp_s - trade.timestamp_s % seconds
        if start_s <= candle.start_s:  # a chain whose clock stands still stays in its candle
            now.append(candle.with_trade(trade))
        else:
            closed.append(ClosedCandle(market, interval, candle))
            now.append(Candle.of(start_s, trade))
    return tuple(now)
