"""Swaps in Solidly-style pools, equal to the wei to Aerodrome's ``Pool`` (Base) and Velodrome V2's (Optimism).

Sources: ``Pool.getAmountOut``, ``_k``, ``_f``, ``_d``, ``_get_y`` and ``swap`` of aerodrome-finance/contracts. The fee
is in basis points of the amount in, rounded down, and leaves the pool at once: reserves never hold it. Stable pools
keep ``x^3 * y + y^3 * x`` in units of 10**18 per whole token and solve for the new reserve by Newton's method, with
the contract's floors at every step.

The contracts have no exact-output function. Here it is the least input whose exact-input output suffices.
"""

from __future__ import annotations

from typing import NamedTuple

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.least_input import least_input
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.pools import ConstantProductState, Pool

_ONE = 10**18
_UINT256 = 1 << 256
_NEWTON_STEPS = 255
_PIPS_PER_BPS = 100
_PLAIN = (_ONE, _ONE)
_SETTLING_UNITS = 16


class Side(NamedTuple):
    """A pool as an order sees it: reserves and one whole token (``10 ** decimals``) of what comes in and goes out."""

    reserve_in: int
    reserve_out: int
    unit_in: int
    unit_out: int
    fee_bps: int
    stable: bool
    zero_for_one: bool


class SolidlySwap(NamedTuple):
    """A swap. ``fee_amount`` is part of ``amount_in``, in the token paid in, and is not in the reserves after."""

    amount_in: int
    amount_out: int
    fee_amount: int
    state: ConstantProductState


def side_of(pool: Pool, state: ConstantProductState, *, stable: bool, zero_for_one: bool) -> Side:
    """The pool from the side of an order. Raises ``ValueError`` for a fee that is not in whole basis points."""
    fee_bps, rest = divmod(pool.key.fee_pips, _PIPS_PER_BPS)
    if rest:
        raise ValueError(f"the fee of {pool.key.address} is {pool.key.fee_pips} pips, Solidly's are whole basis points")
    reserves = (state.reserve0, state.reserve1)
    units = (10**pool.key.token0.decimals, 10**pool.key.token1.decimals)
    index = 0 if zero_for_one else 1
    return Side(reserves[index], reserves[1 - index], units[index], units[1 - index], fee_bps, stable, zero_for_one)


def swap_exact_in(side: Side, amount_in: int) -> SolidlySwap:
    """Sell ``amount_in``. Raises ``InsufficientLiquidity`` where ``getAmountOut`` or ``swap`` reverts."""
    _refuse_empty(side)
    fee_amount = amount_in * side.fee_bps // BPS_DENOMINATOR
    return _settle(side, amount_in, fee_amount, amount_out(side, amount_in))


def swap_exact_out(side: Side, wanted: int) -> SolidlySwap:
    """Buy at least ``wanted``: the swap of the least input that gives as much.

    Raises ``InsufficientLiquidity`` when no input the contract accepts gives as much.
    """
    _refuse_empty(side)
    if wanted >= side.reserve_out:
        raise InsufficientLiquidity(f"the pool holds {side.reserve_out}, cannot give {wanted}")
    amount_in = _least_input_stable(side, wanted) if side.stable else _least_input_volatile(side, wanted)
    return swap_exact_in(side, amount_in)


def amount_out(side: Side, amount_in: int) -> int:
    """``getAmountOut``. Raises ``InsufficientLiquidity`` where it reverts."""
    after_fee = amount_in - amount_in * side.fee_bps // BPS_DENOMINATOR
    if not side.stable:
        return after_fee * side.reserve_out // (side.reserve_in + after_fee)
    units = (side.unit_in, side.unit_out)
    return _stable_output(side, after_fee, units if side.zero_for_one else units[::-1])


def _stable_output(side: Side, after_fee: int, units: tuple[int, int]) -> int:
    reserve_in, reserve_out = side.reserve_in * _ONE // side.unit_in, side.reserve_out * _ONE // side.unit_out
    x = reserve_in + after_fee * _ONE // side.unit_in
    kept = _new_reserve(x, reserve_out, _invariant(reserve_in, reserve_out), units)
    if kept > reserve_out:
        raise InsufficientLiquidity("the order is too small for the pool to solve")
    return (reserve_out - kept) * side.unit_out // _ONE


def spot_price(side: Side) -> tuple[int, int]:
    """Units of the token out per unit of the token in, before fee, as (numerator, denominator); exact.

    For the stable curve ``(3 x^2 y + y^3) / (x^3 + 3 x y^2)`` in whole tokens.
    """
    if not side.stable:
        return side.reserve_out, side.reserve_in
    x, y = side.reserve_in * side.unit_out, side.reserve_out * side.unit_in
    return y * (3 * x * x + y * y) * side.unit_out, x * (x * x + 3 * y * y) * side.unit_in


MOST_DEPTH = 100
"""A stable pool at its balance is flat: it counts as at most a hundred times as deep as its reserve."""


def virtual_reserves(side: Side) -> tuple[int, int]:
    """Reserves (in, out) of the constant-product pool with the same price and the same curvature at this point.

    With ``F = x^3 y + y^3 x`` the slope of the curve is ``p = Fx / Fy`` and its curvature ``N / Fy^3``, where
    ``N = 2 Fxy Fx Fy - Fxx Fy^2 - Fyy Fx^2``; a constant product ``a * b`` has the slope ``b / a`` and the curvature
    ``2 b / a^2``. The reserve in is capped at ``MOST_DEPTH`` times the real one.
    """
    if not side.stable or not side.reserve_in or not side.reserve_out:
        return side.reserve_in, side.reserve_out
    x, y = side.reserve_in * side.unit_out, side.reserve_out * side.unit_in
    slope_x, slope_y = y * (3 * x * x + y * y), x * (x * x + 3 * y * y)
    mixed = 3 * (x * x + y * y)
    curvature = 2 * mixed * slope_x * slope_y - 6 * x * y * (slope_x * slope_x + slope_y * slope_y)
    cap = MOST_DEPTH * side.reserve_in
    # ``a`` in the units of x, which are ``unit_out`` times the smallest units of the token in.
    flat = curvature <= 0 or 2 * slope_x * slope_y * slope_y >= cap * side.unit_out * curvature
    reserve_in = cap if flat else 2 * slope_x * slope_y * slope_y // (curvature * side.unit_out)
    price, scale = spot_price(side)
    return reserve_in, reserve_in * price // scale


def _refuse_empty(side: Side) -> None:
    if side.reserve_in == 0 or side.reserve_out == 0:
        raise InsufficientLiquidity("the pool is empty")


def _settle(side: Side, amount_in: int, fee_amount: int, amount_out: int) -> SolidlySwap:
    if amount_out == 0:
        raise InsufficientLiquidity("the order is too small to buy one unit")
    if amount_out >= side.reserve_out:
        raise InsufficientLiquidity(f"the pool holds {side.reserve_out}, cannot give {amount_out}")
    after_in, after_out = side.reserve_in + amount_in - fee_amount, side.reserve_out - amount_out
    if _k(side, after_in, after_out) < _k(side, side.reserve_in, side.reserve_out):
        raise InsufficientLiquidity("the pool's own check of its invariant refuses the swap")
    reserve0, reserve1 = (after_in, after_out) if side.zero_for_one else (after_out, after_in)
    after = ConstantProductState.unchecked(reserve0, reserve1)
    return SolidlySwap(amount_in, amount_out, fee_amount, after)


def _k(side: Side, reserve_in: int, reserve_out: int) -> int:
    if not side.stable:
        return _checked(reserve_in * reserve_out)
    return _invariant(reserve_in * _ONE // side.unit_in, reserve_out * _ONE // side.unit_out)


def _invariant(x: int, y: int) -> int:
    """``_f``, and ``_k`` of scaled reserves."""
    return _checked((x * y // _ONE) * (_checked(x * x) // _ONE + _checked(y * y) // _ONE)) // _ONE


def _slope(x: int, y: int) -> int:
    """``_d``."""
    return _checked(3 * x * (y * y // _ONE)) // _ONE + _checked((x * x // _ONE) * x) // _ONE


def _checked(value: int) -> int:
    """Solidity 0.8 reverts where a product leaves 256 bits; pools beyond some 10**10 whole tokens get there."""
    if value >= _UINT256:
        raise InsufficientLiquidity("the order overflows the pool's arithmetic")
    return value


def _new_reserve(x: int, y: int, wanted: int, units: tuple[int, int]) -> int:
    """``_get_y``: the reserve, sought from ``y``, that keeps the invariant at ``wanted`` when the other one is ``x``.

    Where the last step falls short by less than one unit, Aerodrome asks ``_k`` about the next one, and that scales its
    arguments once more (by ``units``, one whole token each) although they are scaled already: with tokens of 6
    decimals it overflows and reverts. (Velodrome V2's later source asks ``_f`` instead: units of ``_ONE``.)
    """
    for _ in range(_NEWTON_STEPS):
        found, slope = _invariant(x, y), _slope(x, y)
        if slope == 0:
            break
        step = _checked(abs(wanted - found) * _ONE) // slope
        if found < wanted:
            if step == 0 and _invariant(x * _ONE // units[0], (y + 1) * _ONE // units[1]) > wanted:
                return y + 1
            y += max(step, 1)
        else:
            if step == 0 and (found == wanted or (y > 0 and _invariant(x, y - 1) < wanted)):
                return y
            y -= max(step, 1)
        if y < 0:
            break
    raise InsufficientLiquidity("the pool cannot solve for this order")


def _least_input_volatile(side: Side, wanted: int) -> int:
    after_fee = -(-wanted * side.reserve_in // (side.reserve_out - wanted))
    return _before_fee(side, after_fee)


def _before_fee(side: Side, after_fee: int) -> int:
    """The least amount of which at least ``after_fee`` is left after the fee."""
    return (after_fee - 1) * BPS_DENOMINATOR // (BPS_DENOMINATOR - side.fee_bps) + 1


def _least_input_stable(side: Side, wanted: int) -> int:
    """Search on the plain curve, whose output never falls when the input grows; settle on the contract's own answers.

    These may differ from the plain curve by a unit, or revert at a single input (see ``_new_reserve``).
    """
    found = least_input(_guess(side, wanted), lambda amount_in: _enough(side, amount_in, wanted))
    return _settled(side, found, wanted)


def _guess(side: Side, wanted: int) -> int:
    """The curve is symmetric: the input is its solution with the reserves exchanged, but for a few units."""
    scaled_in, scaled_out = side.reserve_in * _ONE // side.unit_in, side.reserve_out * _ONE // side.unit_out
    kept = max(scaled_out - -(-wanted * _ONE // side.unit_out), 1)
    try:
        needed = _new_reserve(kept, scaled_in, _invariant(scaled_in, scaled_out), _PLAIN) - scaled_in
    except InsufficientLiquidity:
        return wanted * side.unit_in // side.unit_out + 1
    return _before_fee(side, max(1, needed * side.unit_in // _ONE))


def _enough(side: Side, amount_in: int, wanted: int) -> bool:
    """True when the plain curve gives ``wanted``, or when the input is too large for the arithmetic."""
    after_fee = amount_in - amount_in * side.fee_bps // BPS_DENOMINATOR
    try:
        return _stable_output(side, after_fee, _PLAIN) >= wanted
    except InsufficientLiquidity:
        return after_fee > side.reserve_in


def _settled(side: Side, amount_in: int, wanted: int) -> int:
    near = range(amount_in, amount_in + _SETTLING_UNITS)
    least = next((candidate for candidate in near if _gives(side, candidate, wanted)), None)
    if least is None:
        raise InsufficientLiquidity(f"no input that the contract accepts buys {wanted}")
    while least > 1 and _gives(side, least - 1, wanted):
        least -= 1
    return least


def _gives(side: Side, amount_in: int, wanted: int) -> bool:
    try:
        return amount_out(side, amount_in) >= wanted
    except InsufficientLiquidity:
        return False
