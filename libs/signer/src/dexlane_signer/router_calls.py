"""Strict reading of Universal Router ``execute(bytes,bytes[],uint256)`` calldata.

Layouts: ``@uniswap/universal-router`` 2.1.0, ``base/Dispatcher.sol``. Only the canonical encoding is read:
every offset where a compiler would put it, all padding zero, nothing left over. The router reads some fields
with raw ``calldataload``; with one spelling per call, signer and router cannot read it in two ways.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from dexlane_signer.typed_data import PermitSingle

EXECUTE = "0x3593564c"
"""Selector of ``execute(bytes,bytes[],uint256)``."""
MSG_SENDER = "0x0000000000000000000000000000000000000001"
"""The router's name for its caller (v4-periphery ``ActionConstants``)."""
ADDRESS_THIS = "0x0000000000000000000000000000000000000002"
"""The router's name for itself."""
CONTRACT_BALANCE = 1 << 255
"""As an amount in: everything of the input token that the router holds."""
UNSIGNED = bytes(65)
"""Where a permit's signature belongs: the signer puts it there, when the whole call may be signed."""

V3_SWAP_EXACT_IN = 0x00
V2_SWAP_EXACT_IN = 0x08
PERMIT2_PERMIT = 0x0A
WRAP_ETH = 0x0B
UNWRAP_WETH = 0x0C

_MAX_COMMANDS = 16
_SELECTOR_BYTES = 4
_PERMIT_WORDS = 8
"""Words of a permit's command before its signature, whose length is the last of them."""
_V3_HOP = 23  # 20 bytes of address and 3 of fee
_ADDRESS_PADDING = bytes(12)
_CALL_HEAD = struct.Struct("32s 32s 32s")
_SWAP_HEAD = struct.Struct("12s 20s 32s 32s 32s 32s")
_THREE_WORDS, _FIVE_WORDS = (0x60).to_bytes(32), (0xA0).to_bytes(32)
_FLAGS = {bytes(32): False, (1).to_bytes(32): True}
_LONG_ADDRESS = "an address has more than 20 bytes"
_TOO_SHORT = "the calldata is shorter than its fields"
_MISPLACED = "an offset or length is not where the canonical encoding puts it"


class MalformedCalldataError(ValueError):
    """The calldata is not the canonical encoding of a call that this signer understands."""


class UnknownCommandError(ValueError):
    """A command or call outside the list: exact-in swaps, Permit2 permits, wrapping; or one that may fail silently."""


class RouterSwap(NamedTuple):
    """One exact-input swap along ``path`` (tokens in order); amounts in the smallest units of its ends."""

    version: Literal["v2", "v3"]
    recipient: str
    amount_in: int
    minimum_out: int
    payer_is_user: bool
    path: tuple[str, ...]

    @property
    def token_in(self) -> str:
        """What it is paid with."""
        return self.path[0]

    @property
    def token_out(self) -> str:
        """What it gives."""
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class RouterPermit:
    """A Permit2 permit applied before the swaps, with its 65-byte signature, which begins at byte ``at`` of the
    calldata."""

    permit: PermitSingle
    signature: bytes
    at: int


@dataclass(frozen=True, slots=True)
class RouterWrap:
    """``amount_wei`` of the value that came with the call becomes the wrapped native coin of ``recipient``."""

    recipient: str
    amount_wei: int


@dataclass(frozen=True, slots=True)
class RouterUnwrap:
    """All wrapped native coin that the router holds goes to ``recipient`` unwrapped, at least ``minimum_wei``."""

    recipient: str
    minimum_wei: int


RouterStep: TypeAlias = RouterSwap | RouterPermit | RouterWrap | RouterUnwrap


class RouterCall(NamedTuple):
    """A decoded call: its steps in order and its deadline in Unix seconds. Whatever the router, an amount in of
    ``CONTRACT_BALANCE`` is all that it holds, and ``MSG_SENDER`` and ``ADDRESS_THIS`` are its caller and itself."""

    steps: tuple[RouterStep, ...]
    deadline_s: int


class Words:
    """Reads 32-byte words and byte strings of one ABI frame, refusing any slack."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def head(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The first words, cut as ``layout`` says."""
        if len(self.data) < layout.size:
            raise MalformedCalldataError(_TOO_SHORT)
        return layout.unpack_from(self.data)

    def uint(self, index: int) -> int:
        """The unsigned integer in word ``index``."""
        word = self.data[index * 32 : index * 32 + 32]
        if len(word) != 32:
            raise MalformedCalldataError(_TOO_SHORT)
        return int.from_bytes(word)

    def expect(self, index: int, value: int) -> None:
        """Refuse any other value in word ``index``."""
        if self.data[index * 32 : index * 32 + 32] != value.to_bytes(32):
            raise MalformedCalldataError(_MISPLACED)

    def address(self, index: int) -> str:
        """The address in word ``index``."""
        word = self.data[index * 32 : index * 32 + 32]
        if len(word) != 32:
            raise MalformedCalldataError(_TOO_SHORT)
        if not word.startswith(_ADDRESS_PADDING):
            raise MalformedCalldataError(_LONG_ADDRESS)
        return "0x" + word[12:].hex()

    def tail(self, index: int) -> tuple[bytes, int]:
        """Return the byte string whose length stands at word ``index``, and the index of the word after it."""
        start = index * 32 + 32
        # A length that is itself cut off puts its string behind the frame.
        end = start + int.from_bytes(self.data[start - 32 : start])
        after = (end + 31) // 32
        padded_end = after * 32
        if padded_end > len(self.data) or self.data[end:padded_end] != bytes(padded_end - end):
            raise MalformedCalldataError("a byte string is truncated or its padding is not zero")
        return self.data[start:end], after

    def addresses(self, index: int) -> tuple[str, ...]:
        """The ``address[]`` whose length stands at word ``index``, which must end the frame: a path of V2."""
        count = self.uint(index)
        if not 2 <= count <= _MAX_COMMANDS:
            raise MalformedCalldataError("a V2 path has too few or too many tokens")
        end = index + 1 + count
        self.finished(end)
        return tuple([self.address(at) for at in range(index + 1, end)])

    def packed_path(self, index: int) -> tuple[str, ...]:
        """The tokens of the packed V3 path whose length stands at word ``index``, which must end the frame: token,
        then (3-byte fee, token) for each pool."""
        path, end = self.tail(index)
        self.finished(end)
        if len(path) < _V3_HOP + 20 or (len(path) - 20) % _V3_HOP:
            raise MalformedCalldataError("a V3 path is not token, fee, token and so on")
        return tuple(["0x" + path[at : at + 20].hex() for at in range(0, len(path), _V3_HOP)])

    def byte_strings(self, index: int) -> list[tuple[bytes, int]]:
        """The ``bytes[]`` whose length stands at word ``index``, which must end the frame; each with the byte of the
        frame at which it begins."""
        count = self.uint(index)
        if count > _MAX_COMMANDS:
            raise MalformedCalldataError(f"more than {_MAX_COMMANDS} commands")
        heads = index + 1
        cursor = heads + count
        found: list[tuple[bytes, int]] = []
        for head in range(heads, cursor):
            self.expect(head, (cursor - heads) * 32)
            begin = cursor * 32 + 32
            payload, cursor = self.tail(cursor)
            found.append((payload, begin))
        self.finished(cursor)
        return found

    def finished(self, index: int) -> None:
        """Refuse anything behind word ``index``."""
        if index * 32 != len(self.data):
            raise MalformedCalldataError("bytes follow the call")


def decode_execute(data: bytes) -> RouterCall:
    """Read the calldata of ``execute``, selector included.

    Raises ``MalformedCalldataError`` or ``UnknownCommandError``.
    """
    frame = Words(data[_SELECTOR_BYTES:])
    commands_at, inputs_at, deadline = frame.head(_CALL_HEAD)
    commands, at = frame.tail(3)
    inputs = frame.byte_strings(at)
    if commands_at != _THREE_WORDS or inputs_at != (at * 32).to_bytes(32) or len(inputs) != len(commands):
        raise MalformedCalldataError(_MISPLACED)
    return RouterCall(tuple(map(_decode_step, commands, inputs)), int.from_bytes(deadline))


def _decode_step(command: int, argument: tuple[bytes, int]) -> RouterStep:
    payload, begin = argument
    if command == V3_SWAP_EXACT_IN:
        return _decode_swap("v3", Words(payload))
    if command == V2_SWAP_EXACT_IN:
        return _decode_swap("v2", Words(payload))
    if command == PERMIT2_PERMIT:
        return _decode_permit(Words(payload), _SELECTOR_BYTES + begin)
    if command in (WRAP_ETH, UNWRAP_WETH):
        return _decode_wrapping(command, Words(payload))
    raise UnknownCommandError(f"router command 0x{command:02x} is not on the list")


def _decode_swap(version: Literal["v2", "v3"], words: Words) -> RouterSwap:
    """``(address recipient, uint256 amountIn, uint256 amountOutMin, path, bool payerIsUser)``."""
    padding, recipient, amount_in, minimum_out, path_at, payer_is_user = words.head(_SWAP_HEAD)
    if padding != _ADDRESS_PADDING:
        raise MalformedCalldataError(_LONG_ADDRESS)
    if path_at != _FIVE_WORDS:
        raise MalformedCalldataError(_MISPLACED)
    if payer_is_user not in _FLAGS:
        raise MalformedCalldataError("a boolean is neither 0 nor 1")
    return RouterSwap(
        version=version,
        recipient="0x" + recipient.hex(),
        amount_in=int.from_bytes(amount_in),
        minimum_out=int.from_bytes(minimum_out),
        payer_is_user=_FLAGS[payer_is_user],
        path=words.packed_path(5) if version == "v3" else words.addresses(5),
    )


def _decode_wrapping(command: int, words: Words) -> RouterWrap | RouterUnwrap:
    """``(address recipient, uint256 amount)``: the amount to wrap, or the least to come out unwrapped."""
    words.finished(2)
    kind = RouterWrap if command == WRAP_ETH else RouterUnwrap
    return kind(words.address(0), words.uint(1))


def _decode_permit(words: Words, begin: int) -> RouterPermit:
    """``(((address,uint160,uint48,uint48) details, address spender, uint256 sigDeadline), bytes signature)``, which
    begins at that byte of the calldata."""
    words.expect(6, 0xE0)
    signature, end = words.tail(_PERMIT_WORDS - 1)
    words.finished(end)
    if len(signature) != 65:
        raise MalformedCalldataError("a permit signature has 65 bytes")
    try:
        permit = PermitSingle(
            token=words.address(0),
            amount=words.uint(1),
            expiration_s=words.uint(2),
            nonce=words.uint(3),
            spender=words.address(4),
            sig_deadline_s=words.uint(5),
        )
    except MalformedCalldataError:
        raise
    except ValueError as error:
        raise MalformedCalldataError(str(error)) from None
    return RouterPermit(permit=permit, signature=signature, at=begin + _PERMIT_WORDS * 32)
