"""Replay of a tape: is every recorded swap what our maths gives, to the last unit?

A swap is *exact* when one of the three orders that may have caused it (exact input, exact output, anything up to a
price) gives its price, tick, active liquidity and both amounts. It is *inexact* when none does although all liquidity
on its way is known, or when its own fields contradict each other. It is *unverifiable* when there is no state before
it, or when it crosses an interval of which nothing tells the liquidity (``dexlane.domain.tapes.evidence``).

The replay goes on from what was recorded, not from what was computed: one wrong event does not spoil those after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from dexlane.domain.amm.concentrated import Order, TickSwap, swap
from dexlane.domain.amm.tick_math import MAX_TICK, MIN_TICK, sqrt_ratio_at_tick
from dexlane.domain.tapes.evidence import LiquidityEvidence, RecordedPositions
from dexlane.domain.tapes.tape import PoolStart, Record, SwapRecord, Tape, TapePool
from dexlane.values.pools import ConcentratedState

INEXACT_SHOWN = 10
REPORT_EVERY = 1_000
_MORE_THAN_ANY = 1 << 200
"""An input that no pool can take: the order then runs to its price limit."""

Progress = Callable[[int], None]
"""Told how many records were replayed since it was last told."""


class Outcome(StrEnum):
    """What the replay of one swap says."""

    EXACT = "exact"
    INEXACT = "inexact"
    UNVERIFIABLE = "unverifiable"


class Disagreement(NamedTuple):
    """An inexact swap: where it is, what was recorded, and the nearest of what was computed (None: no order runs)."""

    pool: int
    block_number: int
    log_index: int
    recorded: Mapping[str, int]
    computed: Mapping[str, int] | None


class Verification(NamedTuple):
    """Counts of a replayed tape. ``blocks``: how many hold a record. ``first_inexact``: the first few, in order."""

    swaps: int
    exact: int
    inexact: int
    unverifiable: int
    blocks: int
    first_inexact: tuple[Disagreement, ...]


class _Before(NamedTuple):
    """Price and tick that the last record left."""

    sqrt_price_x96: int
    tick: int


def verify(tape: Tape, progress: Progress = lambda done: None) -> Verification:
    """Replay every swap of every pool of a tape."""
    counts = dict.fromkeys(Outcome, 0)
    inexact: list[Disagreement] = []
    for index, pool in enumerate(tape.pools):
        records = tape.of_pool(index)
        for done, (record, outcome, computed) in enumerate(replay(pool, records), start=1):
            if done % REPORT_EVERY == 0:
                progress(REPORT_EVERY)
            if outcome is None or not isinstance(record, SwapRecord):
                continue
            counts[outcome] += 1
            if outcome is Outcome.INEXACT:
                inexact.append(_disagreement(record, computed))
        progress(len(records) % REPORT_EVERY)
    inexact.sort(key=lambda found: (found.block_number, found.log_index))
    return Verification(
        swaps=sum(counts.values()),
        exact=counts[Outcome.EXACT],
        inexact=counts[Outcome.INEXACT],
        unverifiable=counts[Outcome.UNVERIFIABLE],
        blocks=len({record.block_number for record in tape.records}),
        first_inexact=tuple(inexact[:INEXACT_SHOWN]),
    )


def replay(pool: TapePool, records: Sequence[Record]) -> Iterator[tuple[Record, Outcome | None, TickSwap | None]]:
    """Each record of one pool in order, with what its replay says (None for a mint or burn) and what was computed."""
    run = _PoolReplay(pool, records)
    for index, record in enumerate(records):
        if isinstance(record, SwapRecord):
            yield (record, *run.swap(index, record))
        else:
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
        return ConcentratedState.model_construct(
            kind="concentrated",
            sqrt_price_x96=before.sqrt_price_x96,
            tick=before.tick,
            liquidity=older + self.positions.active,
            ticks=ticks,
        )


def _before(start: PoolStart) -> _Before | None:
    return None if start.state is None else _Before(start.state.sqrt_price_x96, start.state.tick)


def _zero_for_one(record: SwapRecord, sqrt_price_before: int) -> bool:
    """Whether token0 was paid in. Where no amount moved (no liquidity), the price tells."""
    if record.amount0 or record.amount1:
        return record.amount0 > 0 or record.amount1 < 0
    return record.sqrt_price_x96 < sqrt_price_before


def _orders(record: SwapRecord, state: ConcentratedState) -> Iterator[Order]:
    """The event does not say what was asked for: exact input, exact output, or anything up to a price."""
    zero_for_one = _zero_for_one(record, state.sqrt_price_x96)
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
    return moved > 0 if _zero_for_one(record, before.sqrt_price_x96) else moved < 0


def _disagreement(record: SwapRecord, computed: TickSwap | None) -> Disagreement:
    recorded = {name: getattr(record, name) for name in SwapRecord._fields[4:]}
    nearest = None
    if computed is not None:
        paid, received = computed.amount_in, -computed.amount_out
        zero_for_one = _zero_for_one(record, computed.state.sqrt_price_x96)
        nearest = {
            "amount0": paid if zero_for_one else received,
            "amount1": received if zero_for_one else paid,
            "sqrt_price_x96": computed.state.sqrt_price_x96,
            "liquidity": computed.state.liquidity,
            "tick": computed.state.tick,
        }
    return Disagreement(record.pool, record.block_number, record.log_index, recorded, nearest)
