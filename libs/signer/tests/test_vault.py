"""Keys in Vault. Every rule holds for the double, and for a real server where one is at hand.

``DEXLANE_VAULT_COMMAND`` names the binary of Vault or of OpenBao (its open successor, with the same API); without it
the real server's half is skipped.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import hvac
import pytest
import requests
from hvac import exceptions

from dexlane.testing.key_services import vault as double
from dexlane.testing.key_services.http import Answered, serving
from dexlane.testing.key_services.tls import certificates
from dexlane_signer import PrivateKey
from dexlane_signer.key_commands import init_keys
from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError
from dexlane_signer.key_stores.opening import open_keys
from dexlane_signer.key_stores.settings import NamedKey, VaultSettings
from dexlane_signer.key_stores.vault import RENEW_AGAIN_AFTER_S, TokenRenewal, VaultStore
from dexlane_signer.keystore import KeystoreError
from dexlane_signer.tables import PolicyFileError

from .stores import ACCOUNT, SECRET

PATH = "dexlane/fast"
READ_ONLY = 'path "secret/data/dexlane/*" { capabilities = ["read"] }'


class Vault(Protocol):
    """What the tests do to a Vault besides reading keys."""

    url: str

    def put(self, path: str, value: dict[str, str]) -> None: ...
    def delete(self, path: str) -> None: ...
    def token(self, *, ttl_s: int = 0, full: bool = False) -> str: ...
    def approle(self) -> tuple[str, str]: ...
    def knows(self, token: str) -> bool: ...
    def seal(self) -> None: ...


class Played:
    """The double."""

    def __init__(self, url: str, service: double.VaultDouble) -> None:
        self.url = url
        self._service = service

    def put(self, path: str, value: dict[str, str]) -> None:
        self._service.values[path] = value

    def delete(self, path: str) -> None:
        self._service.values.pop(path, None)

    def token(self, *, ttl_s: int = 0, full: bool = False) -> str:
        name = f"hvs.{secrets.token_hex(8)}"
        policy = double.FULL if full else double.READ
        self._service.tokens[name] = double.Token(policy, ttl_s, renewable=ttl_s > 0)
        return name

    def approle(self) -> tuple[str, str]:
        role, secret = secrets.token_hex(8), secrets.token_hex(8)
        self._service.approles[role] = secret
        return role, secret

    def knows(self, token: str) -> bool:
        return token in self._service.tokens

    def seal(self) -> None:
        self._service.sealed = True


class Real:
    """A server in development mode, on loopback and in memory."""

    def __init__(self, url: str, root: str) -> None:
        self.url = url
        self._client = hvac.Client(url=url, token=root, timeout=10)

    def put(self, path: str, value: dict[str, str]) -> None:
        self._client.secrets.kv.v2.create_or_update_secret(path, value)

    def delete(self, path: str) -> None:
        self._client.secrets.kv.v2.delete_metadata_and_all_versions(path)

    def token(self, *, ttl_s: int = 0, full: bool = False) -> str:
        self._client.sys.create_or_update_policy("reader", READ_ONLY)
        policies = ["root"] if full else ["reader"]
        period = {"ttl": f"{ttl_s}s", "renewable": True} if ttl_s else {}
        made = self._client.auth.token.create(policies=policies, no_default_policy=False, **period)
        return str(made["auth"]["client_token"])

    def approle(self) -> tuple[str, str]:
        if "approle/" not in self._client.sys.list_auth_methods()["data"]:
            self._client.sys.enable_auth_method("approle")
        self._client.sys.create_or_update_policy("reader", READ_ONLY)
        roles = self._client.auth.approle
        roles.create_or_update_approle("fast", token_policies=["reader"])
        return (
            str(roles.read_role_id("fast")["data"]["role_id"]),
            str(roles.generate_secret_id("fast")["data"]["secret_id"]),
        )

    def knows(self, token: str) -> bool:
        try:
            self._client.lookup_token(token)
        except exceptions.VaultError:
            return False
        return True

    def seal(self) -> None:
        self._client.sys.seal()


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    command = os.environ.get("DEXLANE_VAULT_COMMAND")
    if command is None:
        pytest.skip("DEXLANE_VAULT_COMMAND names no Vault and no OpenBao")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    root = secrets.token_hex(12)
    options = [f"-dev-root-token-id={root}", f"-dev-listen-address={address}", "-dev-no-store-token"]
    with (tmp_path_factory.mktemp("vault") / "log").open("wb") as log:
        server = subprocess.Popen([command, "server", "-dev", *options], stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                if requests.get(f"http://{address}/v1/sys/health", timeout=1).status_code == 200:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield f"http://{address}", root
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(params=["double", "real"])
def vault(request: pytest.FixtureRequest) -> Iterator[Vault]:
    if request.param == "real":
        yield Real(*request.getfixturevalue("real_server"))
        return
    service = double.VaultDouble()
    with serving(service.answer) as url:
        yield Played(url, service)


@pytest.fixture
def settings(vault: Vault, tmp_path: Path) -> VaultSettings:
    vault.delete(PATH)
    vault.put(PATH, {"private_key": SECRET.hex()})
    private(tmp_path / "token", vault.token(ttl_s=600))
    return VaultSettings(
        url=vault.url,
        ca_file=None,
        namespace=None,
        mount="secret",
        field="private_key",
        auth="token",
        auth_mount="token",
        role=None,
        role_id_file=None,
        secret_file=tmp_path / "token",
        limit_s=5.0,
        keys=(NamedKey(PATH, ACCOUNT),),
    )


def private(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text + "\n")
    return path


def with_approle(settings: VaultSettings, vault: Vault, folder: Path) -> VaultSettings:
    role, secret = vault.approle()
    return replace(
        settings,
        auth="approle",
        auth_mount="approle",
        role_id_file=private(folder / "role-id", role),
        secret_file=private(folder / "secret-id", secret),
    )


def said_nowhere(event: str, sentence: str) -> None:
    raise AssertionError(event + sentence)


def test_a_key_is_read_and_is_the_accounts(settings: VaultSettings) -> None:
    opened = open_keys(settings, {ACCOUNT}, said_nowhere)
    assert [key.address for key in opened.keys] == [ACCOUNT]
    assert opened.keys[0].is_local, "Vault knows no secp256k1, so the key signs here"


def test_the_token_of_a_login_is_given_up_as_soon_as_the_keys_are_read(
    settings: VaultSettings, vault: Vault, tmp_path: Path
) -> None:
    store = VaultStore(with_approle(settings, vault, tmp_path))
    assert [key.address for key in store.read_keys()] == [ACCOUNT]
    token = str(store._client.token)
    assert vault.knows(token)
    store.close()
    assert not vault.knows(token)
    assert store._client.token is None


def test_a_token_that_was_given_is_not_given_up(settings: VaultSettings, vault: Vault) -> None:
    open_keys(settings, {ACCOUNT}, said_nowhere)
    assert vault.knows(settings.secret_file.read_text().strip())


def test_a_wrong_secret_id_is_refused(settings: VaultSettings, vault: Vault, tmp_path: Path) -> None:
    wrong = with_approle(settings, vault, tmp_path)
    wrong.secret_file.write_text("11111111-2222-3333-4444-555555555555")
    with pytest.raises(KeyStoreRefusedError, match="the login") as caught:
        open_keys(wrong, {ACCOUNT}, said_nowhere)
    assert "11111111" not in str(caught.value)


def test_a_token_that_is_none_is_refused(settings: VaultSettings) -> None:
    settings.secret_file.write_text("hvs.nothing")
    with pytest.raises(KeyStoreRefusedError, match="forbidden; look at the token's or role's policy") as caught:
        open_keys(settings, {ACCOUNT}, said_nowhere)
    assert "hvs.nothing" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"other": SECRET.hex()}, "holds no private key in its field private_key"),
        ({"private_key": SECRET.hex()[:-1]}, "holds no private key"),
        ({"private_key": "00" * 32}, "holds no private key"),
        (None, "is not there; look at mount and path"),
    ],
)
def test_a_path_without_a_key_is_refused_without_repeating_it(
    settings: VaultSettings, vault: Vault, value: dict[str, str] | None, sentence: str
) -> None:
    vault.delete(PATH)
    if value is not None:
        vault.put(PATH, value)
    with pytest.raises(KeyStoreRefusedError, match=sentence) as caught:
        open_keys(settings, {ACCOUNT}, said_nowhere)
    assert SECRET.hex()[:-1] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_key_of_another_account_refuses_the_start(settings: VaultSettings, vault: Vault) -> None:
    vault.put(PATH, {"private_key": "33" * 32})
    with pytest.raises(PolicyFileError, match=f"the file says {ACCOUNT}"):
        open_keys(settings, {ACCOUNT}, said_nowhere)


def test_init_makes_a_key_once_and_never_replaces_it(settings: VaultSettings, vault: Vault) -> None:
    vault.delete(PATH)
    settings.secret_file.write_text(vault.token(full=True))
    first, second = init_keys(settings), init_keys(settings)
    assert first.startswith(f"# made: {PATH}\naccount = ")
    assert second == first.replace("made", "found")
    settings.secret_file.write_text(vault.token(ttl_s=600))
    named = NamedKey(PATH, first.split('"')[1])
    (key,) = open_keys(replace(settings, keys=(named,)), {ACCOUNT}, said_nowhere).keys
    assert key.address == named.account


def test_a_signers_token_cannot_make_keys(settings: VaultSettings, vault: Vault) -> None:
    vault.delete(PATH)
    with pytest.raises(KeyStoreRefusedError, match="forbidden"):
        init_keys(settings)


async def test_a_token_is_renewed_at_half_of_its_time(settings: VaultSettings) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await TokenRenewal(settings, say=said_nowhere, sleep=sleep).keep()
    assert all(290 < seconds <= 300 for seconds in slept)


@pytest.mark.parametrize("mode", [0o600, 0o644])
async def test_a_token_that_is_revoked_or_lies_open_is_said_and_tried_again(settings: VaultSettings, mode: int) -> None:
    settings.secret_file.write_text("hvs.revoked")
    settings.secret_file.chmod(mode)
    said: list[tuple[str, str]] = []

    async def sleep(seconds: float) -> None:
        assert seconds == RENEW_AGAIN_AFTER_S
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await TokenRenewal(settings, say=lambda *words: said.append(words), sleep=sleep).keep()
    assert [event for event, _ in said] == ["vault_token_not_renewed"]
    assert "hvs.revoked" not in str(said)


def test_a_token_without_an_end_needs_no_renewal(settings: VaultSettings, vault: Vault) -> None:
    settings.secret_file.write_text(vault.token(full=True))
    store = VaultStore(settings)
    assert store.renew() > 3_600
    store.close()


def test_only_a_login_by_file_makes_the_signer_keep_a_token_alive(
    settings: VaultSettings, vault: Vault, tmp_path: Path
) -> None:
    assert open_keys(settings, {ACCOUNT}, said_nowhere).keep is not None
    assert open_keys(with_approle(settings, vault, tmp_path), {ACCOUNT}, said_nowhere).keep is None


def test_a_token_of_the_environment_is_not_used(settings: VaultSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", settings.secret_file.read_text().strip())
    settings.secret_file.write_text("hvs.nothing")
    with pytest.raises(KeyStoreRefusedError, match="forbidden"):
        open_keys(settings, {ACCOUNT}, said_nowhere)


def test_a_sealed_vault_is_transient(settings: VaultSettings, vault: Vault) -> None:
    """The last test of a real server: it stays sealed."""
    vault.seal()
    with pytest.raises(KeyStoreUnavailableError, match="sealed, busy or away"):
        open_keys(settings, {ACCOUNT}, said_nowhere)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[double.VaultDouble, VaultSettings]]:
    """The double alone, for what a server in development mode does not do."""
    played = double.VaultDouble(values={PATH: {"private_key": SECRET.hex()}}, tokens={"hvs.t": double.Token()})
    private(tmp_path / "token", "hvs.t")
    with serving(played.answer) as url:
        yield (
            played,
            VaultSettings(
                url=url,
                ca_file=None,
                namespace="trading",
                mount="secret",
                field="private_key",
                auth="token",
                auth_mount="token",
                role=None,
                role_id_file=None,
                secret_file=tmp_path / "token",
                limit_s=0.5,
                keys=(NamedKey(PATH, ACCOUNT),),
            ),
        )


Service = tuple[double.VaultDouble, VaultSettings]


def test_a_namespace_is_told(service: Service) -> None:
    played, settings = service
    played.namespace = "trading"
    assert [key.address for key in open_keys(settings, {ACCOUNT}, said_nowhere).keys] == [ACCOUNT]
    played.namespace = None
    with pytest.raises(KeyStoreRefusedError):
        open_keys(settings, {ACCOUNT}, said_nowhere)


def test_a_service_account_of_kubernetes_logs_in(service: Service, tmp_path: Path) -> None:
    played, settings = service
    played.namespace, played.service_accounts = "trading", {"signer": "eyJ.jwt"}
    (tmp_path / "jwt").write_text("eyJ.jwt")
    settings = replace(
        settings, auth="kubernetes", auth_mount="kubernetes", role="signer", secret_file=tmp_path / "jwt"
    )
    assert [key.address for key in open_keys(settings, {ACCOUNT}, said_nowhere).keys] == [ACCOUNT]
    (tmp_path / "jwt").write_text("eyJ.other")
    with pytest.raises(KeyStoreRefusedError, match="the login is forbidden"):
        open_keys(settings, {ACCOUNT}, said_nowhere)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_or_broken_vault_is_transient(service: Service, status: int) -> None:
    played, settings = service
    played.instead = [Answered.of({"errors": [f"broken {SECRET.hex()}"]}, status)]
    with pytest.raises(KeyStoreUnavailableError) as caught:
        open_keys(settings, {ACCOUNT}, said_nowhere)
    assert SECRET.hex() not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<html>", b'{"data": {"data": null}}'])
def test_garbage_is_no_key(service: Service, body: bytes) -> None:
    played, settings = service
    played.instead = [Answered(200, body, {"Content-Type": "application/json"})]
    with pytest.raises((KeyStoreRefusedError, KeyStoreUnavailableError)):
        open_keys(settings, {ACCOUNT}, said_nowhere)


def test_a_vault_is_trusted_by_its_ca_alone(service: Service, tmp_path: Path) -> None:
    played, settings = service
    played.namespace = "trading"
    ours, others = certificates(tmp_path / "ours"), certificates(tmp_path / "others")
    with serving(played.answer, ours.server()) as url:
        known = replace(settings, url=url, ca_file=ours.ca)
        assert [key.address for key in open_keys(known, {ACCOUNT}, said_nowhere).keys] == [ACCOUNT]
        for ca_file in (others.ca, None):
            played.asked.clear()
            with pytest.raises(KeyStoreRefusedError, match="certificate is not trusted"):
                open_keys(replace(known, ca_file=ca_file), {ACCOUNT}, said_nowhere)
            assert played.asked == [], "a token is not shown to a stranger"


def test_a_vault_that_is_late_is_left(service: Service) -> None:
    played, settings = service
    played.delay_s = 2.0
    began_s = time.monotonic()
    with pytest.raises(KeyStoreUnavailableError):
        open_keys(settings, {ACCOUNT}, said_nowhere)
    assert time.monotonic() - began_s < 1.8


def test_token_files_open_to_others_are_refused(service: Service) -> None:
    _, settings = service
    settings.secret_file.chmod(0o640)
    with pytest.raises(KeystoreError, match="chmod 600"):
        open_keys(settings, {ACCOUNT}, said_nowhere)


def test_a_key_is_not_kept_by_the_client(service: Service) -> None:
    played, settings = service
    played.namespace = "trading"
    store = VaultStore(settings)
    (key,) = store.read_keys()
    assert isinstance(key, PrivateKey)
    assert SECRET.hex() not in repr(vars(store)) + repr(vars(vars(store)["_client"]))
    store.close()
