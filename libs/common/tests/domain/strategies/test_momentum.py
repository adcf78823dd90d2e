"""Momentum: breakouts over the look-back, cool-downs, and forgetting what a reorganisation undid."""

from __future__ import annotations

from typing import Any

from dexlane.domain.amm.quoting import quote_exact_in
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.strategies import BlockContext
from dexlane.domain.strategies.momentum import Momentum, MomentumParameters
from dexlane.events.market import BlockApplied
from dexlane.events.opportunity import OpportunityFound
from dexlane.testing.builders import (
    NOW_MS,
    USDC,
    V2_POOL,
    WETH,
    a_block,
    a_block_ref,
    a_pool_v2,
    a_pool_v3,
    a_reserves_delta,
)

BASE = 20_000_000 * 10**6


class Market:
    """A pair whose WETH price is set block by block, in basis points of 2,000 USDC."""

    def __init__(self, **fields: Any) -> None:
        defaults: dict[str, Any] = {"lookback_blocks": 3, "breakout_bps": 100, "cooldown_blocks": 5, "size": 10**9}
        self.strategy = Momentum(MomentumParameters(**(defaults | fields)), USDC)
        self.book = PoolBook()
        self.book.put(a_pool_v2(), a_block_ref(100))

    def block(
        self, number: int, bps: int | None, fork: str = "main", parent_fork: str | None = None
    ) -> list[OpportunityFound]:
        """Apply a block with this price (None: untouched) and return what the strategy found."""
        deltas = () if bps is None else (a_reserves_delta(reserve0=BASE * bps // 10_000),)
        return self.see(a_block(number, *deltas, fork=fork, parent_fork=parent_fork))

    def see(self, event: BlockApplied) -> list[OpportunityFound]:
        self.book.apply(event)
        return self.strategy.on_block(BlockContext.of(event, self.book, NOW_MS))

    def run(self, *prices: int | None, start: int = 101) -> list[int]:
        """Apply blocks one after the other; returns the numbers of those with a signal."""
        return [number for number, bps in enumerate(prices, start) if self.block(number, bps)]


def test_a_rise_over_the_look_back_is_a_breakout() -> None:
    assert Market().run(10_000, 10_030, 10_060, 10_100) == [104]


def test_a_smaller_rise_is_none() -> None:
    assert Market().run(10_000, 10_030, 10_060, 10_099) == []


def test_there_is_no_signal_before_the_look_back_is_full() -> None:
    assert Market().run(10_000, 10_100, 10_200) == []


def test_a_price_that_just_fell_is_no_breakout() -> None:
    assert Market().run(10_000, 10_300, 10_300, 10_250) == []


def test_a_quiet_block_does_not_hide_that_the_last_move_was_up() -> None:
    assert Market().run(10_000, 10_000, 10_200, None) == [104]


def test_a_price_that_never_moved_is_no_breakout() -> None:
    assert Market().run(None, None, None, None, None) == []


def test_one_signal_per_cool_down() -> None:
    rising = [10_000 + 100 * step for step in range(12)]
    assert Market().run(*rising) == [104, 109]


def test_the_entry_buys_the_base_token_with_the_set_size_in_the_deepest_pool() -> None:
    market = Market()
    deep = a_pool_v3(liquidity=10**20)
    market.book.put(deep, a_block_ref(100))
    market.run(10_000, 10_100, 10_200)
    assert market.block(104, 10_300) == []
    market = Market()
    market.book.put(a_pool_v3(liquidity=10**12), a_block_ref(100))
    market.run(10_000, 10_100, 10_200)
    found = market.block(104, 10_300)[0]
    leg = found.route.legs[0]
    assert (leg.pool, leg.token_in, leg.token_out) == (V2_POOL, USDC.address, WETH.address)
    quote = quote_exact_in(market.book.pools[V2_POOL], USDC.address, 10**9)
    assert (found.size_hint, found.expected_out) == (10**9, quote.amount_out)
    assert not found.route.is_cycle


def test_the_edge_is_the_estimate_less_the_pool_fee_and_says_so() -> None:
    market = Market(expected_drift_bps=75)
    market.run(10_000, 10_100, 10_200)
    found = market.block(104, 10_300)[0]
    assert found.edge_bps == 75 - 30
    assert "estimate, not a measurement" in found.signals["edge"]
    assert "300 bps" in found.signals["breakout"]


def test_an_estimate_that_the_pool_fee_eats_up_is_no_chance() -> None:
    assert Market(expected_drift_bps=30).run(10_000, 10_100, 10_200, 10_300) == []


def test_a_size_that_the_pool_cannot_take_is_no_chance() -> None:
    assert Market(size=1 << 112).run(10_000, 10_100, 10_200, 10_300) == []


def test_prices_of_undone_blocks_are_forgotten() -> None:
    market = Market()
    market.run(10_000, 10_000, 10_000)
    assert market.block(104, 10_500, fork="a", parent_fork="main")
    market.book.undo_to(a_block_ref(103))
    assert market.block(104, 10_050, fork="b", parent_fork="main") == []
    assert market.block(105, 10_040, fork="b") == []


def test_a_signal_of_an_undone_block_starts_no_cool_down() -> None:
    market = Market()
    market.run(10_000, 10_000, 10_000)
    first = market.block(104, 10_500, fork="a", parent_fork="main")
    market.book.undo_to(a_block_ref(103))
    second = market.block(104, 10_500, fork="b", parent_fork="main")
    assert first[0].id != second[0].id


def test_a_reorganisation_leaves_the_window_full() -> None:
    market = Market()
    market.run(*[10_000] * 10)
    market.book.undo_to(a_block_ref(105))
    assert market.block(106, 10_500, fork="b", parent_fork="main")


def test_the_same_blocks_give_the_same_events() -> None:
    prices = [10_000, 10_050, 10_100, 10_150, 10_100, 10_300]
    one, other = Market(), Market()
    events = [one.block(number, bps) for number, bps in enumerate(prices, 101)]
    assert events == [other.block(number, bps) for number, bps in enumerate(prices, 101)]


def test_a_missed_block_starts_the_window_anew() -> None:
    market = Market()
    market.run(10_000, 10_000, 10_000)
    market.book = PoolBook()
    market.book.put(a_pool_v2(), a_block_ref(109))
    assert market.block(110, 10_500) == []


def test_a_pool_without_a_price_is_passed_over() -> None:
    market = Market()
    market.run(10_000, 10_000, 10_000)
    assert market.see(a_block(104, a_reserves_delta(reserve0=0, reserve1=0))) == []
    assert market.see(a_block(105, a_reserves_delta(reserve0=BASE))) == []
