"""Pool updates through the real broker to seven mirrors, each in its own process as in the running system."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.broker import started_bus
from bench.floor import Spread, spread
from bench.ingest import event_of
from bench.market_load import Market, block_hash
from dexlane.chain.answers import parse_logs
from dexlane.chain.logs import fold_logs
from dexlane.domain.pool_book import PoolBook
from dexlane.events.market import BlockApplied
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.observability import Log
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.testing.servers import nats_server
from dexlane.values.chains import BlockRef

MIRRORS = 7
POOLS = 1_000
LOGS_PER_BLOCK = 1_500
"""Gives some 790 updates a block: at 5,000 updates a second a block every 0.16 s."""

DISTINCT = 12


@dataclass(frozen=True)
class Mirrored:
    """What one mirror saw. Lag runs from the publisher's clock before encoding to the end of applying."""

    updates: int
    lag: Spread
    cpu_us_each: float
    digest: str


async def _seed(bus: Bus, market: Market) -> None:
    """The snapshots and the checkpoint that mirrors begin from."""
    block = BlockRef(number=0, hash=block_hash(0))
    for pool in market.pools:
        snapshot = PoolSnapshot(chain_id=1, block=block, pool=pool)
        await bus.kv_put(PoolSnapshot.key("main", 1, pool.key.address), snapshot.model_dump_json().encode())
    addresses = tuple(pool.key.address for pool in market.pools)
    mark = PoolCheckpoint(chain_id=1, block=block, market_sequence=0, pools=addresses)
    await bus.kv_put(PoolCheckpoint.key("main", 1), mark.model_dump_json().encode())


def _blocks(market: Market, updates: int) -> tuple[list[BlockApplied], str]:
    """Blocks with so many updates in all, and the digest of every pool after the last."""
    book, events, made = PoolBook(128), [], 0
    for pool in market.pools:
        book.put(pool, BlockRef(number=0, hash=block_hash(0)))
    for logs in market.blocks(DISTINCT, LOGS_PER_BLOCK, POOLS):
        event = event_of(len(events) + 1, fold_logs(parse_logs(logs), book.pools).deltas)
        book.apply(event)
        events.append(event)
        made += len(event.deltas)
    while made < updates:  # deltas are absolute, so the same ones may come again
        event = event_of(len(events) + 1, events[len(events) % DISTINCT].deltas)
        book.apply(event)
        events.append(event)
        made += len(event.deltas)
    return events, book.state_digest(book.pools)


async def _publish(bus: Bus, events: list[BlockApplied], rate: float) -> float:
    """Publish at so many updates a second; returns the rate that was reached."""
    began, due, updates = time.perf_counter(), 0.0, 0
    for event in events:
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        await bus.publish(event.model_copy(update={"received_at_ns": time.time_ns()}))
        updates += len(event.deltas)
        due = updates / rate
    return updates / (time.perf_counter() - began)


def _mirror_process(url: str, last_block: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.mirrors", url, str(last_block)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def _measure(url: str, rate: float, seconds: float) -> tuple[float, list[Mirrored], str]:
    bus = await started_bus(url)
    market = Market.of(POOLS)
    await _seed(bus, market)
    events, digest = _blocks(market, int(rate * seconds))
    print("mirrors: load is made, starting the processes", flush=True)
    mirrors = [_mirror_process(url, len(events)) for _ in range(MIRRORS)]
    for mirror in mirrors:
        assert mirror.stdout is not None
        await asyncio.to_thread(mirror.stdout.readline)  # it has loaded its pools
    reached = await _publish(bus, events, rate)
    seen = []
    for mirror in mirrors:
        output, _ = await asyncio.to_thread(mirror.communicate, timeout=60)
        seen.append(_read(json.loads(output)))
    await bus.stop()
    return reached, seen, digest


def _read(found: dict[str, Any]) -> Mirrored:
    return Mirrored(found["updates"], Spread(*found["lag"]), found["cpu_us_each"], found["digest"])


def show(rate: float = 5_000, seconds: float = 20) -> None:
    """Publish for that long and print the lag at every mirror."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as store, nats_server(Path(store)) as url:
        reached, seen, digest = asyncio.run(_measure(url, rate, seconds))
    print(f"mirrors: {reached:,.0f} updates/s of {rate:,.0f} for {seconds:.0f} s to {MIRRORS} processes")
    for number, one in enumerate(seen, 1):
        equal = "equal to the feed's book" if one.digest == digest else "NOT EQUAL to the feed's book"
        print(f"  mirror {number}: {one.updates:,} updates, lag {one.lag}; {one.cpu_us_each:.1f} us each, {equal}")


async def _follow(url: str, last_block: int) -> None:
    """One mirror: says when it is loaded, and what it saw once the last block was applied."""
    log = Log(logging.getLogger("bench"))
    bus, mirror, done = Bus(url, "main", "bench-mirror", log), PoolMirror(1), asyncio.Event()
    lags: list[float] = []
    updates = 0

    @mirror.on_block
    async def note(event: BlockApplied) -> None:
        nonlocal updates
        lags.append((time.time_ns() - event.received_at_ns) / 1e6)
        updates += len(event.deltas)
        if event.block.number == last_block:
            done.set()

    await bus.start()
    running = asyncio.create_task(mirror.run(bus, SystemClock(), log))
    while not mirror.book.pools:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    print("loaded", flush=True)
    began = time.process_time()
    await done.wait()
    cpu_us_each = 1e6 * (time.process_time() - began) / updates
    found = spread(lags)
    lag = (found.count, found.p50, found.p99, found.worst)
    digest = mirror.book.state_digest(mirror.book.pools)
    print(json.dumps({"updates": updates, "lag": lag, "cpu_us_each": cpu_us_each, "digest": digest}))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.stop()


if __name__ == "__main__":
    asyncio.run(_follow(sys.argv[1], int(sys.argv[2])))
