"""Swaps in ``x * y = k`` pools, equal to the wei to Uniswap V2.

Sources: ``UniswapV2Library.getAmountOut`` and ``getAmountIn`` (v2-periphery), ``UniswapV2Pair.swap`` (v2-core 1.0.1).
The contracts write the fee as 997/1000; writing it in millionths scales numerator and denominator alike, so the floor
division gives the same integer, and forks with other fees (9975/10000) need no code of their own.
"""

from __future__ import annotations

from typing import NamedTuple

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.values.amounts import PIPS_DENOMINATOR
from dexlane.values.pools import ConstantProductState

MAX_RESERVE = (1 << 112) - 1
"""Reserves are uint112; the pair reverts with OVERFLOW above."""


class ReserveSwap(NamedTuple):
    """A swap against two reserves. ``fee_amount`` is in the token paid in and is part of ``amount_in``."""

    amount_in: int
    amount_out: int
    fee_amount: int
    state: ConstantProductState


def swap_exact_in(state: ConstantProductState, fee_pips: int, *, zero_for_one: bool, amount_in: int) -> ReserveSwap:
    """Sell ``amount_in``. Raises ``InsufficientLiquidity`` where the router or the pair reverts."""
    reserve_in, reserve_out = _reserves(state, zero_for_one=zero_for_one)
    after_fee = amount_in * (PIPS_DENOMINATOR - fee_pips)
    amount_out = after_fee * reserve_out // (reserve_in * PIPS_DENOMINATOR + after_fee)
    if amount_out == 0:
        raise InsufficientLiquidity("the order is too small to buy one unit")
    return _settle(state, fee_pips, zero_for_one=zero_for_one, amounts=(amount_in, amount_out))


def swap_exact_out(state: ConstantProductState, fee_pips: int, *, zero_for_one: bool, amount_out: int) -> ReserveSwap:
    """Buy ``amount_out``. Raises ``InsufficientLiquidity`` when the pool does not hold more than that."""
    reserve_in, reserve_out = _reserves(state, zero_for_one=zero_for_one)
    if amount_out >= reserve_out:
        raise InsufficientLiquidity(f"the pool holds {reserve_out}, cannot give {amount_out}")
    numerator = reserve_in * amount_out * PIPS_DENOMINATOR
    amount_in = numerator // ((reserve_out - amount_out) * (PIPS_DENOMINATOR - fee_pips)) + 1
    return _settle(state, fee_pips, zero_for_one=zero_for_one, amounts=(amount_in, amount_out))


def _reserves(state: ConstantProductState, *, zero_for_one: bool) -> tuple[int, int]:
    if state.reserve0 == 0 or state.reserve1 == 0:
        raise InsufficientLiquidity("the pool is empty")
    return (state.reserve0, state.reserve1) if zero_for_one else (state.reserve1, state.reserve0)


def _settle(state: ConstantProductState, fee_pips: int, *, zero_for_one: bool, amounts: tuple[int, int]) -> ReserveSwap:
    amount_in, amount_out = amounts
    if zero_for_one:
        reserve0, reserve1 = state.reserve0 + amount_in, state.reserve1 - amount_out
    else:
        reserve0, reserve1 = state.reserve0 - amount_out, state.reserve1 + amount_in
    if max(reserve0, reserve1) > MAX_RESERVE:
        raise InsufficientLiquidity("the reserve would exceed uint112")
    after = ConstantProductState.model_construct(kind="constant_product", reserve0=reserve0, reserve1=reserve1)
    fee_amount = -(-amount_in * fee_pips // PIPS_DENOMINATOR)
    return ReserveSwap(amount_in, amount_out, fee_amount, after)
