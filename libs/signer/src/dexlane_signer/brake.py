"""What stops signing from outside: the latch in the record, the local file, and the lease of the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from dexlane_signer.counts import Counts
from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.guard import NonceGuard
from dexlane_signer.guard_file import GuardUnavailableError
from dexlane_signer.latch import Latch, Level, recordable

HALT_FILE = "HALT"
"""Name of the file in the data folder whose mere existence halts."""
LOOK_EVERY_S = 0.05


class DeadManLease:
    """Entries are signed only while the control plane gives signs of life."""

    def __init__(self, max_age_s: float = 5.0, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """Begins without any sign of life, so nothing is taken for granted after a restart."""
        self.max_age_s = max_age_s
        self._monotonic_s = monotonic_s
        self._last_s: float | None = None

    def beat(self) -> None:
        """The control plane lives."""
        self._last_s = self._monotonic_s()

    @property
    def age_s(self) -> float | None:
        """Seconds since the last sign of life; ``None`` before the first."""
        return None if self._last_s is None else self._monotonic_s() - self._last_s

    def refusal(self) -> Denial | None:
        """Why no entry may be signed; ``None`` while the lease is fresh."""
        age_s = self.age_s
        if age_s is not None and age_s <= self.max_age_s:
            return None
        seen = "none since the start" if age_s is None else f"the last {age_s:.1f} s ago"
        return Denial(
            DenialReason.NO_SIGN_OF_LIFE, f"entries need a sign of life of the control plane; {seen}, exits go on"
        )


class Brake:
    """Stops signing by whichever path says so; only the record's ``resume`` lets go."""

    def __init__(
        self,
        guard: NonceGuard,
        *,
        halt_file: Path | None = None,
        lease: DeadManLease | None = None,
        told: Callable[[], Latch] | None = None,
    ) -> None:
        """``told`` is a level that somebody else keeps; it holds beside the latch and is released where it is kept."""
        self._guard = guard
        self._told = told
        self.counts = Counts()
        self._unrecorded: Latch | None = None
        self._halt_file = halt_file
        self.lease = lease
        """``None`` where no control plane is asked for signs of life."""

    def pull(self, level: Level, source: str, reason: str) -> bool:
        """Latch. Returns whether that was tighter than what held. Raises ``GuardUnavailableError`` when it could not be
        recorded; it holds all the same, and is recorded as soon as that can be done."""
        wanted = Latch(level, source, recordable(reason))
        if self._unrecorded is None or self._unrecorded.level.severity < level.severity:
            self._unrecorded = wanted
        is_tighter = self._guard.halt(wanted.reason, level=level, source=source)
        if self._unrecorded == wanted:
            self._unrecorded = None
        if is_tighter:
            self.counts.halts[source] += 1
        return is_tighter

    def latch(self) -> Latch:
        """What holds now."""
        return self._guard.latch()

    def refusal(self, *, is_cancel: bool, is_entry: bool) -> Denial | None:
        """Why something may not be signed now, by the file and the lease; the record is asked when it is written."""
        self.look()
        for held in (self._unrecorded, None if self._told is None else self._told()):
            if held is not None and held.level.stops(is_cancel=is_cancel, is_entry=is_entry):
                return Denial(DenialReason.HALTED, held.sentence)
        if self.lease is None or is_cancel or not is_entry:
            return None
        return self.lease.refusal()

    def look(self) -> None:
        """Latch when the file is there. Taking it away releases nothing, and nothing is released while it is there."""
        held = self._unrecorded
        if held is not None:
            with contextlib.suppress(GuardUnavailableError):
                self.pull(held.level, held.source, held.reason)
        if self._halt_file is not None and _may_exist(self._halt_file):
            self.pull(Level.HALTED, "file", f"the file {self._halt_file.name} is in the data folder")

    async def keep_looking(self) -> None:
        """Look for the file, for ever, also while nobody asks for a signature."""
        while True:
            # What cannot be recorded now is recorded at the next look; until then nothing can be signed either.
            with contextlib.suppress(GuardUnavailableError):
                self.look()
            await asyncio.sleep(LOOK_EVERY_S)


def _may_exist(path: Path) -> bool:
    """What cannot be looked at counts as there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
