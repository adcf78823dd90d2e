"""The best size of a price gap, against trying every size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm import quoting
from dexlane.domain.amm.quoting import InsufficientLiquidity, RouteQuote, optimal_cycle_size, quote_route
from dexlane.testing.builders import USDC, a_gap_route, a_pool_v2, a_pool_v3, a_route, an_address
from dexlane.values.pools import Pool
from dexlane.values.routes import Route

OTHER = an_address("second pair")
QUOTES_AT_MOST = 64


def _by_address(*pools: Pool) -> dict[str, Pool]:
    return {pool.key.address: pool for pool in pools}


def _profit(pools: dict[str, Pool], route: Route, size: int) -> int:
    try:
        return quote_route(pools, route, size).amount_out - size
    except InsufficientLiquidity:
        return -size


reserves = st.integers(500, 5_000)


@given(reserves, reserves, reserves, reserves, st.integers(1, 1_500))
def test_the_size_is_the_best_of_all_sizes_up_to_rounding(a0: int, a1: int, b0: int, b1: int, max_in: int) -> None:
    buy, sell = a_pool_v2(reserve0=a0, reserve1=a1), a_pool_v2(address=OTHER, reserve0=b0, reserve1=b1)
    pools, route = _by_address(buy, sell), a_gap_route(buy, sell)
    best = max(_profit(pools, route, size) for size in range(1, max_in + 1))
    found = optimal_cycle_size(pools, route, max_in)
    # One unit of the token in between is worth up to b0 / b1 units: that is how far rounding can hide a size.
    slack = 2 * (b0 // b1 + 2)
    if found is None:
        assert best <= slack
    else:
        size, profit = found
        assert 1 <= size <= max_in
        assert profit == _profit(pools, route, size) > 0
        assert profit >= best - slack


ticks = st.integers(200_000, 200_600)


@given(ticks, ticks, st.integers(10**16, 10**19), st.integers(10**16, 10**19))
def test_no_size_nearby_or_far_is_better_in_concentrated_pools(
    buy_tick: int, sell_tick: int, buy_liquidity: int, sell_liquidity: int
) -> None:
    buy = a_pool_v3(tick=buy_tick, liquidity=buy_liquidity)
    sell = a_pool_v3(fee_pips=3000, tick=sell_tick, liquidity=sell_liquidity)
    pools, route, max_in = _by_address(buy, sell), a_gap_route(buy, sell), 10**14
    found = optimal_cycle_size(pools, route, max_in)
    best = found[1] if found else 0
    start = found[0] if found else 10**9
    others = [start * percent // 100 for percent in (1, 50, 90, 99, 101, 110, 200, 10_000)]
    assert all(_profit(pools, route, size) <= best + best // 10**5 + 2 for size in others if 0 < size <= max_in)


def test_the_number_of_quotes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0

    def counting(pools: dict[str, Pool], route: Route, amount_in: int) -> RouteQuote:
        nonlocal taken
        taken += 1
        return quote_route(pools, route, amount_in)

    monkeypatch.setattr(quoting, "quote_route", counting)
    thin, deep = a_pool_v3(tick=200_400, liquidity=10**9), a_pool_v3(fee_pips=3000, tick=200_311)
    for buy, sell in ((thin, deep), (a_pool_v2(), a_pool_v3(tick=200_400)), (a_pool_v2(), a_pool_v3(tick=200_000))):
        taken = 0
        optimal_cycle_size(_by_address(buy, sell), a_gap_route(buy, sell), 10**15)
        assert taken <= QUOTES_AT_MOST


def test_equal_prices_have_no_profitable_size() -> None:
    pools = _by_address(a_pool_v2(), a_pool_v3())
    assert optimal_cycle_size(pools, a_gap_route(), 10**13) is None


def test_the_size_keeps_to_the_maximum() -> None:
    buy, sell = a_pool_v2(), a_pool_v3(tick=200_000)
    found = optimal_cycle_size(_by_address(buy, sell), a_gap_route(buy, sell), 10**9)
    assert found is not None
    assert found[0] == 10**9


def test_nothing_to_spend_gives_no_size() -> None:
    assert optimal_cycle_size(_by_address(a_pool_v2(), a_pool_v3()), a_gap_route(), 0) is None


def test_a_route_that_does_not_return_is_refused() -> None:
    with pytest.raises(ValueError, match="returns to its first token"):
        optimal_cycle_size(_by_address(a_pool_v2()), a_route(token_in=USDC.address), 10**6)
