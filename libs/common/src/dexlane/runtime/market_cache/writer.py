"""The writing side: remembers what changed at once, measures and writes it in the background."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dexlane.domain.amm.quoting import InsufficientLiquidity, spot_price_ratio
from dexlane.domain.candles import (
    INTERVALS,
    PRICE_SCALE_DIGITS,
    BlockTrade,
    Candle,
    CandleBook,
    ClosedCandle,
    scaled_price,
)
from dexlane.domain.risk.depth import depth_of
from dexlane.events.market import BlockApplied
from dexlane.runtime.clock import Clock
from dexlane.runtime.market_cache.forms import DEPTH_MOVES_BPS, Keys, candle_json, orientation
from dexlane.values.amounts import decimal_text
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool
from dexlane.values.tokens import Token

CANDLES_KEPT = 1_500
CANDLES_KEPT_S = 7 * 86_400
CANDLES_AT_ONCE = 25
TIDIED_EVERY = 64
"""Intervals after which the oldest candles of a pool are dropped."""
SETTLE_S = 0.05
"""Writing waits so long after a block: the processors belong to the fast lane first, and fast blocks go together."""
RETRY_S = 1.0
UNDO_BLOCKS = 128
WAITING_CANDLES = 50_000
"""Closed candles that wait while Redis is away. When more are lost, ``seen_since_s`` begins anew."""


class _Seen(NamedTuple):
    """A pool as of the block that changed it last."""

    pool: Pool
    block: BlockRef
    timestamp_s: int


class _Change(NamedTuple):
    """A closed candle that is to be stored, or taken out because a reorganisation opened it again."""

    closed: ClosedCandle
    gone: bool


@dataclass(slots=True)
class _Batch:
    """What is written at once."""

    tip: dict[str, Any]
    epoch: str
    seen: dict[str, _Seen]
    changes: list[_Change]
    gone: set[str]
    anew: bool
    open_candles: dict[str, Mapping[str, Candle]]


class MarketCache:
    """The markets of one chain. All methods but ``run`` return at once and wait for nothing.

    ``quote``: address of the token that prices are in where a pool trades it. ``on_state`` is told when Redis is lost
    or comes back.
    """

    def __init__(
        self, redis: Redis, keys: Keys, quote: str, clock: Clock, on_state: Callable[[bool, str], None]
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._quote = quote
        self._clock = clock
        self._on_state = on_state
        self._up: bool | None = None
        self._changed = asyncio.Event()
        self._start(0)

    def _start(self, seen_since_s: int) -> None:
        self._candles = CandleBook(UNDO_BLOCKS)
        self._epoch = ""
        self._seen_since_s = seen_since_s
        self._tip: BlockApplied | None = None
        self._at_ms = 0
        self._known: dict[str, _Seen] = {}
        self._due: set[str] = set()
        self._dirty: set[str] = set()
        self._gone: set[str] = set()
        self._changes: deque[_Change] = deque()
        self._recorded: deque[tuple[BlockRef, tuple[str, ...]]] = deque(maxlen=UNDO_BLOCKS)
        self._anew = True

    def begin(self, pools: Iterable[str], tip: BlockRef, timestamp_s: int) -> None:
        """Forget everything: the feed begins (anew) at this block. Its pools are written with the next block."""
        self._start(timestamp_s)
        self._epoch = f"{tip.number}-{tip.hash[2:10]}-{self._clock.now_ms()}"
        self._due.update(pools)

    def expect(self, pools: Iterable[str]) -> None:
        """Write these with the next block although it does not change them: they joined."""
        self._due.update(pools)

    def forget(self, pools: Iterable[str]) -> None:
        """Nobody follows these any longer: take them out."""
        for pool in pools:
            self._candles.forget(pool)
            self._known.pop(pool, None)
            self._due.discard(pool)
            self._dirty.discard(pool)
            self._gone.add(pool)

    def record(self, event: BlockApplied, pools: Mapping[str, Pool], volumes: Mapping[str, tuple[int, ...]]) -> None:
        """Note a block. ``pools`` as they are after it; ``volumes``: gross amounts that swaps moved, by pool and in the
        order of its tokens."""
        touched = [pool for pool in {*(delta.pool for delta in event.deltas), *self._due} if pool in pools]
        self._due.clear()
        trades: dict[str, BlockTrade] = {}
        for address in sorted(touched):
            pool = pools[address]
            self._known[address] = _Seen(pool, event.block, event.timestamp_s)
            trade = self._trade(pool, event.timestamp_s, volumes.get(address, ()))
            if trade is not None:
                trades[address] = trade
        for closed in self._candles.add(event.block, trades):
            self._queue(_Change(closed, gone=False))
        self._dirty.update(touched)
        self._gone.difference_update(touched)
        self._recorded.append((event.block, tuple(touched)))
        self._tip, self._at_ms = event, self._clock.now_ms()
        self._changed.set()

    def undo(self, ancestor: BlockRef) -> None:
        """Take back every block above ``ancestor``; what they changed is written again with the next block."""
        try:
            changed, reopened = self._candles.undo_to(ancestor)
        except ValueError:
            changed, reopened = set(), []
            self._candles = CandleBook(UNDO_BLOCKS)
            self._due.update(self._known)
            self._seen_since_s = self._tip.timestamp_s if self._tip is not None else self._seen_since_s
        self._due.update(changed)
        for closed in reopened:
            self._queue(_Change(closed, gone=True))
        while self._recorded and self._recorded[-1][0].number > ancestor.number:
            self._due.update(self._recorded.pop()[1])

    async def run(self) -> None:
        """Write what changed, for ever. A lost cache is reported once and tried again; the feed does not notice."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            batch = self._take()
            if batch is None:
                continue
            try:
                if not await self._write(batch):
                    self._write_all_again()
                self._report(up=True)
            except (RedisError, OSError) as error:
                self._put_back(batch)
                self._report(up=False, reason=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_S)
                self._changed.set()

    async def close(self) -> None:
        """Let go of the connection."""
        await self._redis.aclose()

    def _trade(self, pool: Pool, timestamp_s: int, volumes: tuple[int, ...]) -> BlockTrade | None:
        price = _price(pool, self._quote) if any(volumes) else None
        if price is None:
            return None
        base, _ = orientation(pool.key, self._quote)
        moved = volumes[:2] if base is pool.key.token0 else volumes[1::-1]
        return BlockTrade(timestamp_s, price, *moved)

    def _queue(self, change: _Change) -> None:
        if len(self._changes) >= WAITING_CANDLES:
            self._changes.clear()
            self._seen_since_s = self._tip.timestamp_s if self._tip is not None else self._seen_since_s
        self._changes.append(change)

    def _take(self) -> _Batch | None:
        tip = self._tip
        if tip is None:
            return None
        told = {
            "epoch": self._epoch,
            "block": tip.block.model_dump(),
            "timestamp_s": tip.timestamp_s,
            "at_ms": self._at_ms,
        }
        seen = {address: self._known[address] for address in sorted(self._dirty) if address in self._known}
        opened = {address: self._candles.open_candles(address) for address in seen}
        batch = _Batch(told, self._epoch, seen, list(self._changes), self._gone, self._anew, opened)
        self._dirty, self._gone, self._anew = set(), set(), False
        self._changes.clear()
        return batch

    def _put_back(self, batch: _Batch) -> None:
        if batch.epoch != self._epoch:
            return  # the feed began anew meanwhile
        self._dirty.update(address for address in batch.seen if address in self._known)
        self._gone.update(batch.gone - self._known.keys())
        self._changes.extendleft(reversed(batch.changes))
        self._anew = self._anew or batch.anew

    def _write_all_again(self) -> None:
        """Redis had lost everything: what it held of closed candles is gone, and every record is due."""
        self._seen_since_s = self._tip.timestamp_s if self._tip is not None else self._seen_since_s
        self._dirty.update(self._known)
        self._anew = True
        self._changed.set()

    def _report(self, *, up: bool, reason: str = "") -> None:
        if up != self._up:
            self._up = up
            self._on_state(up, reason)

    async def _write(self, batch: _Batch) -> bool:
        """Write a batch at once; False when Redis had lost what was written before."""
        bodies: dict[str, bytes] = {}
        for address, seen in batch.seen.items():
            life = {"epoch": batch.epoch, "seen_since_s": self._seen_since_s}
            bodies[address] = orjson.dumps(life | _record(seen, batch.open_candles[address], self._quote))
            await asyncio.sleep(0)  # measuring takes a while; the next block may be there
        plain, redone = _by_fate(batch.changes)
        await self._store_closed(plain)
        async with self._redis.pipeline(transaction=True) as pipe:
            if batch.anew:
                pipe.delete(self._keys.pools)
            if batch.gone:
                pipe.hdel(self._keys.pools, *batch.gone)
            if bodies:
                pipe.hset(self._keys.pools, items=[part for item in bodies.items() for part in item])
            for closed, gone in redone:
                start_s = closed.candle.start_s
                pipe.zremrangebyscore(self._keys.candles(closed.interval, closed.market), start_s, start_s)
                if not gone:
                    self._add_candle(pipe, closed)
            pipe.set(self._keys.tip, orjson.dumps(batch.tip), get=True)
            before = (await pipe.execute())[-1]
        return batch.anew or before is not None

    async def _store_closed(self, closed: Sequence[ClosedCandle]) -> None:
        """Store closed candles a few at a time, ahead of the records: until then readers take them for open."""
        for at in range(0, len(closed), CANDLES_AT_ONCE):
            async with self._redis.pipeline(transaction=False) as pipe:
                for each in closed[at : at + CANDLES_AT_ONCE]:
                    self._add_candle(pipe, each)
                await pipe.execute()

    def _add_candle(self, pipe: Any, closed: ClosedCandle) -> None:
        """Add a candle, unless its first part was not seen or its pool left."""
        key, start_s = self._keys.candles(closed.interval, closed.market), closed.candle.start_s
        known = self._known.get(closed.market)
        if known is None or start_s < self._seen_since_s:
            return
        _, quote = orientation(known.pool.key, self._quote)
        pipe.zadd(key, {orjson.dumps(candle_json(closed.candle, quote)): start_s})
        if start_s // INTERVALS[closed.interval] % TIDIED_EVERY == 0:
            pipe.zremrangebyrank(key, 0, -CANDLES_KEPT - 1)
            pipe.expire(key, CANDLES_KEPT_S)


def _by_fate(changes: Sequence[_Change]) -> tuple[list[ClosedCandle], list[_Change]]:
    """Candles that only closed, and the last word on those that were open again in between."""
    last: dict[tuple[str, str, int], _Change] = {}
    redone: set[tuple[str, str, int]] = set()
    for change in changes:
        place = (change.closed.market, change.closed.interval, change.closed.candle.start_s)
        last[place] = change
        if change.gone:
            redone.add(place)
    plain = [change.closed for place, change in last.items() if place not in redone]
    return plain, [change for place, change in last.items() if place in redone]


def _price(pool: Pool, quote_address: str) -> int | None:
    base, quote = orientation(pool.key, quote_address)
    try:
        return scaled_price(spot_price_ratio(pool, base.address, quote.address), base.decimals)
    except InsufficientLiquidity:
        return None


def _record(seen: _Seen, opened: Mapping[str, Candle], quote_address: str) -> dict[str, Any]:
    """A ``MarketRecord`` without what it says about the life of the feed."""
    key, price = seen.pool.key, _price(seen.pool, quote_address)
    base, quote = orientation(key, quote_address)
    texts: dict[int, str] = {}
    return {
        "block": {"number": seen.block.number, "hash": seen.block.hash},
        "timestamp_s": seen.timestamp_s,
        "pool": key.address,
        "protocol": key.protocol,
        "fee_pips": key.fee_pips,
        "token0": _token_json(key.token0),
        "token1": _token_json(key.token1),
        "base": base.address,
        "quote": quote.address,
        "price": None if price is None else decimal_text(price, quote.decimals + PRICE_SCALE_DIGITS),
        "depth": [_depth_json(seen.pool, move_bps) for move_bps in DEPTH_MOVES_BPS],
        "open": {name: candle_json(candle, quote, texts) for name, candle in opened.items()},
    }


def _token_json(token: Token) -> dict[str, Any]:
    return {"address": token.address, "symbol": token.symbol, "decimals": token.decimals}


def _depth_json(pool: Pool, move_bps: int) -> dict[str, Any]:
    out0, out1 = depth_of(pool, move_bps)
    return {"move_bps": move_bps, "out0": str(out0), "out1": str(out1)}
