"""Web3Signer in its eth1 mode, as its OpenAPI description has it."""

from __future__ import annotations

from dataclasses import dataclass, field

from coincurve import PrivateKey

from dexlane.testing.key_services.curve import ServiceKey
from dexlane.testing.key_services.http import Answered, Asked, Service
from dexlane_signer import keccak256

_SIGN = "/api/v1/eth1/sign/"


@dataclass
class Web3SignerDouble(Service):
    """A server with keys of its own, deterministic as Web3Signer is with files."""

    keys: list[ServiceKey] = field(default_factory=list)

    def respond(self, asked: Asked) -> Answered:
        """What Web3Signer answers."""
        known = {"0x" + key.point[1:].hex(): key for key in self.keys}
        if (asked.method, asked.path) == ("GET", "/api/v1/eth1/publicKeys"):
            return Answered.of(list(known))
        if asked.method != "POST" or not asked.path.startswith(_SIGN):
            return Answered(404, b"Resource not found")
        key = known.get(asked.path.removeprefix(_SIGN))
        if key is None:
            return Answered(404, b"Resource not found")
        try:
            data = bytes.fromhex(str(asked.json()["data"]).removeprefix("0x"))
        except (KeyError, ValueError):
            return Answered(400, b"Bad Request")
        signature = PrivateKey(key.secret).sign_recoverable(keccak256(data), hasher=None)
        text = "0x" + signature[:64].hex() + bytes((27 + signature[64],)).hex()
        return Answered(200, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
