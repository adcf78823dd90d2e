"""Full pool states in the bucket POOLS, for late starters: every pool first, then the checkpoint that names them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from dexlane.chain.factories import NewPool, known_pool
from dexlane.domain.pool_book import PoolBook
from dexlane.events.pools import PoolCheckpoint, PoolsAwaited, PoolSnapshot
from dexlane.events.streams import MARKET
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Transient
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool

RETRY_S = 0.5


class Bucket(Protocol):
    """The pool bucket of a bus."""

    realm: str

    async def kv_put(self, key: str, value: bytes) -> None:
        """Write an entry; ``Transient`` when it may not have been stored."""
        ...

    async def kv_get(self, key: str) -> bytes | None:
        """An entry, or None; ``Transient`` when it could not be read."""
        ...


@dataclass(frozen=True, slots=True)
class Capture:
    """All pools after one block, and the position in MARKET just behind that block's event. ``number`` grows.
    ``awaited``: addresses of pools that are to be watched again."""

    number: int
    block: BlockRef
    market_sequence: int
    pools: tuple[Pool, ...]
    awaited: tuple[str, ...]


class SnapshotWriter:
    """Writes captures of one chain, one after the other; a newer one replaces one that still waits."""

    def __init__(self, chain_id: int, bucket: Bucket, market_sequence: Callable[[], Awaitable[int]]) -> None:
        self.chain_id = chain_id
        self.published: BlockRef | None = None
        """The block of the last checkpoint written; None before the first."""
        self.awaited: Callable[[], tuple[str, ...]] = tuple
        """Pools that are not in the book and must not be forgotten all the same."""
        self._told_awaited: tuple[str, ...] = ()
        self._bucket = bucket
        self._market_sequence = market_sequence
        self._wanted: asyncio.Queue[Capture] = asyncio.Queue(1)
        self._writing = asyncio.Lock()
        self._captured = 0
        self._written = 0

    async def known_pools(self) -> frozenset[str]:
        """The pools of the last checkpoint, none of an unreadable one, whoever wrote it. Raises ``Transient``."""
        raw = await self._bucket.kv_get(PoolCheckpoint.key(self._bucket.realm, self.chain_id))
        with contextlib.suppress(ValueError):
            return frozenset(PoolCheckpoint.model_validate_json(raw or b"").pools)
        return frozenset()

    async def watched_by_others(self, book: PoolBook) -> list[NewPool]:
        """The pools that the last checkpoint names and this book lacks, as far as they can be read. Raises
        ``Transient``."""
        others = await self.known_pools() - book.pools.keys()
        return await origins_of(self._bucket, self.chain_id, others, lambda reason: None)

    async def capture(self, book: PoolBook, block: BlockRef) -> Capture:
        """Take the pools as they are now. The caller publishes nothing meanwhile, so that the position is right."""
        self._captured += 1
        pools, awaited = tuple(book.pools.values()), self.awaited()
        return Capture(self._captured, block, await self._market_sequence(), pools, awaited)

    def request(self, capture: Capture) -> None:
        """Let it be written in the background."""
        if self._wanted.full():
            self._wanted.get_nowait()
        self._wanted.put_nowait(capture)

    async def run(self) -> None:
        """Write what is requested, for ever; a bus that does not take it is tried again with the newest capture."""
        while True:
            capture = await self._wanted.get()
            try:
                await self.write(capture)
            except Transient:
                await asyncio.sleep(RETRY_S)
                if self._wanted.empty():
                    self._wanted.put_nowait(capture)

    async def write(self, capture: Capture) -> None:
        """Write every pool, then the checkpoint; nothing when a newer capture is written already. Raises
        ``Transient``."""
        async with self._writing:
            if capture.number <= self._written:
                return
            realm = self._bucket.realm
            for pool in capture.pools:
                snapshot = PoolSnapshot(chain_id=self.chain_id, block=capture.block, pool=pool)
                key = PoolSnapshot.key(realm, self.chain_id, pool.key.address)
                await self._bucket.kv_put(key, snapshot.model_dump_json().encode())
            if capture.awaited != self._told_awaited:
                awaited = PoolsAwaited(chain_id=self.chain_id, pools=capture.awaited)
                await self._bucket.kv_put(PoolsAwaited.key(realm, self.chain_id), awaited.model_dump_json().encode())
                self._told_awaited = capture.awaited
            checkpoint = PoolCheckpoint(
                chain_id=self.chain_id,
                block=capture.block,
                market_sequence=capture.market_sequence,
                pools=tuple(pool.key.address for pool in capture.pools),
            )
            await self._bucket.kv_put(PoolCheckpoint.key(realm, self.chain_id), checkpoint.model_dump_json().encode())
            self._written = capture.number
            self.published = capture.block


async def watched_before(bucket: Bucket, chain_id: int, unknown: Callable[[str], None]) -> list[NewPool]:
    """The pools that an earlier life of the process watched or waited for; ``unknown`` is told why one is left out.
    Raises ``Transient``."""
    addresses: dict[str, None] = {}
    for kind in (PoolCheckpoint, PoolsAwaited):
        raw = await bucket.kv_get(kind.key(bucket.realm, chain_id))
        try:
            addresses |= dict.fromkeys(kind.model_validate_json(raw).pools if raw else ())
        except ValueError as error:
            unknown(str(error))
    return await origins_of(bucket, chain_id, addresses, unknown)


async def origins_of(
    bucket: Bucket, chain_id: int, addresses: Iterable[str], unknown: Callable[[str], None]
) -> list[NewPool]:
    """Pools as their factories announced them, from their last snapshots; ``unknown`` is told why one is left out.
    Raises ``Transient``."""
    found = []
    for address in addresses:
        raw = await bucket.kv_get(PoolSnapshot.key(bucket.realm, chain_id, address))
        try:
            found += [known_pool(chain_id, PoolSnapshot.model_validate_json(raw).pool.key)] if raw else []
        except (ValueError, KeyError) as error:
            unknown(str(error))
    return found


async def last_market_sequence(bus: Bus) -> int:
    """Sequence of the last message in MARKET. Raises ``Transient``."""
    try:
        info = await bus.js.stream_info(MARKET.name)
    except (NatsError, JetStreamError, TimeoutError) as error:
        raise Transient(f"the state of stream {MARKET.name} could not be read: {error}") from error
    return int(info.state.last_seq)
