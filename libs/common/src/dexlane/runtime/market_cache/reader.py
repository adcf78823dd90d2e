"""The reading side: every answer says which block it is of and how old it is, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dexlane.domain.candles import INTERVALS
from dexlane.runtime.clock import Clock
from dexlane.runtime.market_cache.forms import CandleForm, Keys, MarketPrice, MarketRecord, MarketTip
from dexlane.values.base import Value
from dexlane.values.chains import BlockRef

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V", bound=Value)
CLOCK_TOLERANCE_MS = 1_000
"""Clocks of two machines may differ by so much; what comes from further ahead is refused."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """A value as of ``block``, whose own time is ``timestamp_s`` and which the feed had applied ``age_ms`` ago."""

    value: T
    block: BlockRef
    timestamp_s: int
    age_ms: int

    def of(self, value: U) -> Reading[U]:
        """Another value of the same block."""
        return Reading(value, self.block, self.timestamp_s, self.age_ms)


@dataclass(frozen=True, slots=True)
class NoReading:
    """There is no value that may be used, and why. ``unknown``: the cache is current and does not have it."""

    reason: str
    unknown: bool = False


class MarketReader:
    """Reads one chain's markets. ``max_age_ms`` is the caller's own bound: anything older is refused."""

    def __init__(self, redis: Redis, realm: str, chain_id: int, clock: Clock) -> None:
        self._redis = redis
        self._keys = Keys(realm, chain_id)
        self._chain_id = chain_id
        self._clock = clock

    async def market(self, pool: str, max_age_ms: int) -> Reading[MarketRecord] | NoReading:
        """One pool."""
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(self._keys.tip)
                pipe.hget(self._keys.pools, pool.lower())
                tip, record = await pipe.execute()
        except (RedisError, OSError) as error:
            return self._silent(error)
        return self._one(tip, record, max_age_ms, pool)

    async def prices(self, max_age_ms: int) -> Reading[tuple[MarketPrice, ...]] | NoReading:
        """Every pool of the chain, by address."""
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(self._keys.tip)
                pipe.hgetall(self._keys.pools)
                tip, records = await pipe.execute()
        except (RedisError, OSError) as error:
            return self._silent(error)
        reading = self._vouched(tip, max_age_ms)
        if isinstance(reading, NoReading):
            return reading
        prices = (_parsed(MarketPrice, raw) for raw in records.values())
        current = [price for price in prices if price is not None and price.epoch == reading.value.epoch]
        return reading.of(tuple(sorted(current, key=lambda price: price.pool)))

    async def candles(
        self, pool: str, interval: str, limit: int, max_age_ms: int
    ) -> Reading[tuple[MarketRecord, tuple[CandleForm, ...]]] | NoReading:
        """A pool and the last ``limit`` candles in order of time, the last of which is still open.

        ``KeyError`` for an unknown interval.
        """
        INTERVALS[interval]
        address = pool.lower()
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(self._keys.tip)
                pipe.hget(self._keys.pools, address)
                pipe.zrange(self._keys.candles(interval, address), -limit, -1)
                tip, record, raw = await pipe.execute()
        except (RedisError, OSError) as error:
            return self._silent(error)
        reading = self._one(tip, record, max_age_ms, pool)
        if isinstance(reading, NoReading):
            return reading
        closed = [form for each in raw if (form := _parsed(CandleForm, each)) is not None]
        candles = _joined(closed, reading.value.open.get(interval))
        return reading.of((reading.value, candles[-limit:]))

    def _vouched(self, raw: bytes | str | None, max_age_ms: int) -> Reading[MarketTip] | NoReading:
        """The tip, if it is young enough."""
        if raw is None:
            return NoReading(f"the market cache holds nothing of chain {self._chain_id}")
        tip = _parsed(MarketTip, raw)
        if tip is None:
            return NoReading(f"the market cache of chain {self._chain_id} is of another version")
        age_ms = self._clock.now_ms() - tip.at_ms
        if age_ms > max_age_ms:
            return NoReading(f"the market cache is {age_ms} ms old, at most {max_age_ms} ms are accepted")
        if age_ms < -CLOCK_TOLERANCE_MS:
            return NoReading(f"the market cache is {-age_ms} ms ahead of this machine's clock")
        return Reading(tip, tip.block, tip.timestamp_s, max(0, age_ms))

    def _one(
        self, tip: bytes | str | None, raw: bytes | str | None, max_age_ms: int, pool: str
    ) -> Reading[MarketRecord] | NoReading:
        reading = self._vouched(tip, max_age_ms)
        if isinstance(reading, NoReading):
            return reading
        record = None if raw is None else _parsed(MarketRecord, raw)
        if record is None or record.epoch != reading.value.epoch:
            return NoReading(f"pool {pool} of chain {self._chain_id} is not watched", unknown=True)
        return reading.of(record)

    def _silent(self, error: Exception) -> NoReading:
        return NoReading(f"the market cache does not answer: {error or type(error).__name__}")


def _joined(closed: Sequence[CandleForm], opened: CandleForm | None) -> tuple[CandleForm, ...]:
    """Closed candles and the open one after them. One that a reorganisation opened again counts as open."""
    if opened is None:
        return tuple(closed)
    return (*(candle for candle in closed if candle.start_s < opened.start_s), opened)


def _parsed(form: type[V], raw: bytes | str) -> V | None:
    """None for what another version wrote."""
    try:
        return form.model_validate_json(raw)
    except ValidationError:
        return None
