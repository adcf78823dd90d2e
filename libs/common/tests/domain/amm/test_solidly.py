"""Solidly's maths where the recorded answers of contracts do not reach: least inputs, refusals, prices, depth."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.quoting import quote_exact_in, quote_exact_out, spot_price_ratio, virtual_reserves
from dexlane.domain.amm.solidly import MOST_DEPTH, Side, amount_out, swap_exact_in, swap_exact_out
from dexlane.domain.risk.depth import depth_of
from dexlane.testing.builders.pools import USDC, WETH, a_token
from dexlane.values.pools import ConstantProductState, Pool, PoolKey, Protocol

ONE = 10**18
DAI = a_token("DAI", address="0xffffffffffffffffffffffffffffffffffffffff")


def a_stable_pool(reserve0: int, reserve1: int, fee_pips: int = 100) -> Pool:
    """USDC (6 decimals) and DAI (18)."""
    key = PoolKey(address="0x" + "5" * 40, protocol=Protocol.SOLIDLY_STABLE, token0=USDC, token1=DAI, fee_pips=fee_pips)
    return Pool(key=key, state=ConstantProductState(reserve0=reserve0, reserve1=reserve1))


def output(side: Side, amount_in: int) -> int:
    try:
        return amount_out(side, amount_in)
    except InsufficientLiquidity:
        return -1


small_sides = st.builds(
    Side,
    reserve_in=st.integers(1, 400),
    reserve_out=st.integers(2, 400),
    unit_in=st.sampled_from([1, 10, 100]),
    unit_out=st.sampled_from([1, 10, 100]),
    fee_bps=st.sampled_from([0, 30, 300]),
    stable=st.booleans(),
    zero_for_one=st.booleans(),
)


@given(small_sides, st.data())
def test_exact_out_pays_the_least_input_of_all(side: Side, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, side.reserve_out - 1))
    least = next((amount for amount in range(1, 2_000) if output(side, amount) >= wanted), None)
    try:
        bought = swap_exact_out(side, wanted)
    except InsufficientLiquidity:
        return  # no input that was tried gives it, or the pool's check of its invariant refuses
    assert least is None or bought.amount_in == least


@given(st.integers(10**9, 10**15), st.integers(1, 10**9), st.integers(10**3, 10**9))
def test_a_stable_pool_at_its_balance_gives_what_it_gets_less_fee(reserve: int, part: int, size: int) -> None:
    pool = a_stable_pool(reserve, reserve * 10**12)
    amount = max(1_000, reserve // 10**4 * part // 10**9)
    quote = quote_exact_in(pool, USDC.address, amount)
    after_fee = amount - quote.fee_amount
    # A thousandth of the pool moves the price by less than a millionth: the curve is flat there.
    assert after_fee * 10**12 * (1 - Fraction(1, 10**6)) - 10**12 <= quote.amount_out <= after_fee * 10**12


def test_the_fee_leaves_the_pool() -> None:
    pool = a_stable_pool(10**12, 10**24, fee_pips=500)
    quote = quote_exact_in(pool, USDC.address, 10**9)
    assert quote.fee_amount == 10**9 * 5 // 10_000
    assert isinstance(quote.next_state, ConstantProductState)
    assert quote.next_state.reserve0 == 10**12 + 10**9 - quote.fee_amount
    assert quote.next_state.reserve1 == 10**24 - quote.amount_out


def test_exact_out_answers_as_the_exact_input_that_it_found() -> None:
    pool = a_stable_pool(3 * 10**12, 10**24)
    bought = quote_exact_out(pool, USDC.address, 12_345 * ONE)
    assert bought == quote_exact_in(pool, USDC.address, bought.amount_in)
    assert bought.amount_out >= 12_345 * ONE
    assert quote_exact_in(pool, USDC.address, bought.amount_in - 1).amount_out < 12_345 * ONE


@pytest.mark.parametrize(
    ("side", "amount"),
    [
        (Side(0, 5, 1, 1, 0, True, True), 1),
        (Side(10**24, 10**6, ONE, 10**6, 0, False, True), 10**17),
        (Side(10**30, 10**30, ONE, ONE, 5, True, True), ONE),
        (Side(10**24, 10**24, ONE, ONE, 5, True, True), 10**30),
    ],
    ids=["empty", "dust", "more than 256 bits in the pool", "more than 256 bits in the order"],
)
def test_what_the_contract_reverts_is_refused(side: Side, amount: int) -> None:
    with pytest.raises(InsufficientLiquidity):
        swap_exact_in(side, amount)
    with pytest.raises(InsufficientLiquidity):
        swap_exact_out(side, side.reserve_out)


def test_a_fee_in_fractions_of_a_basis_point_is_no_solidly_fee() -> None:
    with pytest.raises(ValueError, match="whole basis points"):
        quote_exact_in(a_stable_pool(10**12, 10**24, fee_pips=150), USDC.address, 1_000)


@given(st.integers(10**10, 10**15), st.integers(10**22, 10**27))
def test_the_spot_price_is_the_limit_of_small_trades(reserve0: int, reserve1: int) -> None:
    pool = a_stable_pool(reserve0, reserve1, fee_pips=0)
    price = Fraction(*spot_price_ratio(pool, USDC.address))
    amount = reserve0 // 10**6
    got = Fraction(quote_exact_in(pool, USDC.address, amount).amount_out, amount)
    assert abs(got / price - 1) < Fraction(1, 10**4)
    back = Fraction(*spot_price_ratio(pool, DAI.address))
    assert price * back == 1


@given(st.integers(10**10, 10**14), st.integers(1, 40))
def test_virtual_reserves_foretell_a_larger_trade(reserve0: int, lean: int) -> None:
    """Away from the balance the constant-product pool of equal price and curvature answers alike.

    Up to a hundred million whole tokens: with ten times as many the contract's arithmetic overflows.
    """
    pool = a_stable_pool(reserve0, reserve0 * 10**12 * (10 + lean), fee_pips=0)
    reserve_in, reserve_out = virtual_reserves(pool, USDC.address)
    amount = reserve0 // 200
    foretold = amount * reserve_out // (reserve_in + amount)
    got = quote_exact_in(pool, USDC.address, amount).amount_out
    assert abs(Fraction(foretold, got) - 1) < Fraction(1, 10**4)


def test_a_flat_curve_counts_as_no_more_than_a_multiple_of_its_reserve() -> None:
    reserve_in, reserve_out = virtual_reserves(a_stable_pool(10**12, 10**24), USDC.address)
    assert reserve_in == MOST_DEPTH * 10**12
    assert reserve_out == MOST_DEPTH * 10**24


def test_the_depth_of_a_stable_pool_is_far_more_than_that_of_a_product_of_its_reserves() -> None:
    stable = a_stable_pool(10**12, 10**24)
    product = replace(stable, key=stable.key.model_copy(update={"protocol": Protocol.SOLIDLY_VOLATILE}))
    assert depth_of(stable).out0 > 10 * depth_of(product).out0
    assert depth_of(stable).out1 > 10 * depth_of(product).out1


def test_a_volatile_pool_quotes_as_uniswap_v2_without_the_fee_in_its_reserves() -> None:
    key = PoolKey(address="0x" + "5" * 40, protocol=Protocol.SOLIDLY_VOLATILE, token0=USDC, token1=WETH, fee_pips=3000)
    pool = Pool(key=key, state=ConstantProductState(reserve0=2 * 10**13, reserve1=10**22))
    quote = quote_exact_in(pool, USDC.address, 10**9)
    after_fee = 10**9 - 3 * 10**6
    assert quote.amount_out == after_fee * 10**22 // (2 * 10**13 + after_fee)
    assert isinstance(quote.next_state, ConstantProductState)
    assert quote.next_state.reserve0 == 2 * 10**13 + after_fee
