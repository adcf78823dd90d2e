"""One step of a concentrated swap, from a price to the next stop (source: v3-core 1.0.1, ``SwapMath.computeSwapStep``).

A step takes (price, target, liquidity, remaining, fee in pips) and returns (price reached, paid, received, fee):
``paid`` includes ``fee``. ``remaining`` counts what is still to be paid in (exact input) or taken out (exact output).
"""

from __future__ import annotations

from collections.abc import Callable

from dexlane.domain.amm.sqrt_price_math import (
    amount0_delta,
    amount0_delta_rounding_up,
    amount1_delta,
    amount1_delta_rounding_up,
    sqrt_price_after_adding_0,
    sqrt_price_after_adding_1,
    sqrt_price_after_removing_0,
    sqrt_price_after_removing_1,
)
from dexlane.values.amounts import PIPS_DENOMINATOR

Moved = tuple[int, int, int, int]
Step = Callable[[int, int, int, int, int], Moved]
Crossing = Callable[[int, int, int, int], tuple[int, int, int]]


def _pay_0(price: int, target: int, liquidity: int, remaining: int, fee_pips: int) -> Moved:
    after_fee = remaining * (PIPS_DENOMINATOR - fee_pips) // PIPS_DENOMINATOR
    needed = amount0_delta_rounding_up(target, price, liquidity)
    if after_fee >= needed:
        fee = fee_on_top(needed, fee_pips)
        return target, needed + fee, amount1_delta(target, price, liquidity), fee
    reached = sqrt_price_after_adding_0(price, liquidity, after_fee)
    fee = remaining - amount0_delta_rounding_up(reached, price, liquidity)
    return reached, remaining, amount1_delta(reached, price, liquidity), fee


def _pay_1(price: int, target: int, liquidity: int, remaining: int, fee_pips: int) -> Moved:
    after_fee = remaining * (PIPS_DENOMINATOR - fee_pips) // PIPS_DENOMINATOR
    needed = amount1_delta_rounding_up(price, target, liquidity)
    if after_fee >= needed:
        fee = fee_on_top(needed, fee_pips)
        return target, needed + fee, amount0_delta(price, target, liquidity), fee
    reached = sqrt_price_after_adding_1(price, liquidity, after_fee)
    fee = remaining - amount1_delta_rounding_up(price, reached, liquidity)
    return reached, remaining, amount0_delta(price, reached, liquidity), fee


def _take_1(price: int, target: int, liquidity: int, remaining: int, fee_pips: int) -> Moved:
    received = amount1_delta(target, price, liquidity)
    reached = target
    if remaining < received:
        reached = sqrt_price_after_removing_1(price, liquidity, remaining)
        received = remaining
    needed = amount0_delta_rounding_up(reached, price, liquidity)
    fee = fee_on_top(needed, fee_pips)
    return reached, needed + fee, received, fee


def _take_0(price: int, target: int, liquidity: int, remaining: int, fee_pips: int) -> Moved:
    received = amount0_delta(price, target, liquidity)
    reached = target
    if remaining < received:
        reached = sqrt_price_after_removing_0(price, liquidity, remaining)
        received = remaining
    needed = amount1_delta_rounding_up(price, reached, liquidity)
    fee = fee_on_top(needed, fee_pips)
    return reached, needed + fee, received, fee


def cross_down(price: int, target: int, liquidity: int, fee_pips: int) -> tuple[int, int, int]:
    """(paid, received, fee) of a step that sells token0 all the way down to ``target``: no order's amount is in it."""
    needed = amount0_delta_rounding_up(target, price, liquidity)
    fee = fee_on_top(needed, fee_pips)
    return needed + fee, amount1_delta(target, price, liquidity), fee


def cross_up(price: int, target: int, liquidity: int, fee_pips: int) -> tuple[int, int, int]:
    """(paid, received, fee) of a step that sells token1 all the way up to ``target``."""
    needed = amount1_delta_rounding_up(price, target, liquidity)
    fee = fee_on_top(needed, fee_pips)
    return needed + fee, amount0_delta(price, target, liquidity), fee


def fee_on_top(amount: int, fee_pips: int) -> int:
    """The fee that makes ``amount`` what remains after it, rounded up."""
    return -(-amount * fee_pips // (PIPS_DENOMINATOR - fee_pips))


STEPS: tuple[tuple[Step, Step], tuple[Step, Step]] = ((_take_0, _pay_1), (_take_1, _pay_0))
"""By ``zero_for_one``, then by ``exact_in``.

The contract rounds the amount out of a partial exact-output step down from the price it reached and caps it at what was
asked; the price is rounded against the taker, so the cap always holds and the amount is what was asked.
"""
