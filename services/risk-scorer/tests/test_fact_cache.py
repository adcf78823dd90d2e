"""The cache on a real server, and without one."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from dexlane.domain.risk.evidence import Seen, TokenFacts
from dexlane.runtime.clock import SystemClock
from dexlane.testing.servers import redis_server
from risk_scorer.tokens.row_cache import Keeping
from risk_scorer.tokens.seen_cache import FactCache

FACTS = Seen(TokenFacts(address="0x" + "1" * 40, code_hash="0x" + "2" * 64, decimals=6, symbol="T"), 7, 8)


@pytest.mark.integration
async def test_facts_survive_in_the_cache() -> None:
    with redis_server() as url:
        lost: list[str] = []
        redis = Redis.from_url(url)
        cache = FactCache(Keeping(redis, SystemClock(), lost.append), "dexlane:test:1")
        await cache.keep([FACTS])
        await redis.hset("dexlane:test:1:token-facts", "0x" + "9" * 40, b'{"block": 1}')
        assert await cache.recall() == {FACTS.value.address: FACTS}
        assert await redis.ttl("dexlane:test:1:token-facts") > 0
        await cache.close()
    assert lost == []


async def test_lost_cache_is_told_and_costs_nothing_but_time() -> None:
    lost: list[str] = []
    redis = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
    cache = FactCache(Keeping(redis, SystemClock(), lost.append), "p")
    await cache.keep([FACTS])
    assert await cache.recall() == {}
    assert len(lost) == 2
    await cache.close()
