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


def sell(reserve_in: int, reserve_out: int, fee_pips: int, amount_in: int) -> tuple[int, int, int]:
    """Sell exactly ``amount_in``: (amount out, reserve in and reserve out afterwards).

    The bare numbers, a million times a second and more. Raises ``InsufficientLiquidity`` where the pair reverts.
    """
    after_fee = amount_in * (PIPS_DENOMINATOR - fee_pips)
    reserve_after = reserve_in + amount_in
    if reserve_in and reserve_after <= MAX_RESERVE:
        amount_out = after_fee * reserve_out // (reserve_in * PIPS_DENOMINATOR + after_fee)
        if amount_out:
            return amount_out, reserve_after, reserve_out - amount_out
    _refuse(reserve_in, reserve_out, reserve_after)
    raise InsufficientLiquidity("the order is too small to buy one unit")


def buy(reserve_in: int, reserve_out: int, fee_pips: int, amount_out: int) -> tuple[int, int, int]:
    """Buy exactly ``amount_out``: (amount in, reserve in and reserve out afterwards).

    Raises ``InsufficientLiquidity`` where the pair reverts, so also when the pool does not hold more than that.
    """
    left = reserve_out - amount_out
    if left <= 0 or not reserve_in:
        _refuse(reserve_in, reserve_out, reserve_in)
        raise InsufficientLiquidity(f"the pool holds {reserve_out}, cannot give {amount_out}")
    amount_in = reserve_in * amount_out * PIPS_DENOMINATOR // (left * (PIPS_DENOMINATOR - fee_pips)) + 1
    if reserve_in + amount_in > MAX_RESERVE:
        _refuse(reserve_in, reserve_out, reserve_in + amount_in)
    return amount_in, reserve_in + amount_in, left


def swap_exact_in(state: ConstantProductState, fee_pips: int, *, zero_for_one: bool, amount_in: int) -> ReserveSwap:
    """Sell ``amount_in`` and return the pool afterwards too. Raises as :func:`sell` does."""
    if zero_for_one:
        amount_out, reserve0, reserve1 = sell(state.reserve0, state.reserve1, fee_pips, amount_in)
    else:
        amount_out, reserve1, reserve0 = sell(state.reserve1, state.reserve0, fee_pips, amount_in)
    return ReserveSwap(amount_in, amount_out, _fee(amount_in, fee_pips), _state(reserve0, reserve1))


def swap_exact_out(state: ConstantProductState, fee_pips: int, *, zero_for_one: bool, amount_out: int) -> ReserveSwap:
    """Buy ``amount_out`` and return the pool afterwards too. Raises as :func:`buy` does."""
    if zero_for_one:
        amount_in, reserve0, reserve1 = buy(state.reserve0, state.reserve1, fee_pips, amount_out)
    else:
        amount_in, reserve1, reserve0 = buy(state.reserve1, state.reserve0, fee_pips, amount_out)
    return ReserveSwap(amount_in, amount_out, _fee(amount_in, fee_pips), _state(reserve0, reserve1))


def _refuse(reserve_in: int, reserve_out: int, reserve_after: int) -> None:
    if reserve_in == 0 or reserve_out == 0:
        raise InsufficientLiquidity("the pool is empty")
    if reserve_after > MAX_RESERVE:
        raise InsufficientLiquidity("the reserve would exceed uint112")


def _fee(amount_in: int, fee_pips: int) -> int:
    return -(-amount_in * fee_pips // PIPS_DENOMINATOR)


def _state(reserve0: int, reserve1: int) -> ConstantProductState:
    return ConstantProductState.unchecked(reserve0, reserve1)
