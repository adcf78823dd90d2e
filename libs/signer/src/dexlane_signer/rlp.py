"""Recursive Length Prefix, the serialisation of Ethereum transactions (Yellow Paper, appendix B)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Item: TypeAlias = "bytes | Sequence[Item]"
"""What RLP carries: byte strings and lists of items."""


def encode_bytes(value: bytes) -> bytes:
    """Encode one byte string."""
    length = len(value)
    if length == 1 and value[0] < 0x80:
        return value
    return (bytes((0x80 + length,)) if length < 56 else _prefix(length, 0x80)) + value


def encode_uint(value: int) -> bytes:
    """Encode a non-negative integer as a big-endian byte string without leading zeros (zero is empty).

    Raises ``OverflowError`` for a negative value.
    """
    return encode_bytes(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def encode_list(encoded_items: bytes) -> bytes:
    """Wrap the concatenation of already encoded items into a list."""
    return _prefix(len(encoded_items), 0xC0) + encoded_items


def encode(item: Item) -> bytes:
    """Encode a byte string or a nested list of byte strings."""
    if isinstance(item, bytes):
        return encode_bytes(item)
    return encode_list(b"".join(encode(element) for element in item))


def decode(data: bytes) -> Item:
    """Decode exactly one item.

    Raises ``ValueError`` for truncated input, trailing bytes, and every encoding that is longer than it need
    be: two spellings of one transaction would have two hashes.
    """
    item, end = _decode_at(data, 0)
    if end != len(data):
        raise ValueError("bytes follow the item")
    return item


def _prefix(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes((offset + length,))
    size = (length.bit_length() + 7) // 8
    return bytes((offset + 55 + size,)) + length.to_bytes(size, "big")


def _decode_at(data: bytes, start: int) -> tuple[Item, int]:
    if start >= len(data):
        raise ValueError("the item is truncated")
    first = data[start]
    if first < 0x80:
        return data[start : start + 1], start + 1
    is_list = first >= 0xC0
    body, end = _span(data, start, first - (0xC0 if is_list else 0x80))
    if not is_list:
        value = data[body:end]
        if len(value) == 1 and value[0] < 0x80:
            raise ValueError("a small byte must stand for itself")
        return value, end
    items: list[Item] = []
    while body < end:
        item, body = _decode_at(data[:end], body)
        items.append(item)
    return items, end


def _span(data: bytes, start: int, marker: int) -> tuple[int, int]:
    """Return where the content of an item begins and ends; ``marker`` is its first byte minus the offset."""
    body, length = start + 1, marker
    if marker > 55:
        size = marker - 55
        length_bytes = data[body : body + size]
        body += size
        length = int.from_bytes(length_bytes, "big")
        if len(length_bytes) < size or length_bytes[0] == 0 or length < 56:
            raise ValueError("the length is truncated or not written in the shortest way")
    if body + length > len(data):
        raise ValueError("the item is truncated")
    return body, body + length
