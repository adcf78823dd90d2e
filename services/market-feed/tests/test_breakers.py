"""The feed's breakers: the median of the configured pools, spoken by the writer alone, taken up by the next one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from dexlane.domain.breakers.policy import policies
from dexlane.events.base import Event
from dexlane.events.breakers import BreakerChanged, BreakerPhase, BreakerReset
from dexlane.events.control import Status, TradingStatus
from dexlane.runtime import spoken_breakers
from dexlane.runtime.breaker_board import BoardPlace, BreakerMoments
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.errors import Transient
from dexlane.runtime.observability import Log, Metrics
from dexlane.runtime.spoken_breakers import SpokenBreakers
from dexlane.testing.builders import USDC, V2_POOL, a_breaker, a_pool_v2, a_pool_v3
from dexlane.values.pools import Pool
from market_feed.feed.breakers import PRICE_UNIT, READING, VOLATILITY, FeedBreakers, Reference

V2, V3 = a_pool_v2(), a_pool_v3()
BOTH = {pool.key.address: pool for pool in (V2, V3)}


@dataclass
class Bus:
    """Keeps what is published; ``last`` is what the server held before."""

    last: list[BreakerChanged] = field(default_factory=list)
    sent: list[Event] = field(default_factory=list)
    is_down: bool = False

    async def publish(self, event: Event) -> None:
        if self.is_down:
            raise Transient("no broker")
        self.sent.append(event)

    def facts(self, source: str) -> list[BreakerChanged]:
        return [one for one in self.sent if isinstance(one, BreakerChanged) and one.source == source]


@dataclass
class Feed:
    """The breakers of a feed with their clock and bus."""

    bus: Bus
    clock: ManualClock
    own: FeedBreakers
    writes: bool = True

    async def block(self, *, pools: dict[str, Pool] | None = None, after_ms: int = 1_000) -> None:
        self.clock.advance(after_ms)
        await self.own.applied(BOTH if pools is None else pools)


@pytest.fixture
def feed(log: Log, monkeypatch: pytest.MonkeyPatch) -> Feed:
    bus, clock = Bus(), ManualClock()

    async def last_facts(asked: Any, service: str, chain_id: int) -> list[BreakerChanged]:
        if bus.is_down:
            raise Transient("no broker")
        return bus.last

    monkeypatch.setattr(spoken_breakers, "last_facts", last_facts)
    place = BoardPlace(
        service="market-feed",
        chain_id=1,
        policies=policies({"rpc": {"min_samples": 3}}),
        clock=clock,
        moments=BreakerMoments(Metrics("feed"), log),
    )
    reference = Reference(1, USDC.address, frozenset(BOTH))
    made: list[Feed] = []
    spoken = SpokenBreakers(bus, place, (VOLATILITY, READING), lambda: made[0].writes)  # type: ignore[arg-type]
    made.append(Feed(bus, clock, FeedBreakers(reference, spoken)))
    return made[0]


def test_the_price_is_that_of_the_native_coin_in_the_quote_token() -> None:
    price = Reference(1, USDC.address, frozenset({V2_POOL})).price(BOTH)
    assert price is not None
    assert 1_000 < price * 10**12 / PRICE_UNIT < 10_000, "dollars for a coin of 18 decimals, paid in 6"


def test_pools_that_were_not_configured_count_for_nothing() -> None:
    assert Reference(1, USDC.address, frozenset()).price(BOTH) is None
    assert Reference(1, USDC.address, frozenset({V2_POOL})).price({}) is None


async def test_it_holds_until_two_blocks_were_seen_and_lets_go_then(feed: Feed) -> None:
    await feed.block()
    first = feed.bus.facts("breaker-volatility")[-1]
    assert first.status is Status.REDUCING
    assert "of the 2 values it needs" in first.reason
    await feed.block()
    assert feed.bus.facts("breaker-volatility")[-1].status is Status.ACTIVE


async def test_without_a_price_it_holds(feed: Feed) -> None:
    await feed.block()
    await feed.block()
    await feed.block(pools={})
    assert feed.bus.facts("breaker-volatility")[-1].status is Status.REDUCING
    await feed.block()
    assert feed.bus.facts("breaker-volatility")[-1].status is Status.ACTIVE


async def test_calls_that_fail_open_the_breaker_of_reading_and_blocks_close_it(feed: Feed) -> None:
    await feed.block()
    for _ in range(3):
        await feed.own.troubled()
    opened = feed.bus.facts("breaker-rpc-read")[-1]
    assert opened.phase is BreakerPhase.OPEN
    words = [one for one in feed.bus.sent if isinstance(one, TradingStatus) and one.source == "breaker-rpc-read"]
    assert words[-1].status is Status.REDUCING
    await feed.block(after_ms=60_000)
    for _ in range(3):
        await feed.block()
    assert feed.bus.facts("breaker-rpc-read")[-1].phase is BreakerPhase.CLOSED


async def test_a_standby_says_nothing_and_a_new_writer_takes_up_what_was_said(feed: Feed) -> None:
    feed.writes = False
    await feed.block()
    await feed.own.troubled()
    assert feed.bus.sent == []
    feed.bus.last = [
        a_breaker(
            BreakerPhase.OPEN,
            source="breaker-rpc-read",
            service="market-feed",
            kind="rpc",
            needs_operator=True,
            next_probe_at_ms=None,
        )
    ]
    feed.writes = True
    await feed.block()
    taken_up = feed.bus.facts("breaker-rpc-read")[-1]
    assert (taken_up.phase, taken_up.needs_operator) == (BreakerPhase.OPEN, True)


async def test_a_reset_that_came_while_another_one_wrote_is_taken_in_later(feed: Feed) -> None:
    feed.writes = False
    await feed.own.reset(
        BreakerReset(
            id=BreakerReset.make_id(1, "breaker-rpc-read", 4),
            chain_id=1,
            occurred_at_ms=0,
            source="breaker-rpc-read",
            reset_version=4,
            reason="another node",
        )
    )
    feed.writes = True
    await feed.block()
    assert feed.bus.facts("breaker-rpc-read")[-1].reset_version == 4


async def test_what_the_broker_does_not_take_is_said_with_the_next_block(feed: Feed) -> None:
    feed.bus.is_down = True
    await feed.block()
    assert feed.bus.sent == []
    feed.bus.is_down = False
    await feed.block()
    feed.bus.is_down = True
    await feed.block()
    feed.bus.is_down = False
    await feed.block()
    assert feed.bus.facts("breaker-volatility")[-1].status is Status.ACTIVE
