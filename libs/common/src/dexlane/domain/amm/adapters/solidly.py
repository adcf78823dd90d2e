"""Solidly-style pools, volatile and stable: the maths of Aerodrome and Velodrome V2."""

from __future__ import annotations

from dexlane.domain.amm import solidly
from dexlane.domain.amm.adapters.base import Pair, Quote
from dexlane.values.pools import ConstantProductState, Pool

VOLATILE_LEG_GAS = 134_000
"""48,000 more than a Uniswap V3 leg by the same trader (measured on Aerodrome's ``Pool``): the fee is a token transfer
of its own, the factory is asked twice, and the pool is a proxy."""
STABLE_LEG_GAS = 147_000
"""As above, with the invariant of the stable curve and Newton's steps of the quote."""


class Solidly:
    """``Pool`` of one curve; the key's fee is the factory's ``getFee`` when the pool was loaded."""

    def __init__(self, *, stable: bool) -> None:
        self._stable = stable
        self._gas = STABLE_LEG_GAS if stable else VOLATILE_LEG_GAS

    def exact_in(self, pool: Pool, pair: Pair, amount_in: int) -> Quote:
        """Sell exactly ``amount_in``."""
        return self._quote(solidly.swap_exact_in(self._side(pool, pair), amount_in))

    def exact_out(self, pool: Pool, pair: Pair, amount_out: int) -> Quote:
        """The quote of the least input that gives at least ``amount_out`` (no contract function does that)."""
        return self._quote(solidly.swap_exact_out(self._side(pool, pair), amount_out))

    def spot_price(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """The slope of the curve at the reserves."""
        return solidly.spot_price(self._side(pool, pair))

    def virtual_reserves(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """The reserves themselves; on the stable curve those of equal price and curvature."""
        return solidly.virtual_reserves(self._side(pool, pair))

    def _side(self, pool: Pool, pair: Pair) -> solidly.Side:
        if not isinstance(pool.state, ConstantProductState):
            raise TypeError(f"pool {pool.key.address} has no reserves but a {pool.state.kind} state")
        return solidly.side_of(
            pool, pool.state, stable=self._stable, zero_for_one=pair.token_in == pool.key.token0.address
        )

    def _quote(self, swap: solidly.SolidlySwap) -> Quote:
        return Quote(
            amount_in=swap.amount_in,
            amount_out=swap.amount_out,
            fee_amount=swap.fee_amount,
            gas=self._gas,
            next_state=swap.state,
            partial=False,
        )
