"""The market cache on a real server: what is written is read with its age; what is old, left over or lost is not."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from dexlane.domain.risk.depth import depth_of
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.market_cache import MarketCache, MarketReader, MarketRecord, NoReading, Reading, writer
from dexlane.runtime.market_cache.forms import DEPTH_MOVES_BPS, Keys
from dexlane.testing.builders import (
    USDC,
    V2_POOL,
    V3_POOL_500,
    WETH,
    a_block,
    a_block_ref,
    a_pool_v2,
    a_pool_v3,
    a_reserves_delta,
    a_token,
)
from dexlane.values.pools import Pool

pytestmark = pytest.mark.integration
MAX_AGE_MS = 1_000
SECOND_S = 1_700_000_000
"""When the default block 100 was."""


class World:
    """A writer and a reader on a realm of their own, and the pools as the feed holds them."""

    def __init__(self, url: str) -> None:
        self.realm = f"replay-{secrets.token_hex(4)}"
        self.redis = Redis.from_url(url, socket_timeout=1)
        self.clock = ManualClock()
        self.states: list[bool] = []
        self.cache = MarketCache(
            Redis.from_url(url, socket_timeout=1),
            Keys(self.realm, 1),
            USDC.address,
            self.clock,
            lambda up, _reason: self.states.append(up),
        )
        self.reader = MarketReader(self.redis, self.realm, 1, self.clock)
        self.pools: dict[str, Pool] = {V2_POOL: a_pool_v2(), V3_POOL_500: a_pool_v3()}

    def begin(self) -> None:
        self.cache.begin(self.pools, a_block_ref(99), SECOND_S - 60)

    def block(self, number: int, price: int | None = None, fork: str = "main", parent_fork: str = "main") -> None:
        """A block; with a price (whole USDC) the pair trades 7 USDC units against 9 of WETH and ends there."""
        deltas = ()
        if price is not None:
            pool = a_pool_v2(reserve0=price * 10_000 * 10**6)
            self.pools[V2_POOL] = pool
            deltas = (a_reserves_delta(reserve0=pool.state.reserve0),)  # type: ignore[union-attr]
        event = a_block(number, *deltas, fork=fork, parent_fork=parent_fork)
        self.cache.record(event, self.pools, {V2_POOL: (7, 9)} if deltas else {})

    async def write(self) -> None:
        batch = self.cache._take()
        assert batch is not None
        if not await self.cache._write(batch):
            self.cache._write_all_again()

    async def market(self, pool: str = V2_POOL) -> Reading[MarketRecord]:
        reading = await self.reader.market(pool, MAX_AGE_MS)
        assert isinstance(reading, Reading), reading
        return reading

    async def refusal(self, pool: str = V2_POOL) -> NoReading:
        reading = await self.reader.market(pool, MAX_AGE_MS)
        assert isinstance(reading, NoReading)
        return reading

    async def closes(self, interval: str) -> list[tuple[int, str]]:
        reading = await self.reader.candles(V2_POOL, interval, 100, MAX_AGE_MS)
        assert isinstance(reading, Reading), reading
        return [(candle.start_s - SECOND_S, candle.close) for candle in reading.value[1]]


@pytest_asyncio.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    world = World(redis_url)
    world.begin()
    yield world
    await world.redis.aclose()
    await world.cache.close()


async def test_a_pool_is_read_with_price_depth_block_and_age(world: World) -> None:
    world.block(100, 2_100)
    await world.write()
    world.clock.advance(300)
    reading = await world.market()
    assert (reading.block, reading.age_ms) == (a_block_ref(100), 300)
    record = reading.value
    assert (record.price, record.base_token, record.quote_token) == ("2100", WETH, USDC)
    levels = {level.move_bps: (level.out0, level.out1) for level in record.depth}
    assert levels == {move: tuple(depth_of(world.pools[V2_POOL], move)) for move in DEPTH_MOVES_BPS}


async def test_every_pool_is_there_after_the_first_block_and_stays_current_without_changing(world: World) -> None:
    world.block(100)
    await world.write()
    world.clock.advance(900)
    world.block(101)
    await world.write()
    reading = await world.market(V3_POOL_500.upper().replace("0X", "0x"))
    assert (reading.value.block, reading.block, reading.age_ms) == (a_block_ref(100), a_block_ref(101), 0)
    everything = await world.reader.prices(MAX_AGE_MS)
    assert isinstance(everything, Reading)
    assert {record.pool for record in everything.value} == {V2_POOL, V3_POOL_500}


async def test_what_is_older_than_the_reader_accepts_is_refused(world: World) -> None:
    world.block(100, 2_000)
    await world.write()
    world.clock.advance(MAX_AGE_MS + 1)
    assert (await world.refusal()).reason == "the market cache is 1001 ms old, at most 1000 ms are accepted"
    assert isinstance(await world.reader.prices(MAX_AGE_MS), NoReading)
    assert isinstance(await world.reader.candles(V2_POOL, "1m", 5, MAX_AGE_MS), NoReading)
    world.clock.advance(-3_002)
    assert "ahead of this machine's clock" in (await world.refusal()).reason


async def test_an_empty_cache_an_unknown_pool_and_a_silent_server_are_reasons(world: World) -> None:
    assert "holds nothing" in (await world.refusal()).reason
    world.block(100)
    await world.write()
    unknown = await world.refusal("0x" + "9" * 40)
    assert (unknown.unknown, "is not watched" in unknown.reason) == (True, True)
    lost = MarketReader(Redis.from_url("redis://127.0.0.1:1"), world.realm, 1, world.clock)
    answer = await lost.market(V2_POOL, MAX_AGE_MS)
    assert isinstance(answer, NoReading)
    assert "does not answer" in answer.reason


async def test_what_an_earlier_life_of_the_feed_left_is_refused_until_it_is_written_again(world: World) -> None:
    world.block(100, 2_000)
    await world.write()
    world.clock.advance(1)
    del world.pools[V3_POOL_500]
    world.begin()
    world.block(101)
    await world.write()
    assert (await world.market()).value.block == a_block_ref(101)
    assert (await world.refusal(V3_POOL_500)).unknown


async def test_a_pool_that_left_is_gone(world: World) -> None:
    world.block(100)
    await world.write()
    del world.pools[V3_POOL_500]
    world.cache.forget([V3_POOL_500])
    world.block(101)
    await world.write()
    assert (await world.refusal(V3_POOL_500)).unknown
    everything = await world.reader.prices(MAX_AGE_MS)
    assert isinstance(everything, Reading)
    assert [record.pool for record in everything.value] == [V2_POOL]


async def test_a_reorganisation_takes_prices_and_candles_back(world: World) -> None:
    for number, price in ((100, 2_000), (101, 2_100), (103, 2_300)):
        world.block(number, price)
    await world.write()
    assert await world.closes("1s") == [(0, "2000"), (1, "2100"), (3, "2300")]
    world.cache.undo(a_block_ref(100))
    world.pools[V2_POOL] = a_pool_v2()
    world.block(101, None, fork="b")
    await world.write()
    assert await world.closes("1s") == [(0, "2000")]
    assert (await world.market()).value.price == "2000"
    world.block(104, 2_400, fork="b", parent_fork="b")
    world.block(105, 2_500, fork="b", parent_fork="b")
    await world.write()
    assert await world.closes("1s") == [(0, "2000"), (4, "2400"), (5, "2500")]
    assert await world.closes("5s") == [(0, "2400"), (5, "2500")]


async def test_a_candle_that_closes_twice_within_one_write_is_kept_as_it_ended(world: World) -> None:
    world.block(100, 2_000)
    world.block(101, 2_100)
    await world.write()
    world.block(102, 2_200)
    world.cache.undo(a_block_ref(100))
    world.block(101, 2_150, fork="b")
    world.block(103, 2_250, fork="b", parent_fork="b")
    await world.write()
    assert await world.closes("1s") == [(0, "2000"), (1, "2150"), (3, "2250")]
    assert await world.redis.zcard(Keys(world.realm, 1).candles("1s", V2_POOL)) == 2


async def test_candles_count_both_volumes_of_swaps_only(world: World) -> None:
    world.block(100, 2_000)
    world.block(101)
    world.block(102, 2_050)
    await world.write()
    reading = await world.reader.candles(V2_POOL, "1m", 10, MAX_AGE_MS)
    assert isinstance(reading, Reading)
    [candle] = reading.value[1]
    assert (candle.open, candle.high, candle.close, candle.blocks) == ("2000", "2050", "2050", 2)
    assert (candle.base_volume, candle.quote_volume) == (18, 14)
    assert candle.candle(USDC).close == 2_050 * 10**6 * 10**12
    with pytest.raises(KeyError):
        await world.reader.candles(V2_POOL, "2m", 10, MAX_AGE_MS)


async def test_a_candle_whose_first_part_was_not_seen_is_never_kept_as_closed(world: World) -> None:
    world.cache.begin(world.pools, a_block_ref(99), SECOND_S + 5)
    world.block(110, 2_000)
    world.block(200, 2_100)
    await world.write()
    assert await world.closes("1m") == [(100, "2100")]


async def test_a_server_that_lost_everything_is_filled_again(world: World) -> None:
    world.block(100, 2_000)
    await world.write()
    await world.redis.flushdb()
    world.block(101)
    await world.write()
    assert (await world.refusal()).unknown
    await world.write()
    assert (await world.market()).value.price == "2000"
    assert (await world.market(V3_POOL_500)).value.seen_since_s == SECOND_S + 1


async def test_a_lost_server_is_reported_once_and_written_when_it_is_back(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    monkeypatch.setattr(writer, "SETTLE_S", 0.0)
    world = World(redis_url)
    world.begin()
    real, world.cache._redis = world.cache._redis, Redis.from_url("redis://127.0.0.1:1")
    running = asyncio.create_task(world.cache.run())
    try:
        for number in range(100, 105):
            world.block(number, 2_000 + number)
            await asyncio.sleep(0.02)
        assert world.states == [False]
        world.cache._redis = real
        async with asyncio.timeout(5):
            while world.states != [False, True]:  # noqa: ASYNC110  the writer is another task
                await asyncio.sleep(0.01)
        assert (await world.market()).value.price == "2104"
        assert await world.closes("1s") == [(second, str(2_100 + second)) for second in range(5)]
    finally:
        running.cancel()
        await world.cache.close()
        await world.redis.aclose()


async def test_a_market_without_the_quote_token_is_priced_in_its_second_token(world: World) -> None:
    one, two = sorted((a_token("AAA"), WETH), key=lambda token: token.address)
    address = "0x" + "5" * 40
    world.pools[address] = a_pool_v2(address=address, token0=one, token1=two, reserve0=10**18, reserve1=3 * 10**18)
    world.cache.expect([address])
    world.block(100)
    await world.write()
    record: Any = (await world.market(address)).value
    assert (record.base_token, record.quote_token, record.price) == (one, two, "3")
