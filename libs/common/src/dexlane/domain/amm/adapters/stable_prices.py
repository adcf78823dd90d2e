"""Marginal prices on the StableSwap invariant, in smallest units."""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.domain.amm.adapters.balance_pools import SCALE, Position, position_of, state_of, upscaled
from dexlane.domain.amm.adapters.base import Pair
from dexlane.domain.amm.stable_math import Curve, slopes
from dexlane.values.pools import BalancesState, Pool


class StablePrices:
    """The part of an adapter that all pools on this invariant share."""

    def spot_price(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """The slope of the invariant, as exact as D is."""
        state = state_of(pool)
        return _spot_price(state, curve_of(state, upscaled(state)), position_of(pool, pair))

    def virtual_reserves(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """Same price, same first change of it; far more than the balances where the curve is flat."""
        state = state_of(pool)
        return _virtual_reserves(state, curve_of(state, upscaled(state)), position_of(pool, pair))


def curve_of(state: BalancesState, balances: Sequence[int]) -> Curve:
    """The invariant of a pool's terms through these balances, with eighteen decimals."""
    return Curve(balances, state.terms.amplification, state.terms.amplification_precision)


def _spot_price(state: BalancesState, curve: Curve, position: Position) -> tuple[int, int]:
    """``(Ann + K / x) / (Ann + K / y)`` with K = D ** (n + 1) / (n ** n * P); zero for an empty pool.

    The relative error is that of D, whose last place is 10 ** -18 of a token.
    """
    scaling = state.terms.scaling
    if 0 in curve.balances:
        return 0, 0
    at = slopes(curve, *position)
    return (
        at.paid * curve.balances[position.bought] * scaling[position.paid],
        at.bought * curve.balances[position.paid] * scaling[position.bought],
    )


def _virtual_reserves(state: BalancesState, curve: Curve, position: Position) -> tuple[int, int]:
    """Reserves of the constant-product pool with the same price and the same first change of it; zero when empty.

    A curve y(x) with y' = -p looks near its point like ``x * y = k`` with a reserve of ``2 p / y''``. On the invariant,
    with u = Ann x + K and v = Ann y + K, that is ``u v ** 2 x / (K (u ** 2 - u v + v ** 2))``, and the other one alike.
    """
    scaling = state.terms.scaling
    if 0 in curve.balances:
        return 0, 0
    u, v, product = slopes(curve, *position)
    curvature = product * (u * u - u * v + v * v)
    if curvature == 0:
        return 0, 0
    reserve_in = u * v * v * curve.balances[position.paid] // curvature
    reserve_out = u * u * v * curve.balances[position.bought] // curvature
    return reserve_in * SCALE // scaling[position.paid], reserve_out * SCALE // scaling[position.bought]
