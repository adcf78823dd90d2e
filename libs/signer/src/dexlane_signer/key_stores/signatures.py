"""Signatures and public keys as key services give them, read strictly, and made what Ethereum accepts. Pure."""

from __future__ import annotations

import base64
import binascii
import re

from coincurve import PublicKey

from dexlane_signer.addresses import public_key_address
from dexlane_signer.denials import DenialReason
from dexlane_signer.key_stores.errors import KeyStoreRefusedError

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SEQUENCE, _INTEGER = 0x30, 0x02
_SPKI_HEAD = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200")
"""A SubjectPublicKeyInfo of an uncompressed key on secp256k1 has no other beginning: RFC 5480, SEC 2 (1.3.132.0.10)."""
_PEM = re.compile(r"\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END PUBLIC KEY-----\s*")


def read_der(signature: bytes) -> tuple[int, int]:
    """``r`` and ``s`` of an ECDSA signature in DER (RFC 3279, 2.2.3), which has one spelling only.

    Raises ``ValueError`` for every other spelling, as X.690 section 10 demands: long lengths, padding, negative
    numbers, bytes that follow.
    """
    body, rest = _element(signature, _SEQUENCE)
    if rest:
        raise ValueError("bytes follow the signature")
    r, body = _element(body, _INTEGER)
    s, body = _element(body, _INTEGER)
    if body:
        raise ValueError("the signature has more than two numbers")
    return _positive(r), _positive(s)


def spki_address(document: bytes) -> str:
    """The address of a public key in DER (SubjectPublicKeyInfo). Raises ``ValueError`` for everything but an
    uncompressed point of secp256k1."""
    if document[: len(_SPKI_HEAD)] != _SPKI_HEAD:
        raise ValueError("the public key is none of secp256k1")
    return point_address(document[len(_SPKI_HEAD) :])


def pem_address(text: str) -> str:
    """The address of a public key in PEM (RFC 7468). Raises ``ValueError`` as ``spki_address``."""
    found = _PEM.fullmatch(text)
    if found is None:
        raise ValueError("the public key is no PEM")
    try:
        return spki_address(base64.b64decode("".join(found.group(1).split()), validate=True))
    except binascii.Error:
        raise ValueError("the public key is no PEM") from None


def point_address(point: bytes) -> str:
    """The address of a public key of 65 bytes. Raises ``ValueError`` when it is not on the curve."""
    address = public_key_address(point)
    PublicKey(point)
    return address


def recoverable(r: int, s: int, digest: bytes, address: str) -> bytes:
    """The 65 bytes ``r || s || y_parity`` with a low ``s`` (EIP-2), if this is the account's signature of the digest.

    Services give either of the two ``s`` that verify and no parity; the lower one is taken, and the parity is the one
    with which the account comes out. Raises ``KeyStoreRefusedError`` when neither does.
    """
    if 0 < r < CURVE_ORDER and 0 < s < CURVE_ORDER:
        low = min(s, CURVE_ORDER - s)
        body = r.to_bytes(32, "big") + low.to_bytes(32, "big")
        for parity in (b"\0", b"\1"):
            if _signer(body + parity, digest) == address:
                return body + parity
    raise KeyStoreRefusedError(
        f"the key store's answer is no signature of {address}: another key made it, or it was altered",
        DenialReason.WRONG_SIGNATURE,
    )


def _signer(signature: bytes, digest: bytes) -> str | None:
    try:
        found = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except ValueError:
        return None
    return public_key_address(found.format(compressed=False))


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it. A signature's lengths are all below 128."""
    if len(data) < 2 or data[0] != tag or data[1] > 127 or len(data) < 2 + data[1]:
        raise ValueError("the signature is no DER")
    return data[2 : 2 + data[1]], data[2 + data[1] :]


def _positive(number: bytes) -> int:
    if not number or number[0] > 127 or (number[0] == 0 and (len(number) == 1 or number[1] < 128)):
        raise ValueError("a number of the signature is zero, negative or padded")
    return int.from_bytes(number, "big")
