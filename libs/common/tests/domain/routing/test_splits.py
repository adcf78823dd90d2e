"""Splits: near the true optimum, exact in the order of execution, and only where they pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import isqrt

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import InsufficientLiquidity, quote_exact_in
from dexlane.domain.routing import Errand, GasTerms, PoolGraph, Split, best_on, best_split
from dexlane.testing.builders import USDC, WETH, a_pool_v2, a_pool_v3, an_address
from dexlane.testing.random_pools import MarketShape, numbered_token, random_pools, seeded
from dexlane.values.pools import ConstantProductState, Pool

IN, OUT = numbered_token(0).address, numbered_token(1).address
ONE_BASIS_POINT = 10_000


def _pool(number: int, pair: tuple[int, int], reserves: tuple[int, int], fee_pips: int = 3000) -> Pool:
    return a_pool_v2(
        address=an_address(f"pool {number}"),
        token0=numbered_token(pair[0]),
        token1=numbered_token(pair[1]),
        reserve0=reserves[0],
        reserve1=reserves[1],
        fee_pips=fee_pips,
    )


def _replayed(split: Split) -> tuple[int, list[int]]:
    """All that comes out when every leg is quoted anew, in order, on what those before it left; and its gas."""
    states: dict[str, Pool] = {}
    total, gas = 0, []
    for chain in split.chains:
        amount = chain.amount_in
        for edge in chain.edges:
            pool = states.get(edge.address, edge.pool)
            quote = quote_exact_in(pool, edge.token_in, amount, edge.token_out)
            assert not quote.partial
            states[edge.address] = pool.with_state(quote.next_state)
            amount = quote.amount_out
            gas.append(quote.gas)
        assert amount == chain.amount_out
        total += amount
    return total, gas


@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.integers(10**17, 10**22),
    st.integers(1, 4),
    st.integers(1, 5),
    st.none() | st.integers(0, 10**12),
)
def test_a_split_replays_exactly_and_never_brings_less_than_the_best_single_route(
    seed: int, amount: int, legs: int, paths: int, gas_price: int | None
) -> None:
    rng = seeded(seed)
    shape = MarketShape(tokens=rng.randint(2, 5), pools=rng.randint(1, 9), noise=0.05, full_range=seed % 2 == 0)
    graph = PoolGraph(random_pools(rng, shape))
    gas = None if gas_price is None else GasTerms(gas_price, (1, 1))
    split = best_split(graph, Errand(IN, OUT, amount, legs), max_paths=paths, gas=gas)
    single = best_on(graph, Errand(IN, OUT, amount, legs), gas)
    if split is None:
        assert single is None
        return
    total, leg_gas = _replayed(split)
    assert split.amount_in == amount
    assert total == split.amount_out
    assert split.gas == 40_000 + sum(leg_gas)
    assert len(split.chains) <= paths
    assert all(1 <= len(chain.edges) <= legs and chain.amount_in > 0 for chain in split.chains)
    cost = 0 if gas is None else gas.cost(split.gas, [chain.edges for chain in split.chains])
    assert split.net_amount_out == split.amount_out - cost
    if single is not None:
        assert split.net_amount_out >= single.quote.amount_out - (gas.cost(single.quote.gas) if gas else 0)


@given(
    st.lists(st.tuples(st.integers(10**20, 10**24), st.integers(95, 105)), min_size=2, max_size=4),
    st.integers(10**18, 10**23),
    st.sampled_from([0, 500, 3000]),
)
@example(
    [(10**20, 95), (10**20, 95), (40_133_848_770_275_589_830_091, 95), (40_133_848_770_275_589_830_161, 95)],
    7_018_264_430_174_718_324_510,
    0,
)
def test_parallel_constant_products_are_split_as_the_convex_optimum_splits_them(
    depths: list[tuple[int, int]], amount: int, fee_pips: int
) -> None:
    pools = [_pool(n, (0, 1), (depth, depth * percent // 100), fee_pips) for n, (depth, percent) in enumerate(depths)]
    split = best_split(PoolGraph(pools), Errand(IN, OUT, amount, 1), max_paths=len(pools))
    assert split is not None
    best = _water_filled(
        [(pool.state.reserve0, pool.state.reserve1) for pool in pools if _is_v2(pool)], amount, fee_pips
    )
    assert split.amount_out >= best - best // ONE_BASIS_POINT
    assert split.amount_out <= best + best // 10**9 + len(pools)


def _is_v2(pool: Pool) -> bool:
    return isinstance(pool.state, ConstantProductState)


def _water_filled(reserves: Sequence[tuple[int, int]], amount: int, fee_pips: int) -> int:
    """The optimum of every subset of pools in closed form: all used pools end at one marginal price.

    With ``a`` the input after fee, pool ``i`` ends at ``sqrt(x_i * y_i) * m - x_i`` where ``m`` is the root of the
    common price; the inputs add up to ``a``, which gives ``m``.
    """
    best = 0
    scale = 10**30
    after_fee = amount * (1_000_000 - fee_pips) // 1_000_000
    for count in range(1, len(reserves) + 1):
        for chosen in combinations(reserves, count):
            root = (after_fee + sum(x for x, _ in chosen)) * scale // sum(isqrt(x * y) for x, y in chosen)
            inputs = [isqrt(x * y) * root // scale - x for x, y in chosen]
            if min(inputs) >= 0:
                best = max(best, sum(y * paid // (x + paid) for (x, y), paid in zip(chosen, inputs, strict=True)))
    return best


@pytest.mark.parametrize("amount", [10**18, 10**20, 3 * 10**21])
def test_a_v2_and_a_v3_pool_are_split_as_a_fine_grid_splits_them(amount: int) -> None:
    pools = [a_pool_v2(), a_pool_v3(tick=200_411)]
    split = best_split(PoolGraph(pools), Errand(WETH.address, USDC.address, amount, 1), max_paths=2)
    assert split is not None
    best = 0
    for part in range(1_001):
        shares = (amount * part // 1_000, amount - amount * part // 1_000)
        best = max(best, sum(_bought(pool, share) for pool, share in zip(pools, shares, strict=True)))
    assert split.amount_out >= best - best // ONE_BASIS_POINT


def _bought(pool: Pool, amount: int) -> int:
    if amount == 0:
        return 0
    try:
        quote = quote_exact_in(pool, WETH.address, amount)
    except InsufficientLiquidity:
        return 0
    return 0 if quote.partial else quote.amount_out


def test_paths_may_share_a_pool_and_meet_its_impact_one_after_the_other() -> None:
    narrow = _pool(1, (0, 2), (10**22, 10**22))
    sides = [_pool(2, (1, 2), (10**21, 10**21)), _pool(3, (1, 2), (2 * 10**21, 2 * 10**21))]
    graph = PoolGraph([narrow, *sides])
    split = best_split(graph, Errand(IN, OUT, 10**21, 2))
    assert split is not None
    assert [chain.edges[0].address for chain in split.chains] == [narrow.key.address] * 2
    # Without the bottleneck's fee and impact the two last pools would be split one to two.
    share = split.chains[0].quotes[1].amount_in * 3 // sum(chain.quotes[1].amount_in for chain in split.chains)
    assert share in {1, 2}
    assert _replayed(split)[0] == split.amount_out
    best = 0
    for part in range(1, 200):
        first, then = 10**21 * part // 200, 10**21 - 10**21 * part // 200
        one = quote_exact_in(narrow, IN, first)
        after = narrow.with_state(one.next_state)
        two = quote_exact_in(after, IN, then)
        ends = zip(sides, (one.amount_out, two.amount_out), strict=True)
        best = max(
            best, sum(quote_exact_in(pool, numbered_token(2).address, amount).amount_out for pool, amount in ends)
        )
    assert split.amount_out >= best - best // ONE_BASIS_POINT


def test_dear_gas_makes_fewer_paths_and_a_data_fee_does_too() -> None:
    pools = [_pool(n, (0, 1), (10**22, 10**22)) for n in range(4)]
    errand = Errand(IN, OUT, 10**20, 1)
    graph = PoolGraph(pools)

    def paths(gas: GasTerms | None) -> int:
        split = best_split(graph, errand, gas=gas)
        assert split is not None
        return len(split.chains)

    assert paths(None) == paths(GasTerms(0, (1, 1))) == 4
    counts = [paths(GasTerms(price * 10**9, (1, 1))) for price in (1, 600, 3_000, 10_000)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (4, 1)
    assert paths(GasTerms(1, (1, 1), lambda count: count * 10**16)) == 1


def test_an_amount_beyond_every_single_path_is_split_over_what_can_take_it() -> None:
    pools = []
    for number, tick in enumerate((200_311, 200_331)):
        pool = a_pool_v3(address=an_address(f"thin {number}"), tick=tick)
        ticks = tuple(one for one in pool.state.ticks if abs(one.tick) < 800_000) if pool.key.tick_spacing else ()
        active = sum(one.liquidity_net for one in ticks if one.tick <= tick)
        pools.append(pool.with_state(replace(pool.state, ticks=ticks, liquidity=active)))
    graph = PoolGraph(pools)
    most = max(
        amount
        for amount in (10**exponent * digit for exponent in range(17, 24) for digit in range(10, 100))
        if best_on(graph, Errand(WETH.address, USDC.address, amount, 1)) is not None
    )
    errand = Errand(WETH.address, USDC.address, most * 3 // 2, 1)
    assert best_on(graph, errand) is None
    split = best_split(graph, errand)
    assert split is not None
    assert len(split.chains) == 2
    assert _replayed(split)[0] == split.amount_out
    assert best_split(graph, Errand(WETH.address, USDC.address, most * 100, 1)) is None


def test_the_least_that_a_path_may_bring_is_rounded_up_and_never_zero() -> None:
    pools = [_pool(1, (0, 1), (10**6, 10**6), 0)]
    split = best_split(PoolGraph(pools), Errand(IN, OUT, 2, 1))
    assert split is not None
    assert split.amount_out == 1
    assert split.minimums_out(9_999) == (1,)
    large = best_split(PoolGraph(pools), Errand(IN, OUT, 10**5, 1))
    assert large is not None
    (minimum,) = large.minimums_out(50)
    assert minimum * 10_000 >= large.amount_out * 9_950 > (minimum - 1) * 10_000


def test_price_impact_is_what_comes_out_less_than_spot_prices_say() -> None:
    split = best_split(PoolGraph([_pool(1, (0, 1), (10**24, 10**24))]), Errand(IN, OUT, 10**22, 1))
    assert split is not None
    assert split.price_impact_bps() == 99
    assert best_split(PoolGraph([]), Errand(IN, OUT, 1, 1)) is None
    with pytest.raises(ValueError, match="at least one path"):
        best_split(PoolGraph([]), Errand(IN, OUT, 1, 1), max_paths=0)
