"""The same pool book in every service that needs one: snapshot from POOLS, then every block of MARKET in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from nats.aio.msg import Msg

from dexlane.domain.amm.deltas import InconsistentDelta
from dexlane.domain.pool_book import GapError, PoolBook
from dexlane.events.market import BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.events.streams import MARKET
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import Clock
from dexlane.runtime.collector import keep_for_good
from dexlane.runtime.errors import DexlaneError, Fatal, Transient
from dexlane.runtime.observability import Log
from dexlane.runtime.reading import Follower
from dexlane.values.chains import BlockRef

OnBlock = Callable[[BlockApplied], Awaitable[None]]
OnReorg = Callable[[BlockReorged], Awaitable[None]]

READS_AT_ONCE = 64
"""Snapshots that are asked for together at a start: one after the other, 100,000 pools would take a minute."""


class _Reload(Exception):  # noqa: N818
    """The mirror cannot go on from what it has and must begin again from a snapshot."""


class PoolMirror:
    """Exact pool states of one chain as of ``tip``, kept by events alone.

    Callbacks run in order, after the mirror has applied the event; a callback's ``Transient`` error is logged and the
    next block tries again.
    """

    def __init__(self, chain_id: int, undo_depth: int = 128) -> None:
        self.chain_id = chain_id
        self._undo_depth = undo_depth
        self.book = PoolBook(undo_depth)
        self.tip_event: BlockApplied | None = None
        self._begun: BlockRef | None = None
        self._received_ms = 0
        self._on_block: list[OnBlock] = []
        self._on_reorg: list[OnReorg] = []
        self._log: Log | None = None
        self._clock: Clock | None = None

    @property
    def tip(self) -> BlockRef | None:
        """The last applied block."""
        return self.book.tip

    def on_block(self, callback: OnBlock) -> OnBlock:
        """Call this for every applied block."""
        self._on_block.append(callback)
        return callback

    def on_reorg(self, callback: OnReorg) -> OnReorg:
        """Call this for every reorganisation, after the undone blocks left the mirror."""
        self._on_reorg.append(callback)
        return callback

    def is_current(self, now_ms: int, max_age_ms: int) -> bool:
        """Whether a block was applied within that time."""
        return self.tip_event is not None and now_ms - self._received_ms <= max_age_ms

    def why_not_current(self, now_ms: int, max_age_ms: int) -> bool | str:
        """A readiness probe: True, or the reason why the mirror is behind."""
        if self.tip_event is None:
            return f"no block of chain {self.chain_id} yet"
        age = now_ms - self._received_ms
        return True if age <= max_age_ms else f"the last block of chain {self.chain_id} came {age} ms ago"

    async def run(self, bus: Bus, clock: Clock, log: Log) -> None:
        """Load and follow for ever; begin again from a snapshot whenever the events leave a gap."""
        self._log, self._clock = log, clock
        while True:
            checkpoint = await self._load(bus)
            subject = f"{bus.realm}.{self.chain_id}.>"
            begin = checkpoint.market_sequence + 1
            follower = Follower(bus, MARKET.name_in(bus.realm), subject, start="all", start_sequence=begin)
            try:
                await follower.run(self._apply)
            except _Reload as error:
                log.warning("mirror_reload", chain_id=self.chain_id, reason=str(error))
                await asyncio.sleep(0.5)

    async def _load(self, bus: Bus) -> PoolCheckpoint:
        while True:
            raw = await self._try_get(bus, PoolCheckpoint.key(bus.realm, self.chain_id))
            if raw is not None:
                checkpoint = PoolCheckpoint.model_validate_json(raw)
                book = PoolBook(self._undo_depth)
                if await self._put_all(bus, book, checkpoint.pools):
                    self.book, self._begun = book, checkpoint.block
                    keep_for_good()
                    return checkpoint
            await asyncio.sleep(0.25)

    async def _put_all(self, bus: Bus, book: PoolBook, addresses: Sequence[str]) -> bool:
        for start in range(0, len(addresses), READS_AT_ONCE):
            some = addresses[start : start + READS_AT_ONCE]
            if not all(await asyncio.gather(*(self._put(bus, book, address) for address in some))):
                return False
        return True

    async def _put(self, bus: Bus, book: PoolBook, address: str) -> bool:
        raw = await self._try_get(bus, PoolSnapshot.key(bus.realm, self.chain_id, address))
        if raw is None:
            return False
        snapshot = PoolSnapshot.model_validate_json(raw)
        book.put(snapshot.pool, snapshot.block)
        return True

    async def _try_get(self, bus: Bus, key: str) -> bytes | None:
        try:
            return await bus.kv_get(key)
        except Transient:
            return None

    async def _apply(self, message: Msg) -> None:
        if message.subject.endswith(BlockReorged.NAME):
            await self.reorg(BlockReorged.from_wire(message.data))
        elif message.subject.endswith(BlockApplied.NAME):
            await self.apply(BlockApplied.from_wire(message.data))
        elif message.subject.endswith(PoolDiscovered.NAME):
            self.join(PoolDiscovered.from_wire(message.data))
        elif message.subject.endswith(PoolsWatched.NAME):
            self.keep_only(PoolsWatched.from_wire(message.data))

    def join(self, event: PoolDiscovered) -> None:
        """Watch a new pool from the tip on. Any other is of a feed that began anew: the next block shows the gap.

        No gap shows where the feed began anew at this very tip, because what it held was wrong; so then is this.
        """
        if event.block != (self.book.tip or self._begun):
            return
        known = self.book.pools.get(event.pool.key.address)
        if known is not None and known.state != event.pool.state:
            raise _Reload(f"the feed read pool {event.pool.key.address} anew at block {event.block.number}")
        self.book.join(event.pool, event.block)

    def keep_only(self, event: PoolsWatched) -> None:
        """Forget the pools that nobody reports any more."""
        for address in self.book.pools.keys() - set(event.pools):
            self.book.leave(address)

    async def reorg(self, event: BlockReorged) -> None:
        """Undo to the common ancestor, then tell the callbacks."""
        tip = self.book.tip
        if tip is None and self._begun is not None and self._begun.number > event.ancestor.number:
            # The snapshot itself is of a block that left the chain: its states are of no block that follows.
            raise _Reload(f"the snapshot of block {self._begun.number} is above the ancestor {event.ancestor.number}")
        if tip is not None and tip.number > event.ancestor.number:
            try:
                self.book.undo_to(event.ancestor)
            except GapError as error:
                raise _Reload(str(error)) from error
        for callback in self._on_reorg:
            await self._call(callback(event))

    async def apply(self, event: BlockApplied) -> None:
        """Apply one block, then tell the callbacks."""
        if event.block == self.book.tip:
            return
        try:
            self.book.apply(event)
        except (GapError, InconsistentDelta) as error:
            raise _Reload(str(error)) from error
        self.tip_event = event
        if self._clock is not None:
            self._received_ms = self._clock.now_ms()
        for callback in self._on_block:
            await self._call(callback(event))

    async def _call(self, running: Awaitable[None]) -> None:
        try:
            await running
        except Fatal:
            raise
        except DexlaneError as error:
            if self._log is not None:
                self._log.warning("block_callback_failed", chain_id=self.chain_id, reason=str(error))
