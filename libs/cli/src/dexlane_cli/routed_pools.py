"""Pools of a route: the lines that `dexlane quote` reads, with ``token0`` and ``token1``, addresses or any names."""

from __future__ import annotations

import re

from dexlane.values.base import digest
from dexlane.values.pools import Pool, PoolKey, Protocol
from dexlane.values.tokens import Token
from dexlane_cli.pool_lines import BAD_LINE, LineError, ReservePool, pool_of

_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")


def parse_pool(line: object) -> Pool:
    """The pool that a parsed JSON line defines. Raises ``LineError``.

    The tokens stay in the order of the line: names need not sort as the addresses that stand for them do, and no quote
    asks.
    """
    if not isinstance(line, dict):
        raise LineError(BAD_LINE, "a pool is a JSON object")
    defined = pool_of(line)
    token0, token1 = _token(line, "token0"), _token(line, "token1")
    if token0.address == token1.address:
        raise LineError(BAD_LINE, "a pool trades two different tokens")
    key = PoolKey.model_construct(
        address=address_of(_name(line, "pool")),
        protocol=Protocol.UNISWAP_V2 if isinstance(defined, ReservePool) else Protocol.UNISWAP_V3,
        token0=token0,
        token1=token1,
        fee_pips=defined.fee_pips,
        tick_spacing=0 if isinstance(defined, ReservePool) else defined.tick_spacing,
    )
    return Pool.unchecked(key, defined.state)


def address_of(name: str) -> str:
    """The address that a name of a pool or a token stands for: itself in lower case, or one made from the name."""
    if _ADDRESS.fullmatch(name):
        return name.lower()
    return "0x" + (digest("name", name) + digest("name again", name))[:40]


def _token(line: dict[str, object], field: str) -> Token:
    name = _name(line, field)
    return Token(address=address_of(name), symbol=name[:32], decimals=0)


def _name(line: dict[str, object], field: str) -> str:
    name = line.get(field)
    if not isinstance(name, str) or not name:
        raise LineError(BAD_LINE, f"{field} is not a name")
    return name
