"""Verification of a whole tape: how many recorded swaps are what our maths gives, and which are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from dexlane.domain.amm.concentrated import TickSwap
from dexlane.domain.tapes.outcome import Outcome
from dexlane.domain.tapes.pair_replay import replay_pair
from dexlane.domain.tapes.replay import paid_in_token0, replay
from dexlane.domain.tapes.tape import Record, SwapRecord, Tape, TapePool

INEXACT_SHOWN = 10
REPORT_EVERY = 1_000

_Replayed: TypeAlias = "tuple[Record, Outcome | None, TickSwap | None]"

Progress = Callable[[int], None]
"""Told how many records were replayed since it was last told."""


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


def verify(tape: Tape, progress: Progress = lambda done: None) -> Verification:
    """Replay every swap of every pool of a tape."""
    counts = dict.fromkeys(Outcome, 0)
    inexact: list[Disagreement] = []
    for index, pool in enumerate(tape.pools):
        records = tape.of_pool(index)
        for done, (record, outcome, computed) in enumerate(_replayed(pool, records), start=1):
            if done % REPORT_EVERY == 0:
                progress(REPORT_EVERY)
            if outcome is not None:
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


def _replayed(pool: TapePool, records: Sequence[Record]) -> Iterator[_Replayed]:
    if pool.has_ticks:
        yield from replay(pool, records)
    else:
        for record, outcome in replay_pair(pool, records):
            yield record, outcome, None


def _disagreement(record: Record, computed: TickSwap | None) -> Disagreement:
    recorded = dict(zip(record._fields[4:], record[4:], strict=True))
    nearest = None
    if computed is not None and isinstance(record, SwapRecord):
        paid, received = computed.amount_in, -computed.amount_out
        zero_for_one = paid_in_token0(record, computed.state.sqrt_price_x96)
        nearest = {
            "amount0": paid if zero_for_one else received,
            "amount1": received if zero_for_one else paid,
            "sqrt_price_x96": computed.state.sqrt_price_x96,
            "liquidity": computed.state.liquidity,
            "tick": computed.state.tick,
        }
    return Disagreement(record.pool, record.block_number, record.log_index, recorded, nearest)
