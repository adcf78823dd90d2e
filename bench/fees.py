"""The fee outlook of a chain: one new block in, everything that is quoted out.

The blocks are recorded ones (Polygon's tips differ most from block to block), gone round until there are enough.
"""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from bench.floor import Spread, spread
from dexlane.domain.fees import TIP_PERCENTILES, BlockFees, FeeOutlook, fee_parameters

RECORDED = Path(__file__).parents[1] / "libs/common/tests/domain/golden/polygon_fee_history.csv"
WARM_UP, UPDATES = 300, 5_000
DEADLINES = (1, 3, 5, 10, 25, 50)


@dataclass(frozen=True)
class FeesResult:
    """Milliseconds: by the clock, as a service waits for it, and of this process alone."""

    update: Spread
    update_processor: Spread
    decision: Spread


def run() -> FeesResult:
    """One update a block, and one decision for each deadline."""
    outlook = FeeOutlook(fee_parameters(137))
    updates: list[float] = []
    processor: list[float] = []
    decisions: list[float] = []
    for number, block in enumerate(itertools.islice(itertools.cycle(_blocks()), WARM_UP + UPDATES)):
        before = time.thread_time_ns()
        updates.append(_clocked(lambda block=block: _update(outlook, block)))  # type: ignore[misc]
        processor.append((time.thread_time_ns() - before) / 1e6)
        view = outlook.before(block.base_fee_wei or 0)
        decisions.append(_clocked(lambda view=view: [view.timing(left) for left in DEADLINES]))  # type: ignore[misc]
        if number + 1 == WARM_UP:
            for samples in (updates, processor, decisions):
                samples.clear()
    return FeesResult(spread(updates), spread(processor), spread(decisions))


def _update(outlook: FeeOutlook, block: BlockFees) -> None:
    base_fee = block.base_fee_wei or 0
    outlook.add(block)
    outlook.tiers(base_fee)
    outlook.before(base_fee)
    for within in DEADLINES:
        outlook.tip_for(within_blocks=within, probability=Fraction(9, 10))


def _clocked(work: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began) / 1e6


def _blocks() -> list[BlockFees]:
    with RECORDED.open(newline="") as file:
        return [
            BlockFees(
                int(row["number"]),
                float(row["gas_used_ratio"]),
                tuple(int(row[f"tip_p{percentile}"]) for percentile in TIP_PERCENTILES),
                int(row["base_fee_per_gas"]),
            )
            for row in csv.DictReader(file)
        ]


def show(result: FeesResult) -> None:
    """Three lines."""
    print(f"fees: a new block -> tiers, offers, tips of six deadlines: {result.update} (promised p99 1)")
    print(f"  processor time of it: {result.update_processor}")
    print(f"  decisions when to send, for six deadlines: {result.decision}")
