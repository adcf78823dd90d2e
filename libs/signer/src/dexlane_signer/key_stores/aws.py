"""Keys of AWS KMS that never leave it, asked with AWS's own client ``botocore``.

Key spec ``ECC_SECG_P256K1``; ``Sign`` with ``MessageType`` ``DIGEST`` and ``ECDSA_SHA_256`` takes 32 bytes as they are.
Here they are a Keccak-256 hash, and KMS does not ask which. Credentials come by botocore's chain (environment, web
identity, container, instance), and are renewed by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    SSLError,
)
from botocore.exceptions import (
    ConnectionError as AwsConnectionError,
)

from dexlane_signer.denials import DenialReason
from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError
from dexlane_signer.key_stores.settings import AwsSettings, NamedKey
from dexlane_signer.key_stores.signatures import read_der, spki_address
from dexlane_signer.key_stores.stored_key import Message

_ALGORITHM = "ECDSA_SHA_256"
_CONNECT_S = 0.4
_PATIENCE = frozenset(
    {
        "DependencyTimeoutException",
        "InternalFailure",
        "KMSInternalException",
        "KeyUnavailableException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Codes of KMS and of all AWS services after which asking again may help."""
_ADVICE = {
    "AccessDeniedException": "allow kms:Sign and kms:GetPublicKey on this key to the signer's role",
    "DisabledException": "the key is disabled",
    "KMSInvalidStateException": "the key is disabled, or waits to be deleted",
    "NotFoundException": "there is no such key in this region and account",
    "InvalidKeyUsageException": "the key must be made for SIGN_VERIFY with ECC_SECG_P256K1",
}


class AwsKms:
    """One region's KMS."""

    def __init__(self, settings: AwsSettings) -> None:
        """Nothing is asked yet. Raises ``KeyStoreRefusedError`` for settings that the client does not take."""
        limits = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=max(settings.limit_s / 2, 0.1),
            # The one who asks knows its time and tries again by itself.
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=16,
            tcp_keepalive=True,
        )
        with _classed("the client"):
            self._client = botocore.session.Session().create_client(
                "kms", region_name=settings.region, endpoint_url=settings.endpoint_url, config=limits
            )

    def address_of(self, key: NamedKey) -> str:
        """The account of a key. Raises ``KeyStoreUnavailableError`` or ``KeyStoreRefusedError``."""
        with _classed(key.name):
            answer = self._client.get_public_key(KeyId=key.name)
        if answer.get("KeySpec") != "ECC_SECG_P256K1" or answer.get("KeyUsage") != "SIGN_VERIFY":
            raise KeyStoreRefusedError(f"aws-kms: {key.name} is no key of ECC_SECG_P256K1 for SIGN_VERIFY")
        try:
            return spki_address(answer["PublicKey"])
        except (KeyError, ValueError):
            raise KeyStoreRefusedError(f"aws-kms: {key.name} has no readable public key of secp256k1") from None

    def source(self, key: NamedKey) -> AwsKey:
        """One key, to ask for signatures."""
        return AwsKey(self._client, key.name)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


class AwsKey:
    """One key of KMS. Two signatures of one message differ: KMS takes another random number each time."""

    def __init__(self, client: Any, key_id: str) -> None:
        self._client = client
        self._key_id = key_id

    @property
    def name(self) -> str:
        """The store and the key."""
        return f"aws-kms {self._key_id}"

    def sign(self, message: Message) -> tuple[int, int]:
        """Ask ``Sign``. Raises ``KeyStoreUnavailableError`` or ``KeyStoreRefusedError``."""
        with _classed(self._key_id):
            answer = self._client.sign(
                KeyId=self._key_id, Message=message.digest, MessageType="DIGEST", SigningAlgorithm=_ALGORITHM
            )
        try:
            return read_der(answer["Signature"])
        except (KeyError, TypeError, ValueError) as error:
            raise KeyStoreRefusedError(
                f"aws-kms: {self._key_id} gave no signature: {error}", DenialReason.WRONG_SIGNATURE
            ) from None


@contextmanager
def _classed(what: str) -> Iterator[None]:
    """Errors of the client by their class and code; their texts are not passed on."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _PATIENCE or status >= 500:
            raise KeyStoreUnavailableError(f"aws-kms: {what}: {code}") from None
        advice = _ADVICE.get(code, "look at the key's policy and the signer's credentials")
        raise KeyStoreRefusedError(f"aws-kms: {what}: {code}; {advice}") from None
    except SSLError:
        raise KeyStoreRefusedError("aws-kms: the certificate of the endpoint is not trusted") from None
    except NoCredentialsError:
        raise KeyStoreRefusedError("aws-kms: no credentials are found; give the signer a role") from None
    except (AwsConnectionError, CredentialRetrievalError, HTTPClientError) as error:
        raise KeyStoreUnavailableError(f"aws-kms: {what}: {type(error).__name__}") from None
    except (AttributeError, LookupError, TypeError, ValueError):
        raise KeyStoreUnavailableError(f"aws-kms: {what}: the answer cannot be read") from None
    except BotoCoreError as error:
        raise KeyStoreRefusedError(f"aws-kms: {what}: {type(error).__name__}") from None
