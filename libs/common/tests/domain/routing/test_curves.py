"""Curves choose what exact quotes decide: they may differ by a part in ten million, and in nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm.adapters import Pair
from dexlane.domain.routing.curves import NOTHING, curve_of, exact_curve
from dexlane.testing.builders import a_pool_v3
from dexlane.testing.random_pools import MarketShape, random_pools, seeded
from dexlane.values.pools import Tick

TEN_MILLIONTH = 10**7


@given(
    st.integers(0, 2**32),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(1, 10**25) | st.integers(1, 10**6), min_size=1, max_size=12),
)
def test_amounts_and_gas_are_those_of_the_exact_quote(
    seed: int, full_range: bool, forward: bool, amounts: list[int]
) -> None:
    shape = MarketShape(tokens=2, pools=1, v3_share=0.8, full_range=full_range)
    (pool,) = random_pools(seeded(seed), shape)
    ends = (pool.key.token0.address, pool.key.token1.address)
    pair = Pair(*ends) if forward else Pair(*reversed(ends))
    curve, exact = curve_of(pool, pair), exact_curve(pool, pair)
    for amount in amounts:
        (bought, gas), (exactly, exact_gas) = curve(amount), exact(amount)
        assert abs(bought - exactly) <= exactly // TEN_MILLIONTH
        if exactly:
            assert abs(gas - exact_gas) <= 3_500, "one end of a bitmap word may be an initialised tick"


def test_more_than_the_pool_takes_is_nothing() -> None:
    pool = a_pool_v3(tick=0, liquidity=10**18, ticks=(Tick(-600, 10**18, 10**18), Tick(600, 10**18, -(10**18))))
    curve = curve_of(pool, Pair(pool.key.token0.address, pool.key.token1.address))
    assert curve(10**16)[0] > 0
    assert curve(10**18) == NOTHING
    assert curve(10**16)[0] > 0, "an order that was too large leaves the curve as it was"


def test_a_tick_list_that_contradicts_the_liquidity_ends_the_curve() -> None:
    pool = a_pool_v3(tick=0, liquidity=10**18, ticks=(Tick(-600, 1, 2 * 10**18), Tick(600, 1, -(2 * 10**18))))
    curve = curve_of(pool, Pair(pool.key.token0.address, pool.key.token1.address))
    assert curve(10**20) == NOTHING
