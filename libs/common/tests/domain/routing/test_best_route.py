"""The best route against trying every path, on random markets of V2 and V3 pools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import InsufficientLiquidity, quote_route
from dexlane.domain.routing import Errand, GasTerms, PoolGraph, best_on, best_route
from dexlane.domain.routing.walks import Care
from dexlane.testing.builders import USDC, WETH, a_pool_v2, a_pool_v3, an_address
from dexlane.testing.random_pools import MarketShape, numbered_token, random_pools, seeded
from dexlane.values.pools import Pool
from dexlane.values.routes import Leg, Route

IN, OUT = numbered_token(0).address, numbered_token(1).address
ONE_HUNDRED_THOUSANDTH = 100_000
"""0.1 bps is one part in so many."""


def every_route(pools: Sequence[Pool], legs: int) -> Iterator[Route]:
    """All routes of at most so many legs that use no pool twice."""

    def onward(token: str, so_far: tuple[Leg, ...]) -> Iterator[Route]:
        if so_far and token == OUT:
            yield Route(legs=so_far)
        if len(so_far) < legs:
            for pool in pools:
                key = pool.key
                if token in (key.token0.address, key.token1.address) and key.address not in {
                    leg.pool for leg in so_far
                }:
                    other = key.other(token).address
                    leg = Leg(
                        pool=key.address,
                        protocol=key.protocol,
                        fee_pips=key.fee_pips,
                        token_in=token,
                        token_out=other,
                    )
                    yield from onward(other, (*so_far, leg))

    yield from onward(IN, ())


def brute_force(pools: Sequence[Pool], amount: int, legs: int, gas: GasTerms | None) -> int | None:
    """The most that any single route leaves after its cost."""
    by_address = {pool.key.address: pool for pool in pools}
    best: int | None = None
    for route in every_route(pools, legs):
        try:
            quote = quote_route(by_address, route, amount)
        except InsufficientLiquidity:
            continue
        if quote.amount_out == 0:
            continue
        net = quote.amount_out - (gas.cost(quote.gas, [route.legs]) if gas else 0)
        best = net if best is None else max(best, net)
    return best


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[Pool], int, int]:
    """Pools, an amount from dust to more than a pool holds, and a number of legs."""
    shape = MarketShape(
        tokens=draw(st.integers(2, 5)),
        pools=draw(st.integers(1, 8)),
        v3_share=draw(st.sampled_from([0, 0.5, 1])),
        noise=draw(st.sampled_from([0, 0.01, 0.2])),
        size=10 ** draw(st.sampled_from([4, 8, 12, 21])),
        full_range=draw(st.booleans()),
        v2_fees=(0, 500, 2500, 3000),
    )
    pools = random_pools(seeded(draw(st.integers(0, 2**32))), shape)
    return pools, draw(st.integers(1, 9)) * 10 ** draw(st.integers(0, 22)), draw(st.integers(1, 4))


@settings(max_examples=60)
@given(questions())
def test_no_route_gives_a_tenth_of_a_basis_point_more(question: tuple[list[Pool], int, int]) -> None:
    pools, amount, legs = question
    most = brute_force(pools, amount, legs, None)
    found = best_on(PoolGraph(pools), Errand(IN, OUT, amount, legs), care=Care.THOROUGH)
    assert (found is None) == (most is None)
    if found is not None and most is not None:
        assert most - found.quote.amount_out <= most // ONE_HUNDRED_THOUSANDTH
        by_address = {pool.key.address: pool for pool in pools}
        assert quote_route(by_address, found.route, amount).amount_out == found.quote.amount_out
        assert len({leg.pool for leg in found.route.legs}) == len(found.route.legs) <= legs


@settings(max_examples=60)
@given(questions(), st.integers(0, 12), st.integers(1, 10**9), st.booleans())
def test_no_route_leaves_more_after_gas(
    question: tuple[list[Pool], int, int], digits: int, worth: int, on_rollup: bool
) -> None:
    pools, amount, legs = question
    gas = GasTerms(10**digits, (worth, 10**9), (lambda count: count * 10**digits) if on_rollup else None)
    most = brute_force(pools, amount, legs, gas)
    found = best_on(PoolGraph(pools), Errand(IN, OUT, amount, legs), gas, Care.THOROUGH)
    assert (found is None) == (most is None)
    if found is not None and most is not None:
        left = found.quote.amount_out - gas.cost(found.quote.gas, [found.route.legs])
        assert most - left <= found.quote.amount_out // ONE_HUNDRED_THOUSANDTH


@settings(max_examples=60)
@given(questions())
def test_the_quick_search_finds_what_the_thorough_one_finds_where_no_pool_runs_dry(
    question: tuple[list[Pool], int, int],
) -> None:
    pools, amount, legs = question
    deep = [pool for pool in pools if not (pool.key.tick_spacing and pool.state.kind == "concentrated")]
    quick = best_on(PoolGraph(deep), Errand(IN, OUT, amount, legs))
    thorough = best_on(PoolGraph(deep), Errand(IN, OUT, amount, legs), care=Care.THOROUGH)
    assert quick == thorough


def test_a_route_may_pass_a_token_twice_when_pools_disagree() -> None:
    def pool(number: int, one: int, other: int, reserve0: int, reserve1: int) -> Pool:
        return a_pool_v2(
            address=an_address(f"pool {number}"),
            token0=numbered_token(one),
            token1=numbered_token(other),
            reserve0=reserve0,
            reserve1=reserve1,
        )

    there, back = pool(1, 0, 2, 10**24, 2 * 10**24), pool(2, 0, 2, 10**24, 10**24)
    onward = pool(3, 0, 1, 10**24, 10**24)
    found = best_on(PoolGraph([there, back, onward]), Errand(IN, OUT, 10**18, 3))
    assert found is not None
    assert [leg.pool for leg in found.route.legs] == [there.key.address, back.key.address, onward.key.address]
    assert found.quote.amount_out > 18 * 10**17


def test_of_equal_routes_the_one_whose_pools_sort_first_is_taken() -> None:
    twins = [a_pool_v2(address=f"0x{number:040x}") for number in (3, 1, 2)]
    found = best_route({pool.key.address: pool for pool in twins}, WETH.address, USDC.address, 10**18)
    assert found is not None
    assert found.route.legs[0].pool == twins[1].key.address


@pytest.mark.parametrize(
    "pool", [a_pool_v2(reserve0=0, reserve1=0), a_pool_v3(ticks=(), liquidity=0), a_pool_v3(sqrt_price_x96=0)]
)
def test_pools_without_liquidity_and_tokens_without_pools_give_no_route(pool: Pool) -> None:
    pools = {pool.key.address: pool}
    for legs in range(1, 5):
        assert best_route(pools, WETH.address, USDC.address, 10**18, max_legs=legs) is None
        assert best_route(pools, WETH.address, an_address("nobody trades this"), 10**18, max_legs=legs) is None


def test_an_amount_too_small_to_buy_one_unit_has_no_route() -> None:
    pool = a_pool_v2()
    assert best_route({pool.key.address: pool}, WETH.address, USDC.address, 1) is None


@pytest.mark.parametrize(("amount", "legs"), [(0, 1), (-1, 1), (1, 0), (1, 5)])
def test_what_cannot_be_asked_is_refused(amount: int, legs: int) -> None:
    with pytest.raises(ValueError, match=r"at least one unit|1 to 4 legs"):
        best_route({}, WETH.address, USDC.address, amount, max_legs=legs)


def test_a_graph_follows_new_states_and_forgets_pools() -> None:
    pool = a_pool_v2()
    graph = PoolGraph([pool])
    errand = Errand(WETH.address, USDC.address, 10**18, 1)
    before = best_on(graph, errand)
    richer = a_pool_v2(reserve0=40_000_000 * 10**6)
    graph.put(richer)
    after = best_on(graph, errand)
    assert before is not None
    assert after is not None
    assert after.quote.amount_out > before.quote.amount_out * 199 // 100
    other = a_pool_v3()
    graph.follow({other.key.address: other})
    found = best_on(graph, errand)
    assert found is not None
    assert [leg.pool for leg in found.route.legs] == [other.key.address]
    assert len(graph) == 1
