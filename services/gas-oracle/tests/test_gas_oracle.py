"""The gas oracle as a specification: blocks in, quotes out, and nothing invented when the node is silent."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
from pydantic import ValidationError

from dexlane.chain.answers import Header
from dexlane.chain.rpc import RpcUnavailable
from dexlane.domain.fees import fee_parameters, next_base_fee
from dexlane.events.base import Event
from dexlane.events.fees import FeeQuoted, FeeTier
from dexlane.events.market import BlockApplied
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.consuming import Delivery
from dexlane.runtime.errors import Transient
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.fake_chain import FakeChain
from gas_oracle.app import why_not_fresh
from gas_oracle.fee_window import FeeWindow
from gas_oracle.handlers import Deps, routes
from gas_oracle.metrics import OracleMoments
from gas_oracle.settings import Settings

DELIVERY = Delivery("m", "main.1.block.applied", 1, 1)


class Bus:
    def __init__(self) -> None:
        self.stored: list[FeeQuoted] = []
        self.refuses = False

    async def publish(self, event: Event) -> None:
        if self.refuses:
            raise Transient("the bus is away")
        assert isinstance(event, FeeQuoted)
        self.stored.append(event)


class Oracle:
    def __init__(self) -> None:
        self.chain = FakeChain(1)
        self.rpc = self.chain.rpc()
        self.bus = Bus()
        self.clock = ManualClock()
        self.window = FeeWindow(20)
        self.deps = Deps(
            bus=self.bus,
            nodes={1: self.rpc},
            windows={1: self.window},
            clock=self.clock,
            moments=OracleMoments(Metrics("gas-oracle"), Log(logging.getLogger("test"))),
        )
        [route] = routes(self.deps).followers
        self._handle: Callable[[BlockApplied, Delivery], Awaitable[None]] = route.handler

    async def see(self, *headers: Header) -> None:
        for header in headers:
            await self._handle(applied(header), DELIVERY)


def applied(header: Header) -> BlockApplied:
    params = fee_parameters(1)
    fees = header.base_fee_per_gas_wei
    return BlockApplied(
        id=BlockApplied.make_id(1, header.hash),
        chain_id=1,
        occurred_at_ms=header.timestamp_s * 1000,
        block=header.ref,
        parent_hash=header.parent_hash,
        timestamp_s=header.timestamp_s,
        base_fee_per_gas_wei=fees,
        next_base_fee_per_gas_wei=next_base_fee(fees, header.gas_used, header.gas_limit, params),
        gas_used=header.gas_used,
        gas_limit=header.gas_limit,
        received_at_ns=1,
    )


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


async def test_each_block_is_answered_with_the_exact_next_base_fee(oracle: Oracle) -> None:
    headers = oracle.chain.mine(3)
    await oracle.see(*headers)
    following = oracle.chain.mine(1)[0]
    assert [quote.block.number for quote in oracle.bus.stored] == [1, 2, 3]
    assert oracle.bus.stored[-1].next_base_fee_per_gas_wei == following.base_fee_per_gas_wei
    assert list(oracle.bus.stored[-1].tiers) == list(FeeTier)


async def test_the_window_grows_by_one_block_and_is_bounded(oracle: Oracle) -> None:
    asked: list[int] = []
    original = oracle.rpc.fee_history

    async def counting(count: int, newest: int | str, percentiles: tuple[int, ...]) -> object:
        asked.append(count)
        return await original(count, newest, percentiles)

    oracle.rpc.fee_history = counting  # type: ignore[method-assign,assignment]
    await oracle.see(*oracle.chain.mine(30))
    assert asked == [20] + [1] * 29
    assert [row.number for row in oracle.window.rows] == list(range(11, 31))
    assert oracle.bus.stored[-1].sampled_blocks == 20


async def test_after_a_reorg_the_window_is_read_anew(oracle: Oracle) -> None:
    await oracle.see(*oracle.chain.mine(5))
    await oracle.see(*oracle.chain.reorg(2, longer=1))
    numbers = [row.number for row in oracle.window.rows]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 6


async def test_without_the_node_the_last_quote_stays_and_readiness_says_how_old_it_is(oracle: Oracle) -> None:
    ready = why_not_fresh(oracle.deps, 1, 30_000)
    assert "no fee quote" in str(ready())
    await oracle.see(*oracle.chain.mine())
    assert ready() is True
    oracle.rpc.fail_next("fee_history", RpcUnavailable("away"))
    await oracle.see(*oracle.chain.mine())
    assert len(oracle.bus.stored) == 1
    oracle.clock.advance(30_001)
    assert "30001 ms old" in str(ready())
    await oracle.see(*oracle.chain.mine())
    assert ready() is True
    assert oracle.bus.stored[-1].sampled_blocks == 4


async def test_a_quote_that_the_bus_did_not_take_is_not_called_fresh(oracle: Oracle) -> None:
    oracle.bus.refuses = True
    await oracle.see(*oracle.chain.mine())
    assert why_not_fresh(oracle.deps, 1, 30_000)() is not True


async def test_the_same_block_twice_gives_the_same_id(oracle: Oracle) -> None:
    [header] = oracle.chain.mine()
    await oracle.see(header, header)
    assert len({quote.id for quote in oracle.bus.stored}) == 1
    assert [row.number for row in oracle.window.rows] == [0, 1]


def test_a_chain_without_a_node_is_refused() -> None:
    with pytest.raises(ValidationError, match="chain 8453 has no node"):
        Settings(chains=(1, 8453), rpc_ws_urls={1: "ws://127.0.0.1:1"})
