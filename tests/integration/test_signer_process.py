"""With ``--signer-process`` the keys lie with a process of its own: trades go through it, nothing else has them."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from nats.js.api import ConsumerConfig, DeliverPolicy

from dexlane.events.execution import FillIncluded, IntentCreated
from dexlane.events.streams import STREAMS
from dexlane.runtime.signer_control import tell
from dexlane.testing.stack import COMMAND, Stack, StackError
from dexlane_cli.stack import SERVICE_PORTS
from dexlane_devnet import account
from ports import free_shift

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(400)]

ROLES = ("live-fast", "live-smart")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("signed"), free_shift())
    running.start("--signer-process", "--speed", "500")
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


def forms_of(secret: bytes) -> dict[str, bytes]:
    """How a key could be written down. Base64 of a key inside longer bytes has three alignments."""
    whole = {f"base64 at {skip}": base64.b64encode(b"\0" * skip + secret)[4 * (skip > 0) : -4] for skip in range(3)}
    found = {"raw": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode(), **whole}
    url_safe = {f"{name} for URLs": form.translate(bytes.maketrans(b"+/", b"-_")) for name, form in whole.items()}
    return found | url_safe


def secrets_of_the_stack() -> dict[str, bytes]:
    keys = {role: bytes.fromhex(account(role).private_key.removeprefix("0x")) for role in ROLES}
    return {f"{role} {name}": form for role, key in keys.items() for name, form in forms_of(key).items()}


def leaks(place: str, content: bytes) -> list[str]:
    """Which forms of which key the content holds."""
    return [f"{place}: {name}" for name, form in secrets_of_the_stack().items() if form in content]


def signed_attempts(stack: Stack) -> int:
    """How many transactions the signer's record holds; read from outside, as the signer may be dead."""
    path = stack.home / "session" / "signer" / "data" / "guard.db"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        (count,) = db.execute("SELECT count(*) FROM attempts").fetchone()
    return int(count)


def signer_pid(stack: Stack) -> int | None:
    try:
        return stack.pid_of("signer")
    except StackError:
        return None


def control(stack: Stack) -> Path:
    return stack.home / "session" / "run" / "control.sock"


def release(stack: Stack) -> None:
    """What the signer's owner does; the command belongs to a home and to no ports."""
    command = [COMMAND, "signer", "resume", "the drill is over", "--home", str(stack.home)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "released: " in done.stdout


async def a_live_fill(stack: Stack, after_ms: int = 0) -> FillIncluded:
    """A live fill whose intent was decided after that time."""
    async with stack.bus() as witness:
        intent = await witness.until(
            IntentCreated, lambda event: event.mode == "live" and event.occurred_at_ms > after_ms, timeout_s=180
        )
        return await witness.until(
            FillIncluded,
            lambda event: event.mode == "live" and event.deltas != () and event.occurred_at_ms >= intent.occurred_at_ms,
            timeout_s=180,
        )


@pytest.mark.parametrize("skip", range(4))
def test_a_key_would_be_found_in_each_of_its_forms(skip: int) -> None:
    secret = bytes.fromhex(account("live-fast").private_key.removeprefix("0x"))
    inside = b"x" * skip + secret + b"y"
    for written in (inside, base64.b64encode(inside), base64.urlsafe_b64encode(inside), inside.hex().encode()):
        assert leaks("planted", b"log line " + written + b"\n")
    assert not leaks("planted", bytes(range(256)))


async def test_live_trades_are_signed_by_the_process_and_executors_have_no_key(stack: Stack) -> None:
    await a_live_fill(stack)
    status = await tell(control(stack), {"do": "status"})
    assert status["level"] == "active", status
    assert status["bus_connected"] is True
    assert signed_attempts(stack) > 0
    assert not list((stack.home / "session" / "keys").iterdir())
    assert not list((stack.home / "session" / "data").glob("*guard*"))


async def test_a_killed_signer_signs_nothing_comes_back_and_trades_go_on(stack: Stack) -> None:
    await a_live_fill(stack)
    first = stack.pid_of("signer")
    os.kill(first, signal.SIGKILL)
    while signer_pid(stack) == first:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    killed_ms, count = time.time_ns() // 1_000_000, signed_attempts(stack)
    while signer_pid(stack) is None:
        assert signed_attempts(stack) == count
        await asyncio.sleep(0.02)
    await a_live_fill(stack, killed_ms)
    assert signed_attempts(stack) > count
    assert stack.pid_of("signer") != first


async def test_the_gateways_halt_reaches_the_signer_and_only_its_owner_lets_go(stack: Stack) -> None:
    halted = await asyncio.to_thread(stack.command, "halt", "a drill", "--all")
    assert halted.returncode == 0, halted.stderr
    held = await tell(control(stack), {"do": "status"})
    assert (held["level"], held["source"], held["reason"]) == ("halted", "api", "a drill")
    resumed = await asyncio.to_thread(stack.command, "resume", "the drill is over")
    assert resumed.returncode == 0, resumed.stderr
    assert (await tell(control(stack), {"do": "status"}))["level"] == "halted"
    await asyncio.to_thread(release, stack)
    assert (await tell(control(stack), {"do": "status"}))["level"] == "active"
    await a_live_fill(stack, time.time_ns() // 1_000_000)


async def test_no_file_event_metric_or_environment_of_the_stack_holds_a_key(stack: Stack) -> None:
    await a_live_fill(stack)
    found: list[str] = []
    files = [path for path in stack.home.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"guard.db", "fast-executor.db", "fast-executor.log", "signer.log", "policy.toml", "output"} <= names
    for path in files:
        found += leaks(str(path), path.read_bytes())
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        for name, port in SERVICE_PORTS.items():
            text = await client.get(f"http://127.0.0.1:{port + stack.shift}/metrics")
            assert text.status_code == 200
            found += leaks(f"metrics of {name}", text.content)
    for name in (*SERVICE_PORTS, "signer"):
        for part in ("environ", "cmdline"):
            found += leaks(f"{part} of {name}", Path(f"/proc/{stack.pid_of(name)}/{part}").read_bytes())
    assert not found
    assert await events_that_leak(stack) == []


async def events_that_leak(stack: Stack) -> list[str]:
    """Every message that is stored on the bus, as it is sent."""
    found: list[str] = []
    async with stack.bus() as witness:
        for stream in STREAMS:
            stored = (await witness.js.stream_info(stream.name)).state.messages
            feed = await witness.js.subscribe(
                ">",
                stream=stream.name,
                ordered_consumer=True,
                config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
            )
            for _ in range(stored):
                message = await feed.next_msg(timeout=10)
                found += leaks(message.subject, message.data)
            await feed.unsubscribe()
    return found
