"""How long it took from the logs of a block to a signed transaction, as measured."""

from __future__ import annotations

import math
from collections import deque

from dexlane.events.execution import ENTRIES, TxChanged, TxState
from dexlane.values.base import Value
from dexlane.values.books import Lane, Mode

KEPT = 1_000


class LaneLatency(Value):
    """Log received to signed, over the last ``samples`` entries and gaps of one lane; None means no data."""

    lane: Lane
    mode: Mode
    samples: int
    p50_ms: float | None
    p99_ms: float | None


def percentile(ordered: list[float], share_bps: int) -> float:
    """The nearest-rank percentile of sorted values: the smallest one that at least that share does not exceed."""
    rank = math.ceil(len(ordered) * share_bps / 10_000)
    return ordered[max(rank, 1) - 1]


class Latency:
    """The last measured delays of each lane and mode."""

    def __init__(self) -> None:
        self._samples: dict[tuple[Mode, Lane], deque[float]] = {
            (mode, lane): deque(maxlen=KEPT) for mode in Mode for lane in Lane
        }

    def apply(self, event: TxChanged) -> None:
        """Take the measurement of a signed entry or gap. Nothing else counts: allowances and exits by hand do
        not begin with the logs of a block."""
        if event.state is TxState.SIGNED and event.purpose in ENTRIES and event.elapsed_ms is not None:
            self._samples[event.mode, event.lane].append(event.elapsed_ms)

    def view(self) -> tuple[LaneLatency, ...]:
        """One entry for each mode and lane."""
        return tuple(self._one(mode, lane) for mode, lane in self._samples)

    def _one(self, mode: Mode, lane: Lane) -> LaneLatency:
        ordered = sorted(self._samples[mode, lane])
        return LaneLatency(
            lane=lane,
            mode=mode,
            samples=len(ordered),
            p50_ms=round(percentile(ordered, 5_000), 2) if ordered else None,
            p99_ms=round(percentile(ordered, 9_900), 2) if ordered else None,
        )
