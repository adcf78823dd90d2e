"""``dexlane signer`` speaks to a real control socket."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dexlane_cli.errors import CommandError
from dexlane_cli.main import app
from dexlane_signer import Brake, ControlServer, DeadManLease, Level, NonceGuard


@pytest.fixture
def brake(tmp_path: Path) -> Iterator[Brake]:
    """A brake behind a control socket that a thread serves."""
    guard = NonceGuard(tmp_path / "guard.db")
    brake = Brake(guard, lease=DeadManLease())
    loop, ready = asyncio.new_event_loop(), threading.Event()

    def serve() -> None:
        server = ControlServer(brake, uids=(os.getuid(),))
        loop.run_until_complete(server.start(tmp_path / "control.sock"))
        loop.call_soon(ready.set)
        loop.run_forever()

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait(10)
    yield brake
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    guard.close()


def test_status_and_halt_reach_the_signer(brake: Brake, tmp_path: Path) -> None:
    control = ["--control", str(tmp_path / "control.sock")]
    shown = CliRunner().invoke(app, ["signer", "status", *control])
    assert shown.exit_code == 0
    assert '"level": "active"' in shown.stdout
    halted = CliRunner().invoke(app, ["signer", "halt", "drill", "--reducing", *control])
    assert halted.stdout == "the signer is reducing\n"
    assert (brake.latch().level, brake.latch().source, brake.latch().reason) == (Level.REDUCING, "operator", "drill")


def test_a_signer_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["signer", "status", "--control", str(tmp_path / "nobody")])
    assert isinstance(done.exception, CommandError)
    assert "no signer answers" in str(done.exception)


def test_resume_lets_go_of_what_a_stacks_signers_latched(tmp_path: Path) -> None:
    data = tmp_path / "session" / "data"
    data.mkdir(parents=True)
    for name in ("fast-executor-guard-1.db", "smart-executor-guard-1.db"):
        guard = NonceGuard(data / name)
        if name.startswith("fast"):
            guard.halt("drill")
        guard.close()
    command = ["signer", "resume", "over", "--home", str(tmp_path)]
    (data / "HALT").touch()
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, CommandError)
    assert "remove it first" in str(refused.exception)
    (data / "HALT").unlink()
    done = CliRunner().invoke(app, command)
    assert "fast-executor-guard-1.db: released: the signer is halted by operator: drill" in done.stdout
    assert "smart-executor-guard-1.db: nothing was halted" in done.stdout
    guard = NonceGuard(data / "fast-executor-guard-1.db")
    assert (guard.latch().level, guard.latches()[-1].reason) == (Level.ACTIVE, "over")
    guard.close()


def test_resume_without_any_record_is_one_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["signer", "resume", "over", "--home", str(tmp_path)])
    assert isinstance(done.exception, CommandError)
