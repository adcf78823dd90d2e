"""Balancer V2 composable stable pools: two to five tokens of like worth, each with a rate.

The pool's own token is one of the Vault's tokens for it, yet no part of the invariant: keys and states leave it out.
"""

from __future__ import annotations

from dexlane.domain.amm import stable_math
from dexlane.domain.amm.adapters import balancer_swap
from dexlane.domain.amm.adapters.balance_pools import position_of, state_of, upscaled
from dexlane.domain.amm.adapters.base import Pair, Quote
from dexlane.domain.amm.adapters.stable_prices import StablePrices, curve_of
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.stable_math import Curve
from dexlane.values.pools import BalancesState, Pool

LEG_GAS = 115_000
"""``Vault.swap`` alone took 137,000 to 142,000 with its transaction for two tokens (measured on the real contracts)."""
MORE_TOKEN_GAS = 11_000
"""A further token: 157,000 to 178,000 for four and five."""


class BalancerStable(StablePrices):
    """``ComposableStablePool`` behind the Vault, as ``Vault.swap`` drives it between two of its tokens."""

    def exact_in(self, pool: Pool, pair: Pair, amount_in: int) -> Quote:
        """Sell exactly ``amount_in``."""
        state, position = state_of(pool), position_of(pool, pair)
        paid, bought = position
        curve = curve_of(state, upscaled(state))

        def out_given_in(amount: int) -> int:
            """``_calcOutGivenIn``."""
            before = curve.balances[bought]
            after = [*curve.balances]
            after[paid] += amount
            kept = _implied(curve, curve_of(state, after), bought)
            if kept >= before:
                raise InsufficientLiquidity("the order is too small to buy one unit")
            return before - kept - 1

        return balancer_swap.sell(state, position, amount_in, out_given_in, _gas(state))

    def exact_out(self, pool: Pool, pair: Pair, amount_out: int) -> Quote:
        """Buy exactly ``amount_out``."""
        state, position = state_of(pool), position_of(pool, pair)
        paid, bought = position
        curve = curve_of(state, upscaled(state))

        def in_given_out(amount: int) -> int:
            """``_calcInGivenOut``."""
            after = [*curve.balances]
            after[bought] -= amount
            if after[bought] < 0:
                raise InsufficientLiquidity("the pool does not hold so much")
            wanted = _implied(curve, curve_of(state, after), paid)
            if wanted < curve.balances[paid]:
                raise InsufficientLiquidity("the order leaves the range of the invariant")
            return wanted - curve.balances[paid] + 1

        return balancer_swap.buy(state, position, amount_out, in_given_out, _gas(state))


def _gas(state: BalancesState) -> int:
    return LEG_GAS + MORE_TOKEN_GAS * (len(state.balances) - 2)


def _implied(before: Curve, after: Curve, index: int) -> int:
    found = stable_math.invariant(before)
    if found == 0:
        raise InsufficientLiquidity("the pool is empty")
    return stable_math.balance_rounded_up(after, found, index)
