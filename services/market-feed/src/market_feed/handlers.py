"""What happens with each step of a chain: publish the fact first, then what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dexlane.chain.answers import Header
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.strategies import BlockContext, Strategy, build_strategies
from dexlane.events.base import Event
from dexlane.events.market import BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched
from dexlane.events.opportunity import OpportunityFound
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Misconfigured, Transient
from dexlane.runtime.market_cache import MarketCache
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool
from market_feed.discovery import Discovery
from market_feed.feed import AppliedBlock, PoolsChange
from market_feed.metrics import FeedMoments
from market_feed.snapshots import SnapshotWriter

RETRY_S = 0.1
LONGEST_RETRY_S = 2.0


class Publisher(Protocol):
    """The bus, as far as the feed needs it."""

    async def publish(self, event: Event) -> object:
        """Store a fact; ``Transient`` when it is unknown whether it was stored."""
        ...


class OpportunityFinder:
    """The strategies of one chain; they see every block, also those that are only caught up with."""

    def __init__(self, configured: Mapping[str, Mapping[str, Any]], quote_address: str) -> None:
        self._configured = configured
        self._quote_address = quote_address
        self._strategies: list[Strategy] = []

    def begin(self, pools: Mapping[str, Pool]) -> None:
        """Build the strategies anew. ``Fatal`` when no watched pool trades the quote token, or a parameter is wrong."""
        tokens = (token for pool in pools.values() for token in (pool.key.token0, pool.key.token1))
        quote = next((token for token in tokens if token.address == self._quote_address), None)
        if quote is None:
            raise Misconfigured(f"no watched pool trades the quote token {self._quote_address}")
        try:
            self._strategies = build_strategies(self._configured, quote)
        except ValueError as error:
            raise Misconfigured(f"DEXLANE_MARKET_FEED_STRATEGIES: {error}") from error

    def find(self, event: BlockApplied, book: PoolBook, now_ms: int) -> list[OpportunityFound]:
        """What the block offers, in the order of the strategies."""
        context = BlockContext.of(event, book, now_ms)
        return [found for strategy in self._strategies for found in strategy.on_block(context)]


@dataclass(slots=True, kw_only=True)
class FeedHandlers:
    """The steps of one chain, carried to bus, bucket and cache.

    A block is published until the bus takes it, because a missing one would break every mirror; an opportunity is
    worth nothing later and is tried once.
    """

    chain_id: int
    bus: Publisher
    snapshots: SnapshotWriter
    cache: MarketCache
    finder: OpportunityFinder
    clock: Clock
    moments: FeedMoments
    snapshot_every_blocks: int
    discovery: Discovery | None = None
    _since_snapshot: int = field(default=0, init=False)

    async def loaded(self, book: PoolBook, tip: Header) -> None:
        """Announce every pool, and write the snapshots before anything else is published."""
        self.finder.begin(book.pools)
        for pool in book.pools.values():
            await self._store(self._discovered(pool, tip.ref))
        await self._store(self._watched(book, tip.ref))
        self.cache.begin(book.pools, tip.ref, tip.timestamp_s)
        if self.discovery is not None:
            self.discovery.begin(book, tip.ref)
        await self._write_snapshots(book, tip)

    async def applied(self, block: AppliedBlock, book: PoolBook) -> None:
        """Publish the block with its opportunities, then what only screens and late starters need.

        Opportunities are looked for first: once the block is out, every other service wakes and wants a processor.
        Readers wait for the block of an opportunity, so the two may be stored in either order.
        """
        event = block.event
        found = self.finder.find(event, book, self.clock.now_ms())
        offers = [self._offer(opportunity) for opportunity in found if block.newest]
        await asyncio.gather(self._store(event), *offers)
        self.moments.block_applied(event, self.clock.now_ns())
        self._since_snapshot += 1
        if self._since_snapshot >= self.snapshot_every_blocks:
            await self._request_snapshots(book, event)
        self.cache.record(event, book.pools, block.volumes)
        if self.discovery is not None:
            self.discovery.note(event)

    async def pools_changed(self, change: PoolsChange, book: PoolBook) -> None:
        """Announce who joined and left before the next block can be published."""
        for pool in change.joined:
            await self._store(self._discovered(pool, change.block))
        if change.left:
            await self._store(self._watched(book, change.block))
        self.cache.expect(pool.key.address for pool in change.joined)
        self.cache.forget(change.left)

    async def reorged(self, event: BlockReorged) -> None:
        """Publish what is undone; the next block is followed by fresh snapshots."""
        await self._store(event)
        self.moments.reorg_followed(event)
        self.cache.undo(event.ancestor)
        self._since_snapshot = self.snapshot_every_blocks

    def _discovered(self, pool: Pool, block: BlockRef) -> PoolDiscovered:
        return PoolDiscovered(
            id=PoolDiscovered.make_id(self.chain_id, pool.key.address, block.hash),
            chain_id=self.chain_id,
            occurred_at_ms=self.clock.now_ms(),
            block=block,
            pool=pool,
        )

    def _watched(self, book: PoolBook, block: BlockRef) -> PoolsWatched:
        pools = tuple(book.pools)
        return PoolsWatched(
            id=PoolsWatched.make_id(self.chain_id, block.hash, pools),
            chain_id=self.chain_id,
            occurred_at_ms=self.clock.now_ms(),
            block=block,
            pools=pools,
        )

    async def _store(self, event: Event) -> None:
        wait_s = RETRY_S
        while True:
            try:
                await self.bus.publish(event)
            except Transient as error:
                self.moments.publish_retried(self.chain_id, str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(LONGEST_RETRY_S, 2 * wait_s)
            else:
                return

    async def _offer(self, found: OpportunityFound) -> None:
        try:
            await self.bus.publish(found)
        except Transient as error:
            self.moments.opportunity_lost(found, str(error))
        else:
            self.moments.opportunity_found(found)

    async def _write_snapshots(self, book: PoolBook, tip: Header) -> None:
        wait_s = RETRY_S
        while True:
            try:
                await self.snapshots.write(await self.snapshots.capture(book, tip.ref))
            except Transient as error:
                self.moments.publish_retried(self.chain_id, str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(LONGEST_RETRY_S, 2 * wait_s)
            else:
                self._since_snapshot = 0
                return

    async def _request_snapshots(self, book: PoolBook, event: BlockApplied) -> None:
        try:
            self.snapshots.request(await self.snapshots.capture(book, event.block))
            self._since_snapshot = 0
        except Transient as error:  # the next block tries again
            self.moments.publish_retried(self.chain_id, str(error))
