"""How far signing is stopped, and by whom. A latch is tightened by anything and released by a person alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_MOST_REASON = 500


class Level(StrEnum):
    """ACTIVE signs by policy; REDUCING signs exits and cancels; HALTED signs cancels only."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"

    @property
    def severity(self) -> int:
        """Grows with strictness."""
        return list(Level).index(self)

    def stops(self, *, is_cancel: bool, is_entry: bool) -> bool:
        """Whether this level refuses such a signature."""
        if is_cancel or self is Level.ACTIVE:
            return False
        return self is Level.HALTED or is_entry


@dataclass(frozen=True, slots=True)
class Latch:
    """The level that holds, who set it (``api``, ``bus``, ``file``, ``operator``), why, and when (Unix seconds)."""

    level: Level = Level.ACTIVE
    source: str = ""
    reason: str = ""
    at_s: int = 0

    @property
    def sentence(self) -> str:
        """For a denial."""
        return f"the signer is {self.level} by {self.source}: {self.reason}"


def recordable(reason: str) -> str:
    """The reason of a halt as a record can keep it: text that is UTF-8, not blank, not endless. A halt whose reason
    cannot be written down would be a halt that is forgotten."""
    return reason.encode(errors="backslashreplace").decode().strip()[:_MOST_REASON] or "no reason was given"
