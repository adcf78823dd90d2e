"""From chain steps to what leaves the service: order of publications, snapshots, prices, failures."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from dexlane.chain.answers import Header
from dexlane.chain.factories import NewPool
from dexlane.domain.pool_book import PoolBook
from dexlane.events.base import Event
from dexlane.events.execution import IntentCreated
from dexlane.events.market import BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.events.portfolio import ExposureChanged
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.consuming import Delivery
from dexlane.runtime.errors import Fatal, Transient
from dexlane.runtime.market_cache import MarketCache, writer
from dexlane.runtime.market_cache.forms import Keys
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.builders import an_exposure, an_exposure_part, an_intent
from dexlane.values.chains import BlockRef
from dexlane.values.pools import ConstantProductState, Pool, PoolKey, Protocol, ReservesDelta
from dexlane.values.tokens import Token
from market_feed.app import build
from market_feed.discovery import Holdings
from market_feed.feed import AppliedBlock, MarketWriter, PoolsChange
from market_feed.handlers import FeedHandlers, OpportunityFinder, routes
from market_feed.metrics import FeedMoments
from market_feed.settings import Settings
from market_feed.snapshots import SnapshotWriter, watched_before

USDC = Token(address="0x" + "a" * 40, symbol="USDC", decimals=6)
WETH = Token(address="0x" + "c" * 40, symbol="WETH", decimals=18)
CHEAP, DEAR = "0x" + "1" * 40, "0x" + "2" * 40


def pool(address: str, price: int) -> Pool:
    key = PoolKey(address=address, protocol=Protocol.UNISWAP_V2, token0=USDC, token1=WETH, fee_pips=3_000)
    state = ConstantProductState(reserve0=price * 10_000 * 10**6, reserve1=10_000 * 10**18)
    return Pool(key=key, state=state)


def block_hash(number: int, fork: int = 0) -> str:
    return f"0x{number:032x}{fork:032x}"


def header(number: int) -> Header:
    return Header(number, block_hash(number), block_hash(number - 1), 1_700_000_000 + 12 * number, 10**9, 0, 30_000_000)


def applied(number: int, *deltas: ReservesDelta, newest: bool = True) -> AppliedBlock:
    head = header(number)
    event = BlockApplied(
        id=BlockApplied.make_id(1, head.hash),
        chain_id=1,
        occurred_at_ms=head.timestamp_s * 1_000,
        block=head.ref,
        parent_hash=head.parent_hash,
        timestamp_s=head.timestamp_s,
        base_fee_per_gas_wei=10**9,
        next_base_fee_per_gas_wei=10**9,
        gas_used=0,
        gas_limit=30_000_000,
        deltas=deltas,
        received_at_ns=1,
    )
    return AppliedBlock(event, {}, newest)


class Bus:
    """Remembers what was stored, in order; refuses as often as told."""

    realm = "main"

    def __init__(self) -> None:
        self.stored: list[Any] = []
        self.refusals = 0
        self.refused: tuple[type[Event], ...] = ()

    def _maybe_refuse(self, event: object) -> None:
        if self.refusals and (not self.refused or isinstance(event, self.refused)):
            self.refusals -= 1
            raise Transient("the bus is away")

    async def publish(self, event: Event) -> None:
        self._maybe_refuse(event)
        self.stored.append(event)

    async def kv_put(self, key: str, value: bytes) -> None:
        self._maybe_refuse(key)
        self.stored.append((key, value))

    async def kv_get(self, key: str) -> bytes | None:
        return next((entry[1] for entry in reversed(self.stored) if entry[0] == key), None)

    async def recent(self, count: int) -> list[Event]:
        blocks = [event for event in self.stored if isinstance(event, BlockApplied | BlockReorged)]
        return list(blocks[-count:])

    async def sequence(self) -> int:
        return len([event for event in self.stored if isinstance(event, Event)])

    @property
    def kinds(self) -> list[str]:
        return [event.NAME if isinstance(event, Event) else event[0].split(".")[2] for event in self.stored]


class Seat:
    """A lease that is held for as long as a test says."""

    def __init__(self) -> None:
        self.held = True
        self.changed = asyncio.Event()

    def resign(self) -> None:
        self.held = False


class Feed:
    def __init__(self) -> None:
        self.bus = Bus()
        self.states: list[bool] = []
        nowhere = Redis.from_url("redis://127.0.0.1:1")
        self.cache = MarketCache(
            nowhere, Keys("main", 1), USDC.address, ManualClock(), lambda up, _reason: self.states.append(up)
        )
        self.snapshots = SnapshotWriter(1, self.bus, self.bus.sequence)
        self.book = PoolBook()
        self.seat = Seat()
        self.writer = MarketWriter(1, self.bus, self.bus, self.seat, depth=64)  # type: ignore[arg-type]
        self.writer.seated = True
        self.handlers = FeedHandlers(
            chain_id=1,
            writer=self.writer,
            snapshots=self.snapshots,
            cache=self.cache,
            finder=OpportunityFinder({"price_gap": {"min_profit": "1", "max_size": "1000000000000"}}, USDC.address),
            clock=ManualClock(),
            moments=FeedMoments(Metrics("market-feed"), Log(logging.getLogger("test"))),
            snapshot_every_blocks=4,
        )

    async def load(self) -> Feed:
        for known in (pool(CHEAP, 2_000), pool(DEAR, 2_000)):
            self.book.put(known, header(0).ref)
        await self.handlers.loaded(self.book, header(0))
        self.bus.stored.clear()
        return self

    async def step(self, block: AppliedBlock) -> None:
        self.book.apply(block.event)
        await self.handlers.applied(block, self.book)


@pytest.fixture
async def feed() -> Feed:
    return await Feed().load()


def gap() -> ReservesDelta:
    """The dear pool's price jumps by five per cent."""
    return ReservesDelta(pool=DEAR, reserve0=2_100 * 10_000 * 10**6, reserve1=10_000 * 10**18)


async def test_pools_are_announced_and_stored_before_the_checkpoint_that_names_them() -> None:
    feed = Feed()
    for known in (pool(CHEAP, 2_000), pool(DEAR, 2_000)):
        feed.book.put(known, header(0).ref)
    await feed.handlers.loaded(feed.book, header(0))
    assert feed.bus.kinds == [PoolDiscovered.NAME, PoolDiscovered.NAME, PoolsWatched.NAME, "pool", "pool", "checkpoint"]
    key, value = feed.bus.stored[-1]
    checkpoint = PoolCheckpoint.model_validate_json(value)
    assert key == PoolCheckpoint.key("main", 1)
    assert (checkpoint.block, checkpoint.market_sequence, checkpoint.pools) == (header(0).ref, 3, (CHEAP, DEAR))
    assert PoolSnapshot.model_validate_json(feed.bus.stored[3][1]).pool == feed.book.pools[CHEAP]


async def test_the_block_is_stored_before_the_opportunity_it_offers(feed: Feed) -> None:
    await feed.step(applied(1, gap()))
    assert feed.bus.kinds[:2] == [BlockApplied.NAME, OpportunityFound.NAME]
    found = feed.bus.stored[1]
    assert found.strategy == "price_gap"
    assert found.route.is_cycle
    assert found.block == header(1).ref


async def test_a_block_that_is_only_caught_up_with_offers_nothing(feed: Feed) -> None:
    await feed.step(applied(1, gap(), newest=False))
    assert feed.bus.kinds == [BlockApplied.NAME]


async def test_a_pool_that_is_watched_for_exits_only_offers_nothing(feed: Feed) -> None:
    watching = SimpleNamespace(only_for_exits=frozenset({DEAR}), note=lambda event: None)
    feed.handlers.discovery = watching  # type: ignore[assignment]
    await feed.step(applied(1, gap()))
    assert feed.bus.kinds == [BlockApplied.NAME]


async def test_what_is_held_comes_from_the_last_exposures_and_from_every_new_entry() -> None:
    holdings, entry = Holdings(), an_intent()
    assert entry.plan is not None
    consumed = {route.event_type: route for route in routes({}, {1: holdings}).followers}
    assert (consumed[ExposureChanged].start, consumed[IntentCreated].start) == ("last", "new")
    delivery = Delivery(message_id="", subject="", deliveries=1, stream_sequence=1)
    await consumed[ExposureChanged].handler(an_exposure(parts=(an_exposure_part(token=DEAR),)), delivery)
    await consumed[IntentCreated].handler(entry, delivery)
    assert holdings.at(entry.plan.deadline_block).tokens == {DEAR, entry.plan.route.token_out}


async def test_a_block_is_published_until_the_bus_takes_it(feed: Feed) -> None:
    feed.bus.refusals = 2
    await feed.step(applied(1))
    assert feed.bus.kinds == [BlockApplied.NAME]


async def test_an_opportunity_that_the_bus_refuses_is_given_up(feed: Feed) -> None:
    feed.bus.refusals, feed.bus.refused = 99, (OpportunityFound,)
    await feed.step(applied(1, gap()))
    await feed.step(applied(2))
    assert feed.bus.kinds == [BlockApplied.NAME, BlockApplied.NAME]


async def test_snapshots_are_renewed_every_few_blocks_and_after_a_reorg(feed: Feed) -> None:
    writing = asyncio.create_task(feed.snapshots.run())
    try:
        for number in range(1, 5):
            await feed.step(applied(number))
        await asyncio.sleep(0.01)
        assert feed.bus.kinds == [*[BlockApplied.NAME] * 4, "pool", "pool", "checkpoint"]
        assert feed.snapshots.published == header(4).ref
        await feed.handlers.reorged(reorg(4, 3))
        feed.book.undo_to(header(3).ref)
        await feed.step(applied(4))
        await asyncio.sleep(0.01)
        assert feed.bus.kinds[-5:] == [BlockReorged.NAME, BlockApplied.NAME, "pool", "pool", "checkpoint"]
        checkpoint = PoolCheckpoint.model_validate_json(feed.bus.stored[-1][1])
        assert checkpoint.market_sequence == 6
    finally:
        writing.cancel()


def reorg(old: int, ancestor: int) -> BlockReorged:
    return BlockReorged(
        id=BlockReorged.make_id(1, block_hash(old), block_hash(old, 1)),
        chain_id=1,
        occurred_at_ms=1,
        old_tip=BlockRef(number=old, hash=block_hash(old)),
        ancestor=BlockRef(number=ancestor, hash=block_hash(ancestor)),
        new_tip=BlockRef(number=old, hash=block_hash(old, 1)),
        depth=old - ancestor,
    )


async def test_new_pools_are_announced_and_the_set_is_restated_when_one_leaves(feed: Feed) -> None:
    new = pool("0x" + "3" * 40, 1_000)
    feed.book.join(new, header(0).ref)
    feed.book.leave(DEAR)
    await feed.handlers.pools_changed(PoolsChange(header(0).ref, (new,), (DEAR,)), feed.book)
    discovered, watched = feed.bus.stored
    assert (discovered.pool, discovered.block) == (new, header(0).ref)
    assert (watched.NAME, watched.pools) == (PoolsWatched.NAME, (CHEAP, new.key.address))


async def test_a_standby_keeps_the_same_book_and_publishes_nothing(feed: Feed) -> None:
    feed.writer.seated = False
    for number in range(1, 10):
        await feed.step(applied(number, gap()))
    assert (feed.bus.stored, feed.cache._take()) == ([], None)
    assert feed.book.tip == header(9).ref


async def test_a_writer_whose_lease_ran_out_stores_nothing_more(feed: Feed) -> None:
    await feed.step(applied(1))
    feed.seat.held = False
    await feed.step(applied(2, gap()))
    assert feed.bus.kinds == [BlockApplied.NAME]
    assert not feed.writer.seated


async def test_a_new_writer_announces_only_pools_that_readers_do_not_know(feed: Feed) -> None:
    third = pool("0x" + "3" * 40, 2_000)
    feed.book.put(third, header(0).ref)
    feed.bus.stored = [(PoolCheckpoint.key("main", 1), checkpoint(CHEAP, DEAR))]
    await feed.handlers.announce(feed.bus, False)
    discovered, watched = feed.bus.stored[1:]
    assert (discovered.pool, set(watched.pools)) == (third, {CHEAP, DEAR, third.key.address})


@pytest.mark.parametrize("is_gap", [False, True])
async def test_a_new_writer_remembers_the_pools_that_only_the_one_before_it_watched(feed: Feed, is_gap: bool) -> None:
    third, remembered = pool("0x" + "3" * 40, 2_000), list[NewPool]()
    entry = PoolSnapshot(chain_id=1, block=header(0).ref, pool=third).model_dump_json().encode()
    await feed.bus.kv_put(PoolSnapshot.key("main", 1, third.key.address), entry)
    await feed.bus.kv_put(PoolCheckpoint.key("main", 1), checkpoint(CHEAP, DEAR, third.key.address))
    feed.handlers.discovery = SimpleNamespace(remember=remembered.extend)  # type: ignore[assignment]
    await feed.handlers.announce(feed.bus, is_gap)
    assert [new.address for new in remembered] == [third.key.address]


async def test_after_a_gap_a_new_writer_announces_everything_with_snapshots(feed: Feed) -> None:
    feed.bus.stored = [(PoolCheckpoint.key("main", 1), b"unreadable")]
    await feed.handlers.announce(feed.bus, True)
    assert feed.bus.kinds[1:] == [*[PoolDiscovered.NAME] * 2, PoolsWatched.NAME, "pool", "pool", "checkpoint"]


def checkpoint(*pools: str) -> bytes:
    made = PoolCheckpoint(chain_id=1, block=header(0).ref, market_sequence=0, pools=pools)
    return made.model_dump_json().encode()


async def test_a_restart_remembers_what_was_watched_and_what_is_still_to_be_watched_again(feed: Feed) -> None:
    third, unreadable = "0x" + "3" * 40, "0x" + "4" * 40
    entry = PoolSnapshot(chain_id=1, block=header(0).ref, pool=pool(third, 1)).model_dump_json().encode()
    await feed.bus.kv_put(PoolSnapshot.key("main", 1, third), entry)
    await feed.bus.kv_put(PoolSnapshot.key("main", 1, unreadable), b"{}")
    feed.snapshots.awaited = lambda: (third, unreadable)
    troubles: list[str] = []
    await feed.snapshots.write(await feed.snapshots.capture(feed.book, header(1).ref))
    assert feed.bus.kinds[-2:] == ["awaited", "checkpoint"]
    before = await watched_before(feed.bus, 1, troubles.append)
    assert ([new.address for new in before], len(troubles)) == ([CHEAP, DEAR, third], 1)
    feed.snapshots.awaited = tuple
    await feed.snapshots.write(await feed.snapshots.capture(feed.book, header(2).ref))
    assert [new.address for new in await watched_before(feed.bus, 1, troubles.append)] == [CHEAP, DEAR]


async def test_a_pool_that_joined_is_in_a_checkpoint_within_two_blocks(feed: Feed) -> None:
    feed.handlers.snapshot_every_blocks = 1_000
    running = asyncio.create_task(feed.snapshots.run())
    await feed.handlers.pools_changed(PoolsChange(header(0).ref, (pool("0x" + "3" * 40, 1),)), feed.book)
    for number in (1, 2):
        await feed.step(applied(number))
    await asyncio.sleep(0.01)
    running.cancel()
    assert "checkpoint" in feed.bus.kinds


async def test_an_older_capture_never_overwrites_a_newer_one(feed: Feed) -> None:
    older = await feed.snapshots.capture(feed.book, header(1).ref)
    newer = await feed.snapshots.capture(feed.book, header(2).ref)
    await feed.snapshots.write(newer)
    await feed.snapshots.write(older)
    assert feed.snapshots.published == header(2).ref


async def test_a_quote_token_that_no_pool_trades_stops_the_service() -> None:
    with pytest.raises(Fatal, match="quote token"):
        OpportunityFinder({}, "0x" + "9" * 40).begin({CHEAP: pool(CHEAP, 2_000)})


async def test_a_misspelt_strategy_stops_the_service() -> None:
    with pytest.raises(Fatal, match="unknown strategies price_gab"):
        OpportunityFinder({"price_gab": {}}, USDC.address).begin({CHEAP: pool(CHEAP, 2_000)})


async def test_a_lost_cache_is_reported_once_and_never_stops_the_feed(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.005)
    monkeypatch.setattr(writer, "SETTLE_S", 0.0)
    writing = asyncio.create_task(feed.cache.run())
    try:
        for number in range(1, 30):
            await feed.step(applied(number, gap()))
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.05)
        assert feed.states == [False]
        assert feed.bus.kinds.count(BlockApplied.NAME) == 29
    finally:
        writing.cancel()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chains": (1, 8453)}, "chain 8453 has no node"),
        ({"pools": {}}, "chain 1 has no pools"),
        ({"quote_tokens": {}}, "chain 1 has no quote token"),
        (
            {"factories": {1: [{"address": "0x" + "7" * 40, "protocol": "uniswap_v4"}]}},
            "is not the manager of Uniswap V4",
        ),
    ],
)
def test_a_chain_that_cannot_be_served_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Settings(**changes)


async def test_one_service_can_be_built_for_two_chains() -> None:
    nodes = {1: "ws://127.0.0.1:1", 8453: "ws://127.0.0.1:2"}
    service = build(Settings(chains=(1, 8453), rpc_ws_urls=nodes))
    assert service.why_not_ready() == {"service": "starting"}
