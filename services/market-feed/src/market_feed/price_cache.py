"""Prices and candles in Redis, for screens. Nothing waits for it and nothing is decided from it.

Keys, all values JSON; prices are decimal strings in whole quote tokens for one whole base token:

- ``dexlane:<realm>:<chain>:price:<pool>``: block, hash, timestamp_s, price. Kept for a day.
- ``dexlane:<realm>:<chain>:candles:<interval>:<pool>`` for ``1m``, ``5m`` and ``1h``: a sorted set scored by the
  candle's start in Unix seconds; start_s, open, high, low, close, volume (smallest quote units), block. At most 1,440.

The candle in which the feed began is not written, because its first part was not seen: one from before a restart stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from dexlane.domain.amm.quoting import InsufficientLiquidity, spot_price_ratio
from dexlane.domain.candles import INTERVALS, BlockTrade, Candle, CandleSeries, scaled_price
from dexlane.events.market import BlockApplied
from dexlane.values.amounts import decimal_text
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool

WRITTEN = ("1m", "5m", "1h")
CANDLES_KEPT = 1_440
PRICE_KEPT_S = 86_400
RETRY_S = 1.0
PRICE_SCALE_DIGITS = 12
"""``PRICE_SCALE`` of the candles as a power of ten."""


@dataclass(slots=True)
class _Market:
    """One pool seen as a market of its other token in the quote token."""

    series: CandleSeries
    digits: int
    last: BlockTrade


class PriceCache:
    """Candles of one chain's pools in memory; what changed is written in the background."""

    def __init__(self, redis: Redis, prefix: str, quote: str, on_state: Callable[[bool, str], None]) -> None:
        self._redis = redis
        self._prefix = prefix
        self._quote = quote
        self._on_state = on_state
        self._markets: dict[str, _Market] = {}
        self._dirty: dict[str, None] = {}
        self._changed = asyncio.Event()
        self._began_s = 0
        self._up: bool | None = None

    def begin(self, timestamp_s: int) -> None:
        """Forget everything: the feed begins (anew) at this time."""
        self._markets.clear()
        self._dirty.clear()
        self._began_s = timestamp_s

    def record(self, pool: Pool, event: BlockApplied, volumes: tuple[int, ...]) -> None:
        """Note a pool's price after a block; ``volumes`` are gross amounts of token0 and token1 that were swapped."""
        key = pool.key
        if key.more_tokens or self._quote not in (key.token0.address, key.token1.address):
            return
        base, quote = key.other(self._quote), key.token(self._quote)
        try:
            price = scaled_price(spot_price_ratio(pool, base.address), base.decimals)
        except InsufficientLiquidity:
            return
        trade = BlockTrade(event.block, event.timestamp_s, price, volumes[0 if quote is key.token0 else 1])
        market = self._markets.get(key.address)
        if market is None:
            market = _Market(CandleSeries(), quote.decimals + PRICE_SCALE_DIGITS, trade)
            self._markets[key.address] = market
        market.series.add(trade)
        market.last = trade
        self._touch(key.address)

    def undo(self, ancestor: BlockRef) -> None:
        """Take back every block above ``ancestor``; a market that does not remember that far begins anew."""
        for pool, market in list(self._markets.items()):
            try:
                undone = market.series.undo_to(ancestor)
            except ValueError:
                del self._markets[pool]
                continue
            if undone:
                self._touch(pool)

    async def run(self) -> None:
        """Write what changed, for ever. A lost cache is reported once and tried again; the feed does not notice."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            writing, self._dirty = self._dirty, {}
            try:
                await self._write(writing)
                self._report(up=True)
            except (RedisError, OSError) as error:
                self._dirty = {**writing, **self._dirty}
                self._report(up=False, reason=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_S)
                self._changed.set()

    async def close(self) -> None:
        """Let go of the connection."""
        await self._redis.aclose()

    def _touch(self, pool: str) -> None:
        self._dirty[pool] = None
        self._changed.set()

    def _report(self, *, up: bool, reason: str = "") -> None:
        if up != self._up:
            self._up = up
            self._on_state(up, reason)

    async def _write(self, dirty: Iterable[str]) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for pool in dirty:
                market = self._markets.get(pool)
                if market is not None:
                    self._add_price(pipe, pool, market)
                    for interval in WRITTEN:
                        self._add_candles(pipe, pool, market, interval)
            await pipe.execute()

    def _add_price(self, pipe: Pipeline, pool: str, market: _Market) -> None:
        last = market.last
        price = {
            "block": last.block.number,
            "hash": last.block.hash,
            "timestamp_s": last.timestamp_s,
            "price": decimal_text(last.price, market.digits),
        }
        pipe.set(f"{self._prefix}:price:{pool}", orjson.dumps(price), ex=PRICE_KEPT_S)

    def _add_candles(self, pipe: Pipeline, pool: str, market: _Market, interval: str) -> None:
        """The newest two candles: a reorganisation may have changed the one before the last as well."""
        key = f"{self._prefix}:candles:{interval}:{pool}"
        newest = market.series.candles(interval)[-2:]
        if newest:
            pipe.zremrangebyscore(key, f"({newest[-1].start_s}", "+inf")
        for candle in newest:
            if candle.start_s <= self._began_s < candle.start_s + INTERVALS[interval]:
                continue
            pipe.zremrangebyscore(key, candle.start_s, candle.start_s)
            pipe.zadd(key, {orjson.dumps(_candle_json(candle, market)): candle.start_s})
        pipe.zremrangebyrank(key, 0, -CANDLES_KEPT - 1)


def _candle_json(candle: Candle, market: _Market) -> dict[str, str | int]:
    prices = {"open": candle.open, "high": candle.high, "low": candle.low, "close": candle.close}
    return {
        "start_s": candle.start_s,
        **{name: decimal_text(price, market.digits) for name, price in prices.items()},
        "volume": str(candle.volume),
        "block": market.last.block.number,
    }
