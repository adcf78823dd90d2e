"""The process itself: it signs, it is stopped three ways, a person alone releases it, and its keys stay inside."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.js.api import StorageType

from dexlane.runtime.cancelling import cancelled
from dexlane_signer import (
    Brake,
    DenialReason,
    GuardUnavailableError,
    Level,
    NonceGuard,
    PrivateKey,
    SigningDenied,
    SignRequest,
    process,
)
from dexlane_signer.bus import BreakerWords, BusListener
from dexlane_signer.wire import dump

from .conftest import KEY, US, program, v3
from .running import Line, Running, prepare, running
from .test_signer import STRANGER, request, with_permit


def fresh(**changes: Any) -> SignRequest:
    """A request whose deadline is ahead of the real clock."""
    if changes.get("kind") == "cancel":
        return request(**changes)
    return request(**{"data": program(v3(US, 100, 1), deadline_s=int(time.time()) + 60), **changes})


async def reason_of(asked: Awaitable[object]) -> DenialReason | None:
    try:
        await asked
    except SigningDenied as denied:
        return denied.reason
    return None


async def test_the_process_signs_entries_only_with_signs_of_life(tmp_path: Path, policy_text: str) -> None:
    async with running(tmp_path, policy_text, KEY) as signer:
        assert await reason_of(signer.signer.sign_transaction(fresh())) is DenialReason.NO_SIGN_OF_LIFE
        assert await reason_of(signer.signer.sign_transaction(fresh(kind="cancel"))) is None
        assert await signer.control({"do": "beat"}) == {"done": "beat"}
        signed = await signer.signer.sign_transaction(fresh(intent_id="b", nonce=8))
        assert signed.transaction.nonce == 8
        status = await signer.control({"do": "status"})
        assert status["level"] == "active"
        assert status["lease"]["age_s"] < 5
        assert status["accounts"] == [KEY.address]
        assert status["counts"]["signed"] == {"transaction": 2}
        assert status["counts"]["denied"] == {"no_sign_of_life": 1}


async def test_no_socket_resumes_and_a_person_does(tmp_path: Path, policy_text: str) -> None:
    async with running(tmp_path, policy_text, KEY) as signer:
        await signer.control({"do": "beat"})
        assert (await signer.control({"do": "halt", "reason": "drill"}))["level"] == "halted"
        loosening = {"do": "halt", "reason": "x", "level": "active"}
        for said in ({"do": "resume"}, {"do": "resume", "reason": "please"}, loosening):
            assert "refused" in await signer.control(said)
        assert await reason_of(signer.signer.sign_transaction(fresh())) is DenialReason.HALTED
        code, said_ = await signer.command("resume", str(signer.policy), "--reason", "drill over")
        assert (code, said_) == (0, "released: the signer is halted by api: drill\n")
        await signer.control({"do": "beat"})
        assert await reason_of(signer.signer.sign_transaction(fresh())) is None
    guard = NonceGuard(tmp_path / "data" / "guard.db")
    assert [(latch.source, latch.reason) for latch in guard.latches()] == [("api", "drill"), ("operator", "drill over")]
    guard.close()


async def test_a_halt_outlives_a_kill(tmp_path: Path, policy_text: str) -> None:
    async with running(tmp_path, policy_text, KEY) as signer:
        await signer.control({"do": "halt", "reason": "fire"})
        signer.process.kill()
        await signer.process.wait()
    async with running(tmp_path, policy_text, KEY) as again:
        await again.control({"do": "beat"})
        assert await reason_of(again.signer.sign_transaction(fresh())) is DenialReason.HALTED


async def test_commands_speak_to_the_running_signer(tmp_path: Path, policy_text: str) -> None:
    async with running(tmp_path, policy_text, KEY) as signer:
        path = str(signer.policy)
        assert await signer.command("halt", path, "--reducing", "--reason", "look") == (0, "the signer is reducing\n")
        code, said = await signer.command("status", path)
        assert code == 0
        assert '"level": "reducing"' in said
        (tmp_path / "data" / "HALT").touch()
        code, said = await signer.command("resume", path, "--reason", "too early")
        assert code == 1
        assert "remove it first" in said
        code, said = await signer.command("run", path)
        assert code == 2
        assert "another process listens" in said
    code, said = await signer.command("status", path)
    assert code == 1
    assert "no signer answers" in said


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "key.json").chmod(0o640), "chmod 600"),
        (lambda folder: (folder / "password").chmod(0o644), "chmod 600"),
        (lambda folder: (folder / "password").write_text("wrong"), "the password is wrong"),
        (lambda folder: (folder / "policy.toml").chmod(0o666), "chmod go-w"),
        (lambda folder: (folder / "key.json").unlink(), "No such file"),
        (lambda folder: (folder / "data").mkdir() or (folder / "data").chmod(0o770), "chmod go-w"),
    ],
)
async def test_a_loose_or_wrong_file_refuses_the_start(
    tmp_path: Path, policy_text: str, spoil: Callable[[Path], object], sentence: str
) -> None:
    policy = prepare(tmp_path, policy_text, KEY)
    spoil(tmp_path)
    code, said = await Running(tmp_path, policy, None, None).command("run", str(policy))  # type: ignore[arg-type]
    assert code in {1, 2}
    assert sentence in said
    assert "Traceback" not in said


async def test_keys_and_accounts_must_fit(tmp_path: Path, policy_text: str) -> None:
    other = policy_text.replace(KEY.address, "0x" + "77" * 20)
    policy = prepare(tmp_path, other, KEY)
    code, said = await Running(tmp_path, policy, None, None).command("run", str(policy))  # type: ignore[arg-type]
    assert code == 2
    assert "remove the key file" in said


async def by_file(signer: Running, _: str) -> None:
    (signer.folder / "data" / "HALT").touch()


async def by_control(signer: Running, _: str) -> None:
    _, writer = await asyncio.open_unix_connection(str(signer.folder / "control.sock"))
    writer.write(b'{"do": "halt", "reason": "drill"}\n')
    writer.close()


def realm_of(folder: Path) -> str:
    """A realm of the test's own: the server keeps the last words of every realm, and others use it too."""
    return f"replay-{hashlib.sha256(bytes(folder)).hexdigest()[:8]}"


async def by_bus(signer: Running, url: str) -> None:
    client = await nats.connect(url)
    word = b'{"name": "trading.status", "status": "halted", "reason": "drill", "source": "operator"}'
    await client.publish(f"{realm_of(signer.folder)}.1.trading.status.operator", word)
    await client.flush()
    await client.close()


def on_bus(policy_text: str, folder: Path, url: str) -> str:
    (folder / "bus-url").write_text(url)
    return policy_text + f'[bus]\nurl_file = "{folder}/bus-url"\nrealm = "{realm_of(folder)}"\n'


@pytest_asyncio.fixture
async def kept(tmp_path: Path, nats_url: str) -> AsyncIterator[Client]:
    """A client of a bus that keeps the last words of the test's realm."""
    client = await nats.connect(nats_url)
    await keep_last_words(client, realm_of(tmp_path))
    yield client
    await client.jetstream().delete_stream(realm_of(tmp_path))
    await client.close()


async def keep_last_words(client: Client, realm: str) -> None:
    await client.jetstream().add_stream(
        name=realm, subjects=[f"{realm}.*.trading.status.>"], max_msgs_per_subject=1, storage=StorageType.MEMORY
    )


async def say(client: Client, folder: Path, source: str, status: str) -> None:
    """Returns when the bus keeps the word."""
    word = f'{{"status": "{status}", "reason": "drill"}}'.encode()
    await client.jetstream().publish(f"{realm_of(folder)}.1.trading.status.{source}", word)


async def entries_held_by(signer: Running, wanted: str) -> None:
    """Wait until it is that source, by the words of the bus, that holds entries; an empty one is nobody."""
    for _ in range(1_000):
        if (await signer.control({"do": "status"}))["breakers"]["source"] == wanted:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(await signer.control({"do": "status"}))


async def bus_lost(signer: Running) -> None:
    """Wait until the signer knows that its line is cut."""
    while (await signer.control({"do": "status"}))["bus_connected"]:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def entry(signer: Running, nonce: int) -> DenialReason | None:
    """Why an entry is denied with a sign of life that just came; ``None`` when it is signed."""
    await signer.control({"do": "beat"})
    return await reason_of(signer.signer.sign_transaction(fresh(intent_id=f"i{nonce}", nonce=nonce)))


@pytest.mark.parametrize("path", [by_file, by_control, by_bus], ids=["file", "control", "bus"])
@pytest.mark.usefixtures("kept")
async def test_each_way_to_halt_works_with_the_other_two_dead(
    tmp_path: Path, policy_text: str, nats_url: str, path: Callable[[Running, str], Awaitable[None]]
) -> None:
    """Dead means: the line to the bus is cut, the control socket is gone, the folder holds no file."""
    async with Line(nats_url) as line, running(tmp_path, on_bus(policy_text, tmp_path, line.url), KEY) as signer:
        await entries_held_by(signer, "")
        if path is not by_bus:
            await line.cut()
            await bus_lost(signer)
        await signer.control({"do": "beat"})
        if path is not by_control:
            (tmp_path / "control.sock").unlink()
        halted_at = last_at = 0.0
        nonce = 0
        while True:
            nonce += 1
            if nonce == 20:
                await path(signer, nats_url)
                halted_at = time.monotonic()
            if await reason_of(signer.signer.sign_transaction(fresh(intent_id=f"i{nonce}", nonce=nonce))) is not None:
                break
            last_at = time.monotonic()
            assert nonce < 2_000, "it signs on"
        assert nonce > 19
        assert last_at - halted_at < 5.0, "a loaded machine; the figure is the bench's"


async def test_after_a_start_no_entry_is_signed_until_the_last_words_of_the_bus_are_read(
    tmp_path: Path, policy_text: str, nats_url: str, kept: Client
) -> None:
    """A breaker may hold since before the start. Exits and cancels do not wait; a line lost later changes nothing."""
    await say(kept, tmp_path, "breaker-losses", "reducing")
    sale = {"data": program(v3(US, 6, 1, path="sell"), deadline_s=int(time.time()) + 60), "purpose": "exit"}
    async with Line(nats_url) as line:
        await line.cut()
        async with running(tmp_path, on_bus(policy_text, tmp_path, line.url), KEY) as signer:
            await signer.logged("bus_error")
            assert await entry(signer, 1) is DenialReason.HALTED
            assert await reason_of(signer.signer.sign_transaction(fresh(intent_id="x", nonce=2, **sale))) is None
            assert await reason_of(signer.signer.sign_transaction(fresh(kind="cancel", nonce=3))) is None
            await line.mend()
            await entries_held_by(signer, "breaker-losses")
            assert await entry(signer, 4) is DenialReason.HALTED
            await say(kept, tmp_path, "breaker-losses", "active")
            await entries_held_by(signer, "")
            assert await entry(signer, 5) is None
            await line.cut()
            await bus_lost(signer)
            assert await entry(signer, 6) is None


async def test_entries_wait_for_a_bus_that_keeps_no_last_words_yet_and_no_longer(
    tmp_path: Path, policy_text: str, nats_url: str
) -> None:
    async with running(tmp_path, on_bus(policy_text, tmp_path, nats_url), KEY) as signer:
        await signer.logged("last_words_unread")
        assert await entry(signer, 1) is DenialReason.HALTED
        client = await nats.connect(nats_url)
        await keep_last_words(client, realm_of(tmp_path))
        await entries_held_by(signer, "")
        assert await entry(signer, 2) is None
        assert signer.log().count('"bus_connected"') == 1, "the link on which halts are heard is not given up for it"
        await client.jetstream().delete_stream(realm_of(tmp_path))
        await client.close()


async def test_last_words_count_as_read_when_each_of_them_was_heard(
    tmp_path: Path, nats_url: str, kept: Client
) -> None:
    for number in range(50):
        await say(kept, tmp_path, f"breaker-{number}", "active")
    heard: list[str] = []

    class Noting(BreakerWords):
        def hear(self, subject: str, level: Level, reason: str) -> None:
            heard.append(subject)
            super().hear(subject, level, reason)

        def all_read(self) -> None:
            heard.append("all")
            super().all_read()

    (tmp_path / "bus-url").write_text(nats_url)
    guard, words = NonceGuard(tmp_path / "guard.db"), Noting(are_awaited=True)
    listener = BusListener(
        Brake(guard), words, url_file=tmp_path / "bus-url", realm=realm_of(tmp_path), log=lambda *_: None
    )
    listening = asyncio.create_task(listener.run())
    for _ in range(500):
        if words.latch().level is Level.ACTIVE:
            break
        await asyncio.sleep(0.02)
    await cancelled([listening])
    guard.close()
    assert (len(set(heard[:50])), heard[50:]) == (50, ["all"])


async def test_the_bus_halts_by_its_last_words_and_never_loosens(
    tmp_path: Path, policy_text: str, nats_url: str
) -> None:
    async with running(tmp_path, on_bus(policy_text, tmp_path, nats_url), KEY) as signer:
        client = await nats.connect(nats_url)
        await signer.logged("bus_connected")
        subject = f"{realm_of(tmp_path)}.1.trading.status.breaker"
        await client.publish(subject, b"not a word")
        await client.publish(subject, b'{"status": "reducing", "reason": "losses"}')
        await client.publish(subject, b'{"status": "active", "reason": "over"}')
        await client.publish(f"{realm_of(tmp_path)}.control.alive", b"")
        await client.flush()
        await asyncio.sleep(0.3)
        status = await signer.control({"do": "status"})
        assert (status["level"], status["source"], status["reason"]) == ("reducing", "bus", "losses")
        assert status["lease"]["age_s"] is not None, "the bus carries signs of life too"
        assert status["bus_connected"] is True
        assert status["counts"]["unread"] == 1
        await client.close()


async def test_a_halt_on_the_bus_holds_whatever_its_reason_is_written_with(
    tmp_path: Path, policy_text: str, nats_url: str
) -> None:
    """The bus keeps last words: one that stops the process would stop it at every start."""
    async with running(tmp_path, on_bus(policy_text, tmp_path, nats_url), KEY) as signer:
        client = await nats.connect(nats_url)
        await signer.logged("bus_connected")
        word = b'{"status": "halted", "reason": "\\ud800"}'
        await client.publish(f"{realm_of(tmp_path)}.1.trading.status.operator", word)
        await client.flush()
        await client.close()
        await asyncio.sleep(0.5)
        status = await signer.control({"do": "status"})
        assert (status["level"], status["source"]) == ("halted", "bus")
        assert await reason_of(signer.signer.sign_transaction(fresh(kind="cancel"))) is None


async def test_a_breaker_holds_entries_as_long_as_it_says_and_loosens_nothing_that_others_latched(
    tmp_path: Path, policy_text: str, nats_url: str, kept: Client
) -> None:
    async with running(tmp_path, on_bus(policy_text, tmp_path, nats_url), KEY) as signer:
        await entries_held_by(signer, "")
        subject = f"{realm_of(tmp_path)}.1.trading.status"

        async def said(source: str, status: str) -> None:
            word = f'{{"status": "{status}", "reason": "drill"}}'.encode()
            await kept.publish(f"{subject}.{source}", word)
            await kept.publish(f"{realm_of(tmp_path)}.control.alive", b"")
            await kept.flush()
            await asyncio.sleep(0.3)

        await said("breaker-losses", "reducing")
        assert await reason_of(signer.signer.sign_transaction(fresh(intent_id="i1", nonce=1))) is DenialReason.HALTED
        status = await signer.control({"do": "status"})
        assert status["level"] == "active", "a breaker latches nothing"
        assert (status["breakers"]["level"], status["breakers"]["source"]) == ("reducing", "breaker-losses")
        await said("breaker-losses", "active")
        assert await reason_of(signer.signer.sign_transaction(fresh(intent_id="i2", nonce=2))) is None
        await said("operator", "reducing")
        await said("breaker-losses", "active")
        assert await reason_of(signer.signer.sign_transaction(fresh(intent_id="i3", nonce=3))) is DenialReason.HALTED


def forms_of(secret: bytes) -> list[bytes]:
    """Every way in which a key might be written down."""
    written = [secret.hex(), secret.hex().upper(), str(int.from_bytes(secret, "big"))]
    base64s = [base64.b64encode(secret)[:42], base64.urlsafe_b64encode(secret)[:42]]
    return [secret, secret[::-1], *base64s, *(text.encode() for text in written)]


def memory_of(pid: int) -> bytes:
    """All readable memory of a process; needs root."""
    found = bytearray()
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            span, mode, *_ = line.split()
            if "r" not in mode or "[v" in line:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            with contextlib.suppress(OSError, ValueError, OverflowError):
                memory.seek(start)
                found += memory.read(end - start)
    return bytes(found)


ASKER = """
import asyncio, pathlib, sys
from dexlane_signer import GuardUnavailableError, RemoteSigner, SigningDenied
from dexlane_signer.wire import load
from dexlane_signer import SignRequest
import json

async def main():
    link = RemoteSigner(pathlib.Path(sys.argv[1]), time_limit_s=8)
    said = []
    for asked in json.loads(sys.stdin.readline()):
        try:
            await link.sign_transaction(load(SignRequest, asked))
            said.append("signed")
        except (SigningDenied, GuardUnavailableError) as error:
            said.append(str(error))
    print(json.dumps(said), flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""
"""A process that asks over the socket as executors do, and lives on so that its memory can be searched."""


async def test_a_known_key_is_found_nowhere_but_in_the_signer(tmp_path: Path, policy_text: str) -> None:
    """A full round of signatures, denials, nonsense, a blocked record and a crash; then logs, files, answers and the
    asker's memory are searched for every form of the key."""
    if os.geteuid() != 0:
        pytest.skip("the memory of other processes is searched, which needs root")
    secret = os.urandom(32)
    key, forms = PrivateKey(secret), forms_of(secret)
    text = policy_text.replace(KEY.address, key.address)
    sender = {"sender": key.address}
    changes: list[dict[str, Any]] = [{}, {"intent_id": "b"}, {"to": STRANGER}, {"chain_id": 5}]
    round_ = [fresh(**sender, **change) for change in changes]
    deadline_s = int(time.time()) + 60
    round_.append(fresh(**sender, intent_id="p", nonce=8, data=with_permit(deadline_s=deadline_s)))
    asked = [dump(one) for one in round_]
    async with running(tmp_path, text, key) as signer:
        await signer.control({"do": "beat"})
        asker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ASKER, str(tmp_path / "signer.sock")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert asker.stdin is not None
        assert asker.stdout is not None
        blocker = sqlite3.connect(tmp_path / "data" / "guard.db", isolation_level=None)
        asker.stdin.write(json.dumps([*asked, asked[0]]).encode() + b"\n")
        answers = json.loads(await asker.stdout.readline())
        assert answers[0] == answers[4] == "signed"
        assert [word.partition(":")[0] for word in answers[1:4]] == ["slot_taken", "unknown_selector", "wrong_chain"]
        blocker.execute("BEGIN IMMEDIATE")
        signer.signer._time_limit_s = 8.0
        with pytest.raises(GuardUnavailableError):
            await signer.signer.sign_transaction(fresh(**sender, intent_id="c", nonce=9))
        blocker.execute("ROLLBACK")
        blocker.close()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "signer.sock"))
        writer.write((9).to_bytes(4, "big") + b"nonsense!" + (1 << 30).to_bytes(4, "big"))
        spoken = await reader.read()
        writer.close()
        assert any(form in memory_of(signer.process.pid) for form in forms), "the search finds what is there"
        assert [form for form in forms if form in memory_of(asker.pid)] == []
        spoken += json.dumps([answers, await signer.control({"do": "status"})]).encode()
        signer.process.send_signal(signal.SIGABRT)
        await signer.process.wait()
        asker.stdin.close()
        await asker.wait()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert [form for form in forms if form in written + spoken] == []
    assert not list(tmp_path.rglob("core*"))


async def test_the_process_can_neither_be_dumped_nor_read(tmp_path: Path) -> None:
    told = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c"),
        "import ctypes, os, resource; from dexlane_signer.hygiene import close_memory; close_memory();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE), os.umask(0))",
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await told.communicate()
    assert said.split() == [b"0", b"0", b"0", str(0o077).encode()]


async def test_what_takes_a_cancellation_for_its_own_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "CANCEL_AGAIN_S", 0.01)

    async def hard_of_hearing() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(hard_of_hearing())
    await asyncio.sleep(0)
    await process._ended([task])
    assert task.cancelled()
