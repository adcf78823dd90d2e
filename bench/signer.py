"""The signer: what a signature costs in process and over the socket, and how soon a halt ends the last one, by each
path with the other two dead."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats

from bench.floor import Spread, spread
from dexlane.testing.servers import nats_server
from dexlane_signer import (
    PERMIT2,
    DynamicFeeTransaction,
    LocalSigner,
    NonceGuard,
    PrivateKey,
    RemoteSigner,
    SigningDenied,
    SignRequest,
    write_keystore,
)
from dexlane_signer.settings import read_settings

KEY = PrivateKey.from_hex("11" * 32)
TOKEN, ROUTER = "0x" + "aa" * 20, "0x" + "bb" * 20
TRIPS = 100
SIGNED_BETWEEN = 3
SETTLED_S = 0.05
"""So long a halt that was on its way may still be recorded before the record is released for the next trip."""
NOWHERE = "nats://127.0.0.1:9"
Halt = Callable[[Path, str], Awaitable[None]]


def asked(nonce: int) -> SignRequest:
    """A request that the bench's policy allows."""
    data = bytes.fromhex("095ea7b3") + bytes.fromhex(PERMIT2[2:]).rjust(32, b"\0") + (5).to_bytes(32, "big")
    transaction = DynamicFeeTransaction(
        chain_id=1,
        nonce=nonce,
        max_priority_fee_per_gas_wei=1,
        max_fee_per_gas_wei=2,
        gas_limit=90_000,
        to=TOKEN,
        value_wei=0,
        data=data,
    )
    return SignRequest(sender=KEY.address, intent_id=f"i{nonce}", kind="trade", transaction=transaction, attempt=1)


def policy_file(folder: Path, bus_url: str) -> Path:
    """The files of a signer's process with one key."""
    write_keystore(folder / "key.json", KEY, "bench", scrypt_n=2)
    for name, text in (("password", "bench"), ("bus", bus_url)):
        (folder / name).touch(0o600)
        (folder / name).write_text(text)
    path = folder / "policy.toml"
    path.write_text(f"""[process]
socket = "{folder}/s"
control_socket = "{folder}/c"
data_dir = "{folder}/data"
keystores = ["{folder}/key.json"]
password_file = "{folder}/password"
signs_of_life = false
[bus]
url_file = "{folder}/bus"
realm = "main"
[[chains]]
chain_id = 1
accounts = ["{KEY.address}"]
permit_spenders = []
require_approvals = false
max_fee_per_gas_wei = 10
max_gas_limit = 100000
max_deadline_s = 60
max_permit_s = 60
[[chains.routers]]
address = "{ROUTER}"
selectors = ["0x3593564c"]
[[chains.tokens]]
address = "{TOKEN}"
max_allowance = 10
max_trade = 10
[[chains.books]]
id = "bench"
level = 5
quote = "{TOKEN}"
[chains.books.fast]
account = "{KEY.address}"
capital = "1000"
""")
    path.chmod(0o600)
    return path


@asynccontextmanager
async def _process(folder: Path, bus_url: str) -> AsyncIterator[Path]:
    policy = policy_file(folder, bus_url)
    command = Path(sys.executable).parent / "dexlane-signer"
    log = folder / "log"
    with log.open("wb") as lines:
        process = await asyncio.create_subprocess_exec(str(command), "run", str(policy), stdout=lines, stderr=lines)
    wanted = "signer_ready" if bus_url == NOWHERE else "bus_connected"
    for _ in range(1_000):
        if wanted in log.read_text() and (folder / "s").exists():
            break
        await asyncio.sleep(0.02)
    try:
        yield folder
    finally:
        process.terminate()
        await process.wait()


async def _by_file(folder: Path, _: str) -> None:
    (folder / "data" / "HALT").touch()


async def _by_control(folder: Path, _: str) -> None:
    _reader, writer = await asyncio.open_unix_connection(str(folder / "c"))
    writer.write(b'{"do": "halt", "reason": "bench"}\n')
    await writer.drain()
    writer.close()


async def _by_bus(_: Path, url: str) -> None:
    client = await nats.connect(url)
    await client.publish("main.1.trading.status.bench", b'{"status": "halted", "reason": "bench"}')
    await client.close()


async def _trips(halt: Halt, bus_url: str) -> Spread:
    """Requests without a pause; the time from just before the halt to the last signature that came out."""
    found: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        async with _process(Path(name), bus_url if halt is _by_bus else NOWHERE) as folder:
            if halt is not _by_control:
                (folder / "c").unlink()
            signer, guard, nonce = RemoteSigner(folder / "s"), NonceGuard(folder / "data" / "guard.db"), 0
            for _ in range(TRIPS):
                halted_at = last_at = 0.0
                halting: asyncio.Future[None] | None = None
                for count in range(5_000):
                    if count == SIGNED_BETWEEN:
                        halted_at = last_at = time.perf_counter()
                        halting = asyncio.ensure_future(halt(folder, bus_url))
                    try:
                        await signer.sign_transaction(asked(nonce))
                    except SigningDenied:
                        break
                    last_at, nonce = time.perf_counter(), nonce + 1
                if halting is None:
                    raise RuntimeError("the signer was halted before it was told to")
                await halting
                found.append((last_at - halted_at) * 1e3)
                (folder / "data" / "HALT").unlink(missing_ok=True)
                await asyncio.sleep(SETTLED_S)
                guard.resume("bench")
            await signer.close()
            guard.close()
    return spread(found)


async def _costs(count: int = 500) -> tuple[Spread, Spread]:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        async with _process(Path(name), NOWHERE) as folder:
            remote, over = RemoteSigner(folder / "s"), []
            for nonce in range(count):
                began = time.perf_counter_ns()
                await remote.sign_transaction(asked(nonce))
                over.append((time.perf_counter_ns() - began) / 1e6)
            await remote.close()
            policies = read_settings(folder / "policy.toml").policies
            guard = NonceGuard(folder / "here.db")
            here, inside = LocalSigner([KEY], policies, guard), []
            for nonce in range(count):
                began = time.perf_counter_ns()
                here.sign_transaction(asked(nonce))
                inside.append((time.perf_counter_ns() - began) / 1e6)
            guard.close()
    return spread(inside), spread(over)


def show() -> None:
    """One line for each figure."""
    inside, over = asyncio.run(_costs())
    print(f"signature with its record, in process: {inside}")
    print(f"signature with its record, over the socket: {over}")
    with nats_server() as url:
        for name, halt in (("file", _by_file), ("control socket", _by_control), ("bus", _by_bus)):
            began = time.monotonic()
            found = asyncio.run(_trips(halt, url))
            taken_s = time.monotonic() - began
            print(
                f"halt to last signature by {name}, the others dead: {found} (promised p99 250), {taken_s:.0f} s",
                flush=True,
            )
