"""Keccak-256, the hash of Ethereum (the original Keccak padding, not NIST SHA-3; Yellow Paper, appendix F)."""

from __future__ import annotations

import sys

from Crypto.Hash import keccak

if sys.platform == "linux":
    # A fifth of the time, five times in a trade; it has ready wheels for Linux alone.
    from sha3 import keccak_256
else:

    def keccak_256(data: bytes) -> keccak.Keccak_Hash:
        """The hash that digests ``data``."""
        return keccak.new(data=data, digest_bits=256)


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 digest of ``data``."""
    return bytes(keccak_256(data).digest())
