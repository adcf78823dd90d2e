"""Uniswap V3 and pools with the same maths of ticks."""

from __future__ import annotations

from dexlane.domain.amm import concentrated
from dexlane.domain.amm.adapters.base import Pair, Quote
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.values.pools import ConcentratedState, Pool

LEG_GAS = 86_000
"""One leg within a tick; with the transaction around it 126,000 (measured: 114,000 to 136,000, depending on the
router)."""
TICK_CROSSING_GAS = 22_000
"""An initialised tick: four cold slots read, three rewritten (EIP-2929: 4 x 2,100 + 3 x 2,900), and the loop."""
BITMAP_WORD_GAS = 3_500
"""A further bitmap word: one cold slot (EIP-2929: 2,100) and the loop."""


class UniswapV3:
    """``UniswapV3Pool`` (v3-core 1.0.1)."""

    def exact_in(self, pool: Pool, pair: Pair, amount_in: int) -> Quote:
        """Sell exactly ``amount_in``, or what the pool takes of it."""
        return self._quote(pool, pair, exact_in=True, amount=amount_in)

    def exact_out(self, pool: Pool, pair: Pair, amount_out: int) -> Quote:
        """Buy exactly ``amount_out``, or what the pool holds of it."""
        return self._quote(pool, pair, exact_in=False, amount=amount_out)

    def spot_price(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """The square of the root price."""
        sqrt_price = _ticked(pool).sqrt_price_x96
        ratio = (sqrt_price * sqrt_price, 1 << 192)
        return ratio if pair.token_in == pool.key.token0.address else (ratio[1], ratio[0])

    def virtual_reserves(self, pool: Pool, pair: Pair) -> tuple[int, int]:
        """Of the current tick (Uniswap V3 whitepaper, 6.2.1); zero where it has no liquidity."""
        state = _ticked(pool)
        if state.sqrt_price_x96 == 0:
            return 0, 0
        reserves = ((state.liquidity << 96) // state.sqrt_price_x96, state.liquidity * state.sqrt_price_x96 >> 96)
        return reserves if pair.token_in == pool.key.token0.address else (reserves[1], reserves[0])

    def _quote(self, pool: Pool, pair: Pair, *, exact_in: bool, amount: int) -> Quote:
        key = pool.key
        order = concentrated.Order(pair.token_in == key.token0.address, exact_in, amount)
        swap = concentrated.swap(_ticked(pool), key.fee_pips, key.tick_spacing, order)
        if swap.amount_in == 0 and swap.amount_out == 0:
            raise InsufficientLiquidity(f"pool {key.address} has no liquidity on this side")
        extra_words = max(0, swap.words_read - 1 - swap.ticks_crossed)
        return Quote(
            amount_in=swap.amount_in,
            amount_out=swap.amount_out,
            fee_amount=swap.fee_amount,
            gas=LEG_GAS + TICK_CROSSING_GAS * swap.ticks_crossed + BITMAP_WORD_GAS * extra_words,
            next_state=swap.state,
            partial=swap.remaining > 0,
        )


def _ticked(pool: Pool) -> ConcentratedState:
    if not isinstance(pool.state, ConcentratedState):
        raise TypeError(f"pool {pool.key.address} has no ticks but a {pool.state.kind} state")
    return pool.state
