"""Whether the disks that a money service writes to have room, looked at before it begins anything new."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dexlane.runtime.clock import Clock

LOOK_NS = 10**9
"""A look costs a system call; within this time the last answer holds."""


class DiskRoom:
    """The rest below ``min_free_bytes`` is kept for what must be brought to its end. What cannot be seen counts as
    full."""

    def __init__(self, places: Iterable[Path], min_free_bytes: int, clock: Clock) -> None:
        self._places = tuple(places)
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        self._looked_ns: int | None = None
        self._fault: str | None = None

    def why_not(self) -> str | None:
        """Why nothing new may be begun; None while there is room."""
        now_ns = self._clock.monotonic_ns()
        if self._looked_ns is None or now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now_ns
            self._fault = next((fault for place in self._places if (fault := self._look(place))), None)
        return self._fault

    def probe(self) -> bool | str:
        """As a readiness probe."""
        return self.why_not() or True

    def _look(self, place: Path) -> str | None:
        try:
            found = os.statvfs(place)
        except OSError as error:
            return f"the free space of {place} cannot be seen: {error.strerror}"
        free = found.f_bavail * found.f_frsize
        if free >= self._min_free_bytes:
            return None
        kept = self._min_free_bytes // 1_000_000
        return (
            f"{free // 1_000_000} MB are free on the disk of {place}, and {kept} MB are kept for exits and open "
            "transactions; make room"
        )
