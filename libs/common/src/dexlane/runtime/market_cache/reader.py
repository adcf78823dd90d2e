"""The reading side: every answer says which block it is of and how old it is, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dexlane.domain.candles import INTERVALS
from dexlane.runtime.clock import Clock
from dexlane.runtime.market_cache.forms import CandleForm, Keys, MarketRecord, MarketTip
from dexlane.values.chains import BlockRef

T = TypeVar("T")
U = TypeVar("U")
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
        return self._first(await self._read([pool.lower()], max_age_ms), pool)

    async def markets(self, max_age_ms: int) -> Reading[tuple[MarketRecord, ...]] | NoReading:
        """Every pool of the chain, by address."""
        try:
            pools = sorted(_text(pool) for pool in await self._redis.hkeys(self._keys.pools))
        except (RedisError, OSError) as error:
            return self._silent(error)
        return await self._read(pools, max_age_ms)

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
                pipe.mget([self._keys.tip, self._keys.pool(address)])
                pipe.zrange(self._keys.candles(interval, address), -limit, -1)
                (raw, closed) = await pipe.execute()
        except (RedisError, OSError) as error:
            return self._silent(error)
        reading = self._first(self._judge(raw, max_age_ms), pool)
        if isinstance(reading, NoReading):
            return reading
        candles = _joined([form for each in closed if (form := _parsed(each))], reading.value.open.get(interval))
        return reading.of((reading.value, candles[-limit:]))

    async def _read(self, pools: Sequence[str], max_age_ms: int) -> Reading[tuple[MarketRecord, ...]] | NoReading:
        try:
            raw = await self._redis.mget([self._keys.tip, *(self._keys.pool(pool) for pool in pools)])
        except (RedisError, OSError) as error:
            return self._silent(error)
        return self._judge(raw, max_age_ms)

    def _judge(self, raw: Sequence[Any], max_age_ms: int) -> Reading[tuple[MarketRecord, ...]] | NoReading:
        """The records that the tip vouches for, if it is young enough itself."""
        if raw[0] is None:
            return NoReading(f"the market cache holds nothing of chain {self._chain_id}")
        try:
            tip = MarketTip.model_validate_json(raw[0])
            records = [MarketRecord.model_validate_json(each) for each in raw[1:] if each is not None]
        except ValidationError:
            return NoReading(f"the market cache of chain {self._chain_id} is of another version")
        age_ms = self._clock.now_ms() - tip.at_ms
        if age_ms > max_age_ms:
            return NoReading(f"the market cache is {age_ms} ms old, at most {max_age_ms} ms are accepted")
        if age_ms < -CLOCK_TOLERANCE_MS:
            return NoReading(f"the market cache is {-age_ms} ms ahead of this machine's clock")
        current = tuple(record for record in records if record.epoch == tip.epoch)
        return Reading(current, tip.block, tip.timestamp_s, max(0, age_ms))

    def _first(
        self, reading: Reading[tuple[MarketRecord, ...]] | NoReading, pool: str
    ) -> Reading[MarketRecord] | NoReading:
        if isinstance(reading, NoReading):
            return reading
        if not reading.value:
            return NoReading(f"pool {pool} of chain {self._chain_id} is not watched", unknown=True)
        return reading.of(reading.value[0])

    def _silent(self, error: Exception) -> NoReading:
        return NoReading(f"the market cache does not answer: {error or type(error).__name__}")


def _joined(closed: Sequence[CandleForm], opened: CandleForm | None) -> tuple[CandleForm, ...]:
    """Closed candles and the open one after them. One that a reorganisation opened again counts as open."""
    if opened is None:
        return tuple(closed)
    return (*(candle for candle in closed if candle.start_s < opened.start_s), opened)


def _parsed(raw: bytes | str) -> CandleForm | None:
    try:
        return CandleForm.model_validate_json(raw)
    except ValidationError:
        return None


def _text(raw: bytes | str) -> str:
    return raw.decode() if isinstance(raw, bytes) else raw
