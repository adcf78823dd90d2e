"""Uniswap V4 pools without hooks: V3's walk through ticks, with the protocol's fee inside the swap fee."""

from __future__ import annotations

from dexlane.domain.amm.adapters.base import Pair, Quote
from dexlane.domain.amm.adapters.uniswap_v3 import UniswapV3
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.values.amounts import PIPS_DENOMINATOR
from dexlane.values.pools import Pool, PoolKey

_MAX_INT128 = (1 << 127) - 1


class UniswapV4(UniswapV3):
    """``PoolManager`` (v4-core 1.0.2), static fee, no hooks.

    ``SwapMath.computeSwapStep`` of v4-core books an exact input that ends inside a range differently (all that is left
    less fee counts as paid in, V3 recomputes it from the price); its amounts, prices and ticks are V3's all the same:

    - exact input: what is left less fee is below what the target asks for, so the new price, rounded for the pool,
      does not reach the target, and amount plus fee are in both versions all that was left;
    - exact output: V4 caps at once what V3 caps afterwards, and V3's unrounded amount is never below it.

    ``fee_amount`` follows V3's split of the last step.
    """

    def _quote(self, pool: Pool, pair: Pair, *, exact_in: bool, amount: int) -> Quote:
        fee_pips = swap_fee_pips(pool.key, zero_for_one=pair.token_in == pool.key.token0.address)
        charged = pool if fee_pips == pool.key.fee_pips else _charging(pool, fee_pips)
        quote = super()._quote(charged, pair, exact_in=exact_in, amount=amount)
        if max(quote.amount_in, quote.amount_out) > _MAX_INT128:
            raise InsufficientLiquidity("the manager's balances are int128, this order moves more")
        return quote


def swap_fee_pips(key: PoolKey, *, zero_for_one: bool) -> int:
    """What a swap pays: the protocol's fee first, the pool's of the rest (``ProtocolFeeLibrary.calculateSwapFee``)."""
    protocol_fee = key.protocol_fee0_pips if zero_for_one else key.protocol_fee1_pips
    return protocol_fee + key.fee_pips - protocol_fee * key.fee_pips // PIPS_DENOMINATOR


def _charging(pool: Pool, fee_pips: int) -> Pool:
    return Pool.unchecked(pool.key.model_copy(update={"fee_pips": fee_pips}), pool.state)
