"""Markets over REST: figures with block and age, sums over a pair, and refusals where there is nothing current."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from dexlane.domain.risk.depth import depth_of
from dexlane.runtime.market_cache import MarketCache
from dexlane.runtime.market_cache.forms import Keys
from dexlane.testing.builders import (
    NOW_MS,
    USDC,
    V2_POOL,
    V3_POOL_500,
    WETH,
    a_block,
    a_block_ref,
    a_pool_v2,
    a_pool_v3,
    a_reserves_delta,
)

OTHER_POOL = "0x" + "7" * 40


async def test_without_a_cache_there_is_a_reason_and_no_figure(gateway: Any) -> None:
    answer = await gateway.client.get("/api/v1/markets/1")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "the market cache does not answer" in answer.json()["detail"]
    assert (await gateway.client.get("/api/v1/markets/5")).status_code == 404
    assert (await gateway.client.get(f"/api/v1/markets/1/pools/{V2_POOL}/candles?interval=2m")).status_code == 422
    assert (await gateway.client.get("/api/v1/markets/1/pools/USDC")).status_code == 422


@pytest_asyncio.fixture
async def filled(open_gateway: Any, redis_url: str) -> AsyncIterator[Any]:
    """A gateway beside a cache with ten minutes of swaps: the pair falls from 2,000 to 1,991."""
    realm = f"replay-{secrets.token_hex(4)}"
    gateway = await open_gateway(redis_url=redis_url, realm=realm)
    cache = MarketCache(Redis.from_url(redis_url), Keys(realm, 1), USDC.address, gateway.clock, lambda up, reason: None)
    pools = {V2_POOL: a_pool_v2(), V3_POOL_500: a_pool_v3(), OTHER_POOL: a_pool_v2(address=OTHER_POOL, reserve1=10**18)}
    cache.begin(pools, a_block_ref(99), NOW_MS // 1_000 - 1)
    for number in range(10):
        pools[V2_POOL] = a_pool_v2(reserve0=(2_000 - number) * 10_000 * 10**6)
        delta = a_reserves_delta(reserve0=(2_000 - number) * 10_000 * 10**6)
        event = a_block(100 + number, delta, timestamp_s=NOW_MS // 1_000 + 60 * number)
        cache.record(event, pools, {V2_POOL: (1_000, 5)})
    batch = cache._take()
    assert batch is not None
    assert await cache._write(batch)
    gateway.clock.advance(1_500)
    gateway.pools = pools
    yield gateway
    await cache.close()


@pytest.mark.integration
async def test_pools_are_listed_with_their_prices(filled: Any) -> None:
    listed = {pool["pool"]: pool for pool in await filled.get("/markets/1")}
    assert set(listed) == {V2_POOL, V3_POOL_500, OTHER_POOL}
    assert listed[V2_POOL]["price"] == "1991"
    assert (listed[V2_POOL]["base"]["symbol"], listed[V2_POOL]["quote"]["symbol"]) == ("WETH", "USDC")


@pytest.mark.integration
async def test_a_pool_has_price_depth_volume_and_volatility_of_one_block(filled: Any) -> None:
    view = await filled.get(f"/markets/1/pools/{V2_POOL}")
    assert view["as_of"] == {"block": a_block_ref(109).model_dump(), "age_ms": 1_500}
    depth = depth_of(filled.pools[V2_POOL], 50)
    assert view["depth"][0] == {"move_bps": 50, "out0": str(depth.out0), "out1": str(depth.out1)}
    day = view["windows"]["24h"]
    assert (day["base_volume"], day["quote_volume"], day["covered_s"]) == ("45", "9000", 500)
    assert 10 < day["volatility_hour_bps"] < 50
    assert view["windows"]["5m"]["quote_volume"] == "5000"


@pytest.mark.integration
async def test_candles_say_which_are_closed_and_which_lack_their_beginning(filled: Any) -> None:
    view = await filled.get(f"/markets/1/pools/{V2_POOL}/candles", interval="1m", limit=3)
    assert [candle["close"] for candle in view["candles"]] == ["1993", "1992", "1991"]
    assert [candle["closed"] for candle in view["candles"]] == [True, True, False]
    [day] = (await filled.get(f"/markets/1/pools/{V2_POOL}/candles", interval="1d"))["candles"]
    assert (day["open"], day["blocks"], day["partial"]) == ("2000", 10, True)


@pytest.mark.integration
async def test_a_pair_sums_its_pools_and_is_priced_by_the_deepest(filled: Any) -> None:
    view = await filled.get(f"/markets/1/pairs/{USDC.address}/{WETH.address.upper().replace('0X', '0x')}")
    assert set(view["pools"]) == {V2_POOL, V3_POOL_500, OTHER_POOL}
    assert view["windows"]["24h"]["quote_volume"] == "9000"
    for level in view["depth"]:
        depths = [depth_of(pool, level["move_bps"]) for pool in filled.pools.values()]
        assert level["out0"] == str(sum(depth.out0 for depth in depths))
        assert level["out1"] == str(sum(depth.out1 for depth in depths))
    deepest = max(filled.pools.values(), key=lambda pool: depth_of(pool, 200).out0)
    assert view["deepest_pool"] == deepest.key.address
    unknown = await filled.client.get(f"/api/v1/markets/1/pairs/{USDC.address}/{OTHER_POOL}")
    assert unknown.status_code == 404


@pytest.mark.integration
async def test_what_is_too_old_is_refused_with_its_age(filled: Any) -> None:
    path = f"/api/v1/markets/1/pools/{V2_POOL}"
    answer = await filled.client.get(path, params={"max_age_ms": 1_000})
    assert answer.status_code == 503
    assert "1500 ms old, at most 1000 ms" in answer.json()["detail"]
    filled.clock.advance(60_000)
    assert (await filled.client.get(path)).status_code == 503
    assert (
        await filled.client.get(f"/api/v1/markets/1/pools/{'0x' + '9' * 40}", params={"max_age_ms": 99_999})
    ).status_code == 404
