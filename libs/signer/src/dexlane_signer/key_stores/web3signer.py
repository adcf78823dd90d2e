"""Keys behind ConsenSys Web3Signer in its eth1 mode, asked over its REST interface.

``/api/v1/eth1/sign/{identifier}`` hashes the bytes it is given with Keccak-256 and signs the hash, so transactions and
permits are signed to the byte. ``eth_signTransaction`` and ``eth_signTypedData`` are not used: there Web3Signer builds
the bytes from JSON, fills in what it misses, and needs a chain of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from dexlane_signer.denials import DenialReason
from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError
from dexlane_signer.key_stores.settings import Web3SignerSettings
from dexlane_signer.key_stores.signatures import point_address
from dexlane_signer.key_stores.stored_key import Message

_CONNECT_S = 0.4
_POINT = re.compile(r"0x(?:04)?([0-9a-fA-F]{128})")
_SIGNATURE = re.compile(r"0x([0-9a-fA-F]{64})([0-9a-fA-F]{64})[0-9a-fA-F]{2}")


class Web3Signer:
    """One Web3Signer."""

    def __init__(self, settings: Web3SignerSettings) -> None:
        self._url = settings.url
        self._limits_s = (_CONNECT_S, max(settings.limit_s / 2, 0.1))
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy and no password file of this user's
        self._session.verify = True if settings.ca_file is None else str(settings.ca_file)
        if settings.client_cert_file is not None:
            self._session.cert = (str(settings.client_cert_file), str(settings.client_key_file))

    def identifiers(self) -> dict[str, str]:
        """Each account with its key's identifier. Raises ``KeyStoreUnavailableError`` or ``KeyStoreRefusedError``."""
        answer = self._call("GET", "publicKeys")
        try:
            listed = answer.json()
            return {point_address(_point(identifier)): identifier for identifier in listed}
        except (TypeError, ValueError):
            raise KeyStoreRefusedError("web3signer: its list of keys is none of secp256k1; run it as eth1") from None

    def source(self, identifier: str) -> Web3SignerKey:
        """One key, to ask for signatures."""
        return Web3SignerKey(self, identifier)

    def sign(self, identifier: str, preimage: bytes) -> str:
        """The text that it answers."""
        return self._call("POST", f"sign/{identifier}", {"data": "0x" + preimage.hex()}).text.strip()

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> requests.Response:
        with _classed():
            answer = self._session.request(
                method, f"{self._url}/api/v1/eth1/{path}", json=body, timeout=self._limits_s, allow_redirects=False
            )
        status = answer.status_code
        if status == 404:
            raise KeyStoreRefusedError("web3signer: HTTP 404; the key was unloaded, or it does not run as eth1")
        if status == 429 or status >= 500:
            raise KeyStoreUnavailableError(f"web3signer: HTTP {status}")
        if status != 200:
            raise KeyStoreRefusedError(f"web3signer: HTTP {status}; look at its log, and at who may use it")
        return answer


class Web3SignerKey:
    """One key of Web3Signer. It signs by RFC 6979 with keys of its own, and by chance where it asks a cloud itself."""

    def __init__(self, server: Web3Signer, identifier: str) -> None:
        self._server = server
        self._identifier = identifier

    @property
    def name(self) -> str:
        """The store and the beginning of the key's identifier."""
        return f"web3signer {self._identifier[:12]}"

    def sign(self, message: Message) -> tuple[int, int]:
        """Ask for it; the last byte of the answer is not needed. Raises as ``Web3Signer.identifiers``."""
        found = _SIGNATURE.fullmatch(self._server.sign(self._identifier, message.preimage))
        if found is None:
            raise KeyStoreRefusedError("web3signer: the answer is no signature", DenialReason.WRONG_SIGNATURE)
        return int(found.group(1), 16), int(found.group(2), 16)


def _point(identifier: object) -> bytes:
    found = _POINT.fullmatch(identifier) if isinstance(identifier, str) else None
    if found is None:
        raise ValueError("no public key of 64 bytes")
    return b"\4" + bytes.fromhex(found.group(1))


@contextmanager
def _classed() -> Iterator[None]:
    try:
        yield
    except requests.exceptions.SSLError:
        raise KeyStoreRefusedError("web3signer: TLS is refused; look at ca_file and the client's certificate") from None
    except OSError as error:
        # Files that are not there, and everything of requests, which is a kind of it.
        if not isinstance(error, requests.RequestException):
            raise KeyStoreRefusedError("web3signer: a file of its certificates cannot be read") from None
        raise KeyStoreUnavailableError(f"web3signer: {type(error).__name__}") from None
