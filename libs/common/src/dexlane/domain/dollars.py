"""What a token is worth in US dollars, by the stablecoins whose issuers are known.

A stablecoin counts as one dollar. That is a rule and no price: while one has lost its peg, limits in dollars are off by
as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dexlane.domain.gas_value import NativePrice
from dexlane.domain.pool_table import PoolTable
from dexlane.domain.risk.canonical import CANONICAL_TOKENS
from dexlane.domain.risk.depth import priced
from dexlane.values.tokens import Token

LEAST_DEPTH_USD = 10_000
"""A pool tells what a token is worth when this much changes hands on either side before its price has moved by two per
cent: a shallower one costs little to move, and limits would move with it."""
_SCALE = 10**18
"""Dollars of stablecoins with different decimals are compared in these units."""

STABLE_SYMBOLS = frozenset({"USDC", "USDT", "DAI"})
_STABLE = {
    chain_id: frozenset(address for address, symbol in tokens.items() if symbol in STABLE_SYMBOLS)
    for chain_id, tokens in CANONICAL_TOKENS.items()
}


def stablecoins(chain_id: int) -> frozenset[str]:
    """The addresses of the tokens that count as dollars on a chain."""
    return _STABLE.get(chain_id, frozenset())


@dataclass
class Dollars:
    """What dollars, and the native coin, are in one token. The pools are asked once."""

    pools: PoolTable
    chain_id: int
    token: Token

    def amount(self, usd: int) -> int | None:
        """So many whole dollars in the token's smallest unit, rounded down; None when nobody can tell."""
        price = self._price
        return None if price is None else usd * price[0] // price[1]

    @cached_property
    def native(self) -> NativePrice:
        """What the native coin is worth in the token."""
        return NativePrice(self.pools, self.chain_id, self.token.address)

    @cached_property
    def _price(self) -> tuple[int, int] | None:
        """Units of the token for a dollar, as a fraction. Of one that is no stablecoin the pool with a stablecoin tells
        it that gives most within two per cent of its price; none that gives less than ``LEAST_DEPTH_USD``."""
        token, stable = self.token.address, stablecoins(self.chain_id)
        if token in stable:
            return 10**self.token.decimals, 1
        best: tuple[int, str, tuple[int, int]] | None = None
        for coin in sorted(stable):
            for address in self.pools.between(token, coin):
                pool = self.pools[address]
                one = next(10**held.decimals for held in pool.key.tokens if held.address == coin)
                found = priced(pool, coin, token)
                if found is None or found.depth < LEAST_DEPTH_USD * one:
                    continue
                candidate = found.depth * _SCALE // one, address, (found.numerator * one, found.denominator)
                best = max(best or candidate, candidate)
        return None if best is None else best[2]
