"""An executor whose keys lie with a signer elsewhere: the same life of a trade, and no other way to a key."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from dexlane.chain.calldata import MAINNET_ROUTER
from dexlane.chain.execution.keys import KeysHere, KeysHerePlace, SigningRules, policy_for
from dexlane.chain.execution.live import why_not_live
from dexlane.chain.execution.signer_elsewhere import SignerElsewhere
from dexlane.events.control import Status
from dexlane.events.execution import FailureReason, FillConfirmed, IntentCreated, IntentFailed, Purpose
from dexlane.runtime.errors import Misconfigured, Transient
from dexlane.runtime.settings import REAL_MONEY_WORDS
from dexlane.runtime.signer_control import tell
from dexlane.testing.builders import CHAIN_ID, a_status
from dexlane.testing.live_bench import ACCOUNT, KEY, Bench, Home, live_book, running
from dexlane.values.books import Lane
from dexlane_signer import (
    Brake,
    ControlServer,
    DenialReason,
    Level,
    LocalSigner,
    NonceGuard,
    PrivateKey,
    RemoteSigner,
)
from dexlane_signer.client import PAUSES_S
from dexlane_signer.server import SigningServer


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


@asynccontextmanager
async def signing(bench: Bench, path: Path) -> AsyncIterator[SigningServer]:
    """A signer behind a socket, with rules of its own."""
    guard = NonceGuard(bench.home.folder / "signers-guard.db")
    policy = policy_for(CHAIN_ID, Lane.FAST, [live_book()], [MAINNET_ROUTER], SigningRules())
    signer = LocalSigner([PrivateKey.from_hex(KEY)], [policy], guard, clock_s=lambda: bench.chain.tip.timestamp_s)
    server = SigningServer(signer, uids=(os.getuid(),))
    await server.start(path)
    yield server
    await server.stop()
    guard.close()


def move_keys_away(bench: Bench, path: Path) -> None:
    live = bench.executor.live
    live._source = SignerElsewhere(path, CHAIN_ID)
    live.payloads = replace(live.payloads, signer=live._source.signer)


def intent_id(bench: Bench, verdict_id: str) -> str:
    return IntentCreated.make_id("live-one", verdict_id, Purpose.ENTRY)


async def test_a_trade_is_signed_over_the_socket(home: Home, tmp_path: Path) -> None:
    async with running(home, ready=False) as bench, signing(bench, tmp_path / "s") as server:
        move_keys_away(bench, tmp_path / "s")
        for _ in range(5):
            await bench.head()
        verdict = bench.verdict()
        await bench.executor.on_verdict(verdict)
        for _ in range(2):
            await bench.head()
        assert await bench.of_intent(intent_id(bench, verdict.id), FillConfirmed)
        assert server._signer.counts.signed == {"transaction": 3}, "a trade, and the allowance of either token"
        guard = sqlite3.connect(home.folder / "signers-guard.db")
        epoch = bench.executor.live._parts.journal.term.epoch
        assert guard.execute("SELECT epoch FROM epochs").fetchall() == [(epoch,)]
        guard.close()
        assert not (home.folder / "guard.db").exists(), "no key and no record lies with the executor"


async def test_without_the_signer_intents_wait_and_expire_and_nothing_is_signed(home: Home, tmp_path: Path) -> None:
    async with running(home, ready=False) as bench:
        async with signing(bench, tmp_path / "s"):
            move_keys_away(bench, tmp_path / "s")
            for _ in range(5):
                await bench.head()
        verdict = bench.verdict(blocks=2)
        await bench.executor.on_verdict(verdict)
        for _ in range(4):
            await bench.head()
        assert "tx.signed" not in await bench.names(intent_id(bench, verdict.id))
        assert bench.effects() == 0
        async with signing(bench, tmp_path / "s"):
            for _ in range(4):
                await bench.head()
        (failed, *_) = await bench.of_intent(intent_id(bench, verdict.id), IntentFailed)
        assert failed.reason is FailureReason.EXPIRED
        assert bench.effects() == 0


async def test_while_the_signer_is_silent_entries_are_refused_with_the_reason_and_no_slot_is_taken(
    home: Home, tmp_path: Path
) -> None:
    async with running(home, ready=False) as bench:
        async with signing(bench, tmp_path / "s"):
            move_keys_away(bench, tmp_path / "s")
            for _ in range(5):
                await bench.head()
            assert bench.executor.why_not_ready() is True
        waiting = bench.verdict(blocks=20)
        await bench.executor.on_verdict(waiting)
        await bench.head()
        assert "does not answer" in str(bench.executor.why_not_ready())
        refused = bench.verdict(blocks=20)
        await bench.executor.on_verdict(refused)
        assert await bench.of_intent(intent_id(bench, refused.id), IntentCreated) == []
        assert bench.effects() == 0
        async with signing(bench, tmp_path / "s"):
            for _ in range(4):
                await bench.head()
            assert bench.executor.why_not_ready() is True
        assert await bench.of_intent(intent_id(bench, waiting.id), FillConfirmed), "the one that waited was not lost"
        assert bench.effects() == 1


async def test_a_frozen_signer_is_asked_once_and_what_waits_is_signed_when_it_goes_on(
    home: Home, tmp_path: Path
) -> None:
    async with running(home, ready=False) as bench, signing(bench, tmp_path / "s") as server:
        move_keys_away(bench, tmp_path / "s")
        for _ in range(5):
            await bench.head()
        source = bench.executor.live._source
        assert isinstance(source, SignerElsewhere)
        remote, (connection,) = source._signer, server._open
        assert remote._link is not None
        assert connection._transport is not None
        connection._transport.pause_reading()
        remote._time_limit_s, before = 0.1, remote._link._number
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        for _ in range(3):
            await bench.head()
        assert remote._link._number == before + 1, "passes that come while the pause lasts ask nothing"
        await asyncio.sleep(PAUSES_S[0])
        remote._time_limit_s = 20
        connection._transport.resume_reading()
        for _ in range(4):
            await bench.head()
        assert await bench.of_intent(intent_id(bench, verdict.id), FillConfirmed)
        assert bench.effects() == 1


async def test_a_signer_that_does_not_tell_its_accounts_is_waited_for(tmp_path: Path) -> None:
    source = SignerElsewhere(tmp_path / "nobody", CHAIN_ID)
    with pytest.raises(Transient, match="does not tell its accounts"):
        await source.load()
    assert not source.loaded


async def test_keys_with_real_money_do_not_lie_in_an_executor(home: Home, tmp_path: Path) -> None:
    async with running(home, ready=False) as bench:
        access = replace(bench.executor.live.access, is_devnet_expected=False, real_money_words=REAL_MONEY_WORDS)
        refusal = await why_not_live(access, bench.rpc)
        assert refusal is not None
        assert "dexlane-signer" in refusal
        assert await why_not_live(replace(access, signer_socket=tmp_path / "s"), bench.rpc) is None
        words = await why_not_live(replace(access, signer_socket=tmp_path / "s", real_money_words=""), bench.rpc)
        assert words is not None


async def test_a_signer_here_follows_the_executors_status_and_halts_by_file(home: Home) -> None:
    async with running(home) as bench:
        signer = bench.executor.live._source
        assert isinstance(signer, KeysHere)
        assert signer._brake is not None

        def denied(*, is_entry: bool) -> DenialReason | None:
            assert signer._brake is not None
            said = signer._brake.refusal(is_cancel=False, is_entry=is_entry) or signer._guard.refusal(  # type: ignore[union-attr]
                CHAIN_ID, ACCOUNT, 1_000, is_entry=is_entry
            )
            return None if said is None else said.reason

        assert denied(is_entry=True) is None
        bench.side.take_status(a_status(Status.REDUCING, status_version=2))
        assert denied(is_entry=True) is DenialReason.HALTED
        assert denied(is_entry=False) is None
        bench.side.take_status(a_status(Status.ACTIVE, status_version=3))
        assert denied(is_entry=True) is None
        (home.folder / "HALT").touch()
        assert denied(is_entry=False) is DenialReason.HALTED
        (home.folder / "HALT").unlink()
        assert denied(is_entry=False) is DenialReason.HALTED


async def test_a_place_where_no_control_socket_can_be_is_misconfigured(home: Home) -> None:
    async with running(home, ready=False) as bench:
        place = KeysHerePlace(
            chain_id=CHAIN_ID,
            files=bench.executor.live.access.key_files,
            guard_path=home.folder / "guard.db",
            control_path=home.folder / "no such folder" / "s",
        )
        with pytest.raises(Misconfigured):
            await KeysHere(place, clock_s=lambda: 0, status=lambda: Status.ACTIVE).load()


def test_the_sockets_work_on_the_loop_that_services_run_on(tmp_path: Path) -> None:
    async def ask_and_halt() -> tuple[dict[str, int | None], dict[str, object], Level]:
        guard = NonceGuard(tmp_path / "guard.db")
        brake = Brake(guard)
        policy = policy_for(CHAIN_ID, Lane.FAST, [live_book()], [MAINNET_ROUTER], SigningRules())
        server = SigningServer(LocalSigner([PrivateKey.from_hex(KEY)], [policy], guard), uids=(os.getuid(),))
        control = ControlServer(brake, uids=(os.getuid(),))
        await server.start(tmp_path / "s")
        await control.start(tmp_path / "c")
        remote = RemoteSigner(tmp_path / "s")
        nonces = dict(await remote.highest_nonces(CHAIN_ID))
        told = await tell(tmp_path / "c", {"do": "halt", "reason": "drill"})
        await remote.close()
        await server.stop()
        await control.stop()
        level = guard.latch().level
        guard.close()
        return nonces, told, level

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        nonces, told, level = runner.run(ask_and_halt())
    assert nonces == {ACCOUNT: None}
    assert told == {"done": "halt", "level": "halted"}
    assert level is Level.HALTED


@pytest.mark.parametrize(("source", "is_released"), [("api", True), ("operator", False)])
async def test_what_the_gateway_latched_here_is_released_with_its_status_and_nothing_else_is(
    home: Home, tmp_path: Path, *, source: str, is_released: bool
) -> None:
    async with running(home, ready=False) as bench:
        place = KeysHerePlace(
            chain_id=CHAIN_ID,
            files=bench.executor.live.access.key_files,
            guard_path=tmp_path / "guard.db",
            control_path=tmp_path / "c",
        )
        status = [Status.ACTIVE]
        source_here = KeysHere(place, clock_s=lambda: 0, status=lambda: status[0])
        await source_here.load()
        halted = await tell(tmp_path / "c", {"do": "halt", "source": source, "reason": "drill"})
        assert halted == {"done": "halt", "level": "halted"}
        levels = []
        for said in (Status.ACTIVE, Status.HALTED, Status.ACTIVE):
            status[0] = said
            await asyncio.sleep(0.5)
            levels.append((await tell(tmp_path / "c", {"do": "status"}))["level"])
        await source_here.close()
    assert levels == ["halted", "halted", "active" if is_released else "halted"]
