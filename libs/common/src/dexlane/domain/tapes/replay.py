"""Replay of a pool with ticks: is every recorded swap what our maths gives, to the last unit?

A swap is *exact* when one of the three orders that may have caused it (exact input, exact output, anything up to a
price) gives its price, tick, active liquidity and both amounts. It is *inexact* when none does although all liquidity
on its way is known, or when its own fields contradict each other. It is *unverifiable* when there is no state before
it, or when it crosses an interval of which nothing tells the liquidity (``dexlane.domain.tapes.evidence``).

The replay goes on from what was recorded, not from what was computed: one wrong event does not spoil those after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dexlane.domain.amm.concentrated import Order, TickSwap, swap
from dexlane.domain.amm.tick_math import MAX_TICK, MIN_TICK, sqrt_ratio_at_tick
from dexlane.domain.tapes.evidence import LiquidityEvidence, RecordedPositions
from dexlane.domain.tapes.outcome import Outcome
from dexlane.domain.tapes.tape import LiquidityRecord, PoolStart, Record, SwapRecord, TapePool
from dexlane.values.pools import ConcentratedState

_MORE_THAN_ANY = 1 << 200
"""An input that no pool can take: the order then runs to its price limit."""


class _Before(NamedTuple):
    """Price and tick that the last record left."""

    sqrt_price_x96: int
    tick: int


def replay(pool: TapePool, records: Sequence[Record]) -> Iterator[tuple[Record, Outcome | None, TickSwap | None]]:
    """Each record of one pool in order, with what its replay says (None for a mint or burn) and what was computed."""
    run = _PoolReplay(pool, records)
    for index, record in enumerate(records):
        if isinstance(record, SwapRecord):
            yield (record, *run.swap(index, record))
        elif isinstance(record, LiquidityRecord):
            run.positions.change(record)
            yield record, None, None


class _PoolReplay:
    """The state of one pool while its records go by."""

    def __init__(self, pool: TapePool, records: Sequence[Record]) -> None:
        self._pool = pool
        self._spacing = pool.tick_spacing
        self._evidence = LiquidityEvidence(records, pool.tick_spacing, pool.start)
        self.positions = RecordedPositions(pool.tick_spacing)
        self._before = _before(pool.start)
        if self._before is not None:
            self.positions.rest_at(self._before.tick // self._spacing)

    def swap(self, index: int, record: SwapRecord) -> tuple[Outcome, TickSwap | None]:
        before, self._before = self._before, _Before(record.sqrt_price_x96, record.tick)
        state = None if before is None else self._state(index, before, record)
        self.positions.rest_at(record.tick // self._spacing)
        if _contradicts_itself(record, before, self._spacing):
            return Outcome.INEXACT, None
        if state is None:
            return Outcome.UNVERIFIABLE, None
        computed = None
        for order in _orders(record, state):
            try:
                result = swap(state, self._pool.fee_pips, self._spacing, order)
            except ValueError:  # this order cannot have been the one
                continue
            if _explains(result, record, order):
                return Outcome.EXACT, result
            computed = computed or result
        return Outcome.INEXACT, computed

    def _state(self, index: int, before: _Before, record: SwapRecord) -> ConcentratedState | None:
        """The pool as the swap found it, with the ticks on its way; None when one of those is unknown."""
        here, there = before.tick // self._spacing, record.tick // self._spacing
        ticks = self._evidence.ticks_between(min(here, there), max(here, there), index, self.positions)
        older = self._evidence.before_window(here, index)
        if ticks is None or older is None:
            return None
        active = older + self.positions.active
        return ConcentratedState.unchecked(before.sqrt_price_x96, before.tick, active, ticks)


def _before(start: PoolStart) -> _Before | None:
    state = start.state
    return _Before(state.sqrt_price_x96, state.tick) if isinstance(state, ConcentratedState) else None


def paid_in_token0(record: SwapRecord, sqrt_price_before: int) -> bool:
    """Whether token0 was paid in. Where no amount moved (no liquidity), the price tells."""
    if record.amount0 or record.amount1:
        return record.amount0 > 0 or record.amount1 < 0
    return record.sqrt_price_x96 < sqrt_price_before


def _orders(record: SwapRecord, state: ConcentratedState) -> Iterator[Order]:
    """The event does not say what was asked for: exact input, exact output, or anything up to a price."""
    zero_for_one = paid_in_token0(record, state.sqrt_price_x96)
    paid, received = (record.amount0, -record.amount1) if zero_for_one else (record.amount1, -record.amount0)
    if paid > 0:
        yield Order(zero_for_one, exact_in=True, amount=paid)
    if received > 0:
        yield Order(zero_for_one, exact_in=False, amount=received)
    yield Order(zero_for_one, exact_in=True, amount=_MORE_THAN_ANY, sqrt_price_limit_x96=record.sqrt_price_x96)


def _explains(result: TickSwap, record: SwapRecord, order: Order) -> bool:
    state = result.state
    signed = (result.amount_in, -result.amount_out)
    return (
        (record.amount0, record.amount1) == (signed if order.zero_for_one else signed[::-1])
        and state.sqrt_price_x96 == record.sqrt_price_x96
        and state.tick == record.tick
        and state.liquidity == record.liquidity
    )


def _contradicts_itself(record: SwapRecord, before: _Before | None, spacing: int) -> bool:
    """Whether no pool can have logged this, whatever its liquidity.

    The tick holds the price (or ends just below it, where the price went down to an initialised tick and crossed it);
    both amounts are not paid in or out at once; the price moves toward what is paid in.
    """
    tick, price = record.tick, record.sqrt_price_x96
    if not MIN_TICK - 1 <= tick < MAX_TICK or record.amount0 * record.amount1 > 0:
        return True
    upper = sqrt_ratio_at_tick(tick + 1)
    crossed_down = price == upper and (tick + 1) % spacing == 0
    if not (crossed_down or sqrt_ratio_at_tick(max(tick, MIN_TICK)) <= price < upper):
        return True
    if before is None or not (record.amount0 or record.amount1):
        return False
    moved = price - before.sqrt_price_x96
    return moved > 0 if paid_in_token0(record, before.sqrt_price_x96) else moved < 0
