"""Addresses: lower-case hex inside, checksummed (EIP-55) for people."""

from __future__ import annotations

import re

from dexlane_signer.keccak import keccak256

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def normal_address(text: str) -> str:
    """Return the address in lower case, the only form compared inside this package.

    Raises ``ValueError`` unless ``text`` is ``0x`` and 40 hex digits. Letter case is not checked against
    EIP-55: callers hold lower-case addresses.
    """
    if _ADDRESS.fullmatch(text) is None:
        raise ValueError("an address is 0x followed by 40 hex digits")
    return text.lower()


def checksum_address(address: str) -> str:
    """Write an address with the mixed-case checksum of EIP-55."""
    digits = normal_address(address)[2:]
    digest = keccak256(digits.encode("ascii")).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit for digit, nibble in zip(digits, digest, strict=False)
    )


def public_key_address(public_key: bytes) -> str:
    """Return the address of an uncompressed public key: the last 20 bytes of its hash (Yellow Paper, 284).

    ``public_key`` is the 65-byte form that starts with ``0x04``; anything else raises ``ValueError``.
    """
    if len(public_key) != 65 or public_key[0] != 4:
        raise ValueError("expected an uncompressed public key of 65 bytes")
    return "0x" + keccak256(public_key[1:])[12:].hex()
