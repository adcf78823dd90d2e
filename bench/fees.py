"""The fee outlook of a chain: one new block in, everything that is quoted out.

The blocks are recorded ones (Polygon's tips differ most from block to block), gone round until there are enough.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from bench.floor import Spread, spread
from dexlane.chain.answers import FeeHistory
from dexlane.domain.fee_limits import usual_ceilings
from dexlane.domain.fees import BlockFees, FeeOutlook, FeeWindows, fee_parameters
from dexlane.testing.builders import a_block
from dexlane_cli.fee_histories import read_history
from gas_oracle.fee_window import FeeWindow
from gas_oracle.quotes import DEADLINES, Known, QuoteRules, fee_quote

RECORDED = Path(__file__).parents[1] / "libs/common/tests/domain/golden/polygon_fee_history.csv"
WARM_UP, UPDATES = 300, 5_000


@dataclass(frozen=True)
class FeesResult:
    """Milliseconds: by the clock, as a service waits for it, and of this process alone."""

    update: Spread
    update_processor: Spread
    decision: Spread
    quote_processor: Spread


def run() -> FeesResult:
    """One update a block, and one decision for each deadline."""
    outlook = FeeOutlook(fee_parameters(137))
    updates: list[float] = []
    processor: list[float] = []
    decisions: list[float] = []
    for number, block in enumerate(itertools.islice(itertools.cycle(read_history(RECORDED).blocks), WARM_UP + UPDATES)):
        before = time.thread_time_ns()
        updates.append(_clocked(lambda block=block: _update(outlook, block)))  # type: ignore[misc]
        processor.append((time.thread_time_ns() - before) / 1e6)
        view = outlook.before(block.base_fee_wei or 0)
        decisions.append(_clocked(lambda view=view: [view.timing(left) for left in DEADLINES]))  # type: ignore[misc]
        if number + 1 == WARM_UP:
            for samples in (updates, processor, decisions):
                samples.clear()
    return FeesResult(spread(updates), spread(processor), spread(decisions), spread(_quotes()))


def _quotes() -> list[float]:
    """Processor time of the gas oracle for a block, in ms: from the node's answer to the event that is published."""
    params, found = fee_parameters(137), []
    window = FeeWindow(params, FeeWindows())
    rules = QuoteRules(tier_blocks=20, probability_bps=9_500, ceilings=usual_ceilings(137))
    for number, row in enumerate(
        itertools.islice(itertools.cycle(read_history(RECORDED).blocks), WARM_UP + UPDATES), 1
    ):
        base_fee = row.base_fee_wei or 0
        event = a_block(number, next_base_fee_per_gas_wei=base_fee)
        history = FeeHistory(number, (base_fee, base_fee), (row.gas_used_ratio,), (row.tips_wei,))
        before = time.thread_time_ns()
        window.extend(event, history)
        fee_quote(event, Known(outlook=window.outlook, blocks=len(window), data_fee=None), rules, 1)
        if number > WARM_UP:
            found.append((time.thread_time_ns() - before) / 1e6)
    return found


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


def show(result: FeesResult) -> None:
    """Four lines."""
    print(f"fees: a new block -> tiers, offers, tips of six deadlines: {result.update} (promised p99 1)")
    print(f"  processor time of it: {result.update_processor}")
    print(f"  decisions when to send, for six deadlines: {result.decision}")
    print(f"  processor time of the gas oracle's whole quote: {result.quote_processor}")
