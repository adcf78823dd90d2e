"""What gas costs in units of a quote token, by the pools that trade the wrapped native coin."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dexlane.domain.amm.quoting import InsufficientLiquidity, spot_price_ratio, virtual_reserves
from dexlane.domain.pool_table import PoolTable
from dexlane.values.pools import Pool

WRAPPED_NATIVE: Mapping[int, str] = MappingProxyType(
    {
        1: "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
        10: "0x4200000000000000000000000000000000000006",
        56: "0xbb4cdb9cbd36b01bd1cbaebf2de08d9173bc095c",
        137: "0x0d500b1d8e8ef31e21c99d1db9a6444d3adf1270",
        8_453: "0x4200000000000000000000000000000000000006",
        42_161: "0x82af49447d8a07e3bd95bd0d56f35241523fbab1",
    }
)
"""The wrapped native coin by chain id (WETH9 or its equivalent)."""


def native_in_quote(pools: Mapping[str, Pool], chain_id: int, quote: str, amount_wei: int) -> int | None:
    """What ``amount_wei`` of the native coin is worth in the smallest unit of ``quote``, rounded up.

    The price is the spot price of the deepest pool between the wrapped coin and the quote token; of equal pools the
    one with the lower address. None when there is no such pool: then the cost is not known, and nothing may assume
    that it is small.
    """
    price = _native_price(pools, chain_id, quote)
    return None if price is None else -(-amount_wei * price[0] // price[1])


def quote_in_native(pools: Mapping[str, Pool], chain_id: int, token: str, amount: int) -> int | None:
    """What ``amount`` of a token is worth in wei of the native coin, rounded up; None when no pool trades
    the token against the wrapped coin. The same pool gives the price as above."""
    price = _native_price(pools, chain_id, token)
    return None if price is None else -(-amount * price[1] // price[0])


def _native_price(pools: Mapping[str, Pool], chain_id: int, token: str) -> tuple[int, int] | None:
    """Units of a token for a wei, as (numerator, denominator)."""
    wrapped = WRAPPED_NATIVE.get(chain_id)
    if wrapped is None or wrapped == token:
        return (1, 1) if wrapped else None
    pool = deepest_pool(pools, wrapped, token)
    return None if pool is None else spot_price_ratio(pool, wrapped, token)


def deepest_pool(pools: Mapping[str, Pool], token: str, quote: str) -> Pool | None:
    """The pool of two tokens with the largest (virtual) reserve of ``quote``; None when no pool has a price."""
    best: tuple[int, Pool] | None = None
    for address in pools.between(token, quote) if isinstance(pools, PoolTable) else sorted(pools):
        pool = pools[address]
        if not pool.key.trades(token, quote):
            continue
        try:
            spot_price_ratio(pool, token, quote)
        except InsufficientLiquidity:
            continue
        depth, _ = virtual_reserves(pool, quote, token)
        if best is None or depth > best[0]:
            best = (depth, pool)
    return None if best is None else best[1]
