"""The market feed on a real node, a real bus and a real cache: its mirror elsewhere stays equal to the chain."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.pool_loading import ChainReader, WatchedPool, load_pool
from dexlane.chain.rpc import RpcClient
from dexlane.events.market import BlockReorged
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.market_cache import CandleForm, MarketReader, Reading
from dexlane.runtime.observability import Log
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.runtime.service import Service
from dexlane_devnet import V2_POOL, V3_POOL_005, Devnet, DevnetConfig, free_port, start_devnet
from market_feed.app import build
from market_feed.settings import Settings

pytestmark = pytest.mark.integration
USDC = V2_POOL.token0


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the condition belongs to another process
            await asyncio.sleep(0.02)


class Running:
    """Chain, feed, and a mirror as another service would hold it."""

    def __init__(self, devnet: Devnet, service: Service, mirror: PoolMirror, rpc: NodeRpc) -> None:
        self.devnet = devnet
        self.service = service
        self.mirror = mirror
        self.rpc = rpc
        self.reorgs: list[BlockReorged] = []

    async def mirror_equals_chain(self) -> None:
        async with asyncio.timeout(20):
            while True:
                tip = await self.rpc.block("latest")
                assert tip is not None
                if self.mirror.tip is not None and self.mirror.tip.hash == tip.hash:
                    break
                await asyncio.sleep(0.02)
            reader = await ChainReader.at(self.rpc, tip.hash)
            for address, known in self.mirror.book.pools.items():
                watched = WatchedPool(address=address, protocol=known.key.protocol)
                assert await load_pool(reader, watched) == known


@pytest_asyncio.fixture
async def running(bus: Bus, nats_url: str, redis_url: str, log: Log) -> AsyncIterator[Running]:
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        settings = Settings(
            tripwire_every_s=0.1,
            tripwire_confirmations=1,
            nats_url=nats_url,
            redis_url=redis_url,
            rpc_ws_urls={1: devnet.ws_url},
            port=0,
            log_level="ERROR",
        )
        service, mirror = build(settings), PoolMirror(1)
        client = RpcClient(devnet.ws_url, name="test", policy=LinkPolicy(jitter=random.random), chain_id=1)
        await client.start()
        world = Running(devnet, service, mirror, NodeRpc(client))

        @mirror.on_reorg
        async def remember(event: BlockReorged) -> None:
            world.reorgs.append(event)

        tasks = [asyncio.create_task(service.run()), asyncio.create_task(mirror.run(bus, SystemClock(), log))]
        await until(lambda: service.why_not_ready() == {})
        await devnet.mine()
        await until(lambda: mirror.tip is not None)
        yield world
        service.stop()
        await asyncio.wait_for(tasks[0], 15)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        await client.stop()


async def test_a_mirror_stays_equal_to_the_chain_through_swaps_and_reorgs(running: Running) -> None:
    devnet = running.devnet
    for pool in (V3_POOL_005, V2_POOL):
        for amount in (10**9, 5 * 10**10):
            await devnet.swap_exact_in(pool, USDC, amount)
    await running.mirror_equals_chain()
    await devnet.reorg(2)
    await until(lambda: running.reorgs)
    assert running.reorgs[0].depth == 2
    await running.mirror_equals_chain()
    await devnet.swap_exact_in(V3_POOL_005, USDC, 10**10)
    await running.mirror_equals_chain()


async def test_a_silent_rollback_is_noticed_at_the_next_block(running: Running) -> None:
    snapshot = await running.devnet.rpc("evm_snapshot")
    await running.devnet.swap_exact_in(V3_POOL_005, USDC, 10**10)
    await running.mirror_equals_chain()
    await running.devnet.rpc("evm_revert", snapshot)
    await running.devnet.mine(2)
    await running.mirror_equals_chain()
    assert running.reorgs


async def test_blocks_are_not_lost_while_nobody_listens(running: Running) -> None:
    before = running.mirror.tip
    assert before is not None
    await running.devnet.mine(50)
    await running.mirror_equals_chain()
    assert running.mirror.tip is not None
    assert running.mirror.tip.number == before.number + 50


async def test_prices_and_candles_reach_the_readers(running: Running, redis_url: str) -> None:
    await running.devnet.swap_exact_in(V3_POOL_005, USDC, 10**10)
    async with Redis.from_url(redis_url) as redis:
        reader = MarketReader(redis, "main", 1, SystemClock())
        candles: tuple[CandleForm, ...] = ()
        async with asyncio.timeout(10):
            while not candles:
                await asyncio.sleep(0.05)
                reading = await reader.candles(V3_POOL_005.address, "1d", 1, 5_000)
                record, candles = reading.value if isinstance(reading, Reading) else (None, ())
    [candle] = candles
    assert record is not None
    assert 500 < float(record.price or 0) < 20_000
    assert candle.close == record.price
    assert candle.quote_volume == 10**10
    assert record.depth[0].out0 < record.depth[-1].out0


async def test_storage_written_without_an_event_is_repaired_in_every_mirror(running: Running) -> None:
    """Slot 8 of ``UniswapV2Pair`` packs the reserves."""
    await running.devnet.mine(3)
    await running.mirror_equals_chain()
    slot = "0x" + (8).to_bytes(32, "big").hex()
    there = int(await running.devnet.rpc("eth_getStorageAt", V2_POOL.address, slot, "latest"), 16)
    value = "0x" + (there + 10**9).to_bytes(32, "big").hex()
    await running.devnet.rpc("anvil_setStorageAt", V2_POOL.address, slot, value)
    await running.devnet.mine(2)
    repaired = running.service.metrics.registry
    name, labels = "dexlane_market_feed_tripwire_defects_total", {"chain": "1", "defect": "storage_changed"}
    await until(lambda: repaired.get_sample_value(name, labels))
    await running.devnet.mine(2)
    await running.mirror_equals_chain()
