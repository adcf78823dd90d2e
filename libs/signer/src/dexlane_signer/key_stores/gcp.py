"""Key versions of Google Cloud KMS that never leave it, asked over its REST interface with Google's ``google-auth``.

Algorithm ``EC_SIGN_SECP256K1_SHA256``, which exists in an HSM only. The 32 bytes of the digest go as they are into the
field ``sha256``: here they are a Keccak-256 hash, and KMS does not hash again. Both ways are guarded by CRC-32C, as
Google's "Verifying end-to-end data integrity" asks. The gRPC client ``google-cloud-kms`` would bring 36 MB more for the
same two calls.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google.auth
import requests
from google.auth import exceptions
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import service_account

from dexlane_signer.denials import DenialReason
from dexlane_signer.key_stores.crc32c import crc32c
from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError
from dexlane_signer.key_stores.settings import GcpSettings, NamedKey
from dexlane_signer.key_stores.signatures import pem_address, read_der
from dexlane_signer.key_stores.stored_key import Message

ALGORITHM = "EC_SIGN_SECP256K1_SHA256"
SCOPE = "https://www.googleapis.com/auth/cloudkms"
_CONNECT_S = 0.4
_PATIENCE = frozenset({408, 429, 500, 502, 503, 504})
_ADVICE = {
    400: "the key version is disabled or of another algorithm",
    401: "the credentials are not accepted",
    403: "give the signer's account roles/cloudkms.signer and roles/cloudkms.publicKeyViewer on this key",
    404: "there is no such key version",
}


class GcpKms:
    """Google Cloud KMS, with one account's credentials."""

    def __init__(self, settings: GcpSettings) -> None:
        """Find the credentials. Raises ``KeyStoreRefusedError``."""
        self._endpoint = settings.endpoint_url
        self._limits_s = (_CONNECT_S, max(settings.limit_s / 2, 0.1))
        with _classed("the credentials"):
            if settings.credentials_file is None:
                credentials, _ = google.auth.default(scopes=[SCOPE])
            else:
                credentials = _of_file(settings.credentials_file)
        fetching = requests.Session()
        self._session = AuthorizedSession(
            credentials, refresh_timeout=settings.limit_s, auth_request=Request(fetching), max_refresh_attempts=1
        )
        for session in (self._session, fetching):
            session.trust_env = False  # no proxy and no password file of this user's

    def address_of(self, key: NamedKey) -> str:
        """The account of a key version. Raises ``KeyStoreUnavailableError`` or ``KeyStoreRefusedError``."""
        answer = self.call("GET", f"{key.name}/publicKey")
        pem = answer.get("pem")
        if answer.get("name") != key.name or answer.get("algorithm") != ALGORITHM or not isinstance(pem, str):
            raise KeyStoreRefusedError(f"gcp-kms: {key.name} is no key version of {ALGORITHM}")
        _require_checksum(pem.encode(), answer.get("pemCrc32c"), key.name)
        try:
            return pem_address(pem)
        except ValueError:
            raise KeyStoreRefusedError(f"gcp-kms: {key.name} has no readable public key of secp256k1") from None

    def source(self, key: NamedKey) -> GcpKey:
        """One key version, to ask for signatures."""
        return GcpKey(self, key.name)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One call; its answer is a JSON object. Raises as ``address_of``."""
        what = path.partition(":")[0]
        with _classed(what):
            answer = self._session.request(
                method, f"{self._endpoint}/v1/{path}", json=body, timeout=self._limits_s, allow_redirects=False
            )
        status = answer.status_code
        if status in _PATIENCE:
            raise KeyStoreUnavailableError(f"gcp-kms: {what}: HTTP {status}")
        if status != 200:
            advice = _ADVICE.get(status, "look at the key and the signer's account")
            raise KeyStoreRefusedError(f"gcp-kms: {what}: HTTP {status}; {advice}")
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise KeyStoreUnavailableError(f"gcp-kms: {what}: the answer is no JSON object")
        return document

    def close(self) -> None:
        """Close its connections."""
        self._session.close()


class GcpKey:
    """One key version. Two signatures of one message differ."""

    def __init__(self, kms: GcpKms, version: str) -> None:
        self._kms = kms
        self._version = version

    @property
    def name(self) -> str:
        """The store and the key."""
        return f"gcp-kms {self._version}"

    def sign(self, message: Message) -> tuple[int, int]:
        """Ask ``asymmetricSign``. Raises ``KeyStoreUnavailableError`` or ``KeyStoreRefusedError``."""
        digest = message.digest
        body = {"digest": {"sha256": base64.b64encode(digest).decode()}, "digestCrc32c": str(crc32c(digest))}
        answer = self._kms.call("POST", f"{self._version}:asymmetricSign", body)
        if answer.get("verifiedDigestCrc32c") is not True:
            raise KeyStoreUnavailableError(f"gcp-kms: {self._version}: the digest was damaged on its way there")
        if answer.get("name") != self._version:
            raise KeyStoreRefusedError(
                f"gcp-kms: {self._version}: another key version answered", DenialReason.WRONG_SIGNATURE
            )
        try:
            signature = base64.b64decode(answer["signature"], validate=True)
            _require_checksum(signature, answer.get("signatureCrc32c"), self._version)
            return read_der(signature)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise KeyStoreRefusedError(
                f"gcp-kms: {self._version} gave no signature: {error}", DenialReason.WRONG_SIGNATURE
            ) from None


def _of_file(path: Path) -> service_account.Credentials:
    try:
        found: service_account.Credentials = service_account.Credentials.from_service_account_file(
            str(path), scopes=[SCOPE]
        )
    except ValueError:
        # Its own error may repeat the file.
        raise KeyStoreRefusedError(f"gcp-kms: {path.name} is no key file of a service account") from None
    return found


def _require_checksum(data: bytes, stated: object, what: str) -> None:
    """Numbers of 64 bits are texts in Google's JSON."""
    if str(stated) != str(crc32c(data)):
        raise KeyStoreUnavailableError(f"gcp-kms: {what}: the answer was damaged on its way here")


@contextmanager
def _classed(what: str) -> Iterator[None]:
    """Errors of the client by their class; their texts are not passed on."""
    try:
        yield
    except (exceptions.RefreshError, exceptions.TransportError) as error:
        if isinstance(error, exceptions.TransportError) or error.retryable:
            raise KeyStoreUnavailableError(f"gcp-kms: {what}: no access token could be fetched") from None
        raise KeyStoreRefusedError(f"gcp-kms: {what}: the account's credentials are refused") from None
    except exceptions.GoogleAuthError as error:
        raise KeyStoreRefusedError(f"gcp-kms: {what}: {type(error).__name__}; give the signer an account") from None
    except requests.exceptions.SSLError:
        raise KeyStoreRefusedError("gcp-kms: the certificate of the endpoint is not trusted") from None
    except requests.RequestException as error:
        raise KeyStoreUnavailableError(f"gcp-kms: {what}: {type(error).__name__}") from None
