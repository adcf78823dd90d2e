"""What the adapters of balance-based pools share: reading the state of a pair, and the state after a swap."""

from __future__ import annotations

from typing import NamedTuple

from dexlane.domain.amm.adapters.base import Pair
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.values.pools import BalancesState, Pool

SCALE = 10**18
"""Scaling factors have eighteen places."""


class Position(NamedTuple):
    """Where the tokens of a pair stand among the balances of a state."""

    paid: int
    bought: int


def state_of(pool: Pool) -> BalancesState:
    """The balances of a pool. Raises ``TypeError`` for another kind of state."""
    if not isinstance(pool.state, BalancesState):
        raise TypeError(f"pool {pool.key.address} has no balances but a {pool.state.kind} state")
    return pool.state


def position_of(pool: Pool, pair: Pair) -> Position:
    """Where the tokens of a pair stand. Raises ``KeyError`` when the pool does not trade one of them."""
    places = {token.address: place for place, token in enumerate(pool.key.tokens)}
    return Position(places[pair.token_in], places[pair.token_out])


def upscaled(state: BalancesState) -> list[int]:
    """All balances with eighteen decimals, rounded down as the contracts do."""
    return [balance * factor // SCALE for balance, factor in zip(state.balances, state.terms.scaling, strict=True)]


def state_after(state: BalancesState, position: Position, amount_in: int, leaves: int) -> BalancesState:
    """The balances after ``amount_in`` came and ``leaves`` went; the terms stay the same object."""
    balances = list(state.balances)
    balances[position.paid] += amount_in
    balances[position.bought] -= leaves
    if balances[position.bought] < 0:
        raise InsufficientLiquidity(f"the pool holds {state.balances[position.bought]}, cannot give {leaves}")
    return BalancesState.model_construct(kind="balances", balances=tuple(balances), terms=state.terms)
