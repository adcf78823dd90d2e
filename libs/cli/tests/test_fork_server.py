"""What the fork server makes is what an execution would have made, and its own end costs nothing but time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dexlane_cli import launching
from dexlane_cli.fork_server import Request
from dexlane_cli.launching import Executing, Forking, ForkServer, Launcher, Output, ProcessSpec
from dexlane_cli.supervisor import Supervisor

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not ForkServer.is_possible(), reason="no process can adopt another here"),
]

PORTRAIT = """
import gc, json, os, signal, sys
print(json.dumps({
    "name": __name__, "file": __file__, "arguments": sys.argv, "environment": dict(os.environ),
    "group": os.getpgid(0) == os.getpid(), "session": os.getsid(0), "parent": os.getppid(), "nice": os.nice(0),
    "descriptors": sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")),
    "collects": gc.isenabled(), "folder": os.getcwd(),
    "signals": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)],
    "blocked": [str(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    "command": open("/proc/self/cmdline", "rb").read().rstrip(b"\\0").decode(), "comm": open("/proc/self/comm").read(),
}))
"""
FOREVER = "import os, time\nprint('up', os.getppid(), flush=True)\ntime.sleep(60)\n"


async def always_ready() -> bool | str:
    return True


@contextlib.asynccontextmanager
async def fork_server(preload: str = "json") -> AsyncIterator[ForkServer]:
    server = ForkServer(preload)
    try:
        yield server
    finally:
        server.close()


def script(folder: Path, code: str, name: str = "dexlane-example") -> ProcessSpec:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(0o755)
    return ProcessSpec(name=name, command=(str(path),), ready=always_ready, tier=0, forkable=True)


async def output_of(launcher: Launcher, spec: ProcessSpec) -> tuple[int, str]:
    reading, writing = os.pipe()
    try:
        process = await launcher.start(spec, Output(reading, writing, Path(os.devnull)))
    finally:
        os.close(writing)
    with os.fdopen(reading) as output:
        text = await asyncio.to_thread(output.read)
    return await process.wait(), text


class Kept:
    """A supervisor of one process, and what it said."""

    def __init__(self, spec: ProcessSpec, folder: Path, launcher: Callable[[launching.Report], Launcher]) -> None:
        self.lines: list[tuple[str, str]] = []
        report = lambda name, text: self.lines.append((name, text))  # noqa: E731
        self.supervisor = Supervisor([spec], folder, report, backoff_s=(0.05,), launcher=launcher(report))
        self.child = self.supervisor.children[spec.name]

    def said(self, text: str) -> list[str]:
        return [line for _, line in self.lines if text in line]

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_a_forked_process_is_what_an_executed_one_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = script(tmp_path, PORTRAIT)
    async with fork_server() as server:
        monkeypatch.setenv("LATER", "than the fork server")
        monkeypatch.delenv("HOME", raising=False)
        spec = replace(spec, environment={"OWN": "ä=1"}, niceness=7)
        code, forked = await output_of(Forking(server, print), spec)
        assert code == 0, forked
        _, executed = await output_of(Executing(), spec)
    one, other = json.loads(forked), json.loads(executed)
    interpreter, _, command = other.pop("command").rpartition("\0")
    assert command == one.pop("command") == spec.command[0]
    assert Path(interpreter).name.startswith("python")
    # `nice` and the kernel, which runs the interpreter of a script, add these to what an executed one sees.
    for name in ("_", "LC_CTYPE"):
        one["environment"].pop(name, None), other["environment"].pop(name, None)
    assert one == other
    assert one["parent"] == os.getpid()


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        ("import sys; print('bye'); sys.exit(3)", 3, "bye"),
        ("raise ValueError('what it died of')", 1, "ValueError: what it died of"),
        ("import sys; sys.exit('a sentence')", 1, "a sentence"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("import atexit; atexit.register(print, 'last')", 0, "last"),
    ],
)
async def test_exit_codes_and_last_words_are_those_of_an_execution(
    tmp_path: Path, code: str, exit_code: int, words: str
) -> None:
    async with fork_server() as server:
        found, text = await output_of(Forking(server, print), script(tmp_path, code))
    assert found == exit_code
    assert words in text


async def test_a_killed_service_is_reported_with_its_signal_and_forked_again(tmp_path: Path) -> None:
    async with fork_server() as server:
        kept = Kept(script(tmp_path, FOREVER), tmp_path, lambda report: Forking(server, report))
        await kept.supervisor.start()
        first = kept.child.pid
        await kept.until(lambda: kept.said("up"))
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await kept.until(lambda: kept.said("ended with exit code -9; again in 0.05 s") and len(kept.said("up")) == 2)
        second = kept.child.pid
        assert second not in {None, first}
        await kept.supervisor.stop()
        assert not Path(f"/proc/{second}").exists()
    assert not kept.said("of no use")


async def test_the_end_of_the_fork_server_ends_no_service_and_restarts_go_on_without_it(tmp_path: Path) -> None:
    async with fork_server() as server:
        kept = Kept(script(tmp_path, FOREVER), tmp_path, lambda report: Forking(server, report))
        await kept.supervisor.start()
        await kept.until(lambda: kept.said("up"))
        os.kill(server.pid, signal.SIGKILL)
        await asyncio.sleep(0.3)
        first = kept.child.pid
        assert first is not None, "it lives on, and is watched"
        assert kept.lines[-1] == ("dexlane-example", f"up {os.getpid()}")
        os.kill(first, signal.SIGKILL)
        await kept.until(lambda: len(kept.said("up")) == 2)
        assert len(kept.said("the fork server is of no use")) == 1
        assert kept.said("ended with exit code -9")
        await kept.supervisor.stop()


async def test_a_fork_server_that_cannot_import_is_done_without(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    async with fork_server("no_such_module") as server:
        code, text = await output_of(
            Forking(server, lambda _, line: said.append(line)), script(tmp_path, "print('executed')")
        )
    assert (code, text) == (0, "executed\n")
    assert said == ["the fork server is of no use (it ended); services start without it"]
    assert "No module named 'no_such_module'" in capfd.readouterr().err


async def test_a_frozen_fork_server_is_killed_and_nothing_runs_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "FORKED_WITHIN_S", 0.3)
    runs = tmp_path / "runs"
    spec = script(tmp_path, f"open({str(runs)!r}, 'a').write('ran ')")
    async with fork_server() as server:
        launcher = Forking(server, lambda *_: None)
        await server.ready()
        os.kill(server.pid, signal.SIGSTOP)
        assert (await output_of(launcher, spec))[0] == 0
        await asyncio.sleep(0.3)
        assert not Path(f"/proc/{server.pid}").exists()
    assert runs.read_text() == "ran "


async def test_a_process_that_the_kernel_gives_to_somebody_else_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "_adopting", contextlib.nullcontext)
    runs = tmp_path / "runs"
    spec = script(tmp_path, f"import os; open({str(runs)!r}, 'a').write(str(os.getppid()))")
    said: list[str] = []
    async with fork_server() as server:
        await output_of(Forking(server, lambda _, line: said.append(line)), spec)
        await asyncio.sleep(0.3)
    assert "of no use" in said[0]
    assert runs.read_text() == str(os.getpid()), "once, executed"


async def test_nothing_runs_whose_id_the_supervisor_did_not_get(tmp_path: Path) -> None:
    """As when it dies between question and answer."""
    runs = tmp_path / "runs"
    spec = script(tmp_path, f"open({str(runs)!r}, 'a').write('ran')")
    async with fork_server() as server:
        await server.ready()
        reading, writing = os.pipe()
        waiting, go = os.pipe()
        request = Request(spec.command, dict(os.environ), 0, writing, waiting)
        socket.send_fds(server.link, [request.encoded()], [writing, waiting])
        pid = int(server.link.recv(100))
        for descriptor in (writing, waiting, go):
            os.close(descriptor)
        with os.fdopen(reading) as output:
            assert await asyncio.to_thread(output.read) == ""
        async with asyncio.timeout(5):
            while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert not runs.exists()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_starts_and_ends_leave_no_descriptor_behind(tmp_path: Path) -> None:
    async with fork_server() as server:
        launcher = Forking(server, print)
        spec = script(tmp_path, "print('x')")
        await output_of(launcher, spec)
        here, there = descriptors(os.getpid()), descriptors(server.pid)
        for _ in range(20):
            await output_of(launcher, spec)
        assert (descriptors(os.getpid()), descriptors(server.pid)) == (here, there)
        assert not Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()


async def test_a_request_longer_than_one_message_arrives_whole(tmp_path: Path) -> None:
    spec = script(tmp_path, "import os; print(len(os.environ['LONG']))")
    async with fork_server() as server:
        longer = replace(spec, environment={"LONG": "x" * 120_000})
        assert await output_of(Forking(server, print), longer) == (0, "120000\n")


async def test_the_fork_server_ends_with_the_supervisor() -> None:
    server = ForkServer("json")
    await server.ready()
    server.link.close()
    assert await asyncio.to_thread(server.wait) == 0


def test_what_the_fork_server_has_imported_cannot_sign_and_runs_no_thread() -> None:
    code = "import sys, os, dexlane_cli.shared_imports; print(len(os.listdir('/proc/self/task'))); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    threads, modules = done.stdout.splitlines()
    assert threads == "1"
    loaded = set(modules.split())
    assert {"dexlane.runtime.service", "dexlane.domain.planning", "sqlalchemy", "nats"} <= loaded
    keys = (
        "coincurve",
        "nacl",
        "eth_account",
        "eth_keys",
        "dexlane_signer",
        "dexlane_devnet",
        "dexlane.runtime.sealing",
    )
    nodes = ("dexlane.chain", "websockets", "web3")
    services = ("gateway", "paper_sim", "portfolio", "fast_executor", "smart_executor", "market_feed", "risk_scorer")
    found = {one for one in loaded for name in (*keys, *nodes, *services) if one == name or one.startswith(f"{name}.")}
    assert not found
