"""Tokens whose issuer is known: an allow list by chain.

On 2026-11-24 every address was compared with the entry of its chain in the token list "Uniswap Labs Default", version
22.21.0 of 2026-09-23. All eleven are in it under the same symbol, except that the list still names the wrapped coin of
Polygon (137) by its old symbol WMATIC. Uniswap's table of contract addresses by chain (of @uniswap/sdk-core) was
searched too and holds none of them. The issuers' own pages were not read for this comparison.
"""

from __future__ import annotations

from collections.abc import Mapping

LIST_DATE = "2026-11-24"
"""The day on which the list was last compared with the token list named above (ISO 8601)."""

CANONICAL_TOKENS: Mapping[int, Mapping[str, str]] = {
    1: {
        "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2": "WETH",
        "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48": "USDC",
        "0xdac17f958d2ee523a2206206994597c13d831ec7": "USDT",
        "0x6b175474e89094c44da98b954eedeac495271d0f": "DAI",
        "0x2260fac5e5542a773aa44fbcfedf7c193bc2c599": "WBTC",
    },
    8453: {
        "0x4200000000000000000000000000000000000006": "WETH",
        "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913": "USDC",
    },
    42161: {
        "0x82af49447d8a07e3bd95bd0d56f35241523fbab1": "WETH",
        "0xaf88d065e77c8cc2239327c5edb3a432268e5831": "USDC",
    },
    137: {
        "0x0d500b1d8e8ef31e21c99d1db9a6444d3adf1270": "WPOL",
        "0x3c499c542cef5e3811e1192ce70d8cc03d5c3359": "USDC",
    },
}


def canonical_symbol(chain_id: int, token: str) -> str | None:
    """The symbol of a token on the allow list; None for every other token."""
    return CANONICAL_TOKENS.get(chain_id, {}).get(token)


_DOLLAR_DECIMALS: Mapping[str, int] = {"USDC": 6, "USDT": 6, "DAI": 18}


def dollar_decimals(chain_id: int, token: str) -> int | None:
    """The decimals of a token on the allow list that stands for a US dollar; None for every other token."""
    return _DOLLAR_DECIMALS.get(canonical_symbol(chain_id, token) or "")
