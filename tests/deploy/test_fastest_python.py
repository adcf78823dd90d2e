"""Which Python `make setup` takes: the usual one, unless another build of its version is clearly faster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "fastest_python.py"


def a_python(folder: Path, name: str, says: str) -> Path:
    """A program that answers the probe."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def chosen(*folders: Path) -> str:
    path = os.pathsep.join(str(folder) for folder in folders)
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else "none"


@pytest.mark.parametrize(("seconds", "is_taken"), [(0.050, True), (0.095, False), (0.200, False)])
def test_another_build_is_taken_when_it_is_clearly_faster(tmp_path: Path, seconds: float, *, is_taken: bool) -> None:
    first = a_python(tmp_path / "one", "python3", "echo 11 0.100")
    other = a_python(tmp_path / "two", "python3", f"echo 11 {seconds}")
    assert chosen(tmp_path / "one", tmp_path / "two") == str(other if is_taken else first)


def test_another_version_is_never_taken_for_its_speed(tmp_path: Path) -> None:
    first = a_python(tmp_path / "one", "python3", "echo 11 0.100")
    a_python(tmp_path / "one", "python3.13", "echo 13 0.010")
    assert chosen(tmp_path / "one") == str(first)


def test_one_that_is_too_old_or_broken_is_passed_over(tmp_path: Path) -> None:
    a_python(tmp_path / "one", "python3", "exit 1")
    a_python(tmp_path / "one", "python3.11", "echo nonsense")
    newer = a_python(tmp_path / "two", "python3.12", "echo 12 0.100")
    assert chosen(tmp_path / "one", tmp_path / "two") == str(newer)


def test_without_any_nothing_is_chosen(tmp_path: Path) -> None:
    assert chosen(tmp_path) == "none"


def test_the_python_that_runs_this_is_new_enough(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)
    assert chosen(tmp_path) == str(tmp_path / "python3")
