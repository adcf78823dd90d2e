"""Google Cloud KMS as its REST reference describes ``getPublicKey`` and ``asymmetricSign``, and Google's tokens."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from dexlane.testing.key_services.curve import ServiceKey
from dexlane.testing.key_services.http import Answered, Asked, Service

_PATH = re.compile(r"/v1/(projects/.+/cryptoKeyVersions/\d+)(/publicKey|:asymmetricSign)")
ALGORITHM = "EC_SIGN_SECP256K1_SHA256"


def castagnoli(data: bytes) -> int:
    """CRC-32C, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def failure(code: int, status: str, message: str = "") -> Answered:
    """An error in the form of Google's REST interfaces."""
    return Answered.of({"error": {"code": code, "message": message, "status": status}}, code)


@dataclass
class GcpDouble(Service):
    """KMS with one account. ``keys`` is by resource name of the version."""

    keys: dict[str, ServiceKey] = field(default_factory=dict)
    token: str = "ya29.example-token"  # noqa: S105 - of this double alone
    disabled: set[str] = field(default_factory=set)
    algorithm: str = ALGORITHM
    damage_on_the_way: Callable[[bytes], bytes] | None = None
    """What happens to a digest before KMS sees it."""
    tokens_refused: bool = False

    def respond(self, asked: Asked) -> Answered:
        """What Google answers."""
        if asked.path == "/token":
            return self._token(asked)
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return failure(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        found = _PATH.fullmatch(asked.path)
        key = None if found is None else self.keys.get(found.group(1))
        if found is None or key is None:
            return failure(404, "NOT_FOUND", "CryptoKeyVersion not found.")
        name = found.group(1)
        if name in self.disabled:
            return failure(400, "FAILED_PRECONDITION", f"{name} is not enabled, current state is: DISABLED.")
        if found.group(2) == "/publicKey":
            return self._public_key(name, key)
        return self._sign(name, key, asked)

    def _token(self, asked: Asked) -> Answered:
        form = parse_qs(asked.body.decode())
        grant = form.get("grant_type", [""])[0]
        parts = form.get("assertion", [""])[0].split(".")
        if self.tokens_refused or grant != "urn:ietf:params:oauth:grant-type:jwt-bearer" or len(parts) != 3:
            return Answered.of({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        if claims.get("scope") != "https://www.googleapis.com/auth/cloudkms":
            return Answered.of({"error": "invalid_scope"}, 400)
        return Answered.of({"access_token": self.token, "expires_in": 3_599, "token_type": "Bearer"})

    def _public_key(self, name: str, key: ServiceKey) -> Answered:
        document = {
            "pem": key.pem,
            "algorithm": self.algorithm,
            "pemCrc32c": str(castagnoli(key.pem.encode())),
            "name": name,
            "protectionLevel": "HSM",
        }
        return Answered.of(document)

    def _sign(self, name: str, key: ServiceKey, asked: Asked) -> Answered:
        said = asked.json()
        digest = base64.b64decode(said.get("digest", {}).get("sha256", ""))
        if len(digest) != 32:
            return failure(400, "INVALID_ARGUMENT", "The digest must be 32 bytes long.")
        if self.damage_on_the_way is not None:
            digest = self.damage_on_the_way(digest)
        stated = said.get("digestCrc32c")
        if stated is not None and stated != str(castagnoli(digest)):
            return failure(400, "INVALID_ARGUMENT", "The checksum in field digest_crc32c did not match.")
        signature = key.sign_der(digest)
        document = {
            "signature": base64.b64encode(signature).decode(),
            "signatureCrc32c": str(castagnoli(signature)),
            "verifiedDigestCrc32c": stated is not None,
            "name": name,
            "protectionLevel": "HSM",
        }
        return Answered.of(document)
