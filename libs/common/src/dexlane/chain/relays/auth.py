"""The key that relays know us by. It signs requests and no transactions, and its account must hold no money."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

from coincurve import PrivateKey

from dexlane.runtime.errors import Misconfigured
from dexlane.runtime.sealing import read_seed
from dexlane_signer import checksum_address, keccak256

HEADER = "X-Flashbots-Signature"


class AuthKey:
    """Signs request bodies for the header ``X-Flashbots-Signature`` (Flashbots documentation, "Authentication"):
    ``address:signature``, the signature being that of EIP-191 over the hex text of the body's Keccak hash."""

    __slots__ = ("__key", "address")

    def __init__(self, secret: bytes) -> None:
        self.__key = PrivateKey(secret)
        point = self.__key.public_key.format(compressed=False)
        self.address = "0x" + keccak256(point[1:])[12:].hex()

    @classmethod
    def read(cls, path: Path) -> AuthKey:
        """Read a key file (see ``read_seed``). ``Misconfigured`` with one sentence for what is none."""
        secret = read_seed(path, "relay auth key")
        try:
            return cls(secret)
        except ValueError:
            raise Misconfigured(f"the relay auth key {path.name} is no secp256k1 key") from None

    def header(self, body: bytes) -> str:
        """The value of the header for exactly these bytes."""
        text = b"0x" + keccak256(body).hex().encode()
        digest = keccak256(b"\x19Ethereum Signed Message:\n" + str(len(text)).encode() + text)
        signature = self.__key.sign_recoverable(digest, hasher=None)
        signed = signature[:64] + bytes((27 + signature[64],))
        return f"{checksum_address(self.address)}:0x{signed.hex()}"

    def __repr__(self) -> str:
        return f"AuthKey(<{self.address}>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys cannot be pickled or copied")


def as_body(method: str, params: list[object]) -> bytes:
    """A JSON-RPC request as it goes over the line; the signature is over these very bytes."""
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, separators=(",", ":")).encode()
