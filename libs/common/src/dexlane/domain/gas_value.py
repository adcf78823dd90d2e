"""What gas costs in units of a quote token, by the pools that trade the wrapped native coin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from dexlane.domain.pool_table import PoolTable
from dexlane.domain.risk.depth import Priced, priced
from dexlane.values.chains import NATIVE
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


def traded_as(chain_id: int, token: str) -> str:
    """What pools know a token as: the native coin is traded wrapped."""
    return WRAPPED_NATIVE.get(chain_id, token) if token == NATIVE else token


@dataclass
class NativePrice:
    """What the native coin is worth in one token, by the spot price of the deepest pool that trades it wrapped against
    the token; None where there is no such pool: then a cost is not known, and nothing may assume that it is small.

    The pools are asked once.
    """

    pools: Mapping[str, Pool]
    chain_id: int
    token: str

    def of_wei(self, amount_wei: int) -> int | None:
        """What so many wei are worth in the token's smallest unit, rounded up."""
        price = self._price
        return None if price is None else -(-amount_wei * price[0] // price[1])

    def in_wei(self, amount: int) -> int | None:
        """What so much of the token is worth in wei, rounded up."""
        price = self._price
        return None if price is None else -(-amount * price[1] // price[0])

    @cached_property
    def _price(self) -> tuple[int, int] | None:
        """Units of the token for a wei, as a fraction."""
        wrapped = WRAPPED_NATIVE.get(self.chain_id)
        if wrapped is None or wrapped == self.token:
            return (1, 1) if wrapped else None
        found = deepest(self.pools, wrapped, self.token)
        return None if found is None else (found.numerator, found.denominator)


def deepest(pools: Mapping[str, Pool], token: str, other: str) -> Priced | None:
    """The price of the pool of two tokens in which most of ``token`` changes hands before it moves by two per cent; of
    equal ones that with the lower address. None when no pool takes anything.

    That is money that is there. Virtual reserves would let a handful of units in a narrow range outweigh a deep pool,
    and whoever puts them there would say what gas is worth.
    """
    best: Priced | None = None
    for address in pools.between(token, other) if isinstance(pools, PoolTable) else sorted(pools):
        pool = pools[address]
        found = priced(pool, token, other) if pool.key.trades(token, other) else None
        if found is not None and found.depth > (0 if best is None else best.depth):
            best = found
    return best
