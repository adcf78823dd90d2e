"""From the settings to keys. The client of a store is imported here, when that store was chosen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from dexlane_signer.key_stores.errors import KeyStoreRefusedError
from dexlane_signer.key_stores.settings import (
    AwsSettings,
    GcpSettings,
    KeystoreFiles,
    KeyStoreSettings,
    LedgerSettings,
    NamedKey,
    VaultSettings,
    Web3SignerSettings,
)
from dexlane_signer.key_stores.stored_key import SignatureSource, StoredKey
from dexlane_signer.keys import AccountKey
from dexlane_signer.keystore import load_keystore, read_password
from dexlane_signer.tables import PolicyFileError

Say: TypeAlias = Callable[[str, str], None]


@dataclass(frozen=True)
class OpenedKeys:
    """The keys, and what belongs to them for as long as the process runs."""

    keys: Sequence[AccountKey]
    close: Callable[[], None] = field(default=lambda: None)
    keep: Callable[[], Any] | None = None
    """A coroutine function that never ends, where the store needs one."""


def open_keys(settings: KeyStoreSettings, accounts: Collection[str], say: Say) -> OpenedKeys:
    """Every key that the store was set up with.

    ``accounts`` are the policy's; only Web3Signer is asked for these. Raises ``PolicyFileError`` when the client of the
    store is not installed or a key is not the stated account's, ``KeyStoreRefusedError``, ``KeyStoreUnavailableError``,
    ``KeystoreError`` or ``OSError``.
    """
    quieten()
    if isinstance(settings, KeystoreFiles):
        password = read_password(settings.password_file)
        return OpenedKeys([load_keystore(path, password) for path in settings.paths])
    if isinstance(settings, VaultSettings):
        return _open_vault(settings, say)
    if isinstance(settings, Web3SignerSettings):
        return _open_web3signer(settings, accounts)
    store = open_store(settings)
    keys = []
    for named in settings.keys:
        require_account(named, store.address_of(named))
        keys.append(StoredKey(str(named.account), store.source(named), retry_within_s=retry_within_s(settings)))
    return OpenedKeys(keys, close=store.close)


def quieten() -> None:
    """At their most talkative the clients write down tokens and what is inside answers; they are never let."""
    for name in ("botocore", "google", "hvac", "requests", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


class Store(Protocol):
    """A store whose keys stay in it, each with a name."""

    def address_of(self, key: NamedKey) -> str:
        """The account of a key."""
        ...

    def source(self, key: NamedKey) -> SignatureSource:
        """One key, to ask for signatures."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def open_store(settings: AwsSettings | GcpSettings | LedgerSettings) -> Store:
    """The client of a store whose keys stay in it. Raises as ``open_keys``."""
    if isinstance(settings, AwsSettings):
        with needs_extra("aws"):
            from dexlane_signer.key_stores.aws import AwsKms
        return AwsKms(settings)
    if isinstance(settings, GcpSettings):
        with needs_extra("gcp"):
            from dexlane_signer.key_stores.gcp import GcpKms
        return GcpKms(settings)
    with needs_extra("ledger"):
        from dexlane_signer.key_stores.ledger_usb import UsbDevice
    from dexlane_signer.key_stores.ledger import Ledger

    return Ledger(settings, UsbDevice())


def retry_within_s(settings: AwsSettings | GcpSettings | LedgerSettings) -> float:
    """A failure that came within so many seconds leaves time for one more try; a person is not asked twice."""
    return 0.0 if isinstance(settings, LedgerSettings) else settings.limit_s / 3


def require_account(named: NamedKey, found: str) -> None:
    """Raise ``PolicyFileError`` unless the key is the account's that the file names."""
    if named.account != found:
        raise PolicyFileError(f"the key {named.name} is that of {found}, and the file says {named.account}")


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """A client that is not installed is one sentence. Raises ``PolicyFileError``."""
    try:
        yield
    except ModuleNotFoundError as error:
        sentence = f"this key store needs {error.name}; install it with: pip install 'dexlane-signer[{extra}]'"
        raise PolicyFileError(sentence) from None


def _open_vault(settings: VaultSettings, say: Say) -> OpenedKeys:
    with needs_extra("vault"):
        from dexlane_signer.key_stores.vault import TokenRenewal, VaultStore
    store = VaultStore(settings)
    try:
        keys = store.read_keys()
    finally:
        store.close()
    for named, key in zip(settings.keys, keys, strict=True):
        require_account(named, key.address)
    renewal = TokenRenewal(settings, say=say, sleep=asyncio.sleep) if settings.auth == "token" else None
    return OpenedKeys(keys, keep=None if renewal is None else renewal.keep)


def _open_web3signer(settings: Web3SignerSettings, accounts: Collection[str]) -> OpenedKeys:
    with needs_extra("web3signer"):
        from dexlane_signer.key_stores.web3signer import Web3Signer
    server = Web3Signer(settings)
    known = server.identifiers()
    for account in sorted(set(accounts) - known.keys()):
        raise KeyStoreRefusedError(f"web3signer: it has no key of {account}, an account of the policy")
    keys = [
        StoredKey(account, server.source(known[account]), retry_within_s=settings.limit_s / 3)
        for account in sorted(accounts)
    ]
    return OpenedKeys(keys, close=server.close)
