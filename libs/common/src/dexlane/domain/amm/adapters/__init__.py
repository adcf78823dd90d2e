"""One adapter per protocol, and the table that finds it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dexlane.domain.amm.adapters.balancer_stable import BalancerStable
from dexlane.domain.amm.adapters.balancer_weighted import BalancerWeighted
from dexlane.domain.amm.adapters.base import Adapter, Pair, Quote
from dexlane.domain.amm.adapters.pancakeswap_v3 import PancakeSwapV3
from dexlane.domain.amm.adapters.solidly import Solidly
from dexlane.domain.amm.adapters.stableswap import StableSwap
from dexlane.domain.amm.adapters.uniswap_v2 import UniswapV2
from dexlane.domain.amm.adapters.uniswap_v3 import UniswapV3
from dexlane.domain.amm.adapters.uniswap_v4 import UniswapV4
from dexlane.values.pools import Protocol

__all__ = ["ADAPTERS", "Adapter", "Pair", "Quote"]

ADAPTERS: Mapping[Protocol, Adapter] = MappingProxyType(
    {
        Protocol.UNISWAP_V2: UniswapV2(),
        Protocol.UNISWAP_V3: UniswapV3(),
        Protocol.PANCAKESWAP_V3: PancakeSwapV3(),
        Protocol.SOLIDLY_VOLATILE: Solidly(stable=False),
        Protocol.SOLIDLY_STABLE: Solidly(stable=True),
        Protocol.UNISWAP_V4: UniswapV4(),
        Protocol.BALANCER_WEIGHTED: BalancerWeighted(),
        Protocol.BALANCER_STABLE: BalancerStable(),
        Protocol.STABLESWAP: StableSwap(),
    }
)
