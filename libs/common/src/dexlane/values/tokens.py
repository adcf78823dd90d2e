"""Tokens and signed token movements."""

from __future__ import annotations

from pydantic import Field

from dexlane.values.amounts import SignedAmount
from dexlane.values.base import Value
from dexlane.values.chains import Address

MAX_DECIMALS = 77
"""Ten to this power is the last that fits a uint256."""


class Token(Value):
    """An ERC-20 token of one chain. ``decimals`` scales for display only; amounts stay integers."""

    address: Address
    symbol: str = Field(min_length=1, max_length=32)
    decimals: int = Field(ge=0, le=MAX_DECIMALS)


class TokenDelta(Value):
    """What a balance gained (positive) or lost (negative), in the token's smallest unit."""

    token: Address
    amount: SignedAmount


class TokenTax(Value):
    """What a token keeps of every transfer, in basis points."""

    token: Address
    bps: int = Field(gt=0, le=10_000)
