"""Pending swaps on a real node."""

from __future__ import annotations

import asyncio
import random

import pytest

from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.pending import Mode, PendingSwaps
from dexlane.chain.pool_loading import ChainReader, WatchedPool, load_pool
from dexlane.chain.rpc import RpcClient
from dexlane.chain.subscriptions import SubscriptionPolicy
from dexlane.chain.swap_calls import ROUTERS
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.observability import Log, Metrics
from dexlane.values.pools import Protocol
from dexlane_devnet import ADDRESSES, V2_POOL, V3_POOL_005, DevnetConfig, free_port, start_devnet
from market_feed.metrics import NodeMoments

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("mode", ["full", "hashes"])
async def test_swaps_that_wait_on_a_real_node_are_seen_with_the_pools_they_may_touch(mode: Mode, log: Log) -> None:
    link = LinkPolicy(jitter=random.random)
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        await devnet.set_automine(False)
        client = RpcClient(devnet.ws_url, name="test", policy=link, chain_id=1)
        await client.start()
        node = NodeRpc(client)
        reader = await ChainReader.at(node, "latest")
        pools = {
            pool.address.lower(): await load_pool(reader, WatchedPool(address=pool.address.lower(), protocol=kind))
            for pool, kind in ((V3_POOL_005, Protocol.UNISWAP_V3), (V2_POOL, Protocol.UNISWAP_V2))
        }
        pending = PendingSwaps(
            1, ROUTERS[1], source=node, clock=SystemClock(), moments=NodeMoments(Metrics("market-feed"), log)
        )
        running = asyncio.create_task(pending.run(devnet.ws_url, mode, SubscriptionPolicy(link=link)))
        await asyncio.sleep(0.5)
        sends = [
            asyncio.create_task(devnet.swap_exact_in(pool, V2_POOL.token0, 10**9)) for pool in (V3_POOL_005, V2_POOL)
        ]
        async with asyncio.timeout(10):
            while len(pending.waiting()) < 2:  # noqa: ASYNC110  another process announces them
                await asyncio.sleep(0.02)
        touched = {address for swap in pending.waiting() for address in swap.pools_among(pools)}
        assert touched == set(pools)
        assert {swap.router for swap in pending.waiting()} == {ADDRESSES.swap_router02.lower()}
        assert [swap.swaps[0].amount for swap in pending.waiting()] == [10**9, 10**9]
        for _ in range(40):
            await devnet.mine()
            if all(task.done() for task in sends):
                break
            await asyncio.sleep(0.05)
        await asyncio.gather(*sends)
        await cancelled([running])
        await client.stop()
