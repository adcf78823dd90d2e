"""Tests keep their files in memory where there is room, and where they are told to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dexlane.testing.temporary import MEMORY, ROOM_BYTES, available_bytes, has_room

MUCH = 100 * ROOM_BYTES
TEST = """
import os, subprocess, sys, tempfile

def test_it(tmp_path):
    ask = [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]
    started = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    with open("places", "a") as places:
        print(tempfile.gettempdir(), started, tmp_path, file=places, sep="\\n")
"""


def a_place(free_bytes: int = MUCH, flags: int = 0) -> SimpleNamespace:
    return SimpleNamespace(f_bavail=free_bytes // 4_096, f_frsize=4_096, f_flag=flags)


@pytest.mark.parametrize(
    ("place", "available", "fits"),
    [
        (a_place(), MUCH, True),
        (a_place(ROOM_BYTES), ROOM_BYTES, True),
        (a_place(ROOM_BYTES - 4_096), MUCH, False),
        (a_place(), ROOM_BYTES - 1, False),
        (a_place(flags=os.ST_NOEXEC), MUCH, False),
        (a_place(flags=os.ST_NOSUID), MUCH, True),
    ],
)
def test_there_is_room_when_files_fit_and_programs_among_them_may_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: SimpleNamespace, available: int, fits: bool
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _folder: place)
    assert has_room(tmp_path, available) is fits


def test_there_is_no_room_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert not has_room(tmp_path / "nowhere", MUCH)


def test_memory_is_what_the_system_says_and_none_when_it_does_not() -> None:
    assert available_bytes("MemTotal:       8 kB\nMemAvailable:   3 kB\nBuffers: 1 kB\n") == 3_072
    assert available_bytes("MemTotal:       8 kB\n") == 0


def places_of_a_run(folder: Path, **environment: str) -> list[Path]:
    """Where tests of another run, and what they start, keep their files."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p dexlane.testing.temporary -p no:cacheprovider\n")
    (folder / "test_it.py").write_text(TEST)
    inherited = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    inherited["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-n", "1"]
    done = subprocess.run(
        command, cwd=folder, env=inherited | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [Path(line) for line in (folder / "places").read_text().splitlines()]


def test_the_folder_that_is_named_is_taken(tmp_path: Path) -> None:
    (named := tmp_path / "named").mkdir()
    found, started, test = places_of_a_run(tmp_path, TMPDIR=str(named))
    assert (found, started) == (named, named)
    assert test.is_relative_to(named)


def test_without_one_the_files_of_tests_and_of_what_they_start_lie_in_memory_where_it_has_room(tmp_path: Path) -> None:
    meminfo = Path("/proc/meminfo")
    if not (meminfo.exists() and has_room(MEMORY, available_bytes(meminfo.read_text()))):
        pytest.skip("no room in memory here")
    found, started, test = places_of_a_run(tmp_path)
    assert (found, started) == (MEMORY, MEMORY)
    assert test.is_relative_to(MEMORY)
