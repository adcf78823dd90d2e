"""What is left of a disk is kept for what must be brought to its end."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dexlane.runtime.clock import ManualClock
from dexlane.runtime.disk_room import DiskRoom


def free(patch: pytest.MonkeyPatch, megabytes: int) -> None:
    patch.setattr(os, "statvfs", lambda _place: SimpleNamespace(f_bavail=megabytes, f_frsize=1_000_000))


def test_a_disk_below_the_bound_is_said_to_be_full_and_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    room = DiskRoom([tmp_path], 512_000_000, clock)
    free(monkeypatch, 512)
    assert room.why_not() is None
    assert room.probe() is True
    free(monkeypatch, 511)
    assert room.why_not() is None  # the answer of this second
    clock.advance(1_000)
    assert "511 MB are free" in (room.why_not() or "")
    assert room.probe() is not True
    free(monkeypatch, 600)
    clock.advance(1_000)
    assert room.why_not() is None


def test_a_disk_that_cannot_be_seen_counts_as_full(tmp_path: Path) -> None:
    assert "cannot be seen" in (DiskRoom([tmp_path / "missing"], 0, ManualClock()).why_not() or "")
