"""Where tests keep their files: in memory, where the machine has room there.

Hundreds of tests commit to journals, and each commit waits until a disk has it: half the time of those tests. What they
show is what a killed process leaves behind, and that is the same in memory; no test takes the power away. Who names a
folder in ``TMPDIR`` gets that one.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # noqa: S108  (the point is that it is memory)
ROOM_BYTES = 4 << 30
"""A run leaves less than one GiB; what the tests themselves need of the same memory is in it."""


def has_room(folder: Path, available_bytes: int) -> bool:
    """Whether files fit into a folder in memory, and programs among them may be started there."""
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return False
    place = os.statvfs(folder)
    free_bytes = min(place.f_bavail * place.f_frsize, available_bytes)
    return free_bytes >= ROOM_BYTES and not place.f_flag & os.ST_NOEXEC


def available_bytes(meminfo: str) -> int:
    """Memory that programs can get, by the text of ``/proc/meminfo``; nothing when it does not say."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo, re.MULTILINE)
    return int(found[1]) << 10 if found else 0


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Before anything makes a file. Processes that this one starts follow, those that run its tests among them."""
    meminfo = Path("/proc/meminfo")
    if "TMPDIR" in os.environ or not meminfo.exists():
        return
    if has_room(MEMORY, available_bytes(meminfo.read_text())):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
