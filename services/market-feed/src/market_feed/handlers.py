"""What happens with each step of a chain: publish the fact first, then what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from dexlane.chain.answers import Header
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.strategies import BlockContext, Strategy, build_strategies
from dexlane.events.base import Event
from dexlane.events.breakers import BreakerReset
from dexlane.events.execution import IntentCreated
from dexlane.events.market import BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.portfolio import ExposureChanged
from dexlane.runtime.clock import Clock
from dexlane.runtime.consuming import Routes
from dexlane.runtime.errors import Misconfigured, Transient
from dexlane.runtime.market_cache import MarketCache
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool
from market_feed.discovery import Discovery, Holdings
from market_feed.feed import AppliedBlock, MarketWriter, PoolsChange, Publisher
from market_feed.feed.breakers import FeedBreakers
from market_feed.metrics import FeedMoments
from market_feed.snapshots import SnapshotWriter

RETRY_S = 0.1
LONGEST_RETRY_S = 2.0
JOINED_WAIT_BLOCKS = 2
"""Pools that joined wait so long for a checkpoint that names them."""


def routes(breakers: Mapping[int, FeedBreakers], holdings: Mapping[int, Holdings]) -> Routes:
    """An operator's resets of the feed's breakers, and what is held or about to be; each by chain."""
    routes = Routes()

    @routes.follow(ExposureChanged, from_="last")
    async def on_exposure(event: ExposureChanged) -> None:
        holdings[event.chain_id].note_exposure(event)

    @routes.follow(IntentCreated)
    async def on_intent(event: IntentCreated) -> None:
        holdings[event.chain_id].note_intent(event)

    @routes.follow(BreakerReset, from_="last")
    async def on_breaker_reset(word: BreakerReset) -> None:
        await breakers[word.chain_id].reset(word)

    return routes


class OpportunityFinder:
    """The strategies of one chain; they see every block, also those that are only caught up with."""

    def __init__(self, configured: Mapping[str, Mapping[str, Any]], quote_address: str) -> None:
        self._configured = configured
        self._quote_address = quote_address
        self._strategies: list[Strategy] = []

    def begin(self, pools: Mapping[str, Pool]) -> None:
        """Build the strategies anew. ``Fatal`` when no watched pool trades the quote token, or a parameter is wrong."""
        tokens = (token for pool in pools.values() for token in pool.key.tokens)
        quote = next((token for token in tokens if token.address == self._quote_address), None)
        if quote is None:
            raise Misconfigured(f"no watched pool trades the quote token {self._quote_address}")
        try:
            self._strategies = build_strategies(self._configured, quote)
        except ValueError as error:
            raise Misconfigured(f"DEXLANE_MARKET_FEED_STRATEGIES: {error}") from error

    def find(self, event: BlockApplied, book: PoolBook, now_ms: int, without: Set[str]) -> list[OpportunityFound]:
        """What the block offers, in the order of the strategies, ``without`` pools that are only for exits."""
        context = BlockContext.of(event, book, now_ms)
        found = [each for strategy in self._strategies for each in strategy.on_block(context)]
        return [each for each in found if without.isdisjoint(leg.pool for leg in each.route.legs)]


@dataclass(slots=True, kw_only=True)
class FeedHandlers:
    """The steps of one chain, carried to bus, bucket and cache by the one writer of the chain; a standby keeps the same
    book and hands its facts to a writer that stores none of them.

    A block is published until the bus takes it, because a missing one would break every mirror; an opportunity is
    worth nothing later and is tried once.
    """

    chain_id: int
    writer: MarketWriter
    snapshots: SnapshotWriter
    cache: MarketCache
    finder: OpportunityFinder
    clock: Clock
    moments: FeedMoments
    snapshot_every_blocks: int
    discovery: Discovery | None = None
    breakers: FeedBreakers | None = None
    _since_snapshot: int = field(default=0, init=False)
    _shown: tuple[PoolBook, BlockRef] | None = field(default=None, init=False)
    """The book and the block it shows."""
    _timestamp_s: int = field(default=0, init=False)

    async def loaded(self, book: PoolBook, tip: Header) -> None:
        """Announce every pool, and write the snapshots before anything else is published."""
        self.finder.begin(book.pools)
        self.writer.begin(tip.ref)
        self._shown, self._timestamp_s = (book, tip.ref), tip.timestamp_s
        self.cache.begin(book.pools, tip.ref, tip.timestamp_s)
        if self.discovery is not None:
            self.discovery.begin(book, tip.ref)
        if self.writer.seated:
            for pool in book.pools.values():
                await self._store(self._discovered(pool, tip.ref))
            await self._store(self._watched(book, tip.ref))
            await self._write_snapshots(book, tip.ref)

    async def announce(self, bus: Publisher, is_gap: bool) -> None:
        """This process writes from now on. Readers are told which pools are watched, about those that they do not know
        yet, and after a gap about all, with snapshots to begin from. Raises ``Transient``."""
        if self._shown is None:
            return
        book, block = self._shown
        if self.discovery is not None:
            self.discovery.remember(await self.snapshots.watched_by_others(book))
        known = frozenset[str]() if is_gap else await self.snapshots.known_pools()
        for address, pool in book.pools.items():
            if address not in known:
                await bus.publish(self._discovered(pool, block))
        await bus.publish(self._watched(book, block))
        capture = await self.snapshots.capture(book, block)
        if is_gap:
            await self.snapshots.write(capture)
        else:
            self.snapshots.request(capture)
        self._since_snapshot = 0
        self.cache.begin(book.pools, block, self._timestamp_s)

    async def applied(self, block: AppliedBlock, book: PoolBook) -> None:
        """Publish the block with its opportunities, then what only screens and late starters need.

        Opportunities are looked for first: once the block is out, every other service wakes and wants a processor.
        Readers wait for the block of an opportunity, so the two may be stored in either order.
        """
        event = block.event
        self._shown, self._timestamp_s = (book, event.block), event.timestamp_s
        exits = frozenset[str]() if self.discovery is None else self.discovery.only_for_exits
        found = self.finder.find(event, book, self.clock.now_ms(), exits)
        offers = [self._offer(opportunity) for opportunity in found if block.newest]
        await asyncio.gather(self._store(event), *offers)
        self.moments.block_applied(event, self.clock.now_ns() if self.writer.seated else None)
        if self.discovery is not None:
            self.discovery.note(event)
        if self.breakers is not None and block.newest:
            await self.breakers.applied(book.pools)
        if not self.writer.seated:
            return
        self._since_snapshot += 1
        if self._since_snapshot >= self.snapshot_every_blocks:
            await self._request_snapshots(book, event)
        self.cache.record(event, book.pools, block.volumes)

    async def pools_changed(self, change: PoolsChange, book: PoolBook) -> None:
        """Announce who joined and left before the next block can be published."""
        for pool in change.joined:
            await self._store(self._discovered(pool, change.block))
        if change.joined:  # soon in a checkpoint too: a restart knows no other pools
            self._since_snapshot = max(self._since_snapshot, self.snapshot_every_blocks - JOINED_WAIT_BLOCKS)
        if change.left:
            await self._store(self._watched(book, change.block))
        self.cache.expect(pool.key.address for pool in change.joined)
        self.cache.forget(change.left)

    async def troubled(self, _reason: str) -> None:
        """A call to the nodes failed."""
        if self.breakers is not None:
            await self.breakers.troubled()

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
                await self.writer.publish(event)
            except Transient as error:
                self.moments.publish_retried(self.chain_id, str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(LONGEST_RETRY_S, 2 * wait_s)
            else:
                return

    async def _offer(self, found: OpportunityFound) -> None:
        try:
            await self.writer.offer(found)
        except Transient as error:
            self.moments.opportunity_lost(found, str(error))
        else:
            if self.writer.seated:
                self.moments.opportunity_found(found)

    async def _write_snapshots(self, book: PoolBook, block: BlockRef) -> None:
        wait_s = RETRY_S
        while True:
            try:
                await self.snapshots.write(await self.snapshots.capture(book, block))
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
