"""What the signer is told about its key store. Secrets are named by the files they lie in, never written here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias
from urllib.parse import urlsplit

from dexlane_signer.tables import PolicyFileError, Table

DEFAULT_LIMIT_MS = 1_500
"""What a store may take. Executors wait 2 s for the signer, so what came of it still reaches them."""
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_PATH = re.compile(r"m(/[0-9]{1,10}'?){1,10}")
_VERSION = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+/cryptoKeyVersions/[0-9]+")


@dataclass(frozen=True, slots=True)
class NamedKey:
    """One key of a store. ``account`` is whose it must turn out to be; only ``init`` goes without."""

    name: str
    account: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoreFiles:
    """Web3 Secret Storage files, all with one password."""

    paths: tuple[Path, ...]
    password_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """Private keys in HashiCorp Vault's KV version 2; ``NamedKey.name`` is the path below the mount."""

    url: str
    ca_file: Path | None
    namespace: str | None
    mount: str
    field: str
    auth: str
    """``approle``, ``kubernetes`` or ``token``."""
    auth_mount: str
    role: str | None
    """The role of Kubernetes."""
    role_id_file: Path | None
    secret_file: Path
    """The secret id, the service account's token or the token itself."""
    limit_s: float
    keys: tuple[NamedKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """Keys of AWS KMS, by key id, alias or ARN. Credentials come by the chain of the AWS client."""

    region: str
    endpoint_url: str | None
    limit_s: float
    keys: tuple[NamedKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpSettings:
    """Key versions of Google Cloud KMS, by resource name. Without ``credentials_file`` they come by Google's chain."""

    endpoint_url: str
    credentials_file: Path | None
    limit_s: float
    keys: tuple[NamedKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Web3SignerSettings:
    """A Web3Signer in its eth1 mode. It tells its keys itself."""

    url: str
    ca_file: Path | None
    client_cert_file: Path | None
    client_key_file: Path | None
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    """A Ledger on this machine's USB; ``NamedKey.name`` is a BIP-32 path."""

    confirm_within_s: int
    keys: tuple[NamedKey, ...]


KeyStoreSettings: TypeAlias = (
    KeystoreFiles | VaultSettings | AwsSettings | GcpSettings | Web3SignerSettings | LedgerSettings
)


def read_key_store(whole: Table, process: Table, *, must_name_accounts: bool = True) -> KeyStoreSettings:
    """The store that ``process.key_store`` chooses, ``keystore`` where it is left out, with its own table.

    Raises ``PolicyFileError``.
    """
    chosen = process.text("key_store") if process.has("key_store") else "keystore"
    if chosen == "keystore":
        return _keystore_files(process)
    if chosen not in _READERS:
        stores = ", ".join(["keystore", *_READERS])
        raise PolicyFileError(f"{process.where('key_store')} is none of {stores}")
    table = whole.table(chosen.replace("-", "_"))
    settings = _READERS[chosen](table, must_name_accounts)
    table.finish()
    return settings


def _keystore_files(process: Table) -> KeystoreFiles:
    paths = tuple(_absolute(text, process) for text in process.texts("keystores"))
    if not paths:
        raise PolicyFileError("process.keystores names no key file")
    return KeystoreFiles(paths=paths, password_file=process.path("password_file"))


def _absolute(text: str, table: Table) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise PolicyFileError(f"{table.where('keystores')} must hold absolute paths")
    return path


def _vault(table: Table, must_name_accounts: bool) -> VaultSettings:
    auth = table.text("auth")
    if auth not in _VAULT_SECRETS:
        raise PolicyFileError(f"{table.where('auth')} is none of {', '.join(_VAULT_SECRETS)}")
    return VaultSettings(
        url=_url(table, "url"),
        ca_file=_path(table, "ca_file"),
        namespace=_text(table, "namespace"),
        mount=_text(table, "mount") or "secret",
        field=_text(table, "field") or "private_key",
        auth=auth,
        auth_mount=_text(table, "auth_mount") or auth,
        role=table.text("role") if auth == "kubernetes" else None,
        role_id_file=table.path("role_id_file") if auth == "approle" else None,
        secret_file=table.path(_VAULT_SECRETS[auth]),
        limit_s=_limit_s(table, 5_000),
        keys=_keys(table, "path", must_name_accounts),
    )


def _aws(table: Table, must_name_accounts: bool) -> AwsSettings:
    return AwsSettings(
        region=table.text("region"),
        endpoint_url=_url(table, "endpoint_url") if table.has("endpoint_url") else None,
        limit_s=_limit_s(table),
        keys=_keys(table, "key_id", must_name_accounts),
    )


def _gcp(table: Table, must_name_accounts: bool) -> GcpSettings:
    keys = _keys(table, "version", must_name_accounts)
    for key in keys:
        if _VERSION.fullmatch(key.name) is None:
            raise PolicyFileError(f"{table.name}: {key.name} is no projects/.../cryptoKeyVersions/N")
    has_endpoint = table.has("endpoint_url")
    return GcpSettings(
        endpoint_url=_url(table, "endpoint_url") if has_endpoint else "https://cloudkms.googleapis.com",
        credentials_file=_path(table, "credentials_file"),
        limit_s=_limit_s(table),
        keys=keys,
    )


def _web3signer(table: Table, _: bool) -> Web3SignerSettings:
    cert, key = _path(table, "client_cert_file"), _path(table, "client_key_file")
    if (cert is None) is not (key is None):
        raise PolicyFileError(f"{table.name} must name client_cert_file and client_key_file together")
    return Web3SignerSettings(
        url=_url(table, "url"),
        ca_file=_path(table, "ca_file"),
        client_cert_file=cert,
        client_key_file=key,
        limit_s=_limit_s(table),
    )


def _ledger(table: Table, must_name_accounts: bool) -> LedgerSettings:
    keys = _keys(table, "path", must_name_accounts)
    for key in keys:
        if _PATH.fullmatch(key.name) is None:
            raise PolicyFileError(f"{table.name}: {key.name} is no path like m/44'/60'/0'/0/0")
    has_limit = table.has("confirm_within_s")
    return LedgerSettings(
        confirm_within_s=table.integer("confirm_within_s", least=5, most=600) if has_limit else 120,
        keys=keys,
    )


_VAULT_SECRETS = MappingProxyType({"approle": "secret_id_file", "kubernetes": "jwt_file", "token": "token_file"})
"""The file that each way to log in needs."""
_READERS: Mapping[str, Callable[[Table, bool], KeyStoreSettings]] = MappingProxyType(
    {"vault": _vault, "aws-kms": _aws, "gcp-kms": _gcp, "web3signer": _web3signer, "ledger": _ledger}
)


def _keys(table: Table, name: str, must_name_accounts: bool) -> tuple[NamedKey, ...]:
    found = []
    for one in table.tables("keys"):
        is_named = must_name_accounts or one.has("account")
        found.append(NamedKey(one.text(name), one.address("account") if is_named else None))
        one.finish()
    for what in ([key.name for key in found], [key.account for key in found if key.account]):
        if len(set(what)) != len(what):
            raise PolicyFileError(f"{table.where('keys')} names a key or an account twice")
    return tuple(found)


def _url(table: Table, field: str) -> str:
    """Keys and signatures do not travel in the open, but on this machine."""
    text = table.text(field)
    parts = urlsplit(text)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not is_safe or not parts.hostname or parts.username or parts.password or parts.query:
        raise PolicyFileError(f"{table.where(field)} must be an https address without user, password and query")
    return text.rstrip("/")


def _text(table: Table, field: str) -> str | None:
    return table.text(field) if table.has(field) else None


def _path(table: Table, field: str) -> Path | None:
    return table.path(field) if table.has(field) else None


def _limit_s(table: Table, default_ms: int = DEFAULT_LIMIT_MS) -> float:
    limited = table.has("time_limit_ms")
    return (table.integer("time_limit_ms", least=100, most=60_000) if limited else default_ms) / 1_000
