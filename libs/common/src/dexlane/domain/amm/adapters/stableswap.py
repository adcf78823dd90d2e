"""StableSwap pools with Curve's interface: two to four coins, plain, with one fee.

The contract has no exact output; the answer here is the least input that gives enough.
"""

from __future__ import annotations

from dataclasses import dataclass

from dexlane.domain.amm import stable_math
from dexlane.domain.amm.adapters.balance_pools import SCALE, Position, position_of, state_after, state_of, upscaled
from dexlane.domain.amm.adapters.base import Pair, Quote
from dexlane.domain.amm.adapters.stable_prices import StablePrices, curve_of
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.least_input import least_input
from dexlane.domain.amm.stable_math import product_at_once, product_by_token
from dexlane.values.pools import BalancesState, Pool

LEG_GAS = 75_000
"""``exchange`` took 96,000 to 102,000 with its transaction for two coins (measured on our own pool, not on Curve's)."""
MORE_COIN_GAS = 9_000
"""A further coin: 104,000 to 118,000 for three and four."""

FEE_DENOMINATOR = 10**10
FACTORY_REVISION = 1
"""Pools of the factories divide by n ** n once; those before divide by n at every coin."""


class StableSwap(StablePrices):
    """``exchange`` of a plain pool: ``get_D``, ``get_y``, the fee off the output, its admin part out of the pool."""

    def exact_in(self, pool: Pool, pair: Pair, amount_in: int) -> Quote:
        """Sell exactly ``amount_in``."""
        exchange = _Exchange.of(pool, pair)
        return exchange.quote(amount_in)

    def exact_out(self, pool: Pool, pair: Pair, amount_out: int) -> Quote:
        """Buy at least ``amount_out`` with the least input that gives it.

        The quote is that input's, so ``amount_out`` may be a few units more than was asked for.
        """
        exchange = _Exchange.of(pool, pair)
        return exchange.quote(exchange.least_input(amount_out))


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One pair of one state, with the invariant computed once."""

    state: BalancesState
    position: Position
    ordered: tuple[int, ...]
    """The balances with eighteen decimals in the contract's order: the divisions in a row depend on it."""
    places: Position
    """Where the pair stands among them."""
    invariant: int

    @classmethod
    def of(cls, pool: Pool, pair: Pair) -> _Exchange:
        state, position = state_of(pool), position_of(pool, pair)
        order = state.terms.order or range(len(state.balances))
        scaled = upscaled(state)
        ordered = tuple(scaled[place] for place in order)
        product_of = product_at_once if state.terms.revision == FACTORY_REVISION else product_by_token
        found = stable_math.invariant(curve_of(state, ordered), product_of)
        if found == 0:
            raise InsufficientLiquidity("the pool is empty")
        places = [*order]
        return cls(
            state, position, ordered, Position(places.index(position.paid), places.index(position.bought)), found
        )

    def quote(self, amount_in: int) -> Quote:
        """``exchange``. Raises ``InsufficientLiquidity`` where it reverts or gives nothing."""
        bought, fee = self._bought(amount_in)
        terms = self.state.terms
        factor = terms.scaling[self.position.bought]
        amount_out = (bought - fee) * SCALE // factor
        if amount_out <= 0:
            raise InsufficientLiquidity("the order is too small to buy one unit")
        admin = fee * terms.admin_fee // FEE_DENOMINATOR * SCALE // factor
        after = state_after(self.state, self.position, amount_in, amount_out + admin)
        fee_amount = -(-amount_in * terms.fee // FEE_DENOMINATOR)
        gas = LEG_GAS + MORE_COIN_GAS * (len(self.ordered) - 2)
        return Quote(amount_in, amount_out, fee_amount, gas, after, partial=False)

    def least_input(self, amount_out: int) -> int:
        """The least input whose output is at least ``amount_out``.

        The invariant solved for the other side says where to look; exact outputs, which never fall with the input,
        decide. Raises ``InsufficientLiquidity`` when no input gives so much.
        """
        return least_input(self._estimate(amount_out), lambda amount_in: self._suffices(amount_in, amount_out))

    def _estimate(self, amount_out: int) -> int:
        terms, places = self.state.terms, self.places
        after_fee = -(-amount_out * terms.scaling[self.position.bought] // SCALE)
        bought = -(-after_fee * FEE_DENOMINATOR // (FEE_DENOMINATOR - terms.fee)) + 1
        balances = [*self.ordered]
        balances[places.bought] -= bought
        if balances[places.bought] <= 0:
            raise InsufficientLiquidity("the pool does not hold so much")
        wanted = stable_math.balance_rounded_down(curve_of(self.state, balances), self.invariant, places.paid)
        return (wanted - self.ordered[places.paid]) * SCALE // terms.scaling[self.position.paid]

    def _suffices(self, amount_in: int, amount_out: int) -> bool:
        bought, fee = self._bought(amount_in)
        return (bought - fee) * SCALE // self.state.terms.scaling[self.position.bought] >= amount_out

    def _bought(self, amount_in: int) -> tuple[int, int]:
        """What the invariant gives for an input, with eighteen decimals, and the fee that is part of it."""
        terms, places = self.state.terms, self.places
        balances = [*self.ordered]
        balances[places.paid] += amount_in * terms.scaling[self.position.paid] // SCALE
        kept = stable_math.balance_rounded_down(curve_of(self.state, balances), self.invariant, places.bought)
        bought = max(0, self.ordered[places.bought] - kept - 1)
        return bought, bought * terms.fee // FEE_DENOMINATOR
