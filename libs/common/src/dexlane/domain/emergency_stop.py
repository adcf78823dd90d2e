"""An emergency stop, step by step: close what is held if that is asked for, halt, cancel what is open, and report.

Pure. Whoever drives it stores the state with what it does, so that it goes on where it was after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from dexlane.values.base import Value

ASK_AGAIN_MS = 30_000
"""An exit that nothing came of is asked for again after so long."""
SETTLE_MS = 3_000
"""Nothing must be held for so long before exits are over: the fill of a last entry may not be heard of yet."""


class StopPhase(StrEnum):
    """CLOSING: no entries, positions are being closed. CANCELLING: halted, open transactions are taken back. DONE."""

    CLOSING = "closing"
    CANCELLING = "cancelling"
    DONE = "done"


class AskedExit(Value):
    """An exit that was asked for. ``position`` names it: book, account and token."""

    position: str
    position_version: int
    exit_id: str
    at_ms: int


class LeftOver(Value):
    """Something that is still there at the end, and why."""

    what: str
    why: str


class StopState(Value):
    """An emergency stop as it now is."""

    id: str
    reason: str
    close_positions: bool
    began_ms: int
    phase: StopPhase
    exits_until_ms: int
    cancels_for_ms: int
    clear_since_ms: int | None = Field(default=None, description="since when nothing was seen to be held")
    halted_ms: int | None = None
    ended_ms: int | None = None
    positions_at_start: int = 0
    positions_left: int = 0
    transactions_open: int = 0
    asked: tuple[AskedExit, ...] = ()
    unconfirmed: tuple[LeftOver, ...] = Field(default=(), description="paths on which the halt may not have arrived")
    left: tuple[LeftOver, ...] = Field(default=(), description="what could not be closed, cancelled or halted, and why")

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be done."""
        return self.phase is StopPhase.DONE


@dataclass(frozen=True, slots=True)
class Holding:
    """A position that is open now. ``worth`` orders what is closed first."""

    position: str
    version: int
    worth: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there now: positions, and live transactions that are in no block."""

    holdings: tuple[Holding, ...]
    transactions_open: int


@dataclass(frozen=True, slots=True)
class StopStep:
    """The state after a look, which positions to close now in that order, whether to halt now, and whether it ended."""

    state: StopState
    close: tuple[str, ...] = ()
    halt: bool = False
    ended: bool = False


def step(state: StopState, seen: Seen, now_ms: int) -> StopStep:
    """What is to be done now. Nothing is done twice: exits that were asked for are awaited first."""
    now_ms = max(now_ms, state.began_ms)
    counted = state.model_copy(
        update={"positions_left": len(seen.holdings), "transactions_open": seen.transactions_open}
    )
    if state.phase is StopPhase.DONE:
        return StopStep(state)
    if state.phase is StopPhase.CLOSING:
        clear_since_ms = None if seen.holdings else now_ms if state.clear_since_ms is None else state.clear_since_ms
        counted = counted.model_copy(update={"clear_since_ms": clear_since_ms})
        is_clear = clear_since_ms is not None and now_ms - clear_since_ms >= SETTLE_MS
        if now_ms < state.exits_until_ms and not is_clear:
            return StopStep(counted, close=_due(state, seen.holdings, now_ms))
        update = {"phase": StopPhase.CANCELLING, "halted_ms": now_ms}
        return StopStep(counted.model_copy(update=update), halt=True)
    is_late = now_ms >= (state.halted_ms or state.began_ms) + state.cancels_for_ms
    if seen.transactions_open and not is_late:
        return StopStep(counted)
    return StopStep(counted.model_copy(update={"phase": StopPhase.DONE, "ended_ms": now_ms}), ended=True)


def _due(state: StopState, holdings: Iterable[Holding], now_ms: int) -> tuple[str, ...]:
    """What to close now, the most valuable first: what was not asked for in its present version, or long ago."""
    asked = {one.position: one for one in state.asked}
    due = []
    for holding in sorted(holdings, key=lambda one: (-one.worth, one.position)):
        before = asked.get(holding.position)
        is_new = before is None or before.position_version != holding.version
        if is_new or before is None or now_ms - before.at_ms >= ASK_AGAIN_MS:
            due.append(holding.position)
    return tuple(due)


def with_asked(state: StopState, exits: Iterable[AskedExit]) -> StopState:
    """The state after these exits were asked for; of each position the newest is remembered."""
    asked = {one.position: one for one in (*state.asked, *exits)}
    return state.model_copy(update={"asked": tuple(asked[key] for key in sorted(asked))})
