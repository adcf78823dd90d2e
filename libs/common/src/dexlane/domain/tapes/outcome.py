"""What the replay of a swap says."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What the replay of one swap says."""

    EXACT = "exact"
    INEXACT = "inexact"
    UNVERIFIABLE = "unverifiable"
