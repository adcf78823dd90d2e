"""Private keys in HashiCorp Vault, read once at the start from its KV engine, version 2, with Vault's client ``hvac``.

Vault itself cannot sign for Ethereum: its Transit engine knows P-256, P-384, P-521, Ed25519 and RSA, but not secp256k1.
So the key comes into this process as it does from a keystore, and what is gained is where it rests and who may read it.
A token that was had by logging in is revoked as soon as the keys are read; a token that was given is renewed, so that
it still lives at the next start.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hvac
import requests
from hvac import exceptions

from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError
from dexlane_signer.key_stores.settings import NamedKey, VaultSettings
from dexlane_signer.keys import InvalidKeyError, PrivateKey
from dexlane_signer.keystore import KeystoreError, read_password

RENEW_AT_MOST_EVERY_S = 3_600.0
RENEW_AGAIN_AFTER_S = 30.0
_TRANSIENT = (
    exceptions.VaultDown,
    exceptions.RateLimitExceeded,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.VaultNotInitialized,
    requests.ConnectionError,
    requests.Timeout,
)


class VaultStore:
    """One Vault, logged in. To be closed."""

    def __init__(self, settings: VaultSettings) -> None:
        """Log in. Raises ``KeyStoreUnavailableError``, ``KeyStoreRefusedError``, ``KeystoreError`` or ``OSError``."""
        self._settings = settings
        session = requests.Session()
        session.trust_env = False  # no proxy and no password file of this user's
        session.verify = True if settings.ca_file is None else str(settings.ca_file)
        # A token of the environment is none of ours; an empty one keeps hvac from looking for it.
        self._client = hvac.Client(
            url=settings.url,
            token="",
            namespace=settings.namespace,
            session=session,
            timeout=settings.limit_s,
            strict_http=True,
        )
        with _classed("the login"):
            self._log_in()

    def read_keys(self) -> list[PrivateKey]:
        """Every key. Raises ``KeyStoreUnavailableError`` or ``KeyStoreRefusedError``; neither repeats key material."""
        return [self._read(key) for key in self._settings.keys]

    def create_key(self, key: NamedKey, new: Callable[[], PrivateKey]) -> PrivateKey | None:
        """Write a new key where nothing is yet; ``None`` where something is. Vault replaces nothing (``cas`` 0)."""
        with _classed(key.name):
            try:
                self._client.secrets.kv.v2.read_secret_metadata(key.name, mount_point=self._settings.mount)
            except exceptions.InvalidPath:
                made = new()
                secret = {self._settings.field: made.export_secret().hex()}
                self._client.secrets.kv.v2.create_or_update_secret(
                    key.name, secret, cas=0, mount_point=self._settings.mount
                )
                return made
        return None

    def renew(self) -> float:
        """Renew the token; the seconds it lives now. One without an end cannot be renewed and needs not."""
        with _classed("the token"):
            known = self._client.auth.token.lookup_self()["data"]
            if not known["ttl"]:
                return RENEW_AT_MOST_EVERY_S * 2
            if not known["renewable"]:
                return float(known["ttl"])
            return float(self._client.auth.token.renew_self()["auth"]["lease_duration"])

    def close(self) -> None:
        """Give up the token of a login. A token that was given stays."""
        try:
            if self._settings.auth != "token":
                with _classed("giving up the token"):
                    self._client.auth.token.revoke_self()
        finally:
            self._client.token = None
            self._client.adapter.close()

    def _log_in(self) -> None:
        settings, client = self._settings, self._client
        if settings.auth == "approle":
            assert settings.role_id_file is not None  # noqa: S101 - the settings' reader saw to it
            role_id, secret_id = read_password(settings.role_id_file), read_password(settings.secret_file)
            client.auth.approle.login(role_id, secret_id, mount_point=settings.auth_mount)
        elif settings.auth == "kubernetes":
            # Kubernetes writes and renews the file, with a mode of its own.
            client.auth.kubernetes.login(
                settings.role, settings.secret_file.read_text().strip(), mount_point=settings.auth_mount
            )
        else:
            client.token = read_password(settings.secret_file)

    def _read(self, key: NamedKey) -> PrivateKey:
        with _classed(key.name):
            answer = self._client.secrets.kv.v2.read_secret_version(
                key.name, mount_point=self._settings.mount, raise_on_deleted_version=True
            )
        found = _private_key(answer, self._settings.field)
        answer = None
        if found is None:
            raise KeyStoreRefusedError(f"vault: {key.name} holds no private key in its field {self._settings.field}")
        return found


class TokenRenewal:
    """Keeps a token alive that was given, for as long as the signer runs."""

    def __init__(
        self, settings: VaultSettings, *, say: Callable[[str, str], None], sleep: Callable[[float], Any] = asyncio.sleep
    ) -> None:
        self._settings = settings
        self._say = say
        self._sleep = sleep

    async def keep(self) -> None:
        """Renew for ever, at half of what is left. A failure is said; signing needs the token no more."""
        while True:
            wait_s = RENEW_AGAIN_AFTER_S
            try:
                left_s = await asyncio.to_thread(self._renew)
                wait_s = min(max(left_s / 2, 1.0), RENEW_AT_MOST_EVERY_S)
            except (KeyStoreUnavailableError, KeyStoreRefusedError, KeystoreError, OSError) as error:
                self._say("vault_token_not_renewed", f"the next start may be refused: {error}")
            await self._sleep(wait_s)

    def _renew(self) -> float:
        """The seconds that the token lives now; a token without an end lives for ever."""
        store = VaultStore(self._settings)
        try:
            return store.renew()
        finally:
            store.close()


def _private_key(answer: Any, field: str) -> PrivateKey | None:
    try:
        return PrivateKey.from_hex(answer["data"]["data"][field])
    except (KeyError, TypeError, AttributeError, InvalidKeyError):
        return None


@contextmanager
def _classed(what: str) -> Iterator[None]:
    """Errors of the client by their class. Their texts may repeat what was sent, so none is passed on."""
    try:
        yield
    except requests.exceptions.SSLError:
        raise KeyStoreRefusedError("vault: its certificate is not trusted; name the right ca_file") from None
    except _TRANSIENT as error:
        raise KeyStoreUnavailableError(f"vault: {what}: {_name(error)}; it is sealed, busy or away") from None
    except exceptions.InvalidPath:
        raise KeyStoreRefusedError(f"vault: {what} is not there; look at mount and path, or run init") from None
    except (exceptions.Forbidden, exceptions.Unauthorized):
        raise KeyStoreRefusedError(f"vault: {what} is forbidden; look at the token's or role's policy") from None
    except (AttributeError, LookupError, TypeError):
        raise KeyStoreUnavailableError(f"vault: {what}: the answer cannot be read") from None
    except (exceptions.VaultError, requests.RequestException) as error:
        raise KeyStoreRefusedError(f"vault: {what}: {_name(error)}") from None


def _name(error: Exception) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
