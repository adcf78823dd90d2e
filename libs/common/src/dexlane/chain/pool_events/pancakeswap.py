"""The event of ``IPancakeV3PoolEvents`` (PancakeSwap's v3-core 1.0.2) that differs from Uniswap V3's.

``Mint``, ``Burn`` and ``Initialize`` have Uniswap's signatures. PancakeSwap V2 pairs log as Uniswap V2's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dexlane.chain.pool_events.base import PoolEvent
from dexlane.chain.pool_events.uniswap import read_swap

V3_SWAP_TOPIC = "0x19b47279256b2a23a1665c810c8d55a1758940ee09377d4f8d26497a3577dc83"
"""``Swap(address,address,int256,int256,uint160,uint128,int24,uint128,uint128)``: the last two words are what the
protocol took of each token's fee. They change neither price nor liquidity."""

EVENTS: Mapping[str, PoolEvent] = MappingProxyType({V3_SWAP_TOPIC: PoolEvent(topics=3, words=7, decode=read_swap)})
