"""The block follower as a specification, on a chain in memory."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dexlane.chain import abi, block_logs
from dexlane.chain.answers import Header, RawLog
from dexlane.chain.bloom import bloom_mask
from dexlane.chain.logs import V2_SYNC_TOPIC
from dexlane.chain.pool_loading import WatchedPool
from dexlane.chain.rpc import RpcError, RpcUnavailable
from dexlane.chain.subscriptions import Gap
from dexlane.domain.fees import fee_parameters, next_base_fee
from dexlane.domain.pool_book import PoolBook
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.errors import Fatal
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.builders import a_pool_v2
from dexlane.testing.fake_chain import FakeChain, FakeLog
from dexlane.testing.fake_rpc import FakeRpc
from dexlane.values.pools import ConstantProductState, Pool, Protocol
from market_feed.feed import AppliedBlock, BlockFollower, FollowLimits, PoolsChange
from market_feed.feed.follower import BrokenAnswer
from market_feed.metrics import FeedMoments

PAIR = "0xb4e16d0168e52d35cacd2c6185b44281ec28c9dc"
USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
NEW_PAIR = "0x" + "3" * 40
UNISWAP_V2_FACTORY = "0x5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f"
WATCHED = [WatchedPool(address=PAIR, protocol=Protocol.UNISWAP_V2)]


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def sync(reserve0: int, reserve1: int = 1_000) -> FakeLog:
    return FakeLog(address=PAIR, topics=(V2_SYNC_TOPIC,), data=word(reserve0) + word(reserve1))


class World:
    """A pair on a chain: reserves follow from the canonical Sync logs, as on a real one."""

    def __init__(self, limits: FollowLimits | None = None) -> None:
        self.chain = FakeChain(1)
        self.chain.answer_call = self._call
        self.rpc: FakeRpc = self.chain.rpc()
        self.clock = ManualClock()
        self.moments = FeedMoments(Metrics("market-feed"), Log(logging.getLogger("test")))
        self.follower = BlockFollower(1, self.rpc, WATCHED, clock=self.clock, limits=limits or FollowLimits())
        self.steps: list[Any] = []
        self._value = 100

    def swap(self) -> FakeLog:
        self._value += 1
        return sync(self._value)

    def reserve_on_chain(self, at: Header | None = None) -> int:
        limit = (at or self.chain.tip).number
        logs = [log for block in self.chain.blocks[: limit + 1] for log in block.logs]
        return int.from_bytes(logs[-1].data[:32], "big") if logs else 100

    def reserve_in_book(self) -> int:
        state = self.follower.book.pools[PAIR].state
        assert isinstance(state, ConstantProductState)
        return state.reserve0

    async def loaded(self, book: PoolBook, tip: Header) -> None:
        self.steps.append(("loaded", tip.number))

    async def applied(self, block: AppliedBlock, book: PoolBook) -> None:
        self.steps.append(block.event)

    async def pools_changed(self, change: PoolsChange, book: PoolBook) -> None:
        self.steps.append(change)

    async def troubled(self, reason: str) -> None:
        pass

    async def reorged(self, event: BlockReorged) -> None:
        self.steps.append(event)

    @property
    def blocks(self) -> list[BlockApplied]:
        return [step for step in self.steps if isinstance(step, BlockApplied)]

    @property
    def reorgs(self) -> list[BlockReorged]:
        return [step for step in self.steps if isinstance(step, BlockReorged)]

    async def start(self) -> World:
        await self.follower.load(self)
        return self

    async def follow(self, *heads: Header) -> str:
        reason = ""
        for head in heads:
            reason = await self.follower.follow(head, self)
        return reason

    def _call(self, to: str, data: bytes, header: Header) -> bytes:
        answers = {
            "0dfe1681": abi.address(USDC),
            "d21220a7": abi.address(WETH),
            "c45a0155": abi.address(UNISWAP_V2_FACTORY),
            "95d89b41": abi.frame(abi.byte_string(b"T")),
            "313ce567": word(18),
            "0902f1ac": word(self.reserve_on_chain(header)) + word(1_000) + word(0),
        }
        if to not in (PAIR, USDC, WETH):
            raise RpcError(3, "execution reverted")
        return answers[data[:4].hex()]


@pytest.fixture
async def world() -> World:
    return await World().start()


async def test_each_block_is_applied_with_its_changes_and_the_exact_next_base_fee(world: World) -> None:
    await world.follow(*world.chain.mine(logs=[world.swap(), world.swap()]), *world.chain.mine())
    first, second = world.blocks
    assert [delta.reserve0 for delta in first.deltas] == [102]  # type: ignore[union-attr]
    assert second.deltas == ()
    assert first.next_base_fee_per_gas_wei == second.base_fee_per_gas_wei
    assert second.next_base_fee_per_gas_wei == next_base_fee(
        second.base_fee_per_gas_wei, second.gas_used, second.gas_limit, fee_parameters(1)
    )
    assert world.reserve_in_book() == 102


async def test_a_head_announced_before_its_logs_can_be_read_loses_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [head] = world.chain.mine(logs=[world.swap()])
    readable, early = world.rpc.logs, 2

    async def late(block_hash: str, addresses: Sequence[str]) -> list[RawLog]:
        nonlocal early
        early -= 1
        return [] if early >= 0 else list(await readable(block_hash, addresses))

    monkeypatch.setattr(world.rpc, "logs", late)
    await world.follow(dataclasses.replace(head, logs_bloom=bloom_mask(PAIR) | bloom_mask(V2_SYNC_TOPIC)))
    assert [len(event.deltas) for event in world.blocks] == [1]


async def test_a_bloom_that_names_a_pool_by_chance_delays_but_never_stops_the_feed(world: World) -> None:
    suspected: list[int] = []
    world.follower.logs.suspect = lambda header: suspected.append(header.number)
    full = 2**2_048 - 1
    for bloom in (bloom_mask(PAIR), full, 0):
        [head] = world.chain.mine()
        await world.follow(dataclasses.replace(head, logs_bloom=bloom, proved=bloom == full))
    assert [event.deltas for event in world.blocks] == [(), (), ()]
    assert suspected == [1, 2], "the receipts are to tell; a bloom that does not name the pool leaves no doubt"


async def test_a_log_of_a_pool_that_was_not_asked_for_is_refused(world: World) -> None:
    [head] = world.chain.mine(logs=[world.swap()])
    world.chain.blocks[-1].logs.append(world.chain.blocks[-1].logs[0]._replace(address=USDC, log_index=1))
    world.follower._members.wanted.addresses = (PAIR, USDC)
    with pytest.raises(BrokenAnswer, match=USDC):
        await world.follow(head)
    assert world.reserve_in_book() == 100


async def test_logs_asked_for_by_topic_bring_those_of_other_pools_which_count_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(block_logs, "MOST_ADDRESSES", 0)
    world = await World().start()
    [head] = world.chain.mine(logs=[world.swap()])
    world.chain.blocks[-1].logs.append(world.chain.blocks[-1].logs[0]._replace(address=USDC, log_index=1))
    await world.follow(head)
    assert [delta.pool for delta in world.blocks[0].deltas] == [PAIR]


async def test_the_same_head_twice_is_harmless(world: World) -> None:
    [head] = world.chain.mine(logs=[world.swap()])
    await world.follow(head, head)
    [newer] = world.chain.mine(logs=[world.swap()])
    await world.follow(newer, head, newer)
    assert [event.block.number for event in world.blocks] == [1, 2]
    assert world.reorgs == []


async def test_missed_heads_are_filled_in_without_losing_a_log(world: World) -> None:
    heads = [world.chain.mine(logs=[world.swap()])[0] for _ in range(10)]
    await world.follow(heads[0], heads[-1])
    assert [event.block.hash for event in world.blocks] == [head.hash for head in heads]
    assert [event.deltas[0].reserve0 for event in world.blocks] == list(range(101, 111))  # type: ignore[union-attr]
    assert world.reorgs == []


async def test_a_reorg_is_followed_by_parent_hash_alone(world: World) -> None:
    old = [world.chain.mine(logs=[world.swap()])[0] for _ in range(4)]
    await world.follow(*old)
    new = world.chain.reorg(2, logs=[sync(555)])
    await world.follow(new[-1])
    [reorg] = world.reorgs
    assert (reorg.old_tip.hash, reorg.ancestor.hash, reorg.new_tip.hash) == (old[3].hash, old[1].hash, new[-1].hash)
    assert reorg.depth == 2
    assert [event.block.hash for event in world.blocks[-2:]] == [head.hash for head in new]
    assert world.steps.index(reorg) < world.steps.index(world.blocks[-2])
    assert world.reserve_in_book() == world.reserve_on_chain() == 555


async def test_a_reorg_that_drops_a_swap_takes_its_effect_back(world: World) -> None:
    await world.follow(*world.chain.mine(logs=[world.swap()]), *world.chain.mine(logs=[world.swap()]))
    await world.follow(*world.chain.reorg(1))
    assert world.reserve_in_book() == 101


async def test_heads_of_a_new_branch_one_by_one_undo_only_once(world: World) -> None:
    await world.follow(*[world.chain.mine(logs=[world.swap()])[0] for _ in range(3)])
    await world.follow(*world.chain.reorg(3, longer=1))
    assert [reorg.depth for reorg in world.reorgs] == [3]
    assert world.follower.tip == world.chain.tip


async def test_a_rollback_without_a_notice_is_noticed_at_the_next_block(world: World) -> None:
    await world.follow(*[world.chain.mine(logs=[world.swap()])[0] for _ in range(3)])
    world.chain.blocks = world.chain.blocks[:2]
    world.chain._salt += 1
    await world.follow(*world.chain.mine())
    assert [reorg.depth for reorg in world.reorgs] == [2]
    assert world.reserve_in_book() == 101


def another_pool(reserve0: int = 7) -> Pool:
    return a_pool_v2(address=NEW_PAIR, reserve0=reserve0, reserve1=9)


async def test_a_pool_joins_before_the_next_block_and_its_logs_are_in_that_block(world: World) -> None:
    [head] = world.chain.mine()
    await world.follow(head)
    assert world.follower.watch(another_pool(), head.ref)
    change = FakeLog(address=NEW_PAIR, topics=(V2_SYNC_TOPIC,), data=word(8) + word(9))
    await world.follow(*world.chain.mine(logs=[change]))
    assert world.steps[-2] == PoolsChange(head.ref, (another_pool(),))
    assert [delta.pool for delta in world.blocks[-1].deltas] == [NEW_PAIR]
    assert world.follower.book.pools[NEW_PAIR] == another_pool(8)


async def test_a_pool_with_a_state_of_an_older_block_may_not_join(world: World) -> None:
    first, second = world.chain.mine(2)
    await world.follow(first)
    assert world.follower.watch(another_pool(), first.ref)
    assert not world.follower.watch(another_pool(), second.ref)
    await world.follow(second, *world.chain.mine())
    assert not world.follower.watch(another_pool(), first.ref)


async def test_a_pool_that_came_too_late_for_the_block_under_way_does_not_join(world: World) -> None:
    first, second = world.chain.mine(2)
    await world.follow(first)
    readable = world.rpc.logs

    async def meanwhile(block_hash: str, addresses: Sequence[str]) -> list[RawLog]:
        assert world.follower.watch(another_pool(), first.ref)
        return list(await readable(block_hash, addresses))

    world.rpc.logs = meanwhile  # type: ignore[method-assign,assignment]
    await world.follow(second)
    world.rpc.logs = readable  # type: ignore[method-assign]
    await world.follow(*world.chain.mine())
    assert NEW_PAIR not in world.follower.book.pools


async def test_a_reorg_below_the_block_that_a_pool_joined_at_takes_it_out(world: World) -> None:
    first, second = world.chain.mine(2)
    await world.follow(first, second)
    world.follower.watch(another_pool(), second.ref)
    await world.follow(*world.chain.mine())
    assert NEW_PAIR in world.follower.book.pools
    await world.follow(*world.chain.reorg(1))
    assert NEW_PAIR in world.follower.book.pools
    await world.follow(*world.chain.reorg(2))
    assert NEW_PAIR not in world.follower.book.pools
    assert world.reserve_in_book() == world.reserve_on_chain()


async def test_a_pool_that_left_is_not_asked_for_and_no_reorg_brings_it_back(world: World) -> None:
    [head] = world.chain.mine(logs=[world.swap()])
    await world.follow(head)
    world.follower.unwatch(PAIR)
    await world.follow(*world.chain.mine(logs=[world.swap()]))
    assert world.steps[-2] == PoolsChange(head.ref, (), (PAIR,))
    assert world.blocks[-1].deltas == ()
    await world.follow(*world.chain.reorg(2))
    assert PAIR not in world.follower.book.pools


async def test_reading_everything_anew_begins_with_the_configured_pools(world: World) -> None:
    [head] = world.chain.mine()
    await world.follow(head)
    world.follower.watch(another_pool(), head.ref)
    await world.follow(*world.chain.mine())
    await world.follower.load(world)
    assert set(world.follower.book.pools) == {PAIR}


async def test_a_gap_above_the_limit_asks_for_fresh_pools() -> None:
    world = await World(FollowLimits(backfill=8)).start()
    head = world.chain.mine(9)[-1]
    assert "9 blocks were missed" in await world.follow(head)
    assert world.blocks == []


async def test_a_reorg_deeper_than_remembered_asks_for_fresh_pools() -> None:
    world = await World(FollowLimits(undo_depth=3)).start()
    await world.follow(*world.chain.mine(6))
    assert "leaves the chain" in await world.follow(world.chain.reorg(5)[-1])


async def test_a_block_that_vanishes_while_it_is_read_changes_nothing(world: World) -> None:
    [head] = world.chain.mine(logs=[world.swap()])
    world.chain.reorg(1, logs=[sync(777)])
    with pytest.raises(RpcError):
        await world.follow(head)
    assert world.follower.tip is not None
    assert world.follower.tip.number == 0
    await world.follow(world.chain.tip)
    assert world.reserve_in_book() == 777


async def test_a_failure_in_the_middle_of_a_branch_is_taken_up_again(world: World) -> None:
    heads = [world.chain.mine(logs=[world.swap()])[0] for _ in range(3)]
    await world.follow(heads[0])
    world.rpc.fail_next("logs", RpcUnavailable("lost"))
    with pytest.raises(RpcUnavailable):
        await world.follow(heads[2])
    await world.follow(heads[2])
    assert [event.block.number for event in world.blocks] == [1, 2, 3]


async def test_an_address_that_is_no_pool_stops_the_service() -> None:
    world = World()
    world.chain.answer_call = lambda to, data, header: b""
    with pytest.raises(Fatal, match="DEXLANE_MARKET_FEED_POOLS"):
        await world.start()


async def test_a_pool_that_was_read_before_and_cannot_be_now_is_tried_again_and_stops_nothing(world: World) -> None:
    answer, empty = world.chain.answer_call, 1

    def once_empty(to: str, data: bytes, header: Header) -> bytes:
        nonlocal empty
        empty -= 1
        return b"" if empty >= 0 else answer(to, data, header)

    world.chain.answer_call = once_empty
    world.chain.mine(300)
    await run_until_at_tip(world, Script(Gap("a long silence")))
    assert world.steps[-1] == ("loaded", 300)


async def test_what_turned_out_to_be_wrong_does_not_stand_because_reading_it_anew_failed(world: World) -> None:
    [head] = world.chain.mine(logs=[world.swap()])
    world.chain.blocks[1].logs[0] = world.chain.blocks[1].logs[0]._replace(data=sync(6_666).data)
    await world.follow(head)
    world.chain.blocks[1].logs[0] = world.chain.blocks[1].logs[0]._replace(data=sync(101).data)
    world.follower._recent = {head.hash: head}  # the block before it is not remembered
    world.follower.distrust(head.hash)
    world.rpc.fail_next("eth_call", RpcUnavailable("the connection was lost"))
    world.rpc.fail_next("code", RpcUnavailable("the connection was lost"))
    running = asyncio.create_task(world.follower.run(Script(Gap("a lie was found")), world, world.moments))
    await asyncio.sleep(1)
    await cancelled([running])
    assert world.reserve_in_book() == 101


class Script:
    """Heads as a test gives them; when they are used up the run is over."""

    def __init__(self, *items: Header | Gap) -> None:
        self._items = list(items)

    async def next(self) -> Header | Gap:
        if self._items:
            return self._items.pop(0)
        await asyncio.Event().wait()
        raise AssertionError


async def run_until_at_tip(world: World, script: Script) -> None:
    running = asyncio.create_task(world.follower.run(script, world, world.moments))
    try:
        async with asyncio.timeout(5):
            while world.follower.tip != world.chain.tip or script._items:
                if running.done():
                    running.result()
                await asyncio.sleep(0.01)
    finally:
        await cancelled([running])


async def test_a_gap_looks_at_the_chain_and_fills_in() -> None:
    world = World()
    gap = Gap("subscribed")
    world.chain.mine(3)
    await run_until_at_tip(world, Script(gap))
    world.chain.mine(4, logs=[world.swap()])
    await run_until_at_tip(world, Script(gap))
    assert [event.block.number for event in world.blocks] == [4, 5, 6, 7]


async def test_after_a_failed_call_the_newest_block_is_tried_without_another_head() -> None:
    world = await World().start()
    [head] = world.chain.mine(logs=[world.swap()])
    world.rpc.fail_next("logs", RpcUnavailable("lost"))
    await run_until_at_tip(world, Script(head))
    assert world.reserve_in_book() == world.reserve_on_chain()


async def test_logs_that_contradict_the_book_make_it_read_everything_anew() -> None:
    world = await World().start()
    bad = FakeLog(address=PAIR, topics=(V2_SYNC_TOPIC,), data=word(1))
    [head] = world.chain.mine(logs=[bad])
    world.chain.blocks[-1].logs.append(world.chain.blocks[-1].logs[0])
    world.reserve_on_chain = lambda at=None: 42  # type: ignore[method-assign,assignment]
    await run_until_at_tip(world, Script(head))
    assert world.steps[-1] == ("loaded", 1)
    assert world.reserve_in_book() == 42


async def test_readiness_says_why_a_chain_is_behind() -> None:
    world = World()
    probe = world.follower.why_not_current(1_000)
    assert "not loaded" in str(probe())
    await world.start()
    assert probe() is True
    world.clock.advance(1_001)
    assert "1001 ms ago" in str(probe())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(["mine", "reorg", "lose", "fail", "repeat"]), st.integers(1, 5)), max_size=40)
)
async def test_whatever_the_heads_do_the_book_ends_equal_to_the_chain(steps: list[tuple[str, int]]) -> None:
    world = await World(FollowLimits(undo_depth=16, backfill=16)).start()
    for step, amount in steps:
        heads = _disturb(world, step, amount)
        for head in heads:
            try:
                if await world.follow(head):
                    await world.follower.load(world)
            except (RpcUnavailable, RpcError):
                continue
    world.rpc._faults.clear()
    if await world.follow(world.chain.tip):
        await world.follower.load(world)
    assert world.follower.tip == world.chain.tip
    assert world.reserve_in_book() == world.reserve_on_chain()


def _disturb(world: World, step: str, amount: int) -> list[Header]:
    if step == "reorg":
        depth = min(amount, len(world.chain.blocks) - 1)
        return world.chain.reorg(depth, logs=[world.swap()]) if depth else []
    if step == "fail":
        world.rpc.fail_next("logs" if amount % 2 else "block", RpcUnavailable("lost"))
    if step == "repeat":
        return [block.header for block in world.chain.blocks[-amount:]]
    made = world.chain.mine(amount, logs=[world.swap()])
    return [] if step == "lose" else made


async def test_a_block_is_not_applied_without_logs_that_its_bloom_names_beyond_doubt(world: World) -> None:
    [head] = world.chain.mine()
    doubts: list[str] = []
    world.follower.logs.doubt = lambda header, reason: doubts.append(reason)
    with pytest.raises(RpcUnavailable, match="logs of block 1 are missing"):
        await world.follow(dataclasses.replace(head, logs_bloom=bloom_mask(PAIR), proved=True))
    assert (world.blocks, doubts) == ([], ["keeps back logs that the bloom of block 1 names"])


async def test_a_distrusted_block_is_undone_and_applied_anew(world: World) -> None:
    heads = [world.chain.mine(logs=[world.swap()])[0] for _ in range(3)]
    await world.follow(*heads)
    world.chain.blocks[2].logs[0] = world.chain.blocks[2].logs[0]._replace(data=sync(50).data)
    world.follower.distrust(heads[1].hash)
    await run_until_at_tip(world, Script(Gap("a lie was found")))
    assert [reorg.depth for reorg in world.reorgs] == [2]
    assert [event.block.hash for event in world.blocks[-2:]] == [heads[1].hash, heads[2].hash]
    assert [event.deltas[0].reserve0 for event in world.blocks[-2:]] == [50, 103]  # type: ignore[union-attr]


async def test_a_pool_that_the_node_refuses_to_read_anew_holds_up_no_block(world: World) -> None:
    answer = world.chain.answer_call

    def refused(to: str, data: bytes, header: Header) -> bytes:
        raise RpcError(-32000, "out of gas")

    world.chain.answer_call = refused
    world.follower.corrections.reread(world.follower.book.pools[PAIR].key)
    [head] = world.chain.mine(logs=[world.swap()])
    await world.follow(head)
    assert world.reserve_in_book() == 101
    world.chain.answer_call = answer
    assert list(world.follower.corrections.to_reread) == [PAIR]
    await world.follow(*world.chain.mine())
    assert not world.follower.corrections.to_reread


async def test_heads_that_were_announced_before_the_pools_were_read_change_nothing(world: World) -> None:
    old = world.chain.mine(5)
    await world.follower.load(world)
    assert await world.follow(*old) == ""
    assert (world.blocks, world.reorgs) == ([], [])
