"""Complete pool states read from a node at one block: what never changes, reserves or price, and every tick.

One file per protocol family; to plug in another one, write a ``Loader`` in a module of this package and enter it in
``_LOADERS``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from dexlane.chain import abi
from dexlane.chain.pool_loading import balancer, solidly, stableswap, uniswap, uniswap_v4
from dexlane.chain.pool_loading.base import (
    ChainReader,
    PoolUnreadable,
    V4Key,
    WatchedPool,
    load_token,
    symbol_text,
)
from dexlane.values.pools import Pool, Protocol

__all__ = [
    "ChainReader",
    "PoolUnreadable",
    "V4Key",
    "WatchedPool",
    "load_pool",
    "load_token",
    "symbol_text",
]

Loader: TypeAlias = Callable[[ChainReader, WatchedPool], Awaitable[Pool]]
"""Reads a pool. May raise ``AbiError`` for an answer that is not of its protocol."""

_LOADERS: Mapping[Protocol, Loader] = MappingProxyType(
    {
        Protocol.UNISWAP_V2: uniswap.load_v2,
        Protocol.UNISWAP_V3: uniswap.load_v3,
        Protocol.PANCAKESWAP_V3: uniswap.load_v3,
        Protocol.SOLIDLY_VOLATILE: solidly.load,
        Protocol.SOLIDLY_STABLE: solidly.load,
        Protocol.UNISWAP_V4: uniswap_v4.load,
        Protocol.BALANCER_WEIGHTED: balancer.load,
        Protocol.BALANCER_STABLE: balancer.load,
        Protocol.STABLESWAP: stableswap.load,
    }
)


async def load_pool(reader: ChainReader, watched: WatchedPool) -> Pool:
    """A pool with its complete state. Raises ``PoolUnreadable``, ``RpcError`` or ``RpcUnavailable``."""
    loader = _LOADERS.get(watched.protocol)
    if loader is None:
        raise PoolUnreadable(f"nothing can read {watched.protocol} pools from a node")
    try:
        return await loader(reader, watched)
    except abi.AbiError as error:
        raise PoolUnreadable(f"{watched.address} is no {watched.protocol} pool: {error}") from error
