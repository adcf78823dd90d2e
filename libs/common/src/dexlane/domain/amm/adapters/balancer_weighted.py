"""Balancer V2 weighted pools: two to a hundred tokens, each with its weight."""

from __future__ import annotations

from functools import partial

from dexlane.domain.amm import weighted_math
from dexlane.domain.amm.adapters import balancer_swap
from dexlane.domain.amm.adapters.balance_pools import Position, position_of, state_of, upscaled
from dexlane.domain.amm.adapters.base import Pair, Quote
from dexlane.domain.amm.weighted_math import Side
from dexlane.values.pools import BalancesState, Pool

LEG_GAS = 75_000
"""``Vault.swap`` alone took 96,000 to 100,000 with its transaction, for two to five tokens."""

FIRST_REVISION = 1
"""Pools of the factories of April 2021 (they have no ``version()``): every power takes the logarithm."""


class BalancerWeighted:
    """``WeightedPool`` behind the Vault, as ``Vault.swap`` drives it."""

    def exact_in(self, pool: Pool, pair: Pair, amount_in: int) -> Quote:
        """Sell exactly ``amount_in``."""
        state, position = state_of(pool), position_of(pool, pair)
        paid, bought = _sides(state, position)
        answer = partial(weighted_math.out_given_in, paid, bought, shortcuts=_has_shortcuts(state))
        return balancer_swap.sell(state, position, amount_in, answer, LEG_GAS)

    def exact_out(self, pool: Pool, pair: Pair, amount_out: int) -> Quote:
        """Buy exactly ``amount_out``."""
        state, position = state_of(pool), position_of(pool, pair)
        paid, bought = _sides(state, position)
        answer = partial(weighted_math.in_given_out, paid, bought, shortcuts=_has_shortcuts(state))
        return balancer_swap.buy(state, position, amount_out, answer, LEG_GAS)

    def spot_price(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """Balances over weights; exact."""
        state, (paid, bought) = state_of(pool), position_of(pool, pair)
        balances, weights = state.balances, state.terms.weights
        return balances[bought] * weights[paid], balances[paid] * weights[bought]

    def virtual_reserves(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """Balances weighed by the other token's share of the pair: same price, same first change of it."""
        state, (paid, bought) = state_of(pool), position_of(pool, pair)
        balances, weights = state.balances, state.terms.weights
        both = weights[paid] + weights[bought]
        return 2 * balances[paid] * weights[bought] // both, 2 * balances[bought] * weights[paid] // both


def _sides(state: BalancesState, position: Position) -> tuple[Side, Side]:
    balances, weights = upscaled(state), state.terms.weights
    paid, bought = position
    return Side(balances[paid], weights[paid]), Side(balances[bought], weights[bought])


def _has_shortcuts(state: BalancesState) -> bool:
    return state.terms.revision != FIRST_REVISION
