"""Two market feeds for one chain, as processes on a real bus and a real node: one writes, the other one follows it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest
import pytest_asyncio

from dexlane.events.base import Event
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.events.streams import LEASES
from dexlane.runtime.bus import Bus
from dexlane.runtime.sequenced import SequencedPublisher
from dexlane_devnet import V2_POOL, V3_POOL_005, Devnet, DevnetConfig, free_port, start_devnet

pytestmark = [pytest.mark.integration, pytest.mark.alone]
LEASE_TTL_S = 1.0
TAKEOVER_BOUND_S = LEASE_TTL_S + 1.5
"""The lease must run out, the standby looks eight times in its length, and a busy machine needs a moment."""


class Feed:
    """A market feed as a process of its own."""

    def __init__(self, devnet: Devnet, nats_url: str, redis_url: str) -> None:
        self.port = free_port()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DEXLANE_")},
            "DEXLANE_NATS_URL": nats_url,
            "DEXLANE_REDIS_URL": redis_url,
            "DEXLANE_RPC_WS_URLS": orjson.dumps({"1": [devnet.ws_url]}).decode(),
            "DEXLANE_LOG_LEVEL": "WARNING",
            "DEXLANE_MARKET_FEED_PORT": str(self.port),
            "DEXLANE_MARKET_FEED_LEASE_TTL_S": str(LEASE_TTL_S),
        }
        self.process = subprocess.Popen([Path(sys.executable).parent / "dexlane-market-feed"], env=environment)

    async def ready(self) -> None:
        async with asyncio.timeout(120), httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    if (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                assert self.process.poll() is None
                await asyncio.sleep(0.1)

    def kill(self, how: signal.Signals) -> None:
        self.process.send_signal(how)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


class World:
    """A chain that moves on, two feeds, and the stream."""

    def __init__(self, devnet: Devnet, bus: Bus, feeds: list[Feed]) -> None:
        self.devnet = devnet
        self.bus = bus
        self.feeds = feeds

    async def writer(self) -> Feed:
        """Whose lease it is; the process id is in the holder's name."""
        bucket = await self.bus.js.key_value(LEASES.name)
        entry = orjson.loads((await bucket.get("main.1.market-feed")).value or b"")
        return next(feed for feed in self.feeds if f"-{feed.process.pid}-" in entry["holder"])

    async def stream(self) -> list[Event]:
        return await SequencedPublisher(self.bus, 1, (BlockApplied, BlockReorged)).recent(100_000)

    async def stream_reaches_tip(self) -> float:
        """Wait until the chain's newest block is published; when that was seen, in seconds of the monotonic clock."""
        tip = await self.devnet.rpc("eth_getBlockByNumber", "latest", False)
        async with asyncio.timeout(60):
            while True:
                last = (await SequencedPublisher(self.bus, 1, (BlockApplied, BlockReorged)).recent(0) or [None])[-1]
                if isinstance(last, BlockApplied) and last.block.hash == tip["hash"]:
                    return time.monotonic()
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def world(bus: Bus, nats_url: str, redis_url: str) -> AsyncIterator[World]:
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        feeds = [Feed(devnet, nats_url, redis_url) for _ in range(2)]
        try:
            await asyncio.gather(*(feed.ready() for feed in feeds))
            yield World(devnet, bus, feeds)
        finally:
            for feed in feeds:
                feed.stop()


def assert_each_block_once_in_order(stream: list[Event]) -> list[BlockApplied]:
    """What readers hold at the end; fails when a block does not follow the one before it, or comes twice."""
    held: list[BlockApplied] = []
    for event in stream:
        if isinstance(event, BlockApplied):
            assert not held or event.parent_hash == held[-1].block.hash
            held.append(event)
        elif isinstance(event, BlockReorged):
            while held and held[-1].block.number > event.ancestor.number:
                held.pop()
            assert not held or held[-1].block.hash == event.ancestor.hash
    assert len({event.id for event in stream}) == len(stream)
    return held


async def trade(devnet: Devnet, times: int) -> None:
    for at in range(times):
        await devnet.swap_exact_in((V3_POOL_005, V2_POOL)[at % 2], V2_POOL.token0, 10**9 + at)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
async def test_the_standby_goes_on_without_a_gap_when_the_writer_ends(world: World, how: signal.Signals) -> None:
    await trade(world.devnet, 5)
    await world.stream_reaches_tip()
    writer = await world.writer()
    ending = asyncio.create_task(trade(world.devnet, 40))
    await asyncio.sleep(0.1)
    killed = time.monotonic()
    writer.kill(how)
    await ending
    await world.devnet.mine()
    caught_up = await world.stream_reaches_tip()
    assert caught_up - killed < TAKEOVER_BOUND_S + 1
    await trade(world.devnet, 3)
    writer.kill(signal.SIGCONT)
    await world.devnet.reorg(3)
    await trade(world.devnet, 3)
    await world.stream_reaches_tip()
    assert await world.writer() is not writer
    held = assert_each_block_once_in_order(await world.stream())
    assert [event.block.number for event in held] == list(range(held[0].block.number, held[-1].block.number + 1))
    assert sum(len(event.deltas) for event in held) >= 48


async def test_a_writer_that_ends_in_the_middle_of_a_reorganisation_leaves_readers_on_the_chain(world: World) -> None:
    await trade(world.devnet, 10)
    await world.stream_reaches_tip()
    (await world.writer()).kill(signal.SIGKILL)
    await world.devnet.reorg(6)
    await trade(world.devnet, 2)
    await world.stream_reaches_tip()
    stream = await world.stream()
    [left] = [event for event in stream if isinstance(event, BlockReorged)]
    assert left.depth == 6
    assert_each_block_once_in_order(stream)
