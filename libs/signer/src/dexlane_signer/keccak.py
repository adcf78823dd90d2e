"""Keccak-256, the hash of Ethereum (the original Keccak padding, not NIST SHA-3; Yellow Paper, appendix F)."""

from __future__ import annotations

from sha3 import keccak_256


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 digest of ``data``."""
    return bytes(keccak_256(data).digest())
