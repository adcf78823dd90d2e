"""The hash of Ethereum. (The signer has its own: nothing but the executors may reach into it.)"""

from __future__ import annotations

from Crypto.Hash import keccak


def keccak256(data: bytes) -> bytes:
    """Keccak-256, as it was before SHA-3 changed the padding."""
    return bytes(keccak.new(digest_bits=256, data=data).digest())
