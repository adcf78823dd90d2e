"""What a recording tells about the liquidity that was there before it began.

Ticks cut the price axis into intervals of ``tick_spacing`` (interval ``i`` holds the ticks from ``i * spacing``).
A swap's event says how much liquidity is active where the swap came to rest. Take away what the recorded mints and
burns put there, and what remains was there before the recording: one number per interval, which no later event changes.
Two neighbouring intervals that are known give the net liquidity of the tick between them. So a tick map need not be
recorded for swaps to be replayed; only intervals in which no swap ever rested stay unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dexlane.domain.tapes.tape import LiquidityRecord, PoolStart, Record, SwapRecord
from dexlane.values.pools import ConcentratedState, Tick


class RecordedPositions:
    """What the recorded mints and burns have added so far, by tick, and how much of it is active at one interval."""

    def __init__(self, spacing: int) -> None:
        self.interval: int | None = None
        self.active = 0
        self.nets: dict[int, int] = {}
        self.gross: dict[int, int] = {}
        self._spacing = spacing

    def change(self, record: LiquidityRecord) -> None:
        """Add or remove a position's liquidity."""
        lower, upper = record.tick_lower // self._spacing, record.tick_upper // self._spacing
        delta = record.liquidity_delta
        for boundary, net in ((lower, delta), (upper, -delta)):
            self.nets[boundary] = self.nets.get(boundary, 0) + net
            self.gross[boundary] = self.gross.get(boundary, 0) + delta
        if self.interval is not None and lower <= self.interval < upper:
            self.active += delta

    def at(self, interval: int) -> int:
        """How much is active at an interval; fast where that is near ``self.interval``."""
        if self.interval is None:
            return sum(net for boundary, net in self.nets.items() if boundary <= interval)
        nets, active = self.nets, self.active
        for boundary in range(self.interval + 1, interval + 1):
            active += nets.get(boundary, 0)
        for boundary in range(interval + 1, self.interval + 1):
            active -= nets.get(boundary, 0)
        return active

    def rest_at(self, interval: int) -> None:
        """The price came to rest in an interval."""
        if interval != self.interval:
            self.active = self.at(interval)
            self.interval = interval


@dataclass(slots=True)
class _Run:
    """Consecutive sightings of an interval that agree: the record that began them, what they say, how many."""

    begin: int
    liquidity: int
    sightings: int


class LiquidityEvidence:
    """Liquidity that was there before the recording, by interval, as the whole recording reveals it.

    It should never change. Where two sightings in a row contradict the earlier ones, an event is missing between, and
    they are believed from then on; a single one is a wrong event and is not.
    """

    def __init__(self, records: Iterable[Record], spacing: int, start: PoolStart) -> None:
        state = start.state
        ticks = state.ticks if start.complete and isinstance(state, ConcentratedState) else ()
        self._spacing = spacing
        self._map = _CompleteMap(ticks, spacing) if start.complete else None
        self._start_gross = {tick.tick // spacing: tick.liquidity_gross for tick in ticks}
        self._start_nets = {tick // spacing: net for tick, net in start.nets}
        self._runs: dict[int, list[_Run]] = {}
        self._lowest_gross: dict[int, int] = {}
        self._gather(records, start)

    def _gather(self, records: Iterable[Record], start: PoolStart) -> None:
        positions = RecordedPositions(self._spacing)
        if isinstance(start.state, ConcentratedState):
            positions.rest_at(start.state.tick // self._spacing)
        for index, record in enumerate(records):
            if isinstance(record, SwapRecord):
                interval = record.tick // self._spacing
                positions.rest_at(interval)
                self._sight(interval, index, record.liquidity - positions.active)
                continue
            if not isinstance(record, LiquidityRecord):
                continue
            positions.change(record)
            if record.liquidity_delta < 0:
                for boundary in (record.tick_lower // self._spacing, record.tick_upper // self._spacing):
                    lowest = min(self._lowest_gross.get(boundary, 0), positions.gross[boundary])
                    self._lowest_gross[boundary] = lowest
        self._runs = {interval: _without_lone(runs) for interval, runs in self._runs.items()}

    def _sight(self, interval: int, index: int, liquidity: int) -> None:
        runs = self._runs.get(interval)
        if runs is None:
            runs = [] if self._map is None else [_Run(-1, self._map.at(interval), 2)]
            self._runs[interval] = runs
        if runs and runs[-1].liquidity == liquidity:
            runs[-1].sightings += 1
        else:
            runs.append(_Run(index, liquidity, 1))

    def before_window(self, interval: int, index: int) -> int | None:
        """Liquidity at an interval that is older than the recording, as to be believed at record ``index``.

        What swaps before that record showed counts first, then the tick map of the start, then what later swaps (or
        this one) show; last, a neighbour across a tick whose net is known. None when all of that is missing.
        """
        runs = self._runs.get(interval, ())
        earlier = [run for run in runs if run.begin < index]
        if earlier:
            return earlier[-1].liquidity
        if self._map is not None:
            return self._map.at(interval)
        if runs:
            return runs[0].liquidity
        return self._from_neighbour(interval, index)

    def ticks_between(self, first: int, last: int, index: int, positions: RecordedPositions) -> tuple[Tick, ...] | None:
        """Initialised ticks on the boundaries of the intervals ``first`` to ``last``; None when one is unknown."""
        if first == last:
            return () if self.before_window(first, index) is not None else None
        ticks: list[Tick] = []
        before = self.before_window(first, index)
        for boundary in range(first + 1, last + 1):
            after = self.before_window(boundary, index)
            if before is None or after is None:
                return None
            net = after - before + positions.nets.get(boundary, 0)
            gross = max(abs(net), self._least_gross(boundary) + positions.gross.get(boundary, 0))
            if gross:
                ticks.append(Tick(boundary * self._spacing, gross, net))
            before = after
        return tuple(ticks)

    def _least_gross(self, boundary: int) -> int:
        """The least that must have referenced a tick before the recording: later burns took it from somewhere."""
        return max(self._start_gross.get(boundary, 0), -self._lowest_gross.get(boundary, 0))

    def _from_neighbour(self, interval: int, index: int) -> int | None:
        for boundary, neighbour, sign in ((interval, interval - 1, 1), (interval + 1, interval + 1, -1)):
            net = self._start_nets.get(boundary)
            runs = self._runs.get(neighbour)
            if net is not None and runs:
                known = [run for run in runs if run.begin < index] or runs[:1]
                return known[-1].liquidity + sign * net
        return None


class _CompleteMap:
    """Active liquidity by interval, from a complete tick map."""

    def __init__(self, ticks: Iterable[Tick], spacing: int) -> None:
        self.nets = {tick.tick // spacing: tick.liquidity_net for tick in ticks}
        self._known: dict[int, int] = {}

    def at(self, interval: int) -> int:
        found = self._known.get(interval)
        if found is None:
            found = sum(net for boundary, net in self.nets.items() if boundary <= interval)
            self._known[interval] = found
        return found


def _without_lone(runs: list[_Run]) -> list[_Run]:
    """Without single sightings that contradict those before them."""
    kept: list[_Run] = []
    for run in runs:
        if kept and kept[-1].liquidity == run.liquidity:
            kept[-1].sightings += run.sightings
        elif not kept or run.sightings > 1:
            kept.append(run)
    # A first sighting that stood alone is no better than any other lone one.
    return kept[1:] if len(kept) > 1 and kept[0].sightings == 1 else kept
