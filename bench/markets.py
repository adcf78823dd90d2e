"""What the market cache and the discovery cost per block: what holds up the feed, and what runs behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from bench.floor import Spread, spread
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick
from dexlane.domain.liquidity_filter import LiquidityFilter, Thresholds
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.strategies.base import PoolsByBase
from dexlane.events.market import BlockApplied
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.market_cache import MarketCache, MarketReader, Reading
from dexlane.runtime.market_cache.forms import Keys
from dexlane.testing.builders import USDC, a_block, a_block_ref, a_pool_v2, a_pool_v3, an_address
from dexlane.testing.servers import redis_server
from dexlane.values.pools import ConcentratedDelta, Pool, PoolDelta, ReservesDelta, Tick

POOLS = 1_000
CONCENTRATED = 300
TICKS = 200
SWAPS = 50
BLOCKS = 60
REALM = "replay-bench"


@dataclass(frozen=True)
class MarketsResult:
    """Milliseconds of processor time of this process, but for the readings, which wait for Redis.

    ``held``: the longest stretch per block in which the event loop did nothing else.
    """

    encoding: Spread
    recording: Spread
    grouping: Spread
    judging: Spread
    writing: Spread
    held: Spread
    first_write_ms: float
    reading_one: Spread
    reading_all: Spread


def run() -> MarketsResult:
    """Measure with ``POOLS`` watched pools and ``SWAPS`` of them swapped per block."""
    with redis_server() as url:
        return asyncio.run(_measure(url))


def _pools() -> dict[str, Pool]:
    deep = tuple(
        sorted(
            Tick(200_310 + side * 60 * step, 10**15, -side * 10**15)
            for step in range(1, TICKS // 2 + 1)
            for side in (1, -1)
        )
    )
    pools = {}
    for number in range(POOLS):
        address = an_address(f"bench {number}")
        if number < CONCENTRATED:
            pools[address] = a_pool_v3(address=address, liquidity=TICKS // 2 * 10**15, ticks=deep)
        else:
            pools[address] = a_pool_v2(address=address)
    return pools


def _block(number: int, pools: dict[str, Pool]) -> BlockApplied:
    """Swaps in ``SWAPS`` pools, both kinds in their share, a different set each time."""
    addresses = list(pools)
    deltas: list[PoolDelta] = []
    for at in range(SWAPS):
        address = addresses[(number * 37 + at * POOLS // SWAPS) % POOLS]
        if pools[address].key.tick_spacing:
            tick = 200_311 + number % 40
            delta = ConcentratedDelta(
                pool=address, sqrt_price_x96=sqrt_ratio_at_tick(tick), tick=tick, liquidity=TICKS // 2 * 10**15
            )
        else:
            delta = ReservesDelta(pool=address, reserve0=(20_000_000 + number) * 10**6, reserve1=10_000 * 10**18)
        deltas.append(delta)
    return a_block(number, *deltas)


async def _measure(url: str) -> MarketsResult:
    clock, pools = SystemClock(), _pools()
    cache = MarketCache(Redis.from_url(url), Keys(REALM, 1), USDC.address, clock, lambda up, reason: None)
    book, groups = PoolBook(), PoolsByBase(USDC.address)
    for pool in pools.values():
        book.put(pool, a_block_ref(99))
    cache.begin(pools, a_block_ref(99), 0)
    samples: dict[str, list[float]] = {name: [] for name in ("encode", "record", "group", "judge", "write", "held")}
    first_ms = 0.0
    known = LiquidityFilter(Thresholds(1, 1, POOLS))
    for address in pools:
        known.measure(address, 10)
    for number in range(100, 100 + BLOCKS):
        event = _block(number, pools)
        volumes = {delta.pool: (10**9, 10**18) for delta in event.deltas}
        book.apply(event)
        _time(samples["encode"], event.to_wire)
        _time(samples["group"], lambda: groups.groups(book.pools))
        _time(samples["record"], lambda event=event, volumes=volumes: cache.record(event, book.pools, volumes))
        _time(samples["judge"], lambda: [a for a in known.watched if a not in book.pools])
        wrote_ms, held_ms = await _write_what_is_due(cache)
        if number == 100:
            first_ms = wrote_ms
        else:
            samples["write"].append(wrote_ms)
            samples["held"].append(held_ms)
    one, everything = await _read(url, clock, list(pools))
    await cache.close()
    names = ("encode", "record", "group", "judge", "write", "held")
    return MarketsResult(*(spread(samples[name]) for name in names), first_ms, spread(one), spread(everything))


async def _write_what_is_due(cache: MarketCache) -> tuple[float, float]:
    """Write what is due: processor time spent on it, and the longest stretch of it without a pause for others."""
    pauses: list[float] = []
    done = asyncio.Event()

    async def beat() -> None:
        while not done.is_set():
            began = time.process_time()
            await asyncio.sleep(0.0005)
            pauses.append((time.process_time() - began) * 1e3)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0)
    batch = cache._take()  # noqa: SLF001
    assert batch is not None
    began = time.process_time()
    await cache._write(batch)  # noqa: SLF001
    took_ms = (time.process_time() - began) * 1e3
    done.set()
    await beating
    return took_ms, max(pauses)


async def _read(url: str, clock: SystemClock, pools: list[str]) -> tuple[list[float], list[float]]:
    one: list[float] = []
    everything: list[float] = []
    async with Redis.from_url(url) as redis:
        reader = MarketReader(redis, REALM, 1, clock)
        for number in range(20):
            began = time.perf_counter()
            assert isinstance(await reader.candles(pools[number], "1m", 200, 60_000), Reading)
            one.append((time.perf_counter() - began) * 1e3)
            began = time.perf_counter()
            found = await reader.prices(60_000)
            everything.append((time.perf_counter() - began) * 1e3)
            assert isinstance(found, Reading)
            assert len(found.value) == POOLS
    return one, everything


def _time(samples: list[float], work: Callable[[], object]) -> None:
    began = time.process_time()
    work()
    samples.append((time.process_time() - began) * 1e3)


def show(result: MarketsResult) -> None:
    """One line for each figure."""
    print(f"markets: {POOLS} watched pools ({CONCENTRATED} with {TICKS} ticks), {SWAPS} swapped per block")
    print(f"  encoding block.applied, for comparison      {result.encoding}")
    print("  before the block is out:")
    print(f"    strategies see whether pools changed      {result.grouping}")
    print("  after the block is out, holding up nothing but the next block:")
    print(f"    noting prices and candles                 {result.recording}")
    print("  in the background:")
    print(f"    discovery sees who joined                 {result.judging}")
    print(f"    depth, encoding and writing to Redis      {result.writing}")
    print(f"    of it, the loop held at a stretch         {result.held}")
    print(f"    the first write, of all pools             {result.first_write_ms:.0f} ms")
    print(f"  reading one pool with 200 candles           {result.reading_one}")
    print(f"  reading all pools                           {result.reading_all}")
