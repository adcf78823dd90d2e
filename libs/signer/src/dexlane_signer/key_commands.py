"""What a person does with keys before anything trades: have them made, and see that the store signs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator

from dexlane_signer import rlp
from dexlane_signer.addresses import checksum_address
from dexlane_signer.key_stores.opening import needs_extra, open_store, quieten
from dexlane_signer.key_stores.settings import (
    AwsSettings,
    GcpSettings,
    KeystoreFiles,
    KeyStoreSettings,
    VaultSettings,
    Web3SignerSettings,
)
from dexlane_signer.key_stores.signatures import recoverable
from dexlane_signer.keys import AccountKey, PrivateKey
from dexlane_signer.keystore import SCRYPT_N, load_keystore, read_password, write_keystore
from dexlane_signer.process import load_keys
from dexlane_signer.settings import ProcessSettings
from dexlane_signer.transactions import DynamicFeeTransaction

NOWHERE = 2**53 - 1
"""A chain that is none, still small enough for every client."""


def check_keys(settings: ProcessSettings, *, monotonic_s: Callable[[], float] = time.monotonic) -> str:
    """One line for each account: its store, and that a signature of it verifies. The signed transaction is good on no
    chain, and is thrown away. Raises as ``load_keys``, ``KeyStoreRefusedError`` or ``KeyStoreUnavailableError``."""
    opened = load_keys(settings)
    try:
        return "\n".join(_checked(key, settings.key_store, monotonic_s) for key in opened.keys)
    finally:
        opened.close()


def _checked(key: AccountKey, store: KeyStoreSettings, monotonic_s: Callable[[], float]) -> str:
    harmless = DynamicFeeTransaction(
        chain_id=NOWHERE,
        nonce=NOWHERE,
        max_priority_fee_per_gas_wei=0,
        max_fee_per_gas_wei=0,
        gas_limit=0,  # no chain takes a transaction with less than 21,000
        to=key.address,
        value_wei=0,
        data=b"",
    )
    began_s = monotonic_s()
    raw = key.sign_transaction(harmless).raw
    taken_ms = (monotonic_s() - began_s) * 1_000
    items = rlp.decode(raw[1:])
    r, s = (int.from_bytes(item, "big") for item in items[-2:] if isinstance(item, bytes))
    recoverable(r, s, harmless.signing_hash(), key.address)
    return f"{checksum_address(key.address)} in {name_of(store)}: its signature verifies, {taken_ms:.0f} ms"


def name_of(store: KeyStoreSettings) -> str:
    """The store as people call it."""
    if isinstance(store, KeystoreFiles):
        return "keystore"
    if isinstance(store, VaultSettings):
        return f"vault {store.url}"
    if isinstance(store, AwsSettings):
        return f"aws-kms {store.region}"
    if isinstance(store, GcpSettings):
        return "gcp-kms"
    return f"web3signer {store.url}" if isinstance(store, Web3SignerSettings) else "ledger"


def init_keys(store: KeyStoreSettings, *, scrypt_n: int = SCRYPT_N) -> str:
    """Make the keys that are not there yet, where the store keeps what it is given (keystore, Vault), and say every
    account as the policy wants it. Nothing is ever replaced. Raises as ``open_keys``."""
    quieten()
    if isinstance(store, KeystoreFiles):
        found = list(_init_keystores(store, scrypt_n))
    elif isinstance(store, VaultSettings):
        found = list(_init_vault(store))
    elif isinstance(store, Web3SignerSettings):
        found = list(_listed(store))
    else:
        opened = open_store(store)
        try:
            found = [(named.name, opened.address_of(named), False) for named in store.keys]
        finally:
            opened.close()
    lines = [f'# {"made" if is_new else "found"}: {name}\naccount = "{address}"' for name, address, is_new in found]
    accounts = ", ".join(f'"{address}"' for _, address, _ in found)
    return "\n".join([*lines, f"# for [[chains]]\naccounts = [{accounts}]"])


def _init_keystores(store: KeystoreFiles, scrypt_n: int) -> Iterator[tuple[str, str, bool]]:
    password = read_password(store.password_file)
    for path in store.paths:
        is_new = not path.exists()
        if is_new:
            write_keystore(path, _new_key(), password, scrypt_n=scrypt_n)
        yield str(path), load_keystore(path, password).address, is_new


def _init_vault(settings: VaultSettings) -> Iterator[tuple[str, str, bool]]:
    with needs_extra("vault"):
        from dexlane_signer.key_stores.vault import VaultStore
    store = VaultStore(settings)
    try:
        made = {named: store.create_key(named, _new_key) for named in settings.keys}
        for named, key in zip(settings.keys, store.read_keys(), strict=True):
            yield named.name, key.address, made[named] is not None
    finally:
        store.close()


def _listed(settings: Web3SignerSettings) -> Iterator[tuple[str, str, bool]]:
    with needs_extra("web3signer"):
        from dexlane_signer.key_stores.web3signer import Web3Signer
    server = Web3Signer(settings)
    try:
        yield from ((identifier, address, False) for address, identifier in sorted(server.identifiers().items()))
    finally:
        server.close()


def _new_key() -> PrivateKey:
    return PrivateKey(secrets.token_bytes(32))
