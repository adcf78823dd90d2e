"""A live executor closes a position that no pool takes whole: a part with each exit, past the real signer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dexlane.domain.amm.quoting import quote_exact_in
from dexlane.domain.trade_quotes import quote_plan
from dexlane.events.execution import FillIncluded, IntentCreated, Plan, Purpose
from dexlane.events.portfolio import ExitReason, ExitTriggered
from dexlane.testing.builders import USDC, WETH, a_pool_v3, an_exit
from dexlane.testing.fake_chain import Outcome
from dexlane.testing.fake_mempool import PooledTransaction
from dexlane.testing.live_bench import ACCOUNT, BOUGHT, ROUTER, Bench, Home, running, transfer
from dexlane.values.pools import Pool, Tick
from dexlane.values.tokens import TokenDelta

POOL = "0x" + "77" * 20
TICK = 200_311


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def narrow(fee_pips: int, liquidity: int) -> Pool:
    """USDC/WETH with all its money between two ticks, at the address that the factory gives it: takes rather more than
    half of what the entry bought."""
    spacing = {500: 10, 3_000: 60}[fee_pips]
    low = TICK // spacing * spacing
    ticks = (Tick(low, liquidity, liquidity), Tick(low + spacing, liquidity, -liquidity))
    return a_pool_v3(fee_pips=fee_pips, tick=TICK, liquidity=liquidity, ticks=ticks)


def stop_loss(bench: Bench, version: int, quantity: int) -> ExitTriggered:
    """What portfolio triggers for what is left, under the version that the sale before gave the position."""
    reason = ExitReason.STOP_LOSS
    exit_id = ExitTriggered.make_id("live-one", ACCOUNT, WETH.address, version, reason)
    block = bench.chain.tip.ref
    return an_exit(id=exit_id, book_id="live-one", mode="live", account=ACCOUNT, quantity=quantity, block=block)


async def planned(bench: Bench, exit_: ExitTriggered) -> Plan:
    intent_id = IntentCreated.make_id("live-one", exit_.id, Purpose.EXIT)
    (plan,) = [one.plan for one in await bench.events() if isinstance(one, IntentCreated) and one.id == intent_id]
    assert plan is not None
    return plan


def traded(pools: list[Pool], plan: Plan) -> list[Pool]:
    """The pools after the plan's trade."""
    quote = quote_plan({pool.key.address: pool for pool in pools}, plan)
    after = {leg.pool: step for route, path in quote.paths for leg, step in zip(route.legs, path.legs, strict=True)}
    return [
        pool.with_state(after[pool.key.address].next_state) if pool.key.address in after else pool for pool in pools
    ]


async def test_a_part_is_sold_with_each_exit_until_nothing_is_left(home: Home) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict(blocks=10))
        for _ in range(6):
            await bench.head()
        pools = [narrow(500, 3 * 10**16), narrow(3_000, 10**16)]
        assert all(quote_exact_in(pool, WETH.address, BOUGHT).partial for pool in pools)
        left, sold = BOUGHT, []
        while left:
            bench.world.pools = pools
            await bench.head()
            exit_ = stop_loss(bench, len(sold) + 2, left)
            await bench.executor.on_exit(exit_)
            await bench.executor.on_exit(exit_)
            plan = await planned(bench, exit_)
            bench.chain.execute = selling(plan)
            await bench.head()
            fills = await bench.of_intent(IntentCreated.make_id("live-one", exit_.id, Purpose.EXIT), FillIncluded)
            assert TokenDelta(token=WETH.address, amount=-plan.amount_in) in fills[0].deltas
            sold.append(plan.amount_in)
            pools, left = traded(pools, plan), left - plan.amount_in
        assert [0 < one < BOUGHT for one in sold] == [True, True]
        assert sum(sold) == BOUGHT
        assert bench.effects() == 3


def selling(plan: Plan) -> Callable[[PooledTransaction], Outcome]:
    """The chain carries out exactly this sale."""

    def execute(tx: PooledTransaction) -> Outcome:
        if tx.to != ROUTER:
            return Outcome()
        paid = transfer(WETH.address, ACCOUNT, POOL, plan.amount_in)
        return Outcome(logs=(paid, transfer(USDC.address, POOL, ACCOUNT, plan.quoted_out)))

    return execute
