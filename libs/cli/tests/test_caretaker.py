"""Whatever becomes of a supervisor, what it kept ends in order, and nothing else starts in its folder before that."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dexlane_cli import caretaker as module
from dexlane_cli.caretaker import Charge, Charges
from dexlane_cli.errors import CommandError
from dexlane_cli.launching import Caretaker, Executing, Forking, ForkServer, Launcher, Output, ProcessSpec
from dexlane_cli.session import lock, pid_file, stop_supervisor, supervisor_pid
from dexlane_cli.supervisor import Supervisor

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

forked = pytest.param(
    True, id="forked", marks=pytest.mark.skipif(not ForkServer.is_possible(), reason="nothing is forked here")
)
executed = pytest.param(False, id="executed")

ENDS_SLOWLY = """
import os, signal, sys, time
from pathlib import Path

def end(*_):
    for number in range(5_000):
        print(number, "more than a pipe holds ..........", flush=True)
    time.sleep(0.7)
    with open("ended", "a") as ended:
        ended.write(Path(sys.argv[0]).name + " ")
    sys.exit()

signal.signal(signal.SIGTERM, end)
print("pid", os.getpid(), flush=True)
time.sleep(60)
"""
KEEPER = """
import asyncio, sys
from pathlib import Path
from dexlane_cli.launching import Caretaker, Executing, Forking, ForkServer, ProcessSpec
from dexlane_cli.session import lock, pid_file
from dexlane_cli.supervisor import Supervisor

async def ready():
    return True

def report(name, text):
    print(name, text, flush=True)

async def main(folder, forks):
    with lock(folder) as held:
        caretaker = Caretaker(held, pid_file(folder), report)
        launcher = Forking(ForkServer("json"), report, caretaker) if forks else Executing(caretaker)
        names = {"bus": 0, "one": 1, "other": 1}
        specs = [ProcessSpec(name, (str(folder / name),), ready, tier, forkable=True) for name, tier in names.items()]
        await Supervisor(specs, folder, report, launcher=launcher).start()
        await asyncio.sleep(60)

asyncio.run(main(Path.cwd(), sys.argv[1] == "True"))
"""


async def always_ready() -> bool | str:
    return True


def script(folder: Path, name: str, code: str) -> ProcessSpec:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(0o755)
    return ProcessSpec(name=name, command=(str(path),), ready=always_ready, tier=0, forkable=True)


def lives(pid: int) -> bool:
    """What nobody waited for has ended all the same."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@contextlib.contextmanager
def keeper(folder: Path, *, forks: bool) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A supervisor of three processes, and their ids."""
    for name in ("bus", "one", "other"):
        script(folder, name, ENDS_SLOWLY)
    pids: list[int] = []
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(forks)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while len(pids) < 3:
            pids.append(int(process.stdout.readline().rsplit("pid ", 1)[1]))
        yield process, pids
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("forks", [forked, executed])
def test_what_a_killed_supervisor_kept_ends_in_order_and_its_last_words_are_logged(
    tmp_path: Path, *, forks: bool
) -> None:
    with keeper(tmp_path, forks=forks) as (process, pids):
        process.kill()
        _, errors = process.communicate()  # to the end of all who inherited it: the caretaker
        assert not [pid for pid in pids if lives(pid)]
    *services, last = (tmp_path / "ended").read_text().split()
    assert (sorted(services), last) == (["one", "other"], "bus")
    for name in ("bus", "one", "other"):
        assert "\n4999 more than a pipe holds" in (tmp_path / f"{name}.log").read_text()
    assert errors.splitlines() == [
        "dexlane: the supervisor is gone and left processes, which are stopped now ...",
        "dexlane: stopped",
    ]


def test_nothing_starts_in_the_folder_before_the_end_and_down_waits_for_it(tmp_path: Path) -> None:
    with keeper(tmp_path, forks=False) as (process, pids):
        process.kill()
        process.wait()
        with pytest.raises(CommandError, match="already runs here"), lock(tmp_path):
            pass
        while supervisor_pid(tmp_path) in {process.pid, None}:
            time.sleep(0.01)
        assert stop_supervisor(tmp_path, 20)
        # A process closes what it wrote to, by which its end is known, a moment before it is gone.
        asyncio.run(until(lambda: not [pid for pid in pids if lives(pid)]))
    assert (tmp_path / "ended").read_text().split()[-1] == "bus", "the signal of `down` did not end the caretaker"
    assert not pid_file(tmp_path).exists()
    with lock(tmp_path):
        assert supervisor_pid(tmp_path) == os.getpid()


def test_a_stubborn_process_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.3)
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    reading, writing = os.pipe()
    stubborn = subprocess.Popen([sys.executable, "-c", code], stdout=writing, process_group=0)
    os.close(writing)
    grandchild = int(os.read(reading, 100))
    ours, theirs = socket.socketpair()
    socket.send_fds(ours, [Charge(stubborn.pid, 0, tmp_path / "log").encoded()], [reading])
    os.close(reading)
    ours.close()

    def care() -> None:
        with theirs:
            charges = Charges(theirs)
            charges.wait()
        charges.stop()

    caring = threading.Thread(target=care)
    caring.start()
    assert stubborn.wait(10) == -signal.SIGKILL
    caring.join(10)
    assert not lives(grandchild)


class Slow(Caretaker):
    """Takes a while to know; or never does."""

    def __init__(self, *, knows: bool) -> None:
        self.knows = knows

    def keep(self, pid: int, spec: ProcessSpec, output: Output) -> None:
        time.sleep(0.4)
        assert not Path(spec.command[0]).with_name("runs").exists()
        if not self.knows:
            raise RuntimeError("as if it was killed here")


@pytest.mark.parametrize("forks", [forked, executed])
@pytest.mark.parametrize("knows", [True, False])
async def test_nothing_runs_before_the_caretaker_knows_it(tmp_path: Path, *, forks: bool, knows: bool) -> None:
    spec = script(tmp_path, "example", f"open({str(tmp_path / 'runs')!r}, 'a').write('ran')")
    server = ForkServer("json") if forks else None
    caretaker = Slow(knows=knows)
    launcher: Launcher = Executing(caretaker) if server is None else Forking(server, print, caretaker)
    reading, writing = os.pipe()
    with contextlib.nullcontext() if knows else pytest.raises(RuntimeError, match="killed here"):
        await launcher.start(spec, Output(reading, writing, tmp_path / "log"))
    os.close(writing)
    with os.fdopen(reading) as output:
        assert await asyncio.to_thread(output.read) == ""  # the end of the process
    launcher.close()
    assert (tmp_path / "runs").exists() == knows


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[tuple[Supervisor, Caretaker, list[str]]]:
    lines: list[str] = []
    spec = script(folder, "worker", "import time; print('up', flush=True); time.sleep(60)")
    with lock(folder) as held:
        caretaker = Caretaker(held, pid_file(folder), lambda _, text: lines.append(text))
        report = lambda _, text: lines.append(text)  # noqa: E731
        yield Supervisor([spec], folder, report, backoff_s=(0.05,), launcher=Executing(caretaker)), caretaker, lines


async def test_a_stop_in_order_leaves_the_caretaker_nothing_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with kept(tmp_path) as (supervisor, caretaker, lines):
        await supervisor.start()
        await until(lambda: lines == ["up"])
        await supervisor.stop()
        caretaker.close()
        assert pid_file(tmp_path).read_text() == str(os.getpid())
    assert capfd.readouterr().err == ""
    assert supervisor_pid(tmp_path) is None
    assert not lives(caretaker.pid)


async def test_the_end_of_the_caretaker_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    with kept(tmp_path) as (supervisor, caretaker, lines):
        await supervisor.start()
        await until(lambda: "up" in lines)
        os.kill(caretaker.pid, signal.SIGKILL)
        await until(lambda: any("the caretaker ended" in line for line in lines))
        first = supervisor.children["worker"].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: lines.count("up") == 2)
        assert len([line for line in lines if "the caretaker ended" in line]) == 1
        await supervisor.stop()
        caretaker.close()
