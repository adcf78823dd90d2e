"""What the published levels let one entry be: a share of a lane's capital.

The figures are data (``levels.json``), written from the table that planning uses. This package decides by them alone,
whatever planning says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.effects import NATIVE

_BPS = 10_000
POSITION_BPS: Mapping[int, Mapping[str, int]] = MappingProxyType(
    {
        int(level): MappingProxyType(lanes)
        for level, lanes in json.loads(Path(__file__).with_name("levels.json").read_text(encoding="utf-8")).items()
    }
)
"""Level, then lane, to basis points of the lane's capital. A lane that is not there opens nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryCap:
    """What an account may put into one entry: the share that ``level`` has in ``lane``, of ``capital``.

    ``level`` is the highest that the account's book may have; ``token`` is what its entries are paid with, and
    ``capital`` is in its smallest unit. ``ValueError`` for a level that is not published.
    """

    level: int
    lane: str
    token: str
    capital: int

    def __post_init__(self) -> None:
        if self.level not in POSITION_BPS:
            lowest, highest = min(POSITION_BPS), max(POSITION_BPS)
            raise ValueError(f"level {self.level} is not published; the levels are {lowest} to {highest}")

    @property
    def largest(self) -> int:
        """The largest entry, rounded down."""
        return self.capital * POSITION_BPS[self.level].get(self.lane, 0) // _BPS


def check_entry(cap: EntryCap | None, paid: Mapping[str, int], wrapped_native: str | None) -> Denial | None:
    """Return why an account may not pay this for one entry, or ``None`` when it may. ``paid`` is by token."""
    if cap is None:
        sentence = "the policy names no level and capital for this account, so it opens nothing"
        return Denial(DenialReason.LEVEL_UNKNOWN, sentence)
    counted = {_as_native(token, wrapped_native) for token in paid}
    if counted != {_as_native(cap.token, wrapped_native)}:
        return Denial(DenialReason.ENTRY_TOKEN, f"the entries of this account are paid with {cap.token} alone")
    amount = sum(paid.values())
    if amount > cap.largest:
        sentence = f"{amount} is more than the {cap.largest} that level {cap.level} lets an entry of this lane be"
        return Denial(DenialReason.OVER_LEVEL, sentence)
    return None


def _as_native(token: str, wrapped_native: str | None) -> str:
    """Native coin is traded wrapped, so the one counts as the other."""
    return NATIVE if token == wrapped_native else token
