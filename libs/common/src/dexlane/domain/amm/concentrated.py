"""Swaps in concentrated-liquidity pools, equal to the wei to ``UniswapV3Pool.swap`` (v3-core 1.0.1).

The contract looks for the next tick one bitmap word (256 ticks of its spacing) at a time and rounds at every stop, also
where the word ends without an initialised tick. Those stops are kept: leaving them out is wrong by some units in one
quote out of five. A swap here is one step to the first stop, one search over the ranges it crosses in full
(``tick_tables``), and one step beyond.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import NamedTuple

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.swap_steps import STEPS
from dexlane.domain.amm.tick_math import MAX_SQRT_RATIO, MIN_SQRT_RATIO, sqrt_ratio_at_tick, tick_at_sqrt_ratio
from dexlane.domain.amm.tick_tables import TABLES, WORD, Lane, Place, Rows, next_stop, words_between
from dexlane.values.pools import ConcentratedState, Tick

MAX_ORDER = (1 << 255) - 1
"""An order's amount is an int256."""
_PRICE = itemgetter(0)
_LOWEST, _HIGHEST = MIN_SQRT_RATIO + 1, MAX_SQRT_RATIO - 1


class TickSwap(NamedTuple):
    """A swap through ticks and where it left the pool. ``amount_in`` includes ``fee_amount``, in the token paid in.

    ``remaining`` is what the pool could not carry before its price reached the limit: unspent input of an exact-in
    order, missing output of an exact-out order. ``ticks_crossed`` and ``words_read`` (the turns of the contract's loop)
    drive the gas estimate.
    """

    amount_in: int
    amount_out: int
    fee_amount: int
    remaining: int
    ticks_crossed: int
    words_read: int
    sqrt_price_x96: int
    tick: int
    liquidity: int
    ticks: tuple[Tick, ...]

    @property
    def state(self) -> ConcentratedState:
        """The pool after the swap."""
        return ConcentratedState.unchecked(self.sqrt_price_x96, self.tick, self.liquidity, self.ticks)


class Order(NamedTuple):
    """What is asked of a pool. ``amount`` counts the token paid in when ``exact_in``, else the token taken out.

    ``sqrt_price_limit_x96`` stops the swap at a price; None lets it use the whole pool, as the routers do.
    """

    zero_for_one: bool
    exact_in: bool
    amount: int
    sqrt_price_limit_x96: int | None = None


_End = tuple[int, int, int]
"""Price, tick and active liquidity where a swap stands."""
_Tally = tuple[int, int, int, int, int]
"""What has moved and what was passed: paid with the fee, received, fee, initialised ticks, words."""


def swap(state: ConcentratedState, fee_pips: int, tick_spacing: int, order: Order) -> TickSwap:
    """Carry out an order as ``UniswapV3Pool.swap`` does and return what moved and the state after it.

    A price limit that is reached, or a pool that holds too little, fills the order in part; without any liquidity on
    the way nothing moves but the price. Raises ``InsufficientLiquidity`` where the contract refuses: pool not
    initialised, or price already at the limit; ``ValueError`` for an amount that is no positive int256, and for ticks
    that take more liquidity than there is.
    """
    down, exact_in, amount, asked_limit = order
    if not 0 < amount <= MAX_ORDER:
        raise ValueError("an order's amount is a positive int256")
    tick, liquidity, ticks, start_price = state.tick, state.liquidity, state.ticks, state.sqrt_price_x96
    limit = _price_limit(start_price, down, asked_limit)
    lane = (ticks, fee_pips, tick_spacing, down)
    cursor = bisect_left(ticks, (tick + 1,)) - down
    stop, initialised = next_stop(lane, tick, liquidity, cursor)
    stop_price = sqrt_ratio_at_tick(stop)
    target = stop_price if (stop_price > limit) == down else limit
    price, paid, received, fees = STEPS[down][exact_in](start_price, target, liquidity, amount, fee_pips)
    if price != stop_price:
        end, words = _landed(lane, (start_price, tick, liquidity), price)
        return _result(order, ticks, (paid, received, fees, 0, words), end)
    words = 1 if liquidity else words_between(lane, tick, stop)
    sign = -1 if down else 1
    if initialised:
        liquidity = _possible(liquidity + sign * ticks[cursor].liquidity_net, stop)
        cursor += sign
    tally = (paid, received, fees, int(initialised), words)
    if price == limit or amount == (paid if exact_in else received):
        return _result(order, ticks, tally, (price, stop - down, liquidity))
    return _beyond(lane, order, limit, (sign * stop, liquidity, cursor), tally)


def _beyond(lane: Lane, order: Order, limit: int, place: Place, tally: _Tally) -> TickSwap:
    """The rest of a swap that has just crossed its first stop: whole ranges by their totals, then the last step."""
    down, exact_in, amount, _ = order
    table, rows, first = TABLES.at(lane, place)
    totals = rows.paid if exact_in else rows.received
    wanted = totals[first] + amount - tally[not exact_in]
    if totals[-1] < wanted:
        rows = TABLES.rows_until((table, rows), wanted, limit, exact_in=exact_in)
        totals = rows.paid if exact_in else rows.received
    ends = rows.ends
    reachable = len(totals)
    if (ends[-1][0] < limit) if down else (ends[-1][0] > limit):
        reachable = _reachable(ends, first, limit)
    last = bisect_left(totals, wanted, first + 1, reachable)
    if last == reachable or totals[last] != wanted:
        last -= 1
    paid, received, fees, crossed, words = tally
    paid_until, received_until, fees_until, crossed_until, words_until = rows.tallies[last]
    paid_before, received_before, fees_before, crossed_before, words_before = rows.tallies[first]
    tally = (
        paid + paid_until - paid_before,
        received + received_until - received_before,
        fees + fees_until - fees_before,
        crossed + crossed_until - crossed_before,
        words + words_until - words_before,
    )
    _possible(ends[last][2], rows.stops[last])
    if totals[last] == wanted or ends[last][0] == limit:
        return _result(order, lane[0], tally, ends[last])
    return _last_step(lane, order, limit, (rows, last), tally)


def _last_step(lane: Lane, order: Order, limit: int, place: tuple[Rows, int], tally: _Tally) -> TickSwap:
    """What an order still moves after the last range that it crosses in full."""
    down, exact_in, amount, _ = order
    (rows, last), (paid, received, fees, crossed, words) = place, tally
    start = rows.ends[last]
    stop_price, target = 0, limit
    if last + 1 < len(rows.ends):
        stop_price = rows.ends[last + 1][0]
        target = stop_price if (stop_price > limit) == down else limit
    remaining = amount - (paid if exact_in else received)
    price, more_paid, more_received, more_fees = STEPS[down][exact_in](start[0], target, start[2], remaining, lane[1])
    if price == stop_price:
        # Rounding can carry an exact output just short of a whole range onto its end; the contract then crosses it.
        end, more_words = rows.ends[last + 1], 1
        crossed += rows.tallies[last + 1][3] - rows.tallies[last][3]
        _possible(end[2], rows.stops[last + 1])
    else:
        end, more_words = _landed(lane, start, price)
    tally = (paid + more_paid, received + more_received, fees + more_fees, crossed, words + more_words)
    return _result(order, lane[0], tally, end)


def _reachable(ends: list[_End], first: int, limit: int) -> int:
    """How many rows end at or before the price limit, when the last one does not."""
    if ends[-1][0] < limit:
        return bisect_right(ends, -limit, first, key=lambda end: -end[0])
    return bisect_right(ends, limit, first, key=_PRICE)


def _possible(liquidity: int, stop: int) -> int:
    if liquidity < 0:
        raise ValueError(f"liquidity below zero after tick {abs(stop)}: the tick list contradicts the active liquidity")
    return liquidity


def _landed(lane: Lane, start: _End, price: int) -> tuple[_End, int]:
    """Where a step ends that does not reach its stop, and how many words the contract has read for it."""
    start_price, start_tick, liquidity = start
    if price == start_price:
        return start, 1
    tick = tick_at_sqrt_ratio(price)
    if liquidity:
        return (price, tick, liquidity), 1
    _, _, spacing, down = lane
    on_tick = price == sqrt_ratio_at_tick(tick)
    words = words_between(lane, start_tick, tick if on_tick or down else tick + 1)
    if on_tick and down and tick % (WORD * spacing) == 0:
        # Without liquidity the ends of words are no stops here; a limit on one of them is passed all the same.
        return (price, tick - 1, 0), words
    return (price, tick, 0), words


def _result(order: Order, ticks: tuple[Tick, ...], tally: _Tally, end: _End) -> TickSwap:
    paid, received, fees, crossed, words = tally
    price, tick, liquidity = end
    remaining = order[2] - (paid if order[1] else received)
    return TickSwap(paid, received, fees, remaining, crossed, words, price, tick, liquidity, ticks)


def _price_limit(price: int, down: bool, asked: int | None) -> int:
    limit = asked if asked is not None else _LOWEST if down else _HIGHEST
    if _LOWEST <= limit < price if down else 0 < price < limit <= _HIGHEST:
        return limit
    if price == 0:
        raise InsufficientLiquidity("the pool is not initialised")
    raise InsufficientLiquidity(f"the price {price} has no room before the limit {limit}")
