"""Keys that lie elsewhere: what a signature costs with each store's real client against its double on loopback, and
what an executor waits over the socket when the store takes 0, 50 or 200 ms. A real service's own time comes on top."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bench.floor import Spread, spread
from bench.signer import KEY, asked, policy_file
from dexlane.testing.key_services import aws, gcp, ledger, web3signer
from dexlane.testing.key_services.accounts import service_account_file
from dexlane.testing.key_services.curve import ServiceKey
from dexlane.testing.key_services.http import Service, serving
from dexlane_signer import LocalSigner, NonceGuard, RemoteSigner, SignRequest
from dexlane_signer.key_stores.ledger import Ledger
from dexlane_signer.key_stores.ledger_usb import UsbDevice
from dexlane_signer.key_stores.opening import open_keys
from dexlane_signer.key_stores.settings import (
    AwsSettings,
    GcpSettings,
    KeyStoreSettings,
    LedgerSettings,
    NamedKey,
    Web3SignerSettings,
)
from dexlane_signer.key_stores.stored_key import StoredKey
from dexlane_signer.keys import AccountKey
from dexlane_signer.server import SigningServer
from dexlane_signer.settings import read_settings

COUNT = 200
DELAYS_MS = (0, 50, 200)
BURST = 8
VERSION = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
LIMIT_S = 1.5


@contextmanager
def _opened(settings: KeyStoreSettings) -> Iterator[AccountKey]:
    opened = open_keys(settings, {KEY.address}, lambda *_: None)
    yield opened.keys[0]
    opened.close()


@contextmanager
def _aws() -> Iterator[tuple[Service, AccountKey]]:
    double = aws.AwsDouble(keys={"k": ServiceKey(KEY.export_secret())})
    os.environ |= {"AWS_ACCESS_KEY_ID": double.access_key, "AWS_SECRET_ACCESS_KEY": double.secret_key}
    named = (NamedKey("k", KEY.address),)
    with ExitStack() as stack:
        url = stack.enter_context(serving(double.answer))
        settings = AwsSettings(region="eu-central-1", endpoint_url=url, limit_s=LIMIT_S, keys=named)
        yield double, stack.enter_context(_opened(settings))


@contextmanager
def _gcp() -> Iterator[tuple[Service, AccountKey]]:
    double = gcp.GcpDouble(keys={VERSION: ServiceKey(KEY.export_secret())})
    named = (NamedKey(VERSION, KEY.address),)
    with ExitStack() as stack:
        url = stack.enter_context(serving(double.answer))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = service_account_file(folder, url)
        settings = GcpSettings(endpoint_url=url, credentials_file=file, limit_s=LIMIT_S, keys=named)
        yield double, stack.enter_context(_opened(settings))


@contextmanager
def _web3signer() -> Iterator[tuple[Service, AccountKey]]:
    double = web3signer.Web3SignerDouble(keys=[ServiceKey(KEY.export_secret())])
    with ExitStack() as stack:
        url = stack.enter_context(serving(double.answer))
        plain = Web3SignerSettings(url=url, ca_file=None, client_cert_file=None, client_key_file=None, limit_s=LIMIT_S)
        yield double, stack.enter_context(_opened(plain))


@contextmanager
def _ledger() -> Iterator[tuple[Service, AccountKey]]:
    """Framing and parsing alone; a person takes seconds."""
    named = NamedKey("m/44'/60'/0'/0/0", KEY.address)
    path = (0x8000002C, 0x8000003C, 0x80000000, 0, 0)
    device = UsbDevice(open_handle=lambda: ledger.HidDouble(ledger.LedgerDouble({path: KEY.export_secret()})))
    opened = Ledger(LedgerSettings(confirm_within_s=5, keys=(named,)), device)
    yield Service(), StoredKey(KEY.address, opened.source(named), retry_within_s=0.0)
    opened.close()


STORES = {"aws-kms": _aws, "gcp-kms": _gcp, "web3signer": _web3signer, "ledger": _ledger}


def _key_alone(key: AccountKey, count: int = COUNT) -> Spread:
    samples = []
    for nonce in range(count):
        began = time.perf_counter_ns()
        key.sign_transaction(asked(nonce).transaction)
        samples.append((time.perf_counter_ns() - began) / 1e6)
    return spread(samples)


async def _over_the_socket(key: AccountKey, service: Service, delay_ms: int) -> tuple[Spread, float]:
    """One after the other, and the whole time of a burst."""
    service.delay_s = delay_ms / 1_000
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        policies = read_settings(policy_file(folder, "nats://127.0.0.1:9")).policies
        guard = NonceGuard(folder / "guard.db")
        server = SigningServer(LocalSigner([key], policies, guard), uids=[os.getuid()])
        await server.start(folder / "s")
        remote, samples = RemoteSigner(folder / "s"), []
        for nonce in range(20):
            began = time.perf_counter_ns()
            await remote.sign_transaction(asked(nonce))
            samples.append((time.perf_counter_ns() - began) / 1e6)
        burst: list[SignRequest] = [replace(asked(nonce), intent_id=f"b{nonce}") for nonce in range(20, 20 + BURST)]
        began = time.perf_counter_ns()
        await asyncio.gather(*(remote.sign_transaction(one) for one in burst))
        burst_ms = (time.perf_counter_ns() - began) / 1e6
        await remote.close()
        await server.stop()
        guard.close()
    return spread(samples), burst_ms


def show() -> None:
    """One line for each figure."""
    print(f"signature with a key in this process: {_key_alone(KEY)}")
    for name, opened in STORES.items():
        with opened() as (service, key):
            print(f"signature by {name} (its double, no delay): {_key_alone(key)}", flush=True)
            if name != "aws-kms":
                continue
            for delay_ms in DELAYS_MS:
                one, burst_ms = asyncio.run(_over_the_socket(key, service, delay_ms))
                line = f"  over the socket, {delay_ms} ms in the store: {one}; {BURST} at once {burst_ms:.0f} ms"
                print(line, flush=True)
