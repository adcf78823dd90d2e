"""What a token says about itself, read so that no token can harm the reading of another."""

from __future__ import annotations

from dexlane.chain import abi
from dexlane.chain.answers import BlockId
from dexlane.chain.pool_loading import symbol_text
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.values.base import Value
from dexlane.values.chains import Address
from dexlane.values.tokens import MAX_DECIMALS, Token

MAX_SYMBOL_BYTES = 1_024
"""A longer answer is no symbol, and is not looked at."""

_SYMBOL = bytes.fromhex("95d89b41")
_DECIMALS = bytes.fromhex("313ce567")
_EXECUTION_FAILURES = ("revert", "gas", "evm error", "invalid opcode", "invalid jump", "stack", "opcode", "out of")


class TokenFacts(Value):
    """A token as it answered. Without ``decimals`` it is never traded, and ``reason`` says why there are none."""

    address: Address
    symbol: str
    decimals: int | None
    reason: str = ""

    @property
    def token(self) -> Token | None:
        """The token to trade; None when it cannot be."""
        if self.decimals is None:
            return None
        return Token(address=self.address, symbol=self.symbol, decimals=self.decimals)


async def read_token(rpc: Rpc, address: str, block: BlockId) -> TokenFacts:
    """Ask a token for symbol and decimals, each in a call of its own: one that burns all its gas fails alone.

    A symbol of any form and length becomes at most 32 printable characters, else the start of the address. Decimals
    are never guessed. Raises ``RpcError`` when the node refused for another reason than the token's code, and
    ``RpcUnavailable``.
    """
    symbol, decimals = (
        _answer(given) for given in await rpc.eth_calls([(address, _SYMBOL), (address, _DECIMALS)], block=block)
    )
    text = symbol_text(symbol) if symbol is not None and len(symbol) <= MAX_SYMBOL_BYTES else ""
    places, reason = _places(decimals)
    return TokenFacts(address=address, symbol=text or address[:10], decimals=places, reason=reason)


def _places(answer: bytes | None) -> tuple[int | None, str]:
    if not answer:
        return None, "it does not answer decimals()"
    try:
        places = abi.Frame(answer).uint(0)
    except abi.AbiError:
        return None, f"it answers decimals() with {len(answer)} bytes"
    if places > MAX_DECIMALS:
        return None, "it claims more decimals than an amount has digits"
    return places, ""


def _answer(given: bytes | RpcError) -> bytes | None:
    if not isinstance(given, RpcError):
        return given
    if is_execution_failure(given):
        return None
    raise given


def is_execution_failure(error: RpcError) -> bool:
    """Whether the contract's own code failed; every other refusal says nothing about the contract."""
    return error.code == 3 or any(word in error.message.lower() for word in _EXECUTION_FAILURES)
