"""Running totals over the ranges between stops: what makes a swap through many ticks one search instead of a walk.

A range that a swap crosses in full asks for and gives amounts in which the order's own amount has no part, and an
exact input crosses it just when it covers the range's input with the fee on top: ``floor(r * (1 - f)) >= a`` says the
same as ``r >= a + ceil(a * f / (1 - f))``. So the totals of whole ranges, a bisection in them and one step at either
end give the contract's integers (``UniswapV3Pool.swap``, v3-core 1.0.1). The stops are the contract's: initialised
ticks, and the ends of bitmap words, where it rounds too.

Tables are made when a swap first crosses a stop and grow only as far as orders reach. They belong to one tuple of
ticks, by identity: a swap keeps that tuple and so the tables, a mint or burn makes a new one. They are a bounded cache,
and no result depends on what it holds. What is published is never changed, so threads may share it.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from dexlane.domain.amm.swap_steps import cross_down, cross_up
from dexlane.domain.amm.tick_math import MAX_TICK, MIN_TICK, sqrt_ratio_at_tick
from dexlane.values.pools import Tick

WORD = 256
"""Ticks (of the pool's spacing) in one word of the contract's bitmap."""

_FEWEST_ROWS = 4
"""Rows added at a time at least: what is published is copied, and that costs as much as a row."""
_REACH_BEHIND = 8
_MOST_ROWS = 1 << 17
"""Of all tables together: some 300 bytes each, 40 MB. Beyond it the oldest tables go."""


Lane = tuple[tuple[Tick, ...], int, int, bool]
"""One direction through the ticks of one pool: (ticks, fee in pips, tick spacing, down in price as zero for one?)."""
Place = tuple[int, int, int]
"""Where a swap is that has just crossed a stop: (the stop, negated where the price falls; the liquidity active beyond
it; the index of the next initialised tick). Plain tuples: making a named one costs a tenth of a swap."""


class Rows(NamedTuple):
    """Stops in the order of a swap. Row ``k`` is about the swap from the first stop until it has crossed stop ``k``.

    ``stops`` are negated where the price falls, so that they always rise. ``ends`` are (price, tick, active liquidity)
    then; ``tallies`` are (paid, received, fee, initialised ticks, words) since the first stop, with the first two once
    more as lists of their own to be bisected. ``cursor`` is the index of the initialised tick after the last stop; with
    ``ended`` there is no further stop. Liquidity below zero in the last row says that the ticks cannot be true.
    """

    stops: list[int]
    ends: list[tuple[int, int, int]]
    tallies: list[tuple[int, int, int, int, int]]
    paid: list[int]
    received: list[int]
    cursor: int
    ended: bool


class TickTable:
    """The rows of one lane from some stop on; ``reach`` is how many initialised ticks it began behind the price."""

    __slots__ = ("lane", "reach", "rows")

    def __init__(self, lane: Lane, rows: Rows, reach: int) -> None:
        self.lane = lane
        self.rows = rows
        self.reach = reach


class TickTables:
    """The tables in memory, oldest out first."""

    def __init__(self, most_rows: int = _MOST_ROWS) -> None:
        self._tables: dict[tuple[int, int, int, bool], TickTable] = {}
        self._most_rows = most_rows
        self.rows = 0
        """Rows of all tables."""

    def __len__(self) -> int:
        return len(self._tables)

    def clear(self) -> None:
        """Forget everything; the next swaps pay for it."""
        self._tables.clear()
        self.rows = 0

    def at(self, lane: Lane, place: Place) -> tuple[TickTable, Rows, int]:
        """The table that holds a stop, its rows, and the stop's row."""
        table = self._tables.get(_key(lane))
        if table is None:
            return self._begun(lane, place, 0)
        rows = table.rows
        if rows.stops[-1] < place[0]:
            rows = self._rows_to_stop(table, rows, place[0])
        row = _row(rows, place)
        if row is None:
            return self._begun(lane, place, min(len(lane[0]), max(_REACH_BEHIND, table.reach * 2)))
        return table, rows, row

    def rows_until(self, place: tuple[TickTable, Rows], wanted: int, limit: int, *, exact_in: bool) -> Rows:
        """Rows until a total reaches ``wanted``, a price passes ``limit`` or there is no more."""
        table, rows = place
        down = table.lane[3]
        while not rows.ended and (rows.paid if exact_in else rows.received)[-1] < wanted:
            price = rows.ends[-1][0]
            if price <= limit if down else price >= limit:
                break
            rows = self._grown(table, rows)
        return rows

    def _begun(self, lane: Lane, place: Place, reach: int) -> tuple[TickTable, Rows, int]:
        table = TickTable(lane, _first_row(lane, _behind(lane, place, reach)), reach)
        self._put(table)
        rows = self._rows_to_stop(table, table.rows, place[0])
        row = _row(rows, place)
        if row is None:
            # The ticks behind contradict the liquidity here: begin at this very stop.
            row, rows = 0, _first_row(lane, place)
            table = TickTable(lane, rows, reach)
            self._put(table)
        return table, rows, row

    def _rows_to_stop(self, table: TickTable, rows: Rows, stop: int) -> Rows:
        while not rows.ended and rows.stops[-1] < stop:
            rows = self._grown(table, rows)
        return rows

    def _grown(self, table: TickTable, rows: Rows) -> Rows:
        longer = extended(table.lane, rows, max(_FEWEST_ROWS, len(rows.stops) >> 2))
        added = len(longer.stops) - len(table.rows.stops)
        table.rows = longer
        if self._tables.get(_key(table.lane)) is table:
            self._account(added)
        return longer

    def _put(self, table: TickTable) -> None:
        replaced = self._tables.pop(_key(table.lane), None)
        self._tables[_key(table.lane)] = table
        self._account(1 - (len(replaced.rows.stops) if replaced is not None else 0))

    def _account(self, added: int) -> None:
        self.rows += added
        while self.rows > self._most_rows and len(self._tables) > 1:
            oldest = self._tables.pop(next(iter(self._tables)))
            self.rows -= len(oldest.rows.stops)


TABLES = TickTables()
"""Of this process."""


def extended(lane: Lane, rows: Rows, count: int) -> Rows:
    """``rows`` with up to ``count`` more stops."""
    ticks, fee_pips, _, down = lane
    sign, cross = (-1, cross_down) if down else (1, cross_up)
    stops, ends, tallies, paid, received = rows.stops[:], rows.ends[:], rows.tallies[:], rows.paid[:], rows.received[:]
    price, tick, liquidity = ends[-1]
    total_paid, total_received, fees, crossed, words = tallies[-1]
    cursor, ended = rows.cursor, False
    for _ in range(count):
        stop, initialised = next_stop(lane, tick, liquidity, cursor)
        ended = liquidity < 0 or not MIN_TICK < stop < MAX_TICK
        if ended:
            break
        target = sqrt_ratio_at_tick(stop)
        if liquidity:
            range_paid, range_received, fee = cross(price, target, liquidity, fee_pips)
            total_paid, total_received, fees = total_paid + range_paid, total_received + range_received, fees + fee
        words += 1 if liquidity else words_between(lane, tick, stop)
        if initialised:
            liquidity += sign * ticks[cursor].liquidity_net
            cursor += sign
            crossed += 1
        price, tick = target, stop - down
        stops.append(sign * stop)
        ends.append((price, tick, liquidity))
        tallies.append((total_paid, total_received, fees, crossed, words))
        paid.append(total_paid)
        received.append(total_received)
    return Rows(stops, ends, tallies, paid, received, cursor, ended)


def next_stop(lane: Lane, tick: int, liquidity: int, cursor: int) -> tuple[int, bool]:
    """The next stop from ``tick`` and whether it is an initialised tick.

    (``TickBitmap.nextInitializedTickWithinOneWord``: the next initialised tick within the word, else the word's last.)
    Without liquidity nothing is rounded at the ends of words, so they are passed over. The outermost ticks are stops
    that no price reaches.
    """
    ticks, _, spacing, down = lane
    if down:
        edge = (tick // spacing >> 8 << 8) * spacing if liquidity else MIN_TICK
        if cursor >= 0 and (at := ticks[cursor][0]) >= edge:
            return at, True
        return max(edge, MIN_TICK), False
    edge = (tick // spacing + 1 | 255) * spacing if liquidity else MAX_TICK
    if cursor < len(ticks) and (at := ticks[cursor][0]) <= edge:
        return at, True
    return min(edge, MAX_TICK), False


def words_between(lane: Lane, tick: int, end: int) -> int:
    """How many words the contract reads from ``tick`` on until the swap reaches the price of tick ``end``."""
    _, _, spacing, down = lane
    if down:
        return (tick // spacing >> 8) - (end // spacing >> 8) + 1
    return (-(-end // spacing) >> 8) - (tick // spacing + 1 >> 8) + 1


def _key(lane: Lane) -> tuple[int, int, int, bool]:
    # A table holds its ticks, so no other tuple can have their identity while it is kept.
    ticks, fee_pips, spacing, down = lane
    return id(ticks), fee_pips, spacing, down


def _row(rows: Rows, place: Place) -> int | None:
    """The row of a stop, when the rows have it and agree on the liquidity beyond it."""
    stop, liquidity, _ = place
    at = bisect_left(rows.stops, stop)
    return at if at < len(rows.stops) and rows.stops[at] == stop and rows.ends[at][2] == liquidity else None


def _first_row(lane: Lane, place: Place) -> Rows:
    stop, liquidity, cursor = place
    tick = -stop if lane[3] else stop
    end = (sqrt_ratio_at_tick(tick), tick - lane[3], liquidity)
    return Rows([stop], [end], [(0, 0, 0, 0, 0)], [0], [0], cursor, ended=False)


def _behind(lane: Lane, place: Place, reach: int) -> Place:
    """The place ``reach`` initialised ticks behind, so that the price may go back some way before tables are remade."""
    (ticks, _, _, down), (stop, liquidity, cursor) = lane, place
    if not reach or not ticks:
        return place
    if down:
        first = min(len(ticks) - 1, cursor + 1 + reach)
        back = (-ticks[first].tick, liquidity + _net(ticks[cursor + 1 : first]), first - 1)
    else:
        first = max(0, cursor - 1 - reach)
        back = (ticks[first].tick, liquidity - _net(ticks[first + 1 : cursor]), first + 1)
    return back if back[0] < stop and back[1] >= 0 else place


def _net(ticks: tuple[Tick, ...]) -> int:
    return sum(tick.liquidity_net for tick in ticks)
