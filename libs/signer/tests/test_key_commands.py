"""The process with a key store: it is set up by its file, checked without spending, and shows no secret anywhere."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_account import Account

from dexlane.testing.key_services import aws, gcp, web3signer
from dexlane.testing.key_services import vault as vault_double
from dexlane.testing.key_services.accounts import service_account_file
from dexlane.testing.key_services.curve import ServiceKey
from dexlane.testing.key_services.http import Service, serving
from dexlane_signer import DenialReason, PrivateKey, SigningDenied
from dexlane_signer.key_commands import init_keys
from dexlane_signer.key_stores.settings import VaultSettings
from dexlane_signer.main import main
from dexlane_signer.settings import read_key_store_alone, read_settings
from dexlane_signer.tables import PolicyFileError

from .conftest import KEY
from .running import Running, running
from .stores import KEY_ID, VERSION, as_aws_example
from .test_process import forms_of, fresh, memory_of
from .test_vault import private

SECRET = secrets.token_bytes(32)
"""A key of this run alone, so that a search for it finds nothing else."""
ACCOUNT = PrivateKey(SECRET).address
TOKEN = f"hvs.{secrets.token_hex(16)}"


@dataclass
class SetUp:
    """A store as the policy file names it, and the secrets that must not be seen."""

    name: str
    tables: str
    service: Service
    hidden: list[bytes]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[SetUp]:
    token = vault_double.Token(ttl_s=600, renewable=True)
    service = vault_double.VaultDouble(values={"fast": {"private_key": SECRET.hex()}}, tokens={TOKEN: token})
    private(tmp_path / "token", TOKEN)
    with serving(service.answer) as url:
        text = f"""[vault]
url = "{url}"
auth = "token"
token_file = "{tmp_path}/token"
[[vault.keys]]
account = "{ACCOUNT}"
path = "fast"
"""
        yield SetUp("vault", text, service, [*forms_of(SECRET), TOKEN.encode()])


@pytest.fixture
def aws_kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetUp]:
    as_aws_example(monkeypatch)
    session_token = secrets.token_hex(20)
    monkeypatch.setenv("AWS_SESSION_TOKEN", session_token)
    service = aws.AwsDouble(keys={KEY_ID: ServiceKey(SECRET)})
    with serving(service.answer) as url:
        text = f"""[aws_kms]
region = "eu-central-1"
endpoint_url = "{url}"
[[aws_kms.keys]]
account = "{ACCOUNT}"
key_id = "{KEY_ID}"
"""
        hidden = [service.secret_key.encode(), session_token.encode()]
        yield SetUp("aws-kms", text, service, [*forms_of(SECRET), *hidden])


@pytest.fixture
def gcp_kms(tmp_path: Path) -> Iterator[SetUp]:
    service = gcp.GcpDouble(keys={VERSION: ServiceKey(SECRET)})
    with serving(service.answer) as url:
        text = f"""[gcp_kms]
endpoint_url = "{url}"
credentials_file = "{service_account_file(tmp_path, url)}"
[[gcp_kms.keys]]
account = "{ACCOUNT}"
version = "{VERSION}"
"""
        yield SetUp("gcp-kms", text, service, [*forms_of(SECRET), service.token.encode()])


@pytest.fixture
def web3(tmp_path: Path) -> Iterator[SetUp]:
    service = web3signer.Web3SignerDouble(keys=[ServiceKey(SECRET)])
    with serving(service.answer) as url:
        yield SetUp("web3signer", f'[web3signer]\nurl = "{url}"\n', service, forms_of(SECRET))


@pytest.fixture(params=["vault", "aws_kms", "gcp_kms", "web3"])
def store(request: pytest.FixtureRequest) -> SetUp:
    found: SetUp = request.getfixturevalue(request.param)
    return found


def policy_of(policy_text: str, store: SetUp) -> str:
    head, chains = policy_text.split("[[chains]]")
    head = re.sub(r"(keystores|password_file) = .*\n", "", head)
    head = head.replace("[process]", f'[process]\nkey_store = "{store.name}"') + store.tables
    return head + "[[chains]]" + chains.replace(KEY.address, ACCOUNT)


def folder_of(policy_text: str) -> Path:
    return Path(policy_text.split('data_dir = "')[1].partition('"')[0]).parent


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def open_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the memory is for the process of its own, not for that of the tests."""
    monkeypatch.setattr("dexlane_signer.main.close_memory", lambda: None)


def test_check_keys_says_that_each_signature_verifies_and_hides_everything(
    store: SetUp, policy_text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """With every library's log at its most talkative."""
    caplog.set_level(logging.DEBUG)
    path = written(tmp_path, policy_of(policy_text, store))
    assert main(["check-keys", str(path)]) == 0
    said = capsys.readouterr()
    assert re.search(rf"(?i){ACCOUNT} in {store.name}.*: its signature verifies, \d+ ms", said.out)
    assert not (tmp_path / "data").exists(), "nothing is recorded, because nothing can be spent"
    shown = (said.out + said.err + caplog.text + repr(read_settings(path))).encode()
    assert [form for form in store.hidden if form in shown] == []


def test_a_wrong_signature_or_a_refusal_ends_the_check_with_a_sentence(
    aws_kms: SetUp, policy_text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(written(tmp_path, policy_of(policy_text, aws_kms)))
    assert isinstance(aws_kms.service, aws.AwsDouble)
    aws_kms.service.states[KEY_ID] = "Disabled"
    assert main(["check-keys", path]) == 2
    assert "DisabledException; the key is disabled" in capsys.readouterr().err
    aws_kms.service.instead = [aws.failure("ThrottlingException")]
    assert main(["check-keys", path]) == 1, "worth another try"
    assert capsys.readouterr().err.count("\n") == 1


def test_init_makes_keystores_once_and_says_the_accounts(
    policy_text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private(tmp_path / "password", "correct horse")
    path = str(written(tmp_path, policy_text))
    first = init_keys(read_key_store_alone(Path(path)), scrypt_n=2)
    account = re.search(r'accounts = \["(0x[0-9a-f]{40})"\]', first)
    assert account is not None
    assert (tmp_path / "key.json").stat().st_mode & 0o777 == 0o600
    assert main(["init", path]) == 0
    assert capsys.readouterr().out == first.replace("# made", "# found") + "\n"
    written(tmp_path, policy_text.replace(KEY.address, account.group(1)))
    assert main(["check-keys", path]) == 0
    assert "in keystore: its signature verifies" in capsys.readouterr().out


def test_init_says_the_accounts_of_keys_that_are_made_elsewhere(
    store: SetUp, policy_text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = policy_of(policy_text, store).replace(f'account = "{ACCOUNT}"\n', "")
    if store.name == "vault":
        assert isinstance(store.service, vault_double.VaultDouble)
        store.service.tokens[TOKEN].policy = vault_double.FULL
    assert main(["init", str(written(tmp_path, text))]) == 0
    assert f'accounts = ["{ACCOUNT}"]' in capsys.readouterr().out


async def test_the_process_signs_with_a_key_that_is_elsewhere_and_shows_no_secret(
    aws_kms: SetUp, policy_text: str, tmp_path: Path
) -> None:
    async with running(tmp_path, policy_of(policy_text, aws_kms), KEY) as signer:
        await signer.control({"do": "beat"})
        signed = await signer.signer.sign_transaction(fresh(sender=ACCOUNT, attempt=1))
        assert Account.recover_transaction(signed.raw).lower() == ACCOUNT
        assert (await signer.signer.sign_transaction(fresh(sender=ACCOUNT, attempt=1))).raw == signed.raw
        aws_kms.service.delay_s = 0.4
        slow = asyncio.create_task(signer.signer.sign_transaction(fresh(sender=ACCOUNT, intent_id="b", nonce=8)))
        await asyncio.sleep(0.1)
        began_s = time.monotonic()
        assert (await signer.control({"do": "halt", "reason": "drill"}))["level"] == "halted"
        assert time.monotonic() - began_s < 0.3, "a halt does not wait for the store"
        with pytest.raises(SigningDenied) as caught:
            await slow
        assert caught.value.reason is DenialReason.HALTED
        status = await signer.control({"do": "status"})
        assert status["accounts"] == [ACCOUNT]
        if os.geteuid() == 0:
            memory = memory_of(signer.process.pid)
            assert ACCOUNT.encode() in memory, "the search finds what is there"
            assert [form for form in forms_of(SECRET) if form in memory] == [], "the key is in its service alone"
    (tmp_path / "policy.toml").unlink()
    seen = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) + json.dumps(status).encode()
    assert [form for form in aws_kms.hidden if form in seen] == []


async def test_a_token_of_vault_is_renewed_while_the_process_runs_and_its_loss_is_only_said(
    vault: SetUp, policy_text: str, tmp_path: Path
) -> None:
    assert isinstance(vault.service, vault_double.VaultDouble)
    vault.service.tokens[TOKEN].ttl_s = 2
    async with running(tmp_path, policy_of(policy_text, vault), KEY) as signer:
        await signer.control({"do": "beat"})
        vault.service.tokens.clear()
        await signer.logged("vault_token_not_renewed")
        signed = await signer.signer.sign_transaction(fresh(sender=ACCOUNT))
        assert Account.recover_transaction(signed.raw).lower() == ACCOUNT
        (tmp_path / "token").unlink()
        seen = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert [form for form in vault.hidden if form in seen] == []


async def test_a_store_that_refuses_ends_the_start_with_a_sentence(
    web3: SetUp, policy_text: str, tmp_path: Path
) -> None:
    assert isinstance(web3.service, web3signer.Web3SignerDouble)
    web3.service.keys = []
    policy = written(tmp_path, policy_of(policy_text, web3))
    code, said = await Running(tmp_path, policy, None, None).command("run", str(policy))  # type: ignore[arg-type]
    assert (code, said.count("\n")) == (2, 1)
    assert "it has no key of" in said
    assert "Traceback" not in said


Change = Callable[[str], str]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('key_store = "vault"', 'key_store = "safe"', "key_store is none of keystore, vault, aws-kms"),
        ('key_store = "vault"', 'key_store = "aws-kms"', "aws_kms is missing"),
        ('key_store = "vault"', 'key_store = "vault"\nkeystores = []', "process has an unknown field keystores"),
        ("[vault]", "[vault]\nregion = 'x'", "vault has an unknown field region"),
        ("[vault]", "[vault]\ntoken = 'hvs.x'", "vault has an unknown field token"),
        ('auth = "token"', 'auth = "userpass"', "auth is none of approle, kubernetes, token"),
        ('auth = "token"', 'auth = "approle"', "role_id_file is missing"),
        ("http://127.0.0.1", "http://vault.example", "must be an https address"),
        ("http://127.0.0.1", "http://me:pass@127.0.0.1", "must be an https address"),
        ('path = "fast"', 'path = "fast"\nsecret = "x"', "unknown field secret"),
        pytest.param(f'account = "{ACCOUNT}"\n', "", "account is missing", id="no account"),
        ("[[vault.keys]]", '[[vault.keys]]\npath = "fast"\naccount = "0x' + "1" * 40 + '"\n[[vault.keys]]', "twice"),
        ("[vault]", "[vault]\ntime_limit_ms = 5", "time_limit_ms must be an integer from 100"),
    ],
)
def test_a_wrong_store_refuses_the_start(vault: SetUp, policy_text: str, old: str, new: str, sentence: str) -> None:
    text, tmp_path = policy_of(policy_text, vault), folder_of(policy_text)
    assert old in text
    with pytest.raises(PolicyFileError, match=sentence):
        read_settings(written(tmp_path, text.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("name", "tables", "sentence"),
    [
        ("gcp-kms", '[gcp_kms]\n[[gcp_kms.keys]]\nversion = "projects/p"\naccount = "A"\n', "no projects/"),
        ("ledger", '[ledger]\n[[ledger.keys]]\npath = "44/60"\naccount = "A"\n', "no path like"),
        ("web3signer", '[web3signer]\nurl = "https://w"\nclient_cert_file = "/c"\n', "together"),
        ("aws-kms", '[aws_kms]\nregion = "x"\nkeys = []\n', "aws_kms.keys is empty"),
    ],
)
def test_other_wrong_stores_refuse_the_start(
    policy_text: str, web3: SetUp, name: str, tables: str, sentence: str
) -> None:
    tmp_path = folder_of(policy_text)
    one = SetUp(name, tables.replace('"A"', f'"{ACCOUNT}"'), web3.service, [])
    with pytest.raises(PolicyFileError, match=sentence):
        read_settings(written(tmp_path, policy_of(policy_text, one)))


def test_defaults_of_a_store_are_those_of_the_docs(vault: SetUp, policy_text: str, tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, policy_of(policy_text, vault))).key_store
    assert isinstance(found, VaultSettings)
    assert (found.mount, found.field, found.auth_mount, found.namespace) == ("secret", "private_key", "token", None)


def test_a_client_that_is_not_installed_is_one_sentence(
    aws_kms: SetUp,
    policy_text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "dexlane_signer.key_stores.aws", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "botocore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "botocore", None)
    assert main(["check-keys", str(written(tmp_path, policy_of(policy_text, aws_kms)))]) == 2
    assert "pip install 'dexlane-signer[aws]'" in capsys.readouterr().err


def test_the_process_without_a_store_brings_no_client_of_one() -> None:
    """A dozen distributions, as before: what is imported stays what is audited."""
    import subprocess
    import sys

    names = ["botocore", "hvac", "requests", "google", "hid", "urllib3", "cryptography"]
    text = f"import sys, dexlane_signer.main; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, env={**os.environ})
    assert done.stdout.strip() == b"[]"
