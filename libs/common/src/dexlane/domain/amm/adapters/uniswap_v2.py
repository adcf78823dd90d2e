"""Uniswap V2 and its forks: the fee is data of the pool, the maths is one."""

from __future__ import annotations

from dexlane.domain.amm import constant_product
from dexlane.domain.amm.adapters.base import Pair, Quote
from dexlane.values.pools import ConstantProductState, Pool

LEG_GAS = 65_000
"""With what the transaction around it costs, 105,000 (measured on the real contracts: 104,000)."""


class UniswapV2:
    """``UniswapV2Pair`` (v2-core 1.0.1) as its library's amounts drive it."""

    def exact_in(self, pool: Pool, pair: Pair, amount_in: int) -> Quote:
        """Sell exactly ``amount_in``."""
        state, zero_for_one = _reserves(pool), pair.token_in == pool.key.token0.address
        return _quote(
            constant_product.swap_exact_in(state, pool.key.fee_pips, zero_for_one=zero_for_one, amount_in=amount_in)
        )

    def exact_out(self, pool: Pool, pair: Pair, amount_out: int) -> Quote:
        """Buy exactly ``amount_out``."""
        state, zero_for_one = _reserves(pool), pair.token_in == pool.key.token0.address
        return _quote(
            constant_product.swap_exact_out(state, pool.key.fee_pips, zero_for_one=zero_for_one, amount_out=amount_out)
        )

    def spot_price(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """The ratio of the reserves."""
        reserve_in, reserve_out = self.virtual_reserves(pool, pair)
        return reserve_out, reserve_in

    def virtual_reserves(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """The reserves themselves."""
        state = _reserves(pool)
        reserves = (state.reserve0, state.reserve1)
        return reserves if pair.token_in == pool.key.token0.address else (reserves[1], reserves[0])


def _reserves(pool: Pool) -> ConstantProductState:
    if not isinstance(pool.state, ConstantProductState):
        raise TypeError(f"pool {pool.key.address} has no reserves but a {pool.state.kind} state")
    return pool.state


def _quote(swap: constant_product.ReserveSwap) -> Quote:
    return Quote(
        amount_in=swap.amount_in,
        amount_out=swap.amount_out,
        fee_amount=swap.fee_amount,
        gas=LEG_GAS,
        next_state=swap.state,
        partial=False,
    )
