"""Cycles of two and three pools, against trying every one."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import optimal_cycle_size, quote_route
from dexlane.domain.routing import PoolGraph
from dexlane.domain.routing.cycles import CycleQuestion, gaining_cycles
from dexlane.testing.random_pools import MarketShape, numbered_token, random_pools, seeded
from dexlane.values.pools import Pool
from dexlane.values.routes import Leg, Route

START = numbered_token(0).address
MAX_IN = 10**24


def _route(pools: tuple[Pool, ...]) -> Route | None:
    """The cycle through these pools in this order that passes no token twice on its way; None when there is none."""
    legs: list[Leg] = []
    token, seen = START, {START}
    for position, pool in enumerate(pools):
        key = pool.key
        if token not in (key.token0.address, key.token1.address):
            return None
        other = key.other(token).address
        if (other == START) != (position == len(pools) - 1) or (other in seen and other != START):
            return None
        seen.add(other)
        legs.append(
            Leg(pool=key.address, protocol=key.protocol, fee_pips=key.fee_pips, token_in=token, token_out=other)
        )
        token = other
    return Route(legs=tuple(legs))


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([2, 3]))
def test_every_gaining_cycle_through_a_touched_pool_is_found_at_its_best_size(seed: int, legs: int) -> None:
    rng = seeded(seed)
    pools = random_pools(rng, MarketShape(tokens=rng.randint(2, 4), pools=rng.randint(2, 5), noise=0.1))
    by_address = {pool.key.address: pool for pool in pools}
    touched = rng.choice(pools).key.address
    found = gaining_cycles(PoolGraph(pools), by_address, CycleQuestion(START, legs, MAX_IN), [touched])
    expected = {}
    for chosen in permutations(pools, legs):
        route = _route(chosen)
        if route is not None and touched in {leg.pool for leg in route.legs}:
            best = optimal_cycle_size(by_address, route, MAX_IN)
            if best is not None and best[1] > 10**6:
                expected[route] = best
    assert len(expected) <= 16
    assert {cycle.route: (cycle.size, cycle.profit) for cycle in found if cycle.profit > 10**6} == expected
    assert [cycle.profit for cycle in found] == sorted((cycle.profit for cycle in found), reverse=True)
    for cycle in found:
        quote = quote_route(by_address, cycle.route, cycle.size)
        assert (quote.amount_out - cycle.size, quote.gas) == (cycle.profit, cycle.gas)


@pytest.mark.parametrize("legs", [2, 3])
def test_pools_that_agree_and_pools_that_are_gone_offer_no_cycle(legs: int) -> None:
    pools = random_pools(seeded(1), MarketShape(tokens=3, pools=8, noise=0))
    by_address = {pool.key.address: pool for pool in pools}
    question = CycleQuestion(START, legs, MAX_IN)
    assert gaining_cycles(PoolGraph(pools), by_address, question, by_address) == []
    assert gaining_cycles(PoolGraph(pools), {}, question, by_address) == []
    assert gaining_cycles(PoolGraph(pools), by_address, question, ["0x" + "9" * 40]) == []
