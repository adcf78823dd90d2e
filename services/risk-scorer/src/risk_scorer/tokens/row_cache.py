"""Rows of evidence in Redis, each for a limited time. Losing them costs time; nothing is decided by their absence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dexlane.runtime.clock import Clock

V = TypeVar("V")


class Keeping(NamedTuple):
    """The cache server, what time it is, and who is told when the server does not answer."""

    redis: Redis
    clock: Clock
    on_lost: Callable[[str], None]


class Form(NamedTuple, Generic[V]):
    """How a row is written as JSON and read again (``ValueError``, ``KeyError`` or ``TypeError`` for what is none), and
    for how many seconds it counts."""

    pack: Callable[[V], Any]
    unpack: Callable[[Any], V]
    kept_s: int


class RowCache(Generic[V]):
    """One hash. A row that is too old, or that another version wrote, is no evidence and is dropped when rows are read;
    the hash goes when nothing was written to it for as long as a row counts."""

    def __init__(self, keeping: Keeping, key: str, form: Form[V]) -> None:
        self._redis, self._clock, self._on_lost = keeping
        self._key = key
        self._form = form

    async def recall(self) -> dict[str, V]:
        """Everything that still counts; nothing when the cache does not answer."""
        found: dict[str, V] = {}
        try:
            rows = await self._redis.hgetall(self._key)
            for place, row in rows.items():
                value = self._read(row)
                if value is None:
                    await self._redis.hdel(self._key, place)
                else:
                    found[place if isinstance(place, str) else place.decode()] = value
        except (RedisError, OSError) as error:
            self._on_lost(str(error) or type(error).__name__)
        return found

    async def write(self, values: Mapping[str, V]) -> None:
        """Keep these from now on."""
        if not values:
            return
        now_ms = self._clock.now_ms()
        rows: dict[Any, Any] = {
            place: orjson.dumps({"kept_ms": now_ms, "row": self._form.pack(value)}) for place, value in values.items()
        }
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(self._key, mapping=rows)
                pipe.expire(self._key, self._form.kept_s)
                await pipe.execute()
        except (RedisError, OSError) as error:
            self._on_lost(str(error) or type(error).__name__)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._redis.aclose()

    def _read(self, row: bytes | str) -> V | None:
        try:
            content = orjson.loads(row)
            age_ms = self._clock.now_ms() - int(content["kept_ms"])
            return self._form.unpack(content["row"]) if age_ms < self._form.kept_s * 1_000 else None
        except (ValueError, KeyError, TypeError):
            return None
