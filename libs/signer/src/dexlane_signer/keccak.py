"""Keccak-256, the hash of Ethereum (the original Keccak padding, not NIST SHA-3; Yellow Paper, appendix F)."""

from __future__ import annotations

from Crypto.Hash import keccak


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 digest of ``data``."""
    return keccak.new(data=data, digest_bits=256).digest()
