"""Files of tests by turns: what must be alone is alone, what is long is begun early."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

TEST = """
import pytest, time

{mark}
@pytest.mark.parametrize("number", range({count}))
def test_it(number):
    with open({diary!r}, "a") as diary:
        print("begins", {name!r}, file=diary, flush=True)
        time.sleep({lasts_s})
        print("ends", {name!r}, file=diary, flush=True)
"""
SETTINGS = "[pytest]\nmarkers =\n    alone: x\n    long: x\naddopts = -p dexlane.testing.turns -p no:cacheprovider\n"


def ran(folder: Path, *options: str, **files: tuple[str, int]) -> list[tuple[str, str]]:
    """What began and ended, in order, of tests that last a while; a file has a mark and a number of tests."""
    diary = folder / "diary"
    (folder / "pytest.ini").write_text(SETTINGS)
    for name, (mark, count) in files.items():
        line = f"@pytest.mark.{mark}" if mark else ""
        text = TEST.format(mark=line, count=count, diary=str(diary), name=name, lasts_s=0.1)
        (folder / f"test_{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", *options]
    alike = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=folder, env=alike, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [(what, name) for what, name in (line.split() for line in diary.read_text().splitlines())]


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Two processes, two files that must be alone, three that need not."""
    return ran(
        tmp_path_factory.mktemp("beside"),
        *("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"),
        one=("", 6), two=("", 6), other=("", 5), first=("alone", 3), second=("alone", 3),
    )  # fmt: skip


def test_nothing_runs_beside_a_file_that_is_alone(beside: list[tuple[str, str]]) -> None:
    within: set[str] = set()
    for what, name in beside:
        within = within | {name} if what == "begins" else within - {name}
        assert len(within) == 1 or not within & {"first", "second"}, beside


def test_usual_files_run_beside_each_other(beside: list[tuple[str, str]]) -> None:
    assert any(before[0] == after[0] == "begins" for before, after in pairwise(beside)), beside


def test_what_is_alone_comes_first_then_what_is_long_then_the_larger_file(tmp_path: Path) -> None:
    files = {"a": ("", 1), "b": ("", 3), "c": ("long", 1), "d": ("alone", 1)}
    order = [name for what, name in ran(tmp_path, **files) if what == "begins"]
    assert order == ["d", "c", "b", "b", "b", "a"]
