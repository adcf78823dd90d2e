"""The supervisor starts in order of readiness, restarts with back-off and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from dexlane_cli import supervisor as module
from dexlane_cli.errors import CommandError
from dexlane_cli.launching import Executing, Output, Process, ProcessSpec
from dexlane_cli.probes import Probe, tcp
from dexlane_cli.supervisor import Supervisor

pytestmark = pytest.mark.integration


async def always_ready() -> bool | str:
    return True


def python(
    code: str, name: str, *, tier: int = 0, ready: Probe = always_ready, restartable: bool = True
) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        command=(sys.executable, "-u", "-c", code),
        ready=ready,
        tier=tier,
        restartable=restartable,
        ready_timeout_s=2.0,
    )


def supervise(tmp_path: Path, *specs: ProcessSpec) -> tuple[Supervisor, list[tuple[str, str]]]:
    lines: list[tuple[str, str]] = []
    return Supervisor(list(specs), tmp_path, lambda name, text: lines.append((name, text))), lines


FOREVER = "import time; print('up'); time.sleep(60)"


async def test_a_tier_starts_only_after_the_one_below_is_ready(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def gated() -> bool | str:
        return gate.is_set() or "the gate is closed"

    between: list[str] = []
    keeper, _ = supervise(tmp_path, python(FOREVER, "below", ready=gated), python(FOREVER, "above", tier=1))
    starting = asyncio.create_task(keeper.start({0: lambda: between.append("declared")}))
    await asyncio.sleep(0.4)
    assert keeper.children["above"].pid is None
    gate.set()
    await starting
    assert keeper.children["above"].pid is not None
    assert between == ["declared"]
    await keeper.stop()


async def test_a_crashed_process_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESTART_BACKOFF_S", (0.05,))
    keeper, lines = supervise(tmp_path, python(FOREVER, "worker"))
    await keeper.start()
    first = keeper.children["worker"].pid
    assert first is not None
    os.kill(first, 9)
    async with asyncio.timeout(5):
        while keeper.children["worker"].pid in {None, first}:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await keeper.stop()
    assert keeper.children["worker"].restarts == 1
    assert any(name == "supervisor" and "again in" in text for name, text in lines)


async def test_a_process_that_cannot_be_restarted_takes_everything_down_with_its_last_words(tmp_path: Path) -> None:
    code = "import time, sys; time.sleep(0.3); print('the chain broke'); sys.exit(3)"
    keeper, _ = supervise(tmp_path, python(code, "devnet", restartable=False))
    await keeper.start()
    assert await asyncio.wait_for(keeper.failed, 5) == "devnet ended with exit code 3: the chain broke"
    await keeper.stop()


async def test_the_reason_of_the_last_error_is_told_even_when_other_lines_follow(tmp_path: Path) -> None:
    code = (
        "import time, sys; time.sleep(0.3);"
        'print(\'{"ts":1,"level":"error","event":"service_failed","reason":"no key is configured"}\');'
        'print(\'{"ts":2,"level":"info","event":"service_stopped"}\'); sys.exit(2)'
    )
    keeper, _ = supervise(tmp_path, python(code, "fast-executor"))
    await keeper.start()
    assert await asyncio.wait_for(keeper.failed, 5) == "fast-executor ended with exit code 2: no key is configured"
    await keeper.stop()


async def test_a_fault_in_the_settings_is_not_retried(tmp_path: Path) -> None:
    code = "import time, sys; time.sleep(0.3); print('unknown setting'); sys.exit(2)"
    keeper, _ = supervise(tmp_path, python(code, "service"))
    await keeper.start()
    assert "unknown setting" in await asyncio.wait_for(keeper.failed, 5)
    await keeper.stop()


async def test_what_does_not_become_ready_is_named_with_the_reason(tmp_path: Path) -> None:
    async def never() -> bool | str:
        return "mirror: no block yet"

    keeper, _ = supervise(tmp_path, python(FOREVER, "slow", ready=never))
    sentence = r"slow was not ready after 2 s \(mirror: no block yet\); its last words were: up"
    with pytest.raises(CommandError, match=sentence):
        await keeper.start()
    await keeper.stop()


async def test_a_stubborn_process_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.3)
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(child.pid); time.sleep(60)"
    )
    keeper, lines = supervise(tmp_path, python(code, "stubborn"))
    await keeper.start()
    async with asyncio.timeout(5):
        while not lines:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    grandchild = int(lines[0][1])
    await keeper.stop()
    await asyncio.sleep(0.1)
    state = Path(f"/proc/{grandchild}/stat")
    assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z"


async def test_a_full_disk_or_an_endless_line_takes_no_process_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_LIMIT_BYTES", 1_000)
    (tmp_path / "worker.log").symlink_to("/dev/full")
    code = "import time; time.sleep(0.2); print('x' * 100_000); print('goes on'); time.sleep(60)"
    keeper, lines = supervise(tmp_path, python(code, "worker"))
    await keeper.start()
    async with asyncio.timeout(5):
        while ("worker", "goes on") not in lines:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await keeper.stop()


class Reluctant(Executing):
    """Has no memory for a process at times; says how often it was asked, and waits for its gate."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.fails: set[int] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self, spec: ProcessSpec, output: Output) -> Process:
        self.asked += 1
        if self.asked in self.fails:
            raise BlockingIOError("no memory for another process")
        await self.gate.wait()
        return await super().start(spec, output)


async def test_a_process_that_could_not_be_started_again_is_tried_again(tmp_path: Path) -> None:
    launcher = Reluctant()
    launcher.fails = {2}
    keeper = Supervisor(
        [python("import sys; sys.exit(1)", "worker")], tmp_path, print, backoff_s=(0.05,), launcher=launcher
    )
    await keeper.start()
    async with asyncio.timeout(5):
        while launcher.asked < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await keeper.stop()


async def test_what_is_started_again_during_the_stop_is_not_left_behind(tmp_path: Path) -> None:
    launcher = Reluctant()
    worker = python("import sys, time; time.sleep(0.1); sys.exit(1)", "worker")
    keeper = Supervisor([worker], tmp_path, lambda *_: None, backoff_s=(0.05,), launcher=launcher)
    await keeper.start()
    launcher.gate.clear()
    async with asyncio.timeout(5):
        while launcher.asked < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    stopping = asyncio.create_task(keeper.children["worker"].stop())
    await asyncio.sleep(0.05)
    launcher.gate.set()
    await asyncio.wait_for(stopping, 10)
    assert keeper.children["worker"].pid is None
    await keeper.children["worker"].start()
    assert keeper.children["worker"].pid is None, "what was stopped stays so"
    await keeper.stop()


async def test_a_missing_binary_is_one_sentence(tmp_path: Path) -> None:
    spec = ProcessSpec(name="x", command=("no-such-binary",), ready=tcp(1), tier=0)
    keeper, _ = supervise(tmp_path, spec)
    with pytest.raises(CommandError, match="no-such-binary is not installed; run `make setup`"):
        await keeper.start()


async def test_a_terminal_reaches_only_the_supervisor_and_niceness_counts_between_processes(tmp_path: Path) -> None:
    keeper, _ = supervise(tmp_path, python(FOREVER, "service"))
    await keeper.start()
    pid = keeper.children["service"].pid
    assert pid is not None
    assert os.getpgid(pid) != os.getpgid(0)  # Ctrl-C goes to the group in the foreground
    assert os.getsid(pid) == os.getsid(0)  # Linux weighs sessions against each other before it looks at niceness
    await keeper.stop()
