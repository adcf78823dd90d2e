"""What a token is worth in US dollars, by the stablecoins whose issuers are known.

A stablecoin counts as one dollar. That is a rule and no price: while one has lost its peg, limits in dollars are off by
as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dexlane.domain.amm.quoting import InsufficientLiquidity, spot_price_ratio, virtual_reserves
from dexlane.domain.risk.canonical import CANONICAL_TOKENS
from dexlane.values.pools import Pool
from dexlane.values.tokens import Token

STABLE_SYMBOLS = frozenset({"USDC", "USDT", "DAI"})
_STABLE = {
    chain_id: frozenset(address for address, symbol in tokens.items() if symbol in STABLE_SYMBOLS)
    for chain_id, tokens in CANONICAL_TOKENS.items()
}


def stablecoins(chain_id: int) -> frozenset[str]:
    """The addresses of the tokens that count as dollars on a chain."""
    return _STABLE.get(chain_id, frozenset())


def usd_in_token(pools: Mapping[str, Pool], chain_id: int, token: Token, usd: int) -> int | None:
    """What so many whole dollars are in the smallest unit of a token, rounded down; None when nobody can tell.

    Of a token that is no stablecoin the spot price of the pool with a stablecoin counts that holds most of the token.
    """
    stable = stablecoins(chain_id)
    if token.address in stable:
        return usd * _one(token.decimals)
    best = max(_prices(pools, token.address, stable), default=None)
    if best is None:
        return None
    _, _, decimals, numerator, denominator = best
    return usd * _one(decimals) * numerator // denominator


def _one(decimals: int) -> int:
    """One whole token."""
    one: int = 10**decimals
    return one


def _prices(pools: Mapping[str, Pool], token: str, stable: frozenset[str]) -> Iterator[tuple[int, str, int, int, int]]:
    """Depth, pool, decimals of its stablecoin and its price as numerator and denominator, where there is one."""
    for address, pool in pools.items():
        found = next((one for one in pool.key.tokens if one.address in stable), None)
        if found is None or not pool.key.trades(token, found.address):
            continue
        try:
            numerator, denominator = spot_price_ratio(pool, found.address, token)
            yield virtual_reserves(pool, token, found.address)[0], address, found.decimals, numerator, denominator
        except InsufficientLiquidity:
            continue
