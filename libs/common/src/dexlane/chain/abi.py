"""Just enough of the contract ABI (Solidity documentation, "Contract ABI Specification") for the calls we make.

Everything is made of 32-byte words. A tuple of fields is a *frame*: static fields stand in its head, dynamic
ones leave their offset there and follow in its tail. ``eth_abi`` does the same with type strings, some
thirty times slower to import and to run; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

WORD = 32


class AbiError(ValueError):
    """A value does not fit its type, or returned data is truncated."""


@dataclass(frozen=True, slots=True)
class Dynamic:
    """The encoding of a dynamic field: it stands in the tail of its frame."""

    encoded: bytes


Field: TypeAlias = bytes | Dynamic
"""A static field (whole words) or a dynamic one."""


def uint(value: int, bits: int = 256) -> bytes:
    """Encode an unsigned integer. Raises ``AbiError`` when it does not fit ``bits``."""
    if not 0 <= value < 1 << bits:
        raise AbiError(f"{value} does not fit uint{bits}")
    return value.to_bytes(WORD, "big")


def flag(value: bool) -> bytes:
    """Encode a boolean."""
    return uint(int(value))


def raw_address(value: str) -> bytes:
    """Return the 20 bytes of an address in hex. Raises ``AbiError`` for anything else."""
    try:
        raw = bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 20 or len(value) != 42:
        raise AbiError("an address is 0x and 40 hex digits")
    return raw


def address(value: str) -> bytes:
    """Encode an address."""
    return raw_address(value).rjust(WORD, b"\0")


def byte_string(value: bytes) -> Dynamic:
    """Encode ``bytes``: the length, then the content padded with zeros to whole words."""
    return Dynamic(uint(len(value)) + value + bytes(-len(value) % WORD))


def array(elements: Sequence[Field]) -> Dynamic:
    """Encode ``T[]``: the count, then a frame of the elements."""
    return Dynamic(uint(len(elements)) + frame(*elements))


def frame(*fields: Field) -> bytes:
    """Encode a tuple, or the arguments of a call."""
    tail_at = sum([WORD if isinstance(field, Dynamic) else len(field) for field in fields])
    heads: list[bytes] = []
    tails: list[bytes] = []
    for field in fields:
        if isinstance(field, Dynamic):
            heads.append(uint(tail_at))
            tails.append(field.encoded)
            tail_at += len(field.encoded)
        else:
            heads.append(field)
    return b"".join(heads + tails)


class Frame:
    """Reads a returned tuple by word index. Every method raises ``AbiError`` when the data are too short."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def uint(self, index: int, bits: int = 256) -> int:
        """The unsigned integer in word ``index``."""
        value = int.from_bytes(self._slice(index * WORD, WORD), "big")
        if value >> bits:
            raise AbiError(f"word {index} does not fit uint{bits}")
        return value

    def flag(self, index: int) -> bool:
        """The boolean in word ``index``."""
        return self.uint(index, 1) == 1

    def address(self, index: int) -> str:
        """The address in word ``index``, in lower-case hex."""
        return f"0x{self.uint(index, 160):040x}"

    def byte_string(self, index: int) -> bytes:
        """The ``bytes`` whose offset stands in word ``index``."""
        at = self.uint(index)
        length = int.from_bytes(self._slice(at, WORD), "big")
        return self._slice(at + WORD, length)

    def words(self, index: int) -> list[int]:
        """The elements of a ``T[]`` of static words whose offset stands in word ``index``."""
        at = self.uint(index)
        count = int.from_bytes(self._slice(at, WORD), "big")
        if count * WORD > len(self._data):
            raise AbiError("the array is truncated")
        elements = self._slice(at + WORD, count * WORD)
        return [int.from_bytes(elements[place : place + WORD], "big") for place in range(0, len(elements), WORD)]

    def tuples(self, index: int) -> list[Frame]:
        """The elements of a ``T[]`` of dynamic tuples whose offset stands in word ``index``."""
        at = self.uint(index)
        count = int.from_bytes(self._slice(at, WORD), "big")
        elements = Frame(self._data[at + WORD :])
        if count * WORD > len(elements._data):
            raise AbiError("the array is truncated")
        return [Frame(elements._data[elements.uint(position) :]) for position in range(count)]

    def inner(self, index: int) -> Frame:
        """The dynamic tuple whose offset stands in word ``index``."""
        return Frame(self._data[self.uint(index) :])

    def addresses(self, index: int) -> list[str]:
        """The elements of an ``address[]`` whose offset stands in word ``index``."""
        at = self.uint(index)
        elements = Frame(self._slice(at + WORD, int.from_bytes(self._slice(at, WORD), "big") * WORD))
        return [elements.address(position) for position in range(len(elements._data) // WORD)]

    def byte_strings(self, index: int) -> list[bytes]:
        """The elements of a ``bytes[]`` whose offset stands in word ``index``."""
        at = self.uint(index)
        count = int.from_bytes(self._slice(at, WORD), "big")
        elements = Frame(self._data[at + WORD :])
        if count * WORD > len(elements._data):
            raise AbiError("the array is truncated")
        return [elements.byte_string(position) for position in range(count)]

    def _slice(self, start: int, length: int) -> bytes:
        part = self._data[start : start + length]
        if len(part) != length:
            raise AbiError("the data are truncated")
        return part
