"""Each store that signs elsewhere with its double: how it is set up, and how it is made to go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dexlane.testing.key_services import aws, gcp, web3signer
from dexlane.testing.key_services.accounts import service_account_file
from dexlane.testing.key_services.curve import ServiceKey
from dexlane.testing.key_services.http import Answered, Service, serving
from dexlane_signer.key_stores.aws import AwsKms
from dexlane_signer.key_stores.gcp import GcpKms
from dexlane_signer.key_stores.settings import AwsSettings, GcpSettings, NamedKey, Web3SignerSettings
from dexlane_signer.key_stores.stored_key import StoredKey
from dexlane_signer.key_stores.web3signer import Web3Signer

SECRET = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
OTHER = b"\x42" * 32
ACCOUNT = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
KEY_ID = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
VERSION = "projects/p/locations/europe-west3/keyRings/r/cryptoKeys/fast/cryptoKeyVersions/1"
LIMIT_S = 0.8


@dataclass
class Played:
    """A double that is served, and the signer's key behind it."""

    service: Service
    key: StoredKey
    signed_by: Callable[[bytes], None]
    """Let the service sign with another key than the one it shows."""
    busy: Answered
    forbidden: Answered
    close: Callable[[], None]


def as_aws_example(patch: pytest.MonkeyPatch) -> None:
    """The first link of the AWS client's chain, with the double's own credentials."""
    patch.setenv("AWS_ACCESS_KEY_ID", aws.AwsDouble.access_key)
    patch.setenv("AWS_SECRET_ACCESS_KEY", aws.AwsDouble.secret_key)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@contextmanager
def played_aws(folder: Path, limit_s: float = LIMIT_S) -> Iterator[Played]:
    double = aws.AwsDouble(keys={KEY_ID: ServiceKey(SECRET)})
    with serving(double.answer) as url:
        named = NamedKey(KEY_ID, ACCOUNT)
        store = AwsKms(AwsSettings(region="eu-central-1", endpoint_url=url, limit_s=limit_s, keys=(named,)))
        assert store.address_of(named) == ACCOUNT
        yield Played(
            double,
            StoredKey(ACCOUNT, store.source(named), retry_within_s=limit_s / 3),
            lambda secret: double.keys.update({KEY_ID: ServiceKey(secret)}),
            aws.failure("ThrottlingException", "Rate exceeded"),
            aws.failure("AccessDeniedException", f"User: arn:aws:sts::1:signer is not authorized: {SECRET.hex()}"),
            store.close,
        )
        store.close()


@contextmanager
def played_gcp(folder: Path, limit_s: float = LIMIT_S) -> Iterator[Played]:
    double = gcp.GcpDouble(keys={VERSION: ServiceKey(SECRET)})
    with serving(double.answer) as url:
        named = NamedKey(VERSION, ACCOUNT)
        path = service_account_file(folder, url)
        store = GcpKms(GcpSettings(endpoint_url=url, credentials_file=path, limit_s=limit_s, keys=(named,)))
        assert store.address_of(named) == ACCOUNT
        yield Played(
            double,
            StoredKey(ACCOUNT, store.source(named), retry_within_s=limit_s / 3),
            lambda secret: double.keys.update({VERSION: ServiceKey(secret)}),
            gcp.failure(429, "RESOURCE_EXHAUSTED", "Quota exceeded"),
            gcp.failure(403, "PERMISSION_DENIED", f"cloudkms.useToSign denied {SECRET.hex()}"),
            store.close,
        )
        store.close()


@contextmanager
def played_web3signer(folder: Path, limit_s: float = LIMIT_S) -> Iterator[Played]:
    key = ServiceKey(SECRET)
    double = web3signer.Web3SignerDouble(keys=[key])
    with serving(double.answer) as url:
        settings = Web3SignerSettings(
            url=url, ca_file=None, client_cert_file=None, client_key_file=None, limit_s=limit_s
        )
        store = Web3Signer(settings)
        identifier = store.identifiers()[ACCOUNT]

        def signed_by(secret: bytes) -> None:
            stranger = ServiceKey(secret)
            stranger.__class__ = type("Mislabelled", (ServiceKey,), {"point": key.point})
            double.keys = [stranger]

        yield Played(
            double,
            StoredKey(ACCOUNT, store.source(identifier), retry_within_s=limit_s / 3),
            signed_by,
            Answered(500, b"Internal Web3Signer server error"),
            Answered(403, SECRET.hex().encode()),
            store.close,
        )
        store.close()


STORES: dict[str, Callable[..., Any]] = {"aws-kms": played_aws, "gcp-kms": played_gcp, "web3signer": played_web3signer}
