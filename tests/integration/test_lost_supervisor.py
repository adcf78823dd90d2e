"""`dexlane up` is killed as the system kills it when memory is short: what it started ends in order and by itself."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import orjson
import pytest

from dexlane.testing.stack import Stack
from dexlane_cli.stack import SERVICE_PORTS
from ports import free_shift

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(400)]


def states() -> dict[int, tuple[int, str]]:
    """Parent and state of every process."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if entry.name.isdigit():
                state, parent, *_ = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                found[int(entry.name)] = (int(parent), state)
    return found


def family(root: int) -> set[int]:
    """All below a process."""
    found, known = {root}, states()
    while more := {pid for pid, (parent, _) in known.items() if parent in found} - found:
        found |= more
    return found - {root}


def test_after_a_kill_of_the_supervisor_everything_ends_in_order_and_up_starts_again(tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_shift())
    stack.start("--no-flow", "--signer-process")
    try:
        stack.wait_ready()
        assert stack.process is not None
        left = family(stack.process.pid)
        assert len(left) >= len(SERVICE_PORTS) + 7, "bus, cache, devnet with anvil, signer, fork server, caretaker"
        killed = time.monotonic()
        stack.process.kill()
        stack.process.wait()
        stopped = stack.command("down")
        assert (stopped.returncode, stopped.stdout) == (0, "stopped\n"), stopped.stderr
        assert time.monotonic() - killed < 35
        assert not [pid for pid in left if states().get(pid, (0, "Z"))[1] != "Z"]
        logs = stack.home / "session" / "logs"
        for name in SERVICE_PORTS:
            last = orjson.loads((logs / f"{name}.log").read_text().splitlines()[-1])
            assert last["event"] == "service_stopped", stack.tails()
        ends = {name: (logs / f"{name}.log").stat().st_mtime_ns for name in (*SERVICE_PORTS, "nats")}
        assert max(ends, key=ends.__getitem__) == "nats"
        (stack.home / "output").unlink()
        stack.start("--no-flow")
        stack.wait_ready()
        assert stack.stop() == 0
    finally:
        stack.stop()
