"""Chains, addresses, hashes and block references."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from dexlane.values.base import Value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


ChainId = Annotated[int, Field(strict=True, ge=1, le=2**53)]
"""EIP-155 chain id."""

Address = Annotated[str, Field(pattern="^0x[0-9a-f]{40}$"), BeforeValidator(_lower)]
"""A 20-byte address in lower-case hex. Letter case never carries meaning inside dexlane."""

Hash32 = Annotated[str, Field(pattern="^0x[0-9a-f]{64}$"), BeforeValidator(_lower)]
"""A 32-byte hash (of a block or a transaction) in lower-case hex."""

NATIVE = "0x" + "e" * 40
"""The placeholder address under which books keep the chain's native coin."""

ZERO_ADDRESS = "0x" + "0" * 40
"""No account. Uniswap V4 names the native coin so, in its pools and their ids."""


class BlockRef(Value):
    """A block, told apart from its competitors at the same height by its hash."""

    number: int = Field(ge=0)
    hash: Hash32
