"""Square-root price arithmetic: the anchors of v3-core's ``SqrtPriceMath.spec.ts``, and its limits."""

from __future__ import annotations

import pytest

from dexlane.domain.amm import sqrt_price_math as maths
from dexlane.domain.amm.concentrated import Order, swap
from dexlane.domain.amm.tick_math import Q96
from dexlane.values.pools import ConcentratedState, Tick

ONE = 10**18
TENTH = 10**17
EDGE_PRICE = 20282409603651670423947251286016
"""A price at which 1,024 of liquidity holds exactly 4 of token0 and 262,144 of token1."""


def test_price_after_input_equals_the_contracts_anchors() -> None:
    assert maths.sqrt_price_after_adding_1(Q96, ONE, TENTH) == 87150978765690771352898345369
    assert maths.sqrt_price_after_adding_0(Q96, ONE, TENTH) == 72025602285694852357767227579
    assert maths.sqrt_price_after_adding_0(Q96, 10 * ONE, 1 << 100) == 624999999995069620


def test_price_after_output_equals_the_contracts_anchors() -> None:
    assert maths.sqrt_price_after_removing_1(Q96, ONE, TENTH) == 71305346262837903834189555302
    assert maths.sqrt_price_after_removing_0(Q96, ONE, TENTH) == 88031291682515930659493278152
    assert maths.sqrt_price_after_removing_1(EDGE_PRICE, 1024, 262_143) == 77371252455336267181195264


def test_no_amount_leaves_the_price() -> None:
    assert maths.sqrt_price_after_adding_0(Q96, ONE, 0) == Q96
    assert maths.sqrt_price_after_removing_0(Q96, ONE, 0) == Q96


def test_where_the_contracts_product_overflows_its_coarser_formula_holds() -> None:
    price, liquidity = (1 << 160) - 1, (1 << 128) - 1
    largest = (1 << 256) - 1 - (liquidity << 96) // price
    assert maths.sqrt_price_after_adding_0(price, liquidity, largest) == 1
    assert maths.sqrt_price_after_adding_0(Q96, 1, (1 << 255) - 1) == 1
    # Just beyond the overflow both formulas still give large prices, and they differ.
    amount = (1 << 256) // price + 5
    exact = maths.div_rounding_up((liquidity << 96) * price, (liquidity << 96) + amount * price)
    coarse = maths.div_rounding_up(liquidity << 96, (liquidity << 96) // price + amount)
    assert maths.sqrt_price_after_adding_0(price, liquidity, amount) == coarse
    assert coarse > exact


@pytest.mark.parametrize("amount", [4, 5])
def test_all_of_token0_or_more_cannot_be_taken(amount: int) -> None:
    with pytest.raises(ValueError, match="token0"):
        maths.sqrt_price_after_removing_0(EDGE_PRICE, 1024, amount)


@pytest.mark.parametrize("amount", [262_144, 262_145])
def test_all_of_token1_or_more_cannot_be_taken(amount: int) -> None:
    with pytest.raises(ValueError, match="token1"):
        maths.sqrt_price_after_removing_1(EDGE_PRICE, 1024, amount)


def test_amounts_between_prices_equal_the_contracts_anchors() -> None:
    upper = 87150978765690771352898345369  # the square root of 1.21, up to its last digits
    assert maths.amount0_delta_rounding_up(Q96, upper, ONE) == 90909090909090910
    assert maths.amount0_delta(Q96, upper, ONE) == 90909090909090909
    assert maths.amount1_delta_rounding_up(Q96, upper, ONE) == TENTH
    assert maths.amount1_delta(Q96, upper, ONE) == TENTH - 1


def test_an_order_beyond_int256_is_refused() -> None:
    state = ConcentratedState(sqrt_price_x96=Q96, tick=0, liquidity=ONE)
    with pytest.raises(ValueError, match="int256"):
        swap(state, 500, 10, Order(zero_for_one=True, exact_in=True, amount=1 << 255))


def test_ticks_that_contradict_the_active_liquidity_are_refused() -> None:
    state = ConcentratedState(sqrt_price_x96=Q96, tick=0, liquidity=1, ticks=(Tick(-10, 5, 5),))
    with pytest.raises(ValueError, match="contradicts"):
        swap(state, 500, 10, Order(zero_for_one=True, exact_in=True, amount=ONE))
