"""What no single pool takes is worth what selling it in parts really brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import InsufficientLiquidity, quote_exact_in, quote_route
from dexlane.domain.exits import ExecutableValue, executable_value
from dexlane.domain.pool_table import PoolTable
from dexlane.domain.selling import MOST_ROUTES, PIECES, most_taken, pools_between, routes_between, sold_in_parts
from dexlane.testing.builders import USDC, WETH, a_one_tick_pool, a_pool_v2, a_pool_v3, a_token, an_address
from dexlane.values.pools import ConcentratedState, Pool, Tick

TICK = 200_311
SOLD = WETH.address
OTHER = a_token("OTHER", address="0x" + "d" * 40)


def by_address(*pools: Pool) -> dict[str, Pool]:
    return {pool.key.address: pool for pool in pools}


def a_narrow_pool(name: str, liquidity: int, width: int = 50, shift: int = 0, **fields: Any) -> Pool:
    """USDC/WETH at 0.01 % with all its money within so many ticks of its price."""
    tick = TICK + shift
    defaults: dict[str, Any] = {
        "address": an_address(name),
        "fee_pips": 100,
        "tick_spacing": 1,
        "tick": tick,
        "liquidity": liquidity,
        "ticks": (Tick(tick - width, liquidity, liquidity), Tick(tick + width, liquidity, -liquidity)),
    }
    return a_pool_v3(**(defaults | fields))


def takes(pool: Pool) -> int:
    return quote_exact_in(pool, SOLD, 10**30).amount_in


def value(pools: Mapping[str, Pool], quantity: int) -> ExecutableValue:
    found = executable_value(pools, SOLD, USDC.address, quantity)
    assert found is not None
    return found


@st.composite
def narrow_markets(draw: st.DrawFn) -> list[Pool]:
    """Pools of which none takes much, at prices that differ by up to half a per cent."""
    sizes = draw(st.lists(st.integers(10**15, 10**17), min_size=1, max_size=5))
    return [
        a_narrow_pool(f"narrow {n}", size, draw(st.integers(1, 200)), draw(st.integers(-25, 25)))
        for n, size in enumerate(sizes)
    ]


SHARES = st.integers(1, 300)
"""Of what the pools take together, in per cent."""


def quantity_of(pools: Sequence[Pool], share: int) -> int:
    return max(1, sum(map(takes, pools)) * share // 100)


@given(narrow_markets(), SHARES)
def test_a_value_in_parts_is_never_more_than_selling_them_brings(pools: list[Pool], share: int) -> None:
    market, quantity = by_address(*pools), quantity_of(pools, share)
    sold = sold_in_parts(market, routes_between(market, SOLD, USDC.address), quantity)
    assert sum(part.amount_in for part in sold.parts) + sold.rest == quantity
    for part in sold.parts:
        assert part.amount_out <= quote_exact_in(market[part.route.legs[0].pool], SOLD, part.amount_in).amount_out


@given(narrow_markets(), SHARES)
def test_a_rest_is_left_only_when_every_pool_has_taken_what_it_takes(pools: list[Pool], share: int) -> None:
    market, quantity = by_address(*pools), quantity_of(pools, share)
    sold = sold_in_parts(market, routes_between(market, SOLD, USDC.address), quantity)
    # Every piece may round by a unit.
    room = sum(map(takes, pools))
    assert abs(sold.rest - max(0, quantity - room)) <= PIECES * len(pools) * 2


@given(st.lists(st.integers(10**10, 10**13), min_size=1, max_size=4), st.integers(1, 10**22))
@example([10**12, 10**12], 10**20)
def test_where_every_pool_takes_all_the_value_is_that_of_the_best_single_one(
    reserves: list[int], quantity: int
) -> None:
    at_one_price = [{"reserve0": usdc, "reserve1": usdc * 10**12 // 2_000} for usdc in reserves]
    market = by_address(*(a_pool_v2(address=an_address(str(n)), **both) for n, both in enumerate(at_one_price)))
    offers = []
    for pool in market.values():
        try:
            offers.append(quote_exact_in(pool, SOLD, quantity).amount_out)
        except InsufficientLiquidity:
            continue
    assert value(market, quantity).proceeds == max(offers, default=0)


@given(narrow_markets(), SHARES, st.integers(0, 4), st.integers(2, 50))
def test_more_liquidity_is_never_worth_less(pools: list[Pool], share: int, which: int, times: int) -> None:
    quantity, grown = quantity_of(pools, share), which % len(pools)
    state = pools[grown].state
    assert isinstance(state, ConcentratedState)
    ticks = tuple(Tick(one.tick, one.liquidity_gross * times, one.liquidity_net * times) for one in state.ticks)
    more = pools[grown].with_state(replace(state, liquidity=state.liquidity * times, ticks=ticks))
    before, after = (
        sold_in_parts(market, routes_between(market, SOLD, USDC.address), quantity).proceeds
        for market in (by_address(*pools), by_address(*pools[:grown], more, *pools[grown + 1 :]))
    )
    # Pieces are no finer than that: one may go to the pool that is better for all of it and not for each unit of it.
    assert after >= before - before // 1_000


@settings(max_examples=25)
@given(narrow_markets(), st.integers(10, 100))
def test_pieces_miss_the_best_split_by_little(pools: list[Pool], share: int) -> None:
    market, quantity = by_address(*pools), quantity_of(pools, share)
    routes = routes_between(market, SOLD, USDC.address)
    coarse = sold_in_parts(market, routes, quantity)
    states, fine = dict(market), 0
    for _ in range(400):
        offers = [(most_taken(states, route, -(-quantity // 400)), route) for route in routes]
        taken = [(quote, route) for quote, route in offers if quote is not None]
        if not taken:
            break
        quote, route = max(taken, key=lambda one: one[0].amount_out / one[0].amount_in)
        fine += quote.amount_out
        states[route.legs[0].pool] = states[route.legs[0].pool].with_state(quote.legs[0].next_state)
    assert coarse.proceeds >= fine - fine // 1_000


@given(narrow_markets(), SHARES, st.randoms(use_true_random=False))
def test_everybody_finds_the_same_value(pools: list[Pool], share: int, chance: object) -> None:
    quantity, shuffled = quantity_of(pools, share), list(pools)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert value(by_address(*shuffled), quantity) == value(by_address(*pools), quantity)


def test_what_was_bought_over_several_pools_is_worth_what_it_cost_less_fees() -> None:
    # Their price is at the end of their range, where they sell WETH and hardly take any.
    pools = [a_narrow_pool(name, 5 * 10**16, tick=TICK + 49) for name in ("one", "two")]
    held, after = 0, []
    for pool in pools:
        bought = quote_exact_in(pool, USDC.address, 200 * 10**6)
        held += bought.amount_out
        after.append(pool.with_state(bought.next_state))
    assert max(map(takes, after)) < held, "no pool takes all of it"
    found = value(by_address(*after), held)
    assert found.rest == 0
    # 0.01 % of fee on either way.
    assert 400 * 10**6 * 9_997 // 10_000 <= found.proceeds < 400 * 10**6


def test_a_thin_pool_that_takes_anything_sets_no_price_beside_pools_that_pay_for_parts() -> None:
    one, two = (a_narrow_pool(name, 5 * 10**16) for name in ("one", "two"))
    thin = a_pool_v2(reserve0=100 * 10**6, reserve1=5 * 10**16)
    quantity = takes(one) + takes(two) // 2
    alone = value(by_address(thin), quantity)
    together = value(by_address(one, two, thin), quantity)
    assert together.proceeds > value(by_address(one, two), quantity).proceeds * 99 // 100 > 2 * alone.proceeds
    assert (together.pool, together.rest) == (None, 0)


def test_a_crumb_in_a_narrow_pool_does_not_change_the_price_of_a_deep_one() -> None:
    deep, crumb = a_pool_v2(), a_one_tick_pool(TICK - 5, 10**12)
    assert value(by_address(deep, crumb), 10**18) == value(by_address(deep), 10**18)


def test_what_pools_of_the_pair_do_not_take_is_sold_over_another_token() -> None:
    direct = a_narrow_pool("direct", 10**16)
    to_other = a_pool_v2(address=an_address("to other"), token0=WETH, token1=OTHER, reserve0=10**22, reserve1=10**22)
    back = a_pool_v2(address=an_address("back"), token1=OTHER)
    quantity = 2 * takes(direct)
    short, whole = value(by_address(direct), quantity), value(by_address(direct, to_other, back), quantity)
    assert 0 < short.rest < quantity
    assert (whole.pool, whole.rest) == (None, 0)
    assert whole.proceeds > short.proceeds * 19 // 10
    market = PoolTable([direct, to_other, back, a_pool_v2(address=an_address("far"), token0=USDC, token1=a_token())])
    assert pools_between(market, SOLD, USDC.address) == by_address(direct, to_other, back)
    assert pools_between(market, SOLD, USDC.address, 1) == by_address(direct)


def test_a_route_over_two_pools_takes_what_the_second_of_them_takes() -> None:
    to_other = a_pool_v2(address=an_address("to other"), token0=WETH, token1=OTHER, reserve0=10**22, reserve1=10**22)
    back = a_narrow_pool("back", 10**16)
    key = back.key.model_copy(update={"token1": OTHER})
    market = by_address(to_other, Pool(key=key, state=back.state))
    (route,) = routes_between(market, SOLD, USDC.address)
    quantity = 2 * takes(back)
    taken = most_taken(market, route, quantity)
    assert taken is not None
    assert taken == quote_route(market, route, taken.amount_in)
    assert takes(back) * 995 // 1_000 < taken.amount_in * 997 // 1_000 <= takes(back)


def test_of_very_many_routes_only_the_best_are_asked_again() -> None:
    pools = [a_narrow_pool(f"pool {n}", 10**15, shift=-n) for n in range(MOST_ROUTES + 10)]
    market = by_address(*pools)
    sold = sold_in_parts(market, routes_between(market, SOLD, USDC.address), 10 * sum(map(takes, pools)))
    best = {pool.key.address for pool in pools[-MOST_ROUTES:]}
    assert {part.route.legs[0].pool for part in sold.parts} == best


def test_what_nobody_takes_has_no_proceeds_and_what_nobody_trades_no_value() -> None:
    empty = a_one_tick_pool(liquidity=0)
    assert value(by_address(empty), 10**18) == ExecutableValue(None, 0, 10**18)
    # More than any order can sell, as a token may claim in its logs that we got.
    assert value(by_address(empty), 2**256 - 1).proceeds == 0
    assert executable_value({}, SOLD, USDC.address, 10**18) is None
