"""What AWS KMS, Google Cloud KMS and Web3Signer refuse each in its own way, with the makers' own clients."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dexlane.testing.key_services import aws, gcp, web3signer
from dexlane.testing.key_services.accounts import service_account_file
from dexlane.testing.key_services.curve import ServiceKey
from dexlane.testing.key_services.http import Answered, serving
from dexlane.testing.key_services.tls import certificates
from dexlane_signer import DenialReason
from dexlane_signer.key_stores.aws import AwsKms
from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError
from dexlane_signer.key_stores.gcp import GcpKms
from dexlane_signer.key_stores.opening import open_keys
from dexlane_signer.key_stores.settings import AwsSettings, GcpSettings, NamedKey, Web3SignerSettings
from dexlane_signer.key_stores.stored_key import Message, SignatureSource
from dexlane_signer.tables import PolicyFileError

from .conftest import transaction
from .stores import ACCOUNT, KEY_ID, SECRET, VERSION, as_aws_example

MESSAGE = Message(b"\2whatever")
AWS_KEY, GCP_KEY = NamedKey(KEY_ID, ACCOUNT), NamedKey(VERSION, ACCOUNT)


Amazon = tuple[aws.AwsDouble, AwsSettings]
Google = tuple[gcp.GcpDouble, GcpSettings]


def say(event: str, sentence: str) -> None:
    raise AssertionError(event + sentence)


@pytest.fixture(scope="module")
def amazon_served() -> Iterator[tuple[aws.AwsDouble, AwsSettings, AwsKms]]:
    """Served once: the client takes long to be made."""
    double = aws.AwsDouble()
    with pytest.MonkeyPatch.context() as patch, serving(double.answer) as url:
        as_aws_example(patch)
        settings = AwsSettings(region="eu-central-1", endpoint_url=url, limit_s=1.5, keys=(AWS_KEY,))
        yield double, settings, AwsKms(settings)


@pytest.fixture
def amazon(amazon_served: tuple[aws.AwsDouble, AwsSettings, AwsKms]) -> tuple[aws.AwsDouble, AwsSettings]:
    double, settings, _ = amazon_served
    vars(double).update(vars(aws.AwsDouble(keys={KEY_ID: ServiceKey(SECRET)})))
    return double, settings


@pytest.fixture
def aws_key(amazon: Amazon, amazon_served: tuple[aws.AwsDouble, AwsSettings, AwsKms]) -> SignatureSource:
    return amazon_served[2].source(AWS_KEY)


@pytest.fixture
def google(tmp_path: Path) -> Iterator[tuple[gcp.GcpDouble, GcpSettings]]:
    double = gcp.GcpDouble(keys={VERSION: ServiceKey(SECRET)})
    with serving(double.answer) as url:
        path = service_account_file(tmp_path, url)
        yield double, GcpSettings(endpoint_url=url, credentials_file=path, limit_s=1.5, keys=(GCP_KEY,))


def test_aws_is_asked_for_a_digest_by_the_books(amazon: Amazon, aws_key: SignatureSource) -> None:
    double, _ = amazon
    aws_key.sign(MESSAGE)
    assert double.asked[-1].json() == {
        "KeyId": KEY_ID,
        "Message": base64.b64encode(MESSAGE.digest).decode(),
        "MessageType": "DIGEST",
        "SigningAlgorithm": "ECDSA_SHA_256",
    }


def test_kms_refuses_a_digest_that_has_not_32_bytes(aws_key: SignatureSource) -> None:
    """The double is as strict as the service: what is tested with it could not pass by leniency."""
    client = vars(aws_key)["_client"]
    with pytest.raises(client.exceptions.ClientError, match="ValidationException"):
        client.sign(KeyId=KEY_ID, Message=b"\1" * 31, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda double: double.states.update({KEY_ID: "Disabled"}), "DisabledException; the key is disabled"),
        (lambda double: double.states.update({KEY_ID: "PendingDeletion"}), "KMSInvalidStateException; .*deleted"),
        (lambda double: double.keys.clear(), "NotFoundException; there is no such key"),
        (lambda double: setattr(double, "secret_key", "another"), "InvalidSignatureException; look at"),
        (lambda double: setattr(double, "access_key", "another"), "UnrecognizedClientException; look at"),
    ],
)
def test_aws_refusals_are_permanent_and_say_what_to_do(
    amazon: Amazon, aws_key: SignatureSource, spoil: Callable[[aws.AwsDouble], object], sentence: str
) -> None:
    double, _ = amazon
    spoil(double)
    with pytest.raises(KeyStoreRefusedError, match=sentence) as caught:
        aws_key.sign(MESSAGE)
    assert caught.value.reason is DenialReason.KEY_STORE_REFUSED


@pytest.mark.parametrize(
    "answer",
    [
        aws.failure("KMSInternalException", status=500),
        aws.failure("DependencyTimeoutException", status=500),
        aws.failure("KeyUnavailableException", status=500),
        aws.failure("ThrottlingException"),
        aws.failure("LimitExceededException"),
        Answered(503, b"", {}),
    ],
)
def test_aws_asks_for_patience(amazon: Amazon, aws_key: SignatureSource, answer: Answered) -> None:
    double, _ = amazon
    double.instead = [answer]
    with pytest.raises(KeyStoreUnavailableError):
        aws_key.sign(MESSAGE)


def test_aws_without_credentials_says_so(amazon: Amazon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, settings = amazon
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KeyStoreRefusedError, match="no credentials are found"):
        AwsKms(settings).source(AWS_KEY).sign(MESSAGE)


def test_a_key_of_another_curve_refuses_the_start(amazon: Amazon) -> None:
    double, settings = amazon
    double.spec = "ECC_NIST_P256"
    with pytest.raises(KeyStoreRefusedError, match="no key of ECC_SECG_P256K1"):
        open_keys(settings, {ACCOUNT}, say)


def test_a_key_of_another_account_refuses_the_start(amazon: Amazon, google: Google) -> None:
    for double, settings in (amazon, google):
        stranger = ServiceKey(b"\x33" * 32)
        for name in double.keys:
            double.keys[name] = stranger
        with pytest.raises(PolicyFileError, match=f"the file says {ACCOUNT}"):
            open_keys(settings, {ACCOUNT}, say)


def test_google_is_asked_by_the_books_and_with_a_token_of_the_account(google: Google) -> None:
    double, settings = google
    GcpKms(settings).source(GCP_KEY).sign(MESSAGE)
    assert [asked.path for asked in double.asked] == ["/token", f"/v1/{VERSION}:asymmetricSign"]
    assert double.asked[-1].json() == {
        "digest": {"sha256": base64.b64encode(MESSAGE.digest).decode()},
        "digestCrc32c": str(gcp.castagnoli(MESSAGE.digest)),
    }


def changed(**fields: object) -> Callable[[Answered], Answered]:
    """The true answer with other fields; ``None`` takes a field away."""

    def change(answered: Answered) -> Answered:
        document = {**json.loads(answered.body), **fields}
        return Answered.of({name: value for name, value in document.items() if value is not None})

    return change


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"signatureCrc32c": "1"}, "damaged on its way here"),
        ({"signatureCrc32c": None}, "damaged on its way here"),
        ({"verifiedDigestCrc32c": False}, "damaged on its way there"),
        ({"verifiedDigestCrc32c": None}, "damaged on its way there"),
        ({"signature": "MAYCAQECAQI="}, "damaged on its way here"),
    ],
)
def test_google_bytes_damaged_on_their_way_are_asked_for_again(
    google: Google, fields: dict[str, object], sentence: str
) -> None:
    double, settings = google
    source = GcpKms(settings).source(GCP_KEY)
    source.sign(MESSAGE)
    double.instead = [changed(**fields)]
    with pytest.raises(KeyStoreUnavailableError, match=sentence):
        source.sign(MESSAGE)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": VERSION[:-1] + "2"}, "another key version answered"),
        ({"signature": "MAYCAQ=", "signatureCrc32c": "0"}, "gave no signature"),
        ({"signature": None}, "gave no signature"),
    ],
)
def test_a_wrong_answer_of_google_does_not_leave(google: Google, fields: dict[str, object], sentence: str) -> None:
    double, settings = google
    source = GcpKms(settings).source(GCP_KEY)
    source.sign(MESSAGE)
    double.instead = [changed(**fields)]
    with pytest.raises(KeyStoreRefusedError, match=sentence) as caught:
        source.sign(MESSAGE)
    assert caught.value.reason is DenialReason.WRONG_SIGNATURE


def test_a_digest_that_is_damaged_on_its_way_is_not_signed(google: Google) -> None:
    double, settings = google
    double.damage_on_the_way = lambda digest: digest[:-1] + bytes((digest[-1] ^ 1,))
    with pytest.raises(KeyStoreRefusedError, match="HTTP 400"):
        GcpKms(settings).source(GCP_KEY).sign(MESSAGE)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda double: double.disabled.add(VERSION), "HTTP 400; the key version is disabled"),
        (lambda double: double.keys.clear(), "HTTP 404; there is no such key version"),
        (lambda double: setattr(double, "tokens_refused", True), "credentials are refused"),
    ],
)
def test_google_refusals_are_permanent_and_say_what_to_do(
    google: Google, spoil: Callable[[gcp.GcpDouble], object], sentence: str
) -> None:
    double, settings = google
    spoil(double)
    with pytest.raises(KeyStoreRefusedError, match=sentence):
        GcpKms(settings).source(GCP_KEY).sign(MESSAGE)


def test_google_tokens_that_cannot_be_fetched_are_transient(google: Google, tmp_path: Path) -> None:
    _, settings = google
    settings = replace(settings, credentials_file=service_account_file(tmp_path, "http://127.0.0.1:9"))
    with pytest.raises(KeyStoreUnavailableError, match="no access token"):
        GcpKms(settings).source(GCP_KEY).sign(MESSAGE)


def test_a_google_key_of_another_algorithm_or_damaged_refuses_the_start(google: Google) -> None:
    double, settings = google
    double.algorithm = "EC_SIGN_P256_SHA256"
    with pytest.raises(KeyStoreRefusedError, match="no key version of EC_SIGN_SECP256K1_SHA256"):
        open_keys(settings, {ACCOUNT}, say)
    double.algorithm = gcp.ALGORITHM
    token = Answered.of({"access_token": double.token, "expires_in": 3_599, "token_type": "Bearer"})
    double.instead = [token, changed(pemCrc32c="7")]
    with pytest.raises(KeyStoreUnavailableError, match="damaged"):
        open_keys(settings, {ACCOUNT}, say)


def test_a_file_that_is_no_service_account_is_not_repeated(google: Google, tmp_path: Path) -> None:
    _, settings = google
    path = tmp_path / "other.json"
    path.write_text('{"private_key": "hush"}')
    with pytest.raises(KeyStoreRefusedError, match=r"other\.json is no key file") as caught:
        GcpKms(replace(settings, credentials_file=path))
    assert "hush" not in str(caught.value)


def web3signer_at(url: str, **changes: Path) -> Web3SignerSettings:
    plain = Web3SignerSettings(url=url, ca_file=None, client_cert_file=None, client_key_file=None, limit_s=1.0)
    return replace(plain, **changes)


def test_web3signer_without_the_accounts_key_refuses_the_start() -> None:
    double = web3signer.Web3SignerDouble(keys=[ServiceKey(b"\x33" * 32)])
    with serving(double.answer) as url, pytest.raises(KeyStoreRefusedError, match=f"no key of {ACCOUNT}"):
        open_keys(web3signer_at(url), {ACCOUNT}, say)


def test_web3signer_of_validators_is_recognised() -> None:
    """In its eth2 mode the path is not there, and keys have 48 bytes."""
    double = web3signer.Web3SignerDouble()
    double.instead = [Answered(404, b"Resource not found"), Answered.of(["0x" + "aa" * 48])]
    with serving(double.answer) as url:
        for _ in range(2):
            with pytest.raises(KeyStoreRefusedError, match="eth1"):
                open_keys(web3signer_at(url), {ACCOUNT}, say)


def test_web3signer_opens_the_accounts_of_the_policy_and_no_other() -> None:
    double = web3signer.Web3SignerDouble(keys=[ServiceKey(SECRET), ServiceKey(b"\x33" * 32)])
    with serving(double.answer) as url:
        opened = open_keys(web3signer_at(url), {ACCOUNT}, say)
        assert [key.address for key in opened.keys] == [ACCOUNT]
        opened.close()


def test_web3signer_knows_its_clients_and_is_known(tmp_path: Path) -> None:
    ours, others = certificates(tmp_path / "ours"), certificates(tmp_path / "others")
    double = web3signer.Web3SignerDouble(keys=[ServiceKey(SECRET)])
    with serving(double.answer, ours.server(asks_clients=True)) as url:
        whole = web3signer_at(url, ca_file=ours.ca, client_cert_file=ours.client_cert, client_key_file=ours.client_key)
        opened = open_keys(whole, {ACCOUNT}, say)
        assert opened.keys[0].sign_transaction(transaction()).raw
        opened.close()
        strange = {"client_cert_file": others.client_cert, "client_key_file": others.client_key}
        for wrong in (replace(whole, ca_file=others.ca), replace(whole, ca_file=None)):
            with pytest.raises(KeyStoreRefusedError, match="TLS is refused"):
                open_keys(wrong, {ACCOUNT}, say)
        for wrong in (replace(whole, **strange), replace(whole, client_cert_file=None, client_key_file=None)):  # type: ignore[arg-type]
            with pytest.raises((KeyStoreRefusedError, KeyStoreUnavailableError)):
                open_keys(wrong, {ACCOUNT}, say)


def test_certificates_that_are_not_there_refuse_the_start(tmp_path: Path) -> None:
    double = web3signer.Web3SignerDouble()
    with serving(double.answer) as url:
        settings = web3signer_at(url.replace("http:", "https:"), ca_file=tmp_path / "none.pem")
        with pytest.raises(KeyStoreRefusedError, match="certificates cannot be read"):
            open_keys(settings, {ACCOUNT}, say)
