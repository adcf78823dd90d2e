"""Pools of Aerodrome and Velodrome V2 (``IPool``, ``IPoolFactory``)."""

from __future__ import annotations

from dexlane.chain import abi
from dexlane.chain.pool_loading.base import ChainReader, PoolUnreadable, WatchedPool, load_token
from dexlane.values.pools import ConstantProductState, Pool, PoolKey, Protocol

_METADATA = bytes.fromhex("392f37e9")
_FACTORY = bytes.fromhex("c45a0155")
_GET_FEE = bytes.fromhex("cc56b2c5")
_PIPS_PER_BPS = 100


async def load(reader: ChainReader, watched: WatchedPool) -> Pool:
    """Reserves and tokens from ``metadata()``, the fee from the factory's ``getFee(pool, stable)`` (basis points).

    Raises ``PoolUnreadable`` when the pool has the other curve, or counts in other decimals than its tokens say.
    """
    pool, wanted_stable = watched.address, watched.protocol is Protocol.SOLIDLY_STABLE
    metadata, factory = await reader.words([(pool, _METADATA), (pool, _FACTORY)])
    if metadata.flag(4) != wanted_stable:
        raise PoolUnreadable(f"{pool} is a {'volatile' if wanted_stable else 'stable'} pool, not {watched.protocol}")
    arguments = abi.address(pool) + abi.flag(wanted_stable)
    [fee_bps] = await reader.words([(factory.address(0), _GET_FEE + arguments)])
    token0 = await load_token(reader, metadata.address(5))
    token1 = await load_token(reader, metadata.address(6))
    if (metadata.uint(0), metadata.uint(1)) != (10**token0.decimals, 10**token1.decimals):
        raise PoolUnreadable(f"{pool} counts in other decimals than its tokens say now")
    key = PoolKey(
        address=pool,
        protocol=watched.protocol,
        token0=token0,
        token1=token1,
        fee_pips=fee_bps.uint(0, 16) * _PIPS_PER_BPS,
    )
    return Pool(key=key, state=ConstantProductState(reserve0=metadata.uint(2), reserve1=metadata.uint(3)))
