"""Rules that every quote keeps, on random pools."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from dexlane.domain.amm import concentrated
from dexlane.domain.amm.adapters.uniswap_v3 import TICK_CROSSING_GAS
from dexlane.domain.amm.deltas import apply_mint
from dexlane.domain.amm.quoting import (
    ROUTE_GAS,
    InsufficientLiquidity,
    Quote,
    price_impact_bps,
    quote_exact_in,
    quote_exact_out,
    quote_route,
    spot_price_ratio,
)
from dexlane.domain.amm.tick_math import MAX_SQRT_RATIO, MIN_SQRT_RATIO, sqrt_ratio_at_tick, tick_at_sqrt_ratio
from dexlane.testing.builders import USDC, WETH, a_pool_v2, a_pool_v3, a_route, a_token
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool

_FEES = st.sampled_from([100, 500, 2500, 3000, 10_000])
_SPACINGS = {100: 1, 500: 10, 2500: 50, 3000: 60, 10_000: 200}


@st.composite
def v2_pools(draw: st.DrawFn) -> Pool:
    """Constant-product pools from dust to the size of large ones."""
    reserves = st.integers(1_000, 10**26)
    return a_pool_v2(reserve0=draw(reserves), reserve1=draw(reserves), fee_pips=draw(_FEES))


@st.composite
def v3_pools(draw: st.DrawFn) -> Pool:
    """Concentrated pools built from one to six positions, with gaps in between and ticks that cancel out in net."""
    fee = draw(_FEES)
    spacing = _SPACINGS[fee]
    centre = draw(st.integers(-200_000, 200_000)) // spacing * spacing
    price = draw(st.integers(sqrt_ratio_at_tick(centre), sqrt_ratio_at_tick(centre + spacing) - 1))
    state = ConcentratedState(sqrt_price_x96=price, tick=tick_at_sqrt_ratio(price), liquidity=0)
    steps = st.integers(-600, 600)
    for _ in range(draw(st.integers(1, 6))):
        lower, upper = sorted((draw(steps), draw(steps)))
        assume(lower < upper)
        liquidity = draw(st.integers(10**3, 10**24))
        state = apply_mint(state, centre + lower * spacing, centre + upper * spacing, liquidity)
    return a_pool_v3(fee_pips=fee, tick=0, liquidity=0, ticks=()).with_state(state)


pools = st.one_of(v2_pools(), v3_pools())
tokens = st.sampled_from([USDC.address, WETH.address])
amounts = st.integers(1, 10**27)


def _quote(pool: Pool, token_in: str, amount_in: int) -> Quote:
    try:
        return quote_exact_in(pool, token_in, amount_in)
    except InsufficientLiquidity:
        reject()


def _after(pool: Pool, quote: Quote) -> Pool:
    return pool.with_state(quote.next_state)


@given(pools, tokens, amounts)
def test_a_round_trip_never_profits(pool: Pool, token_in: str, amount: int) -> None:
    there = _quote(pool, token_in, amount)
    assume(there.amount_out > 0)
    back = _quote(_after(pool, there), pool.key.other(token_in).address, there.amount_out)
    assert back.amount_out <= there.amount_in


@given(pools, tokens, amounts, amounts)
def test_output_never_falls_when_the_input_grows(pool: Pool, token_in: str, one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert _quote(pool, token_in, less).amount_out <= _quote(pool, token_in, more).amount_out


@given(pools, tokens, amounts)
def test_a_trade_never_improves_the_price_for_the_next_one(pool: Pool, token_in: str, amount: int) -> None:
    numerator, denominator = spot_price_ratio(pool, token_in)
    after_numerator, after_denominator = spot_price_ratio(_after(pool, _quote(pool, token_in, amount)), token_in)
    assert after_numerator * denominator <= numerator * after_denominator


@given(v2_pools(), tokens, amounts)
def test_the_pair_keeps_its_k_check(pool: Pool, token_in: str, amount: int) -> None:
    for quote in (_quote(pool, token_in, amount), _exact_out(pool, token_in, amount)):
        before, after = pool.state, quote.next_state
        assert isinstance(before, ConstantProductState)
        assert isinstance(after, ConstantProductState)
        fee = quote.amount_in * pool.key.fee_pips
        adjusted0, adjusted1 = after.reserve0 * 10**6, after.reserve1 * 10**6
        if token_in == USDC.address:
            adjusted0 -= fee
        else:
            adjusted1 -= fee
        assert adjusted0 * adjusted1 >= before.reserve0 * before.reserve1 * 10**12


def _exact_out(pool: Pool, token_in: str, amount_out: int) -> Quote:
    try:
        return quote_exact_out(pool, token_in, amount_out)
    except InsufficientLiquidity:
        reject()


@given(pools, tokens, amounts)
def test_exact_out_asks_for_enough_and_for_no_unit_too_many(pool: Pool, token_in: str, amount_out: int) -> None:
    bought = _exact_out(pool, token_in, amount_out)
    assume(not bought.partial and bought.amount_in > 1)
    assert bought.amount_out == amount_out
    assert _quote(pool, token_in, bought.amount_in).amount_out >= amount_out
    if isinstance(pool.state, ConstantProductState):
        # Uniswap V2 always adds one unit, so only two fewer are certain not to do.
        assume(bought.amount_in > 2)
        try:
            assert quote_exact_in(pool, token_in, bought.amount_in - 2).amount_out < amount_out
        except InsufficientLiquidity:
            assert bought.amount_out > 0


def _ends_at_a_tick(quote: Quote) -> bool:
    state = quote.next_state
    if not isinstance(state, ConcentratedState):
        return False
    return state.sqrt_price_x96 in (sqrt_ratio_at_tick(state.tick), sqrt_ratio_at_tick(state.tick + 1))


@given(pools, tokens, amounts)
def test_buying_what_a_sale_gives_costs_no_more_than_the_sale(pool: Pool, token_in: str, amount: int) -> None:
    sold = _quote(pool, token_in, amount)
    assume(sold.amount_out > 0)
    bought = _exact_out(pool, token_in, sold.amount_out)
    # An order that takes all whole units before a tick goes up to it, whatever part of a unit that leaves there.
    assume(not _ends_at_a_tick(bought))
    # Uniswap V2 always adds one unit to the amount it asks for.
    assert bought.amount_in <= sold.amount_in + isinstance(pool.state, ConstantProductState)


@given(pools, tokens, amounts, amounts)
def test_the_cost_never_falls_when_more_is_bought(pool: Pool, token_in: str, one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert _exact_out(pool, token_in, less).amount_in <= _exact_out(pool, token_in, more).amount_in


@given(v3_pools(), tokens, amounts)
def test_an_order_larger_than_the_pool_is_filled_in_part(pool: Pool, token_in: str, amount: int) -> None:
    quote = _quote(pool, token_in, amount)
    state = quote.next_state
    assert isinstance(state, ConcentratedState)
    assert quote.partial == (quote.amount_in < amount)
    assert quote.amount_in <= amount
    limit = MIN_SQRT_RATIO + 1 if token_in == USDC.address else MAX_SQRT_RATIO - 1
    if quote.partial:
        assert state.sqrt_price_x96 == limit
        assert state.liquidity == 0


@given(v3_pools(), tokens, amounts)
def test_active_liquidity_is_the_sum_of_net_liquidity_up_to_the_tick(pool: Pool, token_in: str, amount: int) -> None:
    state = _quote(pool, token_in, amount).next_state
    assert isinstance(state, ConcentratedState)
    assert state.liquidity == sum(tick.liquidity_net for tick in state.ticks if tick.tick <= state.tick)
    assert sqrt_ratio_at_tick(state.tick) <= state.sqrt_price_x96 <= sqrt_ratio_at_tick(state.tick + 1)


@given(v3_pools(), tokens, amounts, st.integers(1, 9_999))
def test_a_swap_stopped_at_a_price_continues_from_there(pool: Pool, token_in: str, amount: int, share: int) -> None:
    """The limit is one more stop, and every stop rounds: the parts may differ from the whole by a unit per stop."""
    state, zero_for_one = pool.state, token_in == USDC.address
    assert isinstance(state, ConcentratedState)
    whole = _quote(pool, token_in, amount)
    end = whole.next_state
    assert isinstance(end, ConcentratedState)
    limit = state.sqrt_price_x96 + (end.sqrt_price_x96 - state.sqrt_price_x96) * share // 10_000
    assume(limit not in (state.sqrt_price_x96, end.sqrt_price_x96) and not whole.partial)
    order = concentrated.Order(zero_for_one=zero_for_one, exact_in=True, amount=amount, sqrt_price_limit_x96=limit)
    first = concentrated.swap(state, pool.key.fee_pips, pool.key.tick_spacing, order)
    assume(first.state.sqrt_price_x96 == limit and first.amount_in < amount)
    rest = _quote(pool.with_state(first.state), token_in, amount - first.amount_in)
    numerator, denominator = spot_price_ratio(pool, token_in)
    slack = (first.words_read + 1) * (numerator // denominator + 2)
    assert first.amount_out + rest.amount_out <= whole.amount_out + slack


def _renamed(pool: Pool, number: int) -> Pool:
    return replace(pool, key=pool.key.model_copy(update={"address": f"0x{number:040x}"}))


@given(st.lists(st.one_of(v2_pools(), v3_pools()), min_size=1, max_size=3), amounts)
def test_a_route_equals_its_legs_one_after_the_other(chain: list[Pool], amount: int) -> None:
    chain = [_renamed(pool, number) for number, pool in enumerate(chain)]
    route = a_route(*chain)
    try:
        whole = quote_route({pool.key.address: pool for pool in chain}, route, amount)
    except InsufficientLiquidity:
        reject()
    at_hand = amount
    for pool, leg, quoted in zip(chain, route.legs, whole.legs, strict=True):
        assert quote_exact_in(pool, leg.token_in, at_hand) == quoted
        at_hand = quoted.amount_out
    assert whole.amount_out == at_hand
    assert whole.gas == ROUTE_GAS + sum(leg.gas for leg in whole.legs)


def test_a_pool_used_twice_sees_its_own_impact() -> None:
    pool = a_pool_v2()
    route = a_route(pool, pool)
    quote = quote_route({pool.key.address: pool}, route, 10**12)
    back = quote_exact_in(_after(pool, quote.legs[0]), WETH.address, quote.legs[0].amount_out)
    assert quote.amount_out == back.amount_out < 10**12


def test_a_route_is_refused_when_a_leg_takes_only_a_part() -> None:
    pool = a_pool_v3(liquidity=10**9)
    with pytest.raises(InsufficientLiquidity, match="takes only"):
        quote_route({pool.key.address: pool}, a_route(pool), 10**30)


def test_a_pool_without_liquidity_on_one_side_is_refused() -> None:
    pool = a_pool_v3(liquidity=0, ticks=())
    with pytest.raises(InsufficientLiquidity, match="no liquidity"):
        quote_exact_in(pool, USDC.address, 10**6)


def test_a_price_already_at_the_limit_is_refused() -> None:
    pool = a_pool_v3(liquidity=0, ticks=(), tick=-887_272, sqrt_price_x96=MIN_SQRT_RATIO + 1)
    with pytest.raises(InsufficientLiquidity, match="no room"):
        quote_exact_in(pool, USDC.address, 10**6)


def test_an_uninitialised_pool_has_neither_quote_nor_price() -> None:
    pool = a_pool_v3(liquidity=0, ticks=(), tick=0, sqrt_price_x96=0)
    with pytest.raises(InsufficientLiquidity, match="not initialised"):
        quote_exact_in(pool, USDC.address, 10**6)
    with pytest.raises(InsufficientLiquidity, match="no price"):
        spot_price_ratio(pool, USDC.address)


def test_an_empty_pair_is_refused() -> None:
    with pytest.raises(InsufficientLiquidity, match="empty"):
        quote_exact_in(a_pool_v2(reserve0=0, reserve1=0), USDC.address, 10**6)


def test_a_pair_cannot_give_all_it_holds() -> None:
    pool = a_pool_v2(reserve1=10**18)
    with pytest.raises(InsufficientLiquidity, match="cannot give"):
        quote_exact_out(pool, USDC.address, 10**18)


def test_an_order_too_small_to_buy_a_unit_is_refused_by_a_pair() -> None:
    with pytest.raises(InsufficientLiquidity, match="too small"):
        quote_exact_in(a_pool_v2(), WETH.address, 1)


def test_a_reserve_beyond_uint112_is_refused() -> None:
    with pytest.raises(InsufficientLiquidity, match="uint112"):
        quote_exact_in(a_pool_v2(), USDC.address, 1 << 112)


def test_a_foreign_token_is_refused() -> None:
    with pytest.raises(KeyError):
        quote_exact_in(a_pool_v2(), a_token().address, 10**6)


@pytest.mark.parametrize("amount", [0, -1])
def test_an_amount_below_one_is_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        quote_exact_in(a_pool_v3(), USDC.address, amount)


def test_gas_grows_with_every_initialised_tick_crossed() -> None:
    pool = a_pool_v3(liquidity=6 * 10**15)
    quotes = [quote_exact_in(pool, USDC.address, amount) for amount in (10**6, 10**9, 10**11, 10**13)]
    assert all(less.gas <= more.gas for less, more in pairwise(quotes))
    assert quotes[-1].gas >= quotes[0].gas + 2 * TICK_CROSSING_GAS


def test_spot_price_is_the_limit_of_small_quotes() -> None:
    for pool in (a_pool_v2(), a_pool_v3()):
        numerator, denominator = spot_price_ratio(pool, WETH.address)
        after_fee = 10**15 * numerator * (10**6 - pool.key.fee_pips) // (denominator * 10**6)
        assert after_fee - 10 <= quote_exact_in(pool, WETH.address, 10**15).amount_out <= after_fee


def test_price_impact_counts_our_effect_but_not_the_fee() -> None:
    pool = a_pool_v2()
    pools, route = {pool.key.address: pool}, a_route(pool)
    assert price_impact_bps(pools, route, quote_route(pools, route, 10**6)) == 0
    # 200,000 USDC into 20 million: x / (reserve + x) = 0.9871 %.
    assert price_impact_bps(pools, route, quote_route(pools, route, 200_000 * 10**6)) == 99
