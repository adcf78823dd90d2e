"""What a call to a known router wants to swap, read from its calldata.

Understood: Uniswap's V2 Router02 and its forks (``IUniswapV2Router02``), SwapRouter and SwapRouter02
(``ISwapRouter``, ``IV3SwapRouter``, ``IV2SwapRouter``, ``IMulticallExtended``) and the Universal Router's four swap
commands of V2 and V3 (``libraries/Commands.sol``). Anything else gives nothing; it is never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

from dexlane.chain import abi
from dexlane.chain.keccak import keccak256

NESTING = 3
"""Calls inside calls that are followed."""
MOST_SWAPS = 32
"""Swaps of one transaction that are read; whoever packs in more wants to keep readers busy."""

ROUTERS: Mapping[int, frozenset[str]] = MappingProxyType(
    {
        1: frozenset(
            {
                "0x7a250d5630b4cf539739df2c5dacb4c659f2488d",  # V2 Router02
                "0xe592427a0aece92de3edee1f18e0157c05861564",  # SwapRouter
                "0x68b3465833fb72a70ecdf485e0e4c7bd8665fc45",  # SwapRouter02
                "0x66a9893cc07d91d95644aedd05d03f95e1dba8af",  # Universal Router
                "0xd9e1ce17f2641f24ae83637ab66a2cca9c378b9f",  # SushiSwap
            }
        ),
        8_453: frozenset(
            {
                "0x4752ba5dbc23f44d87826276bf6fd6b1c372ad24",  # V2 Router02
                "0x2626664c2603336e57b271c5c0b26f421741e481",  # SwapRouter02
                "0x6ff5693b99212da76ad316178a184ab56d299b43",  # Universal Router
            }
        ),
    }
)
"""Routers by chain."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A step from one token to the next; ``fee_pips`` is None in a V2 pool, whose router decides which pool it is."""

    token_in: str
    token_out: str
    fee_pips: int | None


@dataclass(frozen=True, slots=True)
class WantedSwap:
    """A chain of hops with an exact amount in (``limit`` is the least out) or an exact amount out (``limit`` is the
    most in). Amounts in the tokens' smallest units; zero may stand for all that the router holds."""

    exact: Literal["in", "out"]
    amount: int
    limit: int
    hops: tuple[Hop, ...]


Reader = Callable[[abi.Frame, int, int], list[WantedSwap]]
"""Arguments, the call's value in wei, and how deep it lies."""


def wanted_swaps(data: bytes, value_wei: int = 0, *, depth: int = 0) -> list[WantedSwap]:
    """The swaps of a call, in order; empty when it is none of those understood. Raises ``AbiError`` for calldata that
    are cut off or contradict themselves."""
    reader = _READERS.get(data[:4])
    if reader is None or depth >= NESTING:
        return []
    return reader(abi.Frame(data[4:]), value_wei, depth)[:MOST_SWAPS]


def _v2(path: list[str], exact: Literal["in", "out"], amount: int, limit: int) -> list[WantedSwap]:
    hops = tuple(Hop(before, after, None) for before, after in pairwise(path))
    return [WantedSwap(exact, amount, limit, hops)] if hops else []


def _v2_tokens_in(call: abi.Frame, value_wei: int, depth: int) -> list[WantedSwap]:
    return _v2(call.addresses(2), "in", call.uint(0), call.uint(1))


def _v2_tokens_out(call: abi.Frame, value_wei: int, depth: int) -> list[WantedSwap]:
    return _v2(call.addresses(2), "out", call.uint(0), call.uint(1))


def _v2_value_in(call: abi.Frame, value_wei: int, depth: int) -> list[WantedSwap]:
    return _v2(call.addresses(1), "in", value_wei, call.uint(0))


def _v2_value_for_exact_out(call: abi.Frame, value_wei: int, depth: int) -> list[WantedSwap]:
    return _v2(call.addresses(1), "out", call.uint(0), value_wei)


def _single(exact: Literal["in", "out"], amount_at: int) -> Reader:
    """``(tokenIn, tokenOut, fee, recipient, [deadline,] amount, limit, sqrtPriceLimit)``: no dynamic part."""

    def read(call: abi.Frame, value_wei: int, depth: int) -> list[WantedSwap]:
        hop = Hop(call.address(0), call.address(1), call.uint(2, 24))
        return [WantedSwap(exact, call.uint(amount_at), call.uint(amount_at + 1), (hop,))]

    return read


def _along_path(exact: Literal["in", "out"], amount_at: int) -> Reader:
    """``(path, recipient, [deadline,] amount, limit)``: a tuple with a dynamic part, so behind an offset."""

    def read(call: abi.Frame, value_wei: int, depth: int) -> list[WantedSwap]:
        order = call.inner(0)
        hops = packed_hops(order.byte_string(0), backwards=exact == "out")
        return [WantedSwap(exact, order.uint(amount_at), order.uint(amount_at + 1), hops)]

    return read


def packed_hops(path: bytes, *, backwards: bool) -> tuple[Hop, ...]:
    """Hops of a packed V3 path, token (20 bytes), fee (3), token, ...; for an exact amount out it runs ``backwards``.

    Raises ``AbiError`` for another length.
    """
    if len(path) < 43 or (len(path) - 20) % 23:
        raise abi.AbiError(f"a packed path of {len(path)} bytes")
    tokens = ["0x" + path[at : at + 20].hex() for at in range(0, len(path), 23)]
    fees = [int.from_bytes(path[at : at + 3], "big") for at in range(20, len(path) - 20, 23)]
    hops = [Hop(*pair) for pair in zip(tokens, tokens[1:], fees, strict=False)]
    return tuple(Hop(hop.token_out, hop.token_in, hop.fee_pips) for hop in reversed(hops)) if backwards else tuple(hops)


def _multicall(at: int) -> Reader:
    def read(call: abi.Frame, value_wei: int, depth: int) -> list[WantedSwap]:
        inner = call.byte_strings(at)[:MOST_SWAPS]
        return [swap for data in inner for swap in wanted_swaps(data, value_wei, depth=depth + 1)]

    return read


def _universal(call: abi.Frame, value_wei: int, depth: int) -> list[WantedSwap]:
    found: list[WantedSwap] = []
    for command, payload in zip(call.byte_string(0)[:MOST_SWAPS], call.byte_strings(1), strict=False):
        kind, order = command & 0x3F, abi.Frame(payload)
        if kind in (0x00, 0x01):
            hops = packed_hops(order.byte_string(3), backwards=kind == 0x01)
            found.append(WantedSwap("out" if kind == 0x01 else "in", order.uint(1), order.uint(2), hops))
        elif kind in (0x08, 0x09):
            found += _v2(order.addresses(3), "out" if kind == 0x09 else "in", order.uint(1), order.uint(2))
    return found


def _selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


_READERS: Mapping[bytes, Reader] = MappingProxyType(
    {
        _selector(signature): reader
        for signature, reader in (
            ("swapExactTokensForTokens(uint256,uint256,address[],address,uint256)", _v2_tokens_in),
            ("swapExactTokensForETH(uint256,uint256,address[],address,uint256)", _v2_tokens_in),
            (
                "swapExactTokensForTokensSupportingFeeOnTransferTokens(uint256,uint256,address[],address,uint256)",
                _v2_tokens_in,
            ),
            (
                "swapExactTokensForETHSupportingFeeOnTransferTokens(uint256,uint256,address[],address,uint256)",
                _v2_tokens_in,
            ),
            ("swapTokensForExactTokens(uint256,uint256,address[],address,uint256)", _v2_tokens_out),
            ("swapTokensForExactETH(uint256,uint256,address[],address,uint256)", _v2_tokens_out),
            ("swapExactETHForTokens(uint256,address[],address,uint256)", _v2_value_in),
            (
                "swapExactETHForTokensSupportingFeeOnTransferTokens(uint256,address[],address,uint256)",
                _v2_value_in,
            ),
            ("swapETHForExactTokens(uint256,address[],address,uint256)", _v2_value_for_exact_out),
            ("swapExactTokensForTokens(uint256,uint256,address[],address)", _v2_tokens_in),
            ("swapTokensForExactTokens(uint256,uint256,address[],address)", _v2_tokens_out),
            ("exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))", _single("in", 4)),
            ("exactOutputSingle((address,address,uint24,address,uint256,uint256,uint160))", _single("out", 4)),
            ("exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))", _single("in", 5)),
            ("exactOutputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))", _single("out", 5)),
            ("exactInput((bytes,address,uint256,uint256))", _along_path("in", 2)),
            ("exactOutput((bytes,address,uint256,uint256))", _along_path("out", 2)),
            ("exactInput((bytes,address,uint256,uint256,uint256))", _along_path("in", 3)),
            ("exactOutput((bytes,address,uint256,uint256,uint256))", _along_path("out", 3)),
            ("multicall(bytes[])", _multicall(0)),
            ("multicall(uint256,bytes[])", _multicall(1)),
            ("multicall(bytes32,bytes[])", _multicall(1)),
            ("execute(bytes,bytes[],uint256)", _universal),
            ("execute(bytes,bytes[])", _universal),
        )
    }
)
