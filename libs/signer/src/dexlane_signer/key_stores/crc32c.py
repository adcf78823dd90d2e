"""CRC-32C (Castagnoli), which Google's services compare to find bytes that were damaged on their way: RFC 3720, B.4."""

from __future__ import annotations

_POLYNOMIAL = 0x82F63B78  # reflected


def _entry(number: int) -> int:
    for _ in range(8):
        number = number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)
    return number


_TABLE = tuple(_entry(number) for number in range(256))


def crc32c(data: bytes) -> int:
    """The checksum, 32 bits."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
