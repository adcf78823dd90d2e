"""The mirror equals the feed's book: after a late start, a reorganisation and a lost snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dexlane.events.market import BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.runtime.bus import Bus
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.observability import Log
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.testing.builders import CHAIN_ID, V2_POOL, a_block, a_block_ref, a_pool_v2, a_reorg, a_reserves_delta
from dexlane.values.chains import BlockRef
from dexlane.values.pools import ConstantProductState

pytestmark = pytest.mark.integration


async def checkpoint(bus: Bus, block: BlockRef, sequence: int, reserve0: int) -> None:
    pool = a_pool_v2(reserve0=reserve0, reserve1=10**21)
    snapshot = PoolSnapshot(chain_id=CHAIN_ID, block=block, pool=pool)
    await bus.kv_put(PoolSnapshot.key("main", CHAIN_ID, V2_POOL), snapshot.model_dump_json().encode())
    mark = PoolCheckpoint(chain_id=CHAIN_ID, block=block, market_sequence=sequence, pools=(V2_POOL,))
    await bus.kv_put(PoolCheckpoint.key("main", CHAIN_ID), mark.model_dump_json().encode())


def a_change(number: int, reserve0: int, fork: str = "main", parent_fork: str | None = None) -> BlockApplied:
    delta = a_reserves_delta(reserve0=reserve0, reserve1=10**21)
    return a_block(number, delta, fork=fork, parent_fork=parent_fork)


@asynccontextmanager
async def following(bus: Bus, mirror: PoolMirror, log: Log) -> AsyncIterator[None]:
    running = asyncio.create_task(mirror.run(bus, SystemClock(), log))
    try:
        yield
    finally:
        await cancelled([running])


async def until_tip(mirror: PoolMirror, block: BlockRef) -> int:
    async with asyncio.timeout(8):
        while mirror.tip != block:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    state = mirror.book.pools[V2_POOL].state
    assert isinstance(state, ConstantProductState)
    return state.reserve0


async def test_a_late_starter_begins_at_the_snapshot_and_catches_up(bus: Bus, log: Log) -> None:
    await bus.publish(a_change(101, 1_001))
    ack = await bus.publish(a_change(102, 1_002))
    await checkpoint(bus, a_block_ref(102), ack.seq, 1_002)
    await bus.publish(a_change(103, 1_003))
    seen: list[int] = []
    mirror = PoolMirror(CHAIN_ID)

    @mirror.on_block
    async def note(event: BlockApplied) -> None:
        seen.append(event.block.number)

    async with following(bus, mirror, log):
        assert await until_tip(mirror, a_block_ref(103)) == 1_003
        await bus.publish(a_change(104, 1_004))
        assert await until_tip(mirror, a_block_ref(104)) == 1_004
        assert mirror.why_not_current(SystemClock().now_ms(), 60_000) is True
    assert seen == [103, 104]


async def test_a_reorganisation_takes_the_pools_back_and_forth_to_the_new_branch(bus: Bus, log: Log) -> None:
    await checkpoint(bus, a_block_ref(100), 0, 1_000)
    reorgs: list[int] = []
    mirror = PoolMirror(CHAIN_ID)

    @mirror.on_reorg
    async def note(event: BlockReorged) -> None:
        reorgs.append(event.depth)

    async with following(bus, mirror, log):
        for number in (101, 102, 103):
            await bus.publish(a_change(number, 1_000 + number))
        assert await until_tip(mirror, a_block_ref(103)) == 1_103
        await bus.publish(a_reorg(a_block_ref(103), a_block_ref(101), a_block_ref(103, "other")))
        assert await until_tip(mirror, a_block_ref(101)) == 1_101
        await bus.publish(a_change(102, 2_102, "other", parent_fork="main"))
        await bus.publish(a_change(103, 2_103, "other"))
        assert await until_tip(mirror, a_block_ref(103, "other")) == 2_103
    assert reorgs == [2]


async def test_a_gap_makes_the_mirror_begin_again_from_the_next_snapshot(bus: Bus, log: Log) -> None:
    await checkpoint(bus, a_block_ref(100), 0, 1_000)
    mirror = PoolMirror(CHAIN_ID)
    async with following(bus, mirror, log):
        await bus.publish(a_change(101, 1_101))
        assert await until_tip(mirror, a_block_ref(101)) == 1_101
        ack = await bus.publish(a_change(105, 1_105))
        await asyncio.sleep(0.3)
        assert mirror.tip != a_block_ref(105)
        await checkpoint(bus, a_block_ref(105), ack.seq, 1_105)
        await bus.publish(a_change(106, 1_106))
        assert await until_tip(mirror, a_block_ref(106)) == 1_106


async def test_a_snapshot_of_a_block_that_left_the_chain_is_not_taken_for_the_new_branch(bus: Bus, log: Log) -> None:
    ack = await bus.publish(a_change(102, 1_102))
    await checkpoint(bus, a_block_ref(102), ack.seq, 1_102)
    await bus.publish(a_reorg(a_block_ref(102), a_block_ref(100), a_block_ref(103, "b")))
    await bus.publish(a_block(101, fork="b", parent_fork="main"))
    await bus.publish(a_block(102, fork="b"))
    last = await bus.publish(a_block(103, fork="b"))
    mirror = PoolMirror(CHAIN_ID)
    async with following(bus, mirror, log):
        await asyncio.sleep(0.5)
        assert mirror.tip is None
        await checkpoint(bus, a_block_ref(103, "b"), last.seq, 1_000)
        await bus.publish(a_block(104, fork="b"))
        assert await until_tip(mirror, a_block_ref(104, "b")) == 1_000


NEW = "0x" + "5" * 40


def discovered(block: BlockRef, reserve0: int, address: str = NEW) -> PoolDiscovered:
    pool = a_pool_v2(address=address, reserve0=reserve0, reserve1=10**21)
    return PoolDiscovered(
        id=PoolDiscovered.make_id(CHAIN_ID, address, block.hash),
        chain_id=CHAIN_ID,
        occurred_at_ms=1,
        block=block,
        pool=pool,
    )


def watched(block: BlockRef, *pools: str) -> PoolsWatched:
    return PoolsWatched(
        id=PoolsWatched.make_id(CHAIN_ID, block.hash, pools),
        chain_id=CHAIN_ID,
        occurred_at_ms=1,
        block=block,
        pools=pools,
    )


async def test_a_discovered_pool_is_followed_from_its_block_on_and_leaves_with_a_reorg_below_it(
    bus: Bus, log: Log
) -> None:
    ack = await bus.publish(a_change(101, 1_001))
    await checkpoint(bus, a_block_ref(101), ack.seq, 1_001)
    mirror = PoolMirror(CHAIN_ID)
    async with following(bus, mirror, log):
        await bus.publish(discovered(a_block_ref(101), 7))
        await bus.publish(a_block(102, a_reserves_delta(pool=NEW, reserve0=8, reserve1=10**21)))
        await until_tip(mirror, a_block_ref(102))
        assert mirror.book.pools[NEW].state.reserve0 == 8  # type: ignore[union-attr]
        await bus.publish(discovered(a_block_ref(50), 3))
        await bus.publish(a_reorg(a_block_ref(102), a_block_ref(101), a_block_ref(102, "b")))
        await bus.publish(a_block(102, fork="b", parent_fork="main"))
        await until_tip(mirror, a_block_ref(102, "b"))
        assert mirror.book.pools[NEW].state.reserve0 == 7  # type: ignore[union-attr]


async def test_a_pool_that_nobody_reports_any_more_is_forgotten(bus: Bus, log: Log) -> None:
    ack = await bus.publish(a_change(101, 1_001))
    await checkpoint(bus, a_block_ref(101), ack.seq, 1_001)
    mirror = PoolMirror(CHAIN_ID)
    async with following(bus, mirror, log):
        await bus.publish(discovered(a_block_ref(101), 7))
        await bus.publish(a_block(102))
        await until_tip(mirror, a_block_ref(102))
        assert NEW in mirror.book.pools
        await bus.publish(watched(a_block_ref(102), V2_POOL))
        await bus.publish(a_block(103))
        assert await until_tip(mirror, a_block_ref(103)) == 1_001
        assert set(mirror.book.pools) == {V2_POOL}


async def test_pools_that_the_feed_reads_anew_at_the_very_tip_replace_those_of_the_mirror(bus: Bus, log: Log) -> None:
    await checkpoint(bus, a_block_ref(100), 0, 1_000)
    mirror = PoolMirror(CHAIN_ID)
    async with following(bus, mirror, log):
        await bus.publish(a_change(101, 6_666))  # a lie, found out before the next block
        assert await until_tip(mirror, a_block_ref(101)) == 6_666
        ack = await bus.publish(discovered(a_block_ref(101), 1_001, V2_POOL))
        await checkpoint(bus, a_block_ref(101), ack.seq, 1_001)
        await bus.publish(a_block(102))
        assert await until_tip(mirror, a_block_ref(102)) == 1_001
