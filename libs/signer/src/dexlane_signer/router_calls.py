"""Strict reading of Universal Router ``execute(bytes,bytes[],uint256)`` calldata.

Layouts: ``@uniswap/universal-router`` 2.1.0, ``base/Dispatcher.sol``. Only the canonical encoding is read:
every offset where a compiler would put it, all padding zero, nothing left over. The router reads some fields
with raw ``calldataload``; with one spelling per call, signer and router cannot read it in two ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from dexlane_signer.typed_data import PermitSingle

EXECUTE = "0x3593564c"
"""Selector of ``execute(bytes,bytes[],uint256)``."""
MSG_SENDER = "0x0000000000000000000000000000000000000001"
"""The router's name for its caller (v4-periphery ``ActionConstants``)."""
ADDRESS_THIS = "0x0000000000000000000000000000000000000002"
"""The router's name for itself."""
CONTRACT_BALANCE = 1 << 255
"""As an amount in: everything of the input token that the router holds."""

V3_SWAP_EXACT_IN = 0x00
V2_SWAP_EXACT_IN = 0x08
PERMIT2_PERMIT = 0x0A
WRAP_ETH = 0x0B
UNWRAP_WETH = 0x0C

_MAX_COMMANDS = 16
_V3_HOP = 23  # 20 bytes of address and 3 of fee
_ADDRESS_PADDING = bytes(12)


class MalformedCalldataError(ValueError):
    """The calldata is not the canonical encoding of a call that this signer understands."""


class UnknownCommandError(ValueError):
    """A command or call outside the list: exact-in swaps, Permit2 permits, wrapping; or one that may fail silently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSwap:
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
    """A Permit2 permit applied before the swaps, with its 65-byte signature."""

    permit: PermitSingle
    signature: bytes


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


@dataclass(frozen=True, slots=True)
class RouterCall:
    """A decoded call: its steps in order and its deadline in Unix seconds. Whatever the router, an amount in of
    ``CONTRACT_BALANCE`` is all that it holds, and ``MSG_SENDER`` and ``ADDRESS_THIS`` are its caller and itself."""

    steps: tuple[RouterStep, ...]
    deadline_s: int


class Words:
    """Reads 32-byte words and byte strings of one ABI frame, refusing any slack."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def uint(self, index: int) -> int:
        """The unsigned integer in word ``index``."""
        return int.from_bytes(self._word(index), "big")

    def expect(self, index: int, value: int) -> None:
        """Refuse any other value in word ``index``."""
        if self._word(index) != value.to_bytes(32, "big"):
            raise MalformedCalldataError("an offset or length is not where the canonical encoding puts it")

    def address(self, index: int) -> str:
        """The address in word ``index``."""
        word = self._word(index)
        if not word.startswith(_ADDRESS_PADDING):
            raise MalformedCalldataError("an address has more than 20 bytes")
        return "0x" + word[12:].hex()

    def flag(self, index: int) -> bool:
        """The boolean in word ``index``."""
        value = self.uint(index)
        if value > 1:
            raise MalformedCalldataError("a boolean is neither 0 nor 1")
        return value == 1

    def _word(self, index: int) -> bytes:
        word = self.data[index * 32 : index * 32 + 32]
        if len(word) != 32:
            raise MalformedCalldataError("the calldata is shorter than its fields")
        return word

    def tail(self, index: int) -> tuple[bytes, int]:
        """Return the byte string whose length stands at word ``index``, and the index of the word after it."""
        length, start = self.uint(index), index * 32 + 32
        end = start + length
        padded_end = (end + 31) // 32 * 32
        if padded_end > len(self.data) or any(self.data[end:padded_end]):
            raise MalformedCalldataError("a byte string is truncated or its padding is not zero")
        return self.data[start:end], padded_end // 32

    def addresses(self, index: int) -> tuple[str, ...]:
        """The ``address[]`` whose length stands at word ``index``, which must end the frame: a path of V2."""
        count = self.uint(index)
        if not 2 <= count <= _MAX_COMMANDS:
            raise MalformedCalldataError("a V2 path has too few or too many tokens")
        tokens = tuple(self.address(index + 1 + position) for position in range(count))
        self.finished(index + 1 + count)
        return tokens

    def packed_path(self, index: int) -> tuple[str, ...]:
        """The tokens of the packed V3 path whose length stands at word ``index``, which must end the frame: token,
        then (3-byte fee, token) for each pool."""
        path, end = self.tail(index)
        self.finished(end)
        if len(path) < _V3_HOP + 20 or (len(path) - 20) % _V3_HOP:
            raise MalformedCalldataError("a V3 path is not token, fee, token and so on")
        return tuple("0x" + path[at : at + 20].hex() for at in range(0, len(path), _V3_HOP))

    def byte_strings(self, index: int) -> list[bytes]:
        """The ``bytes[]`` whose length stands at word ``index``, which must end the frame."""
        count = self.uint(index)
        if count > _MAX_COMMANDS:
            raise MalformedCalldataError(f"more than {_MAX_COMMANDS} commands")
        heads = index + 1
        cursor = heads + count
        found: list[bytes] = []
        for position in range(count):
            self.expect(heads + position, (cursor - heads) * 32)
            payload, cursor = self.tail(cursor)
            found.append(payload)
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
    words = Words(data[4:])
    words.expect(0, 0x60)
    deadline_s = words.uint(2)
    commands, at = words.tail(3)
    words.expect(1, at * 32)
    words.expect(at, len(commands))
    steps = tuple(_decode_step(*step) for step in zip(commands, words.byte_strings(at), strict=True))
    return RouterCall(steps=steps, deadline_s=deadline_s)


def _decode_step(command: int, payload: bytes) -> RouterStep:
    if command == V3_SWAP_EXACT_IN:
        return _decode_swap("v3", Words(payload))
    if command == V2_SWAP_EXACT_IN:
        return _decode_swap("v2", Words(payload))
    if command == PERMIT2_PERMIT:
        return _decode_permit(Words(payload))
    if command in (WRAP_ETH, UNWRAP_WETH):
        return _decode_wrapping(command, Words(payload))
    raise UnknownCommandError(f"router command 0x{command:02x} is not on the list")


def _decode_swap(version: Literal["v2", "v3"], words: Words) -> RouterSwap:
    """``(address recipient, uint256 amountIn, uint256 amountOutMin, path, bool payerIsUser)``."""
    words.expect(3, 0xA0)
    return RouterSwap(
        version=version,
        recipient=words.address(0),
        amount_in=words.uint(1),
        minimum_out=words.uint(2),
        payer_is_user=words.flag(4),
        path=words.packed_path(5) if version == "v3" else words.addresses(5),
    )


def _decode_wrapping(command: int, words: Words) -> RouterWrap | RouterUnwrap:
    """``(address recipient, uint256 amount)``: the amount to wrap, or the least to come out unwrapped."""
    words.finished(2)
    kind = RouterWrap if command == WRAP_ETH else RouterUnwrap
    return kind(words.address(0), words.uint(1))


def _decode_permit(words: Words) -> RouterPermit:
    """``(((address,uint160,uint48,uint48) details, address spender, uint256 sigDeadline), bytes signature)``."""
    words.expect(6, 0xE0)
    signature, end = words.tail(7)
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
    return RouterPermit(permit=permit, signature=signature)
