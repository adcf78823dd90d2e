"""Which tokens and pools people named: token lists, and lists of what is allowed or blocked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from dexlane.values.base import Value
from dexlane.values.chains import Address

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
MAX_LISTED = 100_000


class ListedToken(Value):
    """A token as a list names it. What the list says of its decimals is compared with the chain, never believed."""

    chain_id: int
    address: Address
    symbol: str
    decimals: int


@dataclass(frozen=True, slots=True)
class TokenList:
    """A token list. ``digest`` is the SHA-256 of its bytes, ``faults`` say which entries were left out and why."""

    name: str
    version: str
    timestamp: str
    digest: str
    tokens: tuple[ListedToken, ...]
    faults: tuple[str, ...] = ()

    def of_chain(self, chain_id: int) -> dict[str, ListedToken]:
        """The listed tokens of a chain by address."""
        return {token.address: token for token in self.tokens if token.chain_id == chain_id}


def parse_token_list(content: bytes) -> TokenList:
    """Read a list of Uniswap's token list schema (``tokenlist.schema.json`` of ``@uniswap/token-lists``).

    An entry that is no token is left out and named in ``faults``. Raises ``ValueError`` when the document is no such
    list.
    """
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"a token list is JSON: {error}") from error
    version = document.get("version") if isinstance(document, dict) else None
    entries = document.get("tokens") if isinstance(document, dict) else None
    if not isinstance(version, dict) or not isinstance(entries, list) or len(entries) > MAX_LISTED:
        raise ValueError(f"a token list has a version and at most {MAX_LISTED} tokens")
    tokens: list[ListedToken] = []
    faults: list[str] = []
    for number, entry in enumerate(entries):
        token = _listed(entry)
        if token is None:
            faults.append(f"tokens[{number}] has no chain id, address, symbol or decimals")
        else:
            tokens.append(token)
    return TokenList(
        name=str(document.get("name", ""))[:64],
        version=".".join(str(version.get(part, 0)) for part in ("major", "minor", "patch")),
        timestamp=str(document.get("timestamp", ""))[:32],
        digest=hashlib.sha256(content).hexdigest(),
        tokens=tuple(tokens),
        faults=tuple(faults),
    )


def _listed(entry: Any) -> ListedToken | None:
    if not isinstance(entry, dict):
        return None
    chain_id, address, decimals = entry.get("chainId"), entry.get("address"), entry.get("decimals")
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (chain_id, decimals))
    if not whole or not isinstance(address, str) or not _ADDRESS.fullmatch(address) or "symbol" not in entry:
        return None
    return ListedToken(chain_id=chain_id, address=address, symbol=str(entry["symbol"])[:32], decimals=decimals)


def parse_addresses(text: str) -> frozenset[str]:
    """Read one address a line, in any letter case; what follows it, empty lines and lines after ``#`` are remarks.

    Raises ``ValueError`` that names the first line without an address.
    """
    found: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        word = line.split("#")[0].split()
        if not word:
            continue
        if not _ADDRESS.fullmatch(word[0]):
            raise ValueError(f"line {number} does not begin with an address")
        found.add(word[0].lower())
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class AccessLists:
    """What may be watched. ``blocked`` and ``allowed`` hold addresses of tokens and of pools alike.

    ``allowed`` None means everything that is not blocked; otherwise a pool is allowed when it is named itself or all of
    its tokens are. Being blocked wins.
    """

    blocked: frozenset[str] = field(default_factory=frozenset)
    allowed: frozenset[str] | None = None

    def objection(self, pool: str, tokens: Iterable[str]) -> str | None:
        """Why a pool may not be watched; None when it may."""
        tokens = tuple(token.lower() for token in tokens)
        pool = pool.lower()
        for address in (pool, *tokens):
            if address in self.blocked:
                return f"{address} is blocked"
        if self.allowed is None or pool in self.allowed:
            return None
        missing = next((token for token in tokens if token not in self.allowed), None)
        return None if missing is None else f"{missing} is not on the allow list"
