"""A bad line and bad providers between the feed and a real node: the book ends equal to that of a feed without them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from dexlane.chain import block_logs
from dexlane.chain.answers import Header
from dexlane.chain.checked_node import CheckedNode
from dexlane.chain.link import LinkPolicy
from dexlane.chain.provider_health import HealthPolicy
from dexlane.chain.providers import ProviderPolicy, Providers
from dexlane.domain.pool_book import PoolBook
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.rpc_proxy import FaultProxy, Faults
from dexlane_devnet import V2_POOL, V3_POOL_005, V3_POOL_030, Devnet, DevnetConfig, free_port, start_devnet
from market_feed.feed import AppliedBlock, BlockFollower, FollowLimits
from market_feed.feed import block_logs as patience
from market_feed.metrics import FeedMoments, NodeMoments
from market_feed.settings import DEFAULT_POOLS

pytestmark = pytest.mark.integration
POOLS = (V3_POOL_005, V3_POOL_030, V2_POOL)
USDC = V2_POOL.token0
LIMITS = FollowLimits()
POLICY = ProviderPolicy(
    link=LinkPolicy(
        jitter=random.random,
        connect_timeout_s=2.0,
        call_timeout_s=0.7,
        first_wait_s=0.02,
        longest_wait_s=0.2,
    ),
    head_silence_s=1.5,
    health=HealthPolicy(lag_for_ms=300, silence_ms=2_000, cool_down_ms=700, longest_cool_down_ms=700, settle_ms=400),
)


class Told(NodeMoments):
    """What was told about providers, for assertions."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        super().__init__(metrics, log)
        self.drops: list[tuple[str, str]] = []
        self.changes: list[tuple[str, str]] = []
        self.audits: list[str] = []
        self.untidy: list[str] = []

    def provider_dropped(self, chain_id: int, provider: str, reason: str) -> None:
        super().provider_dropped(chain_id, provider, reason)
        self.drops.append((provider, reason))

    def provider_changed(self, chain_id: int, provider: str, reason: str) -> None:
        super().provider_changed(chain_id, provider, reason)
        self.changes.append((provider, reason))

    def audit_done(self, chain_id: int, provider: str, outcome: str) -> None:
        super().audit_done(chain_id, provider, outcome)
        self.audits.append(outcome)

    def answer_untidy(self, chain_id: int, provider: str, what: str) -> None:
        super().answer_untidy(chain_id, provider, what)
        self.untidy.append(what)


class Feed:
    """A follower on some providers, and what readers of its events would hold."""

    def __init__(self, urls: list[str], limits: FollowLimits, audit_every: int) -> None:
        metrics, log = Metrics("market-feed"), Log(logging.getLogger("test"))
        self.told, self.moments = Told(metrics, log), FeedMoments(metrics, log)
        self.providers = Providers(1, urls, POLICY, clock=SystemClock(), moments=self.told)
        self.node = CheckedNode(self.providers, audit_every=audit_every)
        self.follower = BlockFollower(1, self.node, DEFAULT_POOLS[1], clock=SystemClock(), limits=limits)
        self.follower.logs.doubt, self.node.on_lie = self.node.doubt, self.follower.distrust
        self.follower.logs.suspect = self.node.suspect
        self.held: list[BlockApplied] = []
        self.loads = 0
        self.depths: list[int] = []

    async def loaded(self, book: PoolBook, tip: Header) -> None:
        self.loads += 1
        self.held.clear()

    async def applied(self, block: AppliedBlock, book: PoolBook) -> None:
        assert not self.held or self.held[-1].block.hash == block.event.parent_hash
        self.held.append(block.event)

    async def troubled(self, reason: str) -> None:
        pass

    async def reorged(self, event: BlockReorged) -> None:
        self.depths.append(event.depth)
        while self.held and self.held[-1].block.number > event.ancestor.number:
            self.held.pop()

    def digest(self) -> str:
        return self.follower.book.state_digest(self.follower.book.pools)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Feed]:
        await self.providers.start()
        runs = [*self.providers.tasks().values(), self.node.audit]
        tasks = [asyncio.create_task(run()) for run in runs]  # type: ignore[arg-type]
        tasks.append(asyncio.create_task(self.follower.run(self.providers, self, self.moments)))
        try:
            yield self
            assert not any(task.done() for task in tasks)
        finally:
            await cancelled(tasks)
            await self.providers.stop()


class World:
    """A chain, a bad line to it, and two feeds: one without the line."""

    def __init__(self, devnet: Devnet, proxy: FaultProxy) -> None:
        self.devnet = devnet
        self.proxy = proxy
        self._random = random.Random(7)  # noqa: S311  swaps, not secrets

    @contextlib.asynccontextmanager
    async def feeds(
        self, urls: list[str] | None = None, *, limits: FollowLimits = LIMITS, audit_every: int = 1_000_000
    ) -> AsyncIterator[tuple[Feed, Feed]]:
        clean, faulty = Feed([self.devnet.ws_url], limits, 1), Feed(urls or [self.proxy.url], limits, audit_every)
        async with clean.running(), faulty.running():
            await until(lambda: clean.follower.tip is not None and faulty.follower.tip is not None)
            yield clean, faulty

    async def trade(self, blocks: int) -> None:
        """Swaps in all pools, some of them with others in their block."""
        for _ in range(blocks):
            pool = self._random.choice(POOLS)
            await self.devnet.swap_exact_in(pool, USDC, self._random.randrange(10**8, 10**10))

    async def at_tip(self, feed: Feed) -> None:
        """Wait until a feed has applied the chain's newest block."""
        tip = (await self.devnet.rpc("eth_getBlockByNumber", "latest", False))["hash"]
        await until(lambda: feed.follower.tip is not None and feed.follower.tip.hash == tip)

    async def equal(self, clean: Feed, faulty: Feed) -> None:
        """Both reach the chain's newest block, with the same states and the same events where both have them."""
        await self.at_tip(clean)
        await self.at_tip(faulty)
        assert clean.digest() == faulty.digest()
        assert clean.told.drops == []
        both = min(len(clean.held), len(faulty.held))
        expected, found = ([_facts(event) for event in feed.held[len(feed.held) - both :]] for feed in (clean, faulty))
        assert expected == found


def _facts(event: BlockApplied) -> dict[str, Any]:
    return event.model_dump(exclude={"occurred_at_ms", "received_at_ns"})


async def until(condition: Callable[[], object], seconds: float = 90) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the condition belongs to others
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with (
        await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet,
        FaultProxy(devnet.ws_url, seed=11) as proxy,
    ):
        yield World(devnet, proxy)


EVERYTHING = Faults(drop=0.08, duplicate=0.2, reorder=0.15, delay=0.3, delay_s=0.05, disconnect=0.01)


@pytest.mark.parametrize(
    "faults",
    [
        Faults(drop=0.15),
        Faults(delay=0.8, delay_s=0.1),
        Faults(reorder=0.4),
        Faults(duplicate=0.8),
        Faults(disconnect=0.05),
        EVERYTHING,
    ],
    ids=["drop", "delay", "reorder", "duplicate", "disconnect", "everything"],
)
async def test_a_bad_line_changes_nothing_in_the_end(world: World, faults: Faults) -> None:
    wanted = {name for name in ("drop", "delay", "reorder", "duplicate", "disconnect") if getattr(faults, name)}
    async with world.feeds() as (clean, faulty):
        world.proxy.faults = faults
        await world.trade(25)
        await world.devnet.reorg(4)
        await world.trade(10)
        # How many messages there are depends on the machine's pace, so the line stays bad until all of it was met.
        async with asyncio.timeout(90):
            while not wanted <= world.proxy.count.keys():
                await world.trade(1)
        world.proxy.faults = Faults()
        await world.devnet.mine()
        await world.equal(clean, faulty)
        assert faulty.told.drops == []


async def test_a_lost_connection_is_filled_in_without_losing_or_doubling_a_log(world: World) -> None:
    async with world.feeds() as (clean, faulty):
        await world.trade(3)
        world.proxy.refuses = True
        await world.proxy.disconnect()
        await world.trade(20)
        world.proxy.refuses = False
        await world.equal(clean, faulty)
        assert faulty.loads == 1
        assert len(faulty.held) == len(clean.held)


async def test_a_provider_that_answers_but_is_frozen_is_left_and_returned_to(world: World) -> None:
    async with world.feeds([world.proxy.url, world.devnet.ws_url]) as (clean, faulty):
        frozen, other = faulty.providers.all
        await world.trade(2)
        world.proxy.frozen_heads = True
        await world.trade(6)
        await until(lambda: faulty.providers.current is other)
        assert any(word in faulty.providers.state()[frozen.name]["wrong"] for word in ("frozen", "behind"))
        await world.equal(clean, faulty)
        world.proxy.thaw()
        await world.trade(2)
        await until(lambda: faulty.providers.current is frozen)
        await world.trade(2)
        await world.equal(clean, faulty)
        assert (faulty.loads, faulty.told.drops) == (1, [])
        assert len(faulty.held) == len(clean.held)


async def test_without_another_provider_a_freeze_is_waited_out(world: World) -> None:
    async with world.feeds() as (clean, faulty):
        world.proxy.frozen_heads = True
        await world.trade(5)
        await asyncio.sleep(4)
        assert "has had no new block" in str(faulty.providers.state())
        world.proxy.thaw()
        await world.devnet.mine()
        await world.equal(clean, faulty)
        assert faulty.loads == 1


def in_heads(change: dict[str, str]) -> Callable[[str, Any], Any]:
    def lie(method: str, result: Any) -> Any:
        if method in ("newHeads", "eth_getBlockByHash", "eth_getBlockByNumber") and isinstance(result, dict):
            return {**result, **change}
        return result

    return lie


def in_logs(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Callable[[str, Any], Any]:
    return lambda method, result: change(result) if method == "eth_getLogs" and result else result


def every_log(**fields: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda logs: [{**log, **fields} for log in logs]


LIES = {
    "a header with another base fee": (in_heads({"baseFeePerGas": "0x1"}), "does not hash to"),
    "a header with another bloom": (in_heads({"logsBloom": "0x" + "0" * 512}), "does not hash to"),
    "a header with an absurd number": (in_heads({"number": "0xffffffffffff"}), "does not hash to"),
    "a header with a negative number": (in_heads({"number": "-0x5"}), "cannot be read"),
    "a header without a number": (in_heads({"number": "twelve"}), "cannot be read"),
    "logs of another block": (in_logs(every_log(blockHash="0x" + "7" * 64)), "a log of block"),
    "logs of another number": (in_logs(every_log(blockNumber="0x1")), "a log of block"),
    "logs of another contract": (in_logs(every_log(address="0x" + "8" * 40)), "not asked for"),
    "logs that the bloom rules out": (
        in_logs(lambda logs: [{**log, "topics": ["0x" + "9" * 64, *log["topics"][1:]]} for log in logs]),
        "rules out",
    ),
    "no logs": (in_logs(lambda logs: []), "than its receipts hold"),
    "a negative index": (in_logs(every_log(logIndex="-0x1")), "index -1"),
    "two logs with one index": (
        in_logs(lambda logs: [*logs, {**logs[0], "data": "0x" + "00" * 64}]),
        "two different logs with index",
    ),
    "topics that are no hex": (in_logs(lambda logs: [{**log, "topics": ["0xzz"]} for log in logs]), "cannot be read"),
    "topics that are no text": (in_logs(lambda logs: [{**log, "topics": [None]} for log in logs]), "cannot be read"),
    "data that is no hex": (in_logs(every_log(data="0xzz")), "cannot be read"),
    "data that is too short": (in_logs(every_log(data="0x00")), "than its receipts hold"),
    "logs that are no list": (in_logs(lambda logs: {"a": 1}), "cannot be read"),  # type: ignore[arg-type,return-value]
}


@pytest.mark.parametrize("lie", LIES, ids=lambda name: str(name).replace(" ", "-"))
async def test_a_provider_that_lies_about_a_block_is_dropped_and_named(world: World, lie: str) -> None:
    told, sentence = LIES[lie]
    async with world.feeds([world.proxy.url, world.devnet.ws_url]) as (clean, faulty):
        liar = faulty.providers.all[0]
        await world.trade(1)
        world.proxy.lie = told
        await world.trade(6)
        await world.equal(clean, faulty)
        assert {name for name, _ in faulty.told.drops} == {liar.name}
        assert sentence in faulty.told.drops[0][1]
        assert faulty.providers.why_not_ready() is True


async def test_the_only_provider_is_not_believed_either_and_readiness_names_it(world: World) -> None:
    async with world.feeds() as (clean, faulty):
        await world.trade(1)
        world.proxy.lie = in_heads({"baseFeePerGas": "0x1"})
        await world.trade(3)
        await until(lambda: faulty.told.drops)
        [only] = faulty.providers.all
        assert f"{only.name} dropped for another" in str(faulty.providers.why_not_ready())
        assert "does not hash to" in str(faulty.providers.why_not_ready())
        world.proxy.lie = lambda method, result: result
        await world.equal(clean, faulty)
        assert faulty.loads == 1


async def test_altered_data_is_found_by_the_receipts_root_and_taken_back(world: World) -> None:
    """A well-formed swap at another price: only the receipts tell. The blocks are undone and applied anew."""

    def cheaper(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**log, "data": log["data"][:-2] + f"{int(log['data'][-2:], 16) ^ 1:02x}"} for log in logs]

    async with world.feeds([world.proxy.url, world.devnet.ws_url], audit_every=4) as (clean, faulty):
        await world.trade(4)
        await until(lambda: "proved" in faulty.told.audits)
        world.proxy.lie = in_logs(cheaper)
        await world.trade(4)
        await until(lambda: faulty.told.drops)
        world.proxy.lie = lambda method, result: result
        await world.trade(1)
        await world.equal(clean, faulty)
        assert faulty.depths or faulty.loads > 1
        assert "than its receipts hold" in faulty.told.drops[0][1]
        assert "refuted" in faulty.told.audits


async def test_logs_that_come_late_in_a_block_whose_bloom_cannot_tell_are_made_up_for_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only provider announces a block long before its logs can be searched, its receipts are there: the block is
    undone and applied anew before another one comes, and nobody is called a liar for being late."""
    monkeypatch.setattr(patience, "CERTAIN", 0.0)
    async with world.feeds() as (clean, faulty):
        await world.trade(1)
        await world.equal(clean, faulty)
        asked = 0

        def late(method: str, result: Any) -> Any:
            nonlocal asked
            asked += method == "eth_getLogs"
            return [] if method == "eth_getLogs" and asked <= patience.LOGS_ATTEMPTS else result

        world.proxy.lie = late
        await world.trade(1)
        await until(lambda: faulty.depths == [1])
        await until(lambda: faulty.digest() == clean.digest())
        assert faulty.told.audits[0] == "late"
        assert (faulty.told.drops, faulty.loads) == ([], 1)


async def test_a_provider_that_keeps_logs_back_where_the_bloom_cannot_tell_is_dropped_for_the_third_time_in_a_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "CERTAIN", 0.0)
    async with world.feeds([world.proxy.url, world.devnet.ws_url]) as (clean, faulty):
        liar = faulty.providers.all[0]
        world.proxy.lie = in_logs(lambda logs: [])
        await world.trade(1)
        await until(lambda: faulty.told.drops)
        assert faulty.told.audits[:3] == ["late", "late", "refuted"]
        assert [name for name, _ in faulty.told.drops] == [liar.name]
        assert "than its receipts hold" in faulty.told.drops[0][1]
        await world.trade(1)
        await world.equal(clean, faulty)


async def test_receipts_that_the_accused_does_not_give_are_asked_of_another_provider(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "CERTAIN", 0.0)
    async with world.feeds([world.proxy.url, world.devnet.ws_url]) as (_, faulty):
        hidden = {"eth_getLogs": [], "eth_getBlockReceipts": None}
        world.proxy.lie = lambda method, result: hidden.get(method, result) if result else result
        await world.trade(1)
        await until(lambda: "late" in faulty.told.audits)


async def test_logs_that_are_asked_for_by_topic_are_believed_and_audited(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_logs, "MOST_ADDRESSES", 0)
    async with world.feeds(audit_every=1) as (clean, faulty):
        await world.trade(4)
        await world.equal(clean, faulty)
        await until(lambda: faulty.told.audits.count("proved") >= 4)
        assert faulty.told.drops == []


async def test_a_topic_in_upper_case_is_the_same_topic(world: World) -> None:
    async with world.feeds(audit_every=1) as (clean, faulty):
        world.proxy.lie = lambda method, result: (
            [{**log, "topics": ["0x" + topic[2:].upper() for topic in log["topics"]]} for log in result]
            if method == "eth_getLogs"
            else result
        )
        await world.trade(4)
        await world.equal(clean, faulty)


async def test_unsorted_and_doubled_logs_are_put_right_and_counted(world: World) -> None:
    async with world.feeds() as (clean, faulty):
        world.proxy.lie = in_logs(lambda logs: [*reversed(logs), *logs])
        await world.devnet.set_automine(False)
        sends = [asyncio.create_task(world.trade(3)) for _ in range(1)]
        for _ in range(60):
            await world.devnet.mine()
            await asyncio.sleep(0.02)
            if all(task.done() for task in sends):
                break
        await asyncio.gather(*sends)
        await world.devnet.mine()
        await world.equal(clean, faulty)
        assert "duplicate_log" in faulty.told.untidy
        assert faulty.told.drops == []


async def test_a_minority_with_another_block_is_dropped(world: World) -> None:
    """A whole branch of its own, hashes and all, from a node of its own."""
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as other:
        urls = [other.ws_url, world.devnet.ws_url, world.proxy.url]
        async with world.feeds(urls) as (_, faulty):
            foreign = faulty.providers.all[0]
            for _ in range(8):
                await world.trade(1)
                await other.mine()
            await until(lambda: faulty.told.drops)
            await world.trade(1)
            await until(lambda: faulty.providers.current is not foreign)
            assert faulty.told.drops[0][0] == foreign.name
            assert "where most hold" in faulty.told.drops[0][1]


@pytest.mark.parametrize("depth", [1, 8, 64])
async def test_reorganisations_are_followed_to_the_depth_that_is_remembered(world: World, depth: int) -> None:
    async with world.feeds() as (clean, faulty):
        world.proxy.faults = dataclasses.replace(EVERYTHING, disconnect=0.0)
        await world.trade(4)
        await world.devnet.mine(depth)
        await world.trade(2)
        await world.at_tip(clean)
        await world.devnet.reorg(depth + 2)
        world.proxy.faults = Faults()
        await world.trade(3)
        await world.equal(clean, faulty)
        assert sum(clean.depths) == depth + 2
        assert faulty.loads == 1


async def test_a_reorganisation_beyond_what_is_remembered_begins_from_fresh_pools(world: World) -> None:
    async with world.feeds(limits=FollowLimits(undo_depth=16)) as (clean, faulty):
        await world.trade(3)
        await world.devnet.mine(30)
        await world.equal(clean, faulty)
        await world.devnet.reorg(25)
        await world.trade(2)
        await world.equal(clean, faulty)
        assert (clean.loads, faulty.loads) == (2, 2)


async def test_memory_stays_bounded_through_hundreds_of_blocks_and_reorganisations(world: World) -> None:
    async with world.feeds(limits=FollowLimits(undo_depth=32)) as (clean, faulty):
        for _ in range(5):
            await world.devnet.mine(150)
            await world.devnet.reorg(3)
            await world.trade(1)
        await world.equal(clean, faulty)
        for feed in (clean, faulty):
            assert len(feed.follower._recent) <= 32
            assert len(feed.follower.book._applied) <= 32
            assert len(feed.providers.proved) <= 512
            assert len(feed.node._to_audit) <= 16
            assert all(len(provider.announced) <= 64 for provider in feed.providers.all)
            assert feed.providers._queue.qsize() <= 1_024
