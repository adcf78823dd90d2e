"""Strict reading of calls to the routers that pull tokens themselves: V2 Router02 and its forks, and SwapRouter02.

Layouts: ``@uniswap/v2-periphery`` ``UniswapV2Router02.sol`` and ``@uniswap/swap-router-contracts`` 1.3.1. As with the
Universal Router only the canonical encoding is read. What such a call does is told in the Universal Router's words, so
that one set of rules judges all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from dexlane_signer.router_calls import (
    ADDRESS_THIS,
    CONTRACT_BALANCE,
    MSG_SENDER,
    MalformedCalldataError,
    RouterCall,
    RouterStep,
    RouterSwap,
    RouterUnwrap,
    RouterWrap,
    UnknownCommandError,
    Words,
)

MULTICALL = "0x5ae401dc"
"""SwapRouter02 ``multicall(uint256 deadline, bytes[])``: the only way to call it with a deadline."""

TOKENS_FOR_TOKENS = "0x38ed1739"
"""Router02 ``swapExactTokensForTokens(uint256,uint256,address[],address,uint256)``."""
TOKENS_FOR_ETH = "0x18cbafe5"
"""Router02 ``swapExactTokensForETH(uint256,uint256,address[],address,uint256)``."""
ETH_FOR_TOKENS = "0x7ff36ab5"
"""Router02 ``swapExactETHForTokens(uint256,address[],address,uint256)``."""
TAXED_TOKENS_FOR_TOKENS = "0x5c11d795"
"""The same for tokens that keep a part of a transfer (``...SupportingFeeOnTransferTokens``), here and below."""
TAXED_TOKENS_FOR_ETH = "0x791ac947"
ETH_FOR_TAXED_TOKENS = "0xb6f9de95"

_EXACT_INPUT_SINGLE = "0x04e45aaf"  # exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))
_EXACT_INPUT = "0xb858183f"  # exactInput((bytes,address,uint256,uint256))
_SWAP_EXACT_TOKENS = "0x472b43f3"  # swapExactTokensForTokens(uint256,uint256,address[],address)
_UNWRAP = "0x49404b7c"  # unwrapWETH9(uint256,address)


_Along: TypeAlias = tuple[Literal["v2", "v3"], tuple[str, ...]]
"""The kind of pools, and the tokens in order."""


def decode_direct(data: bytes, value_wei: int, wrapped_native: str | None) -> RouterCall:
    """Read the calldata of a listed selector. Value that comes along is told as a wrap at the beginning.

    Raises ``MalformedCalldataError`` or ``UnknownCommandError``.
    """
    return _READERS["0x" + data[:4].hex()](Words(data[4:]), value_wei, wrapped_native)


def _literal(address: str) -> str:
    """An address that the contract takes as it stands: the names of the other routers mean nothing to it."""
    if address in (MSG_SENDER, ADDRESS_THIS):
        raise MalformedCalldataError("this call takes its recipient literally")
    return address


def _tokens_for_tokens(words: Words, value_wei: int, wrapped_native: str | None) -> RouterCall:
    words.expect(2, 0xA0)
    recipient = _literal(words.address(3))
    swap = _swap(("v2", words.addresses(5)), recipient, amount_in=words.uint(0), least=words.uint(1), from_us=True)
    return RouterCall((swap,), words.uint(4))


def _tokens_for_eth(words: Words, value_wei: int, wrapped_native: str | None) -> RouterCall:
    words.expect(2, 0xA0)
    least = words.uint(1)
    swap = _swap(("v2", words.addresses(5)), ADDRESS_THIS, amount_in=words.uint(0), least=least, from_us=True)
    return RouterCall((swap, RouterUnwrap(_literal(words.address(3)), least)), words.uint(4))


def _eth_for_tokens(words: Words, value_wei: int, wrapped_native: str | None) -> RouterCall:
    words.expect(1, 0x80)
    recipient = _literal(words.address(2))
    swap = _swap(("v2", words.addresses(4)), recipient, amount_in=value_wei, least=words.uint(0), from_us=False)
    return RouterCall((RouterWrap(ADDRESS_THIS, value_wei), swap), words.uint(3))


def _multicall(words: Words, value_wei: int, wrapped_native: str | None) -> RouterCall:
    """The contract pays for wrapped native coin with the native coin it holds, so value needs no call of its own."""
    words.expect(1, 0x40)
    steps = [_inner(call) for call, _ in words.byte_strings(2)]
    if value_wei:
        steps = [RouterWrap(ADDRESS_THIS, value_wei), *(_paid_by_value(step, wrapped_native) for step in steps)]
    return RouterCall(tuple(steps), words.uint(0))


def _paid_by_value(step: RouterStep, wrapped_native: str | None) -> RouterStep:
    if isinstance(step, RouterSwap) and step.token_in == wrapped_native:
        return step._replace(payer_is_user=False)
    return step


def _inner(call: bytes) -> RouterStep:
    selector, words = "0x" + call[:4].hex(), Words(call[4:])
    if selector == _EXACT_INPUT_SINGLE:
        return _exact_input_single(words)
    if selector == _EXACT_INPUT:
        words.expect(0, 0x20)
        return _exact_input(Words(words.data[32:]))
    if selector == _SWAP_EXACT_TOKENS:
        words.expect(2, 0x80)
        return _or_all(("v2", words.addresses(4)), words.address(3), amount_in=words.uint(0), least=words.uint(1))
    if selector == _UNWRAP:
        words.finished(2)
        return RouterUnwrap(_literal(words.address(1)), words.uint(0))
    raise UnknownCommandError(f"{selector} is not on the list of calls inside a multicall")


def _exact_input_single(words: Words) -> RouterSwap:
    words.finished(7)
    words.expect(6, 0)  # a price limit would stop half way and leave the rest in the router
    if words.uint(2) >> 24:
        raise MalformedCalldataError("a fee has more than 3 bytes")
    path = (words.address(0), words.address(1))
    return _or_all(("v3", path), words.address(3), amount_in=words.uint(4), least=words.uint(5))


def _exact_input(words: Words) -> RouterSwap:
    words.expect(0, 0x80)
    return _or_all(("v3", words.packed_path(4)), words.address(1), amount_in=words.uint(2), least=words.uint(3))


def _or_all(along: _Along, recipient: str, *, amount_in: int, least: int) -> RouterSwap:
    """An amount of zero is all that the router holds (``Constants.CONTRACT_BALANCE``)."""
    is_stated = amount_in != 0
    amount_in = amount_in if is_stated else CONTRACT_BALANCE
    return _swap(along, recipient, amount_in=amount_in, least=least, from_us=is_stated)


def _swap(along: _Along, recipient: str, *, amount_in: int, least: int, from_us: bool) -> RouterSwap:
    version, path = along
    return RouterSwap(
        version=version,
        recipient=recipient,
        amount_in=amount_in,
        minimum_out=least,
        payer_is_user=from_us,
        path=path,
    )


_READERS: Mapping[str, Callable[[Words, int, str | None], RouterCall]] = MappingProxyType(
    {
        TOKENS_FOR_TOKENS: _tokens_for_tokens,
        TAXED_TOKENS_FOR_TOKENS: _tokens_for_tokens,
        TOKENS_FOR_ETH: _tokens_for_eth,
        TAXED_TOKENS_FOR_ETH: _tokens_for_eth,
        ETH_FOR_TOKENS: _eth_for_tokens,
        ETH_FOR_TAXED_TOKENS: _eth_for_tokens,
        MULTICALL: _multicall,
    }
)

DIRECT_SELECTORS = frozenset(_READERS)
"""Every selector that ``decode_direct`` reads."""
ROUTER02_SELECTORS = DIRECT_SELECTORS - {MULTICALL}
SWAP_ROUTER02_SELECTORS = frozenset({MULTICALL})
