"""Columns of integers as bytes: small where neighbours are alike, exact at any size, fast to read.

A value, or its difference to the one before it, is zigzag-coded (``0, -1, 1, -2 ...`` become ``0, 1, 2, 3 ...``) and
written little-endian with as many bytes as the largest of the column needs. The bytes are then laid out by
significance: all lowest bytes first, all highest last, so that the high bytes, mostly zero, deflate to nothing.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Sequence
from enum import StrEnum
from itertools import accumulate, pairwise

LEVEL = 9
MAX_WIDTH = 40
"""Bytes of the widest value: a difference of two 256-bit integers fits well."""

_ARRAY_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class CorruptColumn(ValueError):  # noqa: N818 - named for what is wrong
    """The bytes are not a column of that many values."""


class Coding(StrEnum):
    """What is written: each value, or how much it differs from the one before it (from zero for the first)."""

    PLAIN = "plain"
    DELTA = "delta"


def pack(values: Sequence[int], coding: Coding) -> tuple[int, bytes]:
    """Width of a value in bytes, and the bytes of all by significance, not yet deflated."""
    steps = values if coding is Coding.PLAIN else [b - a for a, b in pairwise((0, *values))]
    coded = [step << 1 if step >= 0 else ~step << 1 | 1 for step in steps]
    needed = (max(coded, default=0).bit_length() + 7) // 8
    width = next((width for width in _ARRAY_CODES if width >= needed), needed)
    rows = b"".join([value.to_bytes(width, "little") for value in coded])
    return width, b"".join(rows[byte::width] for byte in range(width))


def unpack(planes: bytes, count: int, width: int, coding: Coding) -> list[int]:
    """The values again. Raises ``CorruptColumn`` when the length is not that of ``count`` values."""
    if not 0 < width <= MAX_WIDTH or len(planes) != count * width:
        raise CorruptColumn(f"{len(planes)} bytes are not {count} values of {width} bytes")
    rows = bytearray(len(planes))
    for byte in range(width):
        rows[byte::width] = planes[byte * count : (byte + 1) * count]
    steps = [value >> 1 ^ -(value & 1) for value in _integers(rows, width)]
    return steps if coding is Coding.PLAIN else list(accumulate(steps))


def deflate(planes: bytes) -> bytes:
    """The planes as a zlib stream."""
    return zlib.compress(planes, LEVEL)


def inflate(stream: bytes, length: int) -> bytes:
    """Exactly ``length`` bytes out of a zlib stream. Raises ``CorruptColumn`` for anything else."""
    inflater = zlib.decompressobj()
    try:
        planes = inflater.decompress(stream, length + 1)
    except zlib.error as error:
        raise CorruptColumn(f"not a zlib stream: {error}") from error
    if len(planes) != length or not inflater.eof:
        raise CorruptColumn(f"the stream does not hold {length} bytes")
    return planes


def _integers(rows: bytearray, width: int) -> Sequence[int]:
    code = _ARRAY_CODES.get(width)
    if code is None:
        return [int.from_bytes(rows[at : at + width], "little") for at in range(0, len(rows), width)]
    numbers = array(code)
    numbers.frombytes(rows)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
