"""PancakeSwap V3: Uniswap V3's maths with other fee tiers and a longer ``Swap`` event."""

from __future__ import annotations

from dexlane.domain.amm.adapters.base import Pair, Quote
from dexlane.domain.amm.adapters.uniswap_v3 import UniswapV3
from dexlane.values.pools import Pool

EXTRA_GAS = 10_000
"""More than a Uniswap V3 leg by the same trader (measured on both): the protocol's fee and the look for a farm."""


class PancakeSwapV3(UniswapV3):
    """``PancakeV3Pool`` (v3-core 1.0.2 of PancakeSwap).

    Its protocol fee is a share (of 10,000) of the fee that liquidity providers lose; what traders pay and get, price,
    tick and liquidity do not depend on it. Tiers are data of the pool: 0.01 %, 0.05 %, 0.25 % (spacing 50) and 1 %.
    """

    def _quote(self, pool: Pool, pair: Pair, *, exact_in: bool, amount: int) -> Quote:
        quote = super()._quote(pool, pair, exact_in=exact_in, amount=amount)
        return quote._replace(gas=quote.gas + EXTRA_GAS)
