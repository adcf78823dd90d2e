"""Signatures as key services make them: with another random number each time, and as often with a high ``s`` as not."""

from __future__ import annotations

import base64
from random import Random

from coincurve import PrivateKey, PublicKey

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SPKI_HEAD = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200")


class ServiceKey:
    """A key on secp256k1 that stays in its service."""

    def __init__(self, secret: bytes, seed: int = 1) -> None:
        self.secret = secret
        self._chance = Random(seed)  # noqa: S311 - a double's chance comes by seed; its keys protect nothing

    @property
    def point(self) -> bytes:
        """The public key in 65 bytes."""
        return PrivateKey(self.secret).public_key.format(compressed=False)

    @property
    def spki(self) -> bytes:
        """The public key as SubjectPublicKeyInfo in DER."""
        return SPKI_HEAD + self.point

    @property
    def pem(self) -> str:
        """The public key in PEM, 64 characters a line."""
        text = base64.b64encode(self.spki).decode()
        lines = [text[begin : begin + 64] for begin in range(0, len(text), 64)]
        return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])

    def sign(self, digest: bytes) -> tuple[int, int]:
        """``r`` and ``s`` of a digest of 32 bytes (SEC 1, 4.1.3)."""
        number = self._chance.randrange(1, ORDER)
        point = PublicKey.from_secret(number.to_bytes(32, "big")).point()
        r, z, secret = point[0] % ORDER, int.from_bytes(digest, "big"), int.from_bytes(self.secret, "big")
        s = pow(number, -1, ORDER) * (z + r * secret) % ORDER
        return r, s if self._chance.random() < 0.5 else ORDER - s

    def sign_der(self, digest: bytes) -> bytes:
        """The same in DER."""
        return der(*self.sign(digest))


def der(r: int, s: int) -> bytes:
    """An ECDSA signature in DER (RFC 3279)."""
    body = b"".join(b"\2" + bytes((len(number),)) + number for number in (_number(r), _number(s)))
    return b"\x30" + bytes((len(body),)) + body


def _number(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")
