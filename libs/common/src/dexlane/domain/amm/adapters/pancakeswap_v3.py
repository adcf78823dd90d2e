"""PancakeSwap V3: Uniswap V3's maths with other fee tiers and a longer ``Swap`` event."""

from __future__ import annotations

from dexlane.domain.amm.adapters.uniswap_v3 import UniswapV3


class PancakeSwapV3(UniswapV3):
    """``PancakeV3Pool`` (v3-core 1.0.2 of PancakeSwap).

    Its protocol fee is a share (of 10,000) of the fee that liquidity providers lose; what traders pay and get, price,
    tick and liquidity do not depend on it. Tiers are data of the pool: 0.01 %, 0.05 %, 0.25 % (spacing 50) and 1 %.
    """
