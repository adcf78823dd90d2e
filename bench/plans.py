"""Planning of an entry and of a gap in the fast lane, as executors do it for each book of a verdict.

Microseconds of processor time, the best of several rounds, so that other work on the machine tells less.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

from dexlane.domain.circumstances import Holdings, Market, Planned, PlanningRules, Refused
from dexlane.domain.planning import plan
from dexlane.domain.pool_book import PoolBook
from dexlane.events.base import FeeCap
from dexlane.events.control import Status
from dexlane.events.fees import FeeTier
from dexlane.testing.builders import (
    a_block_ref,
    a_book,
    a_fee_quote,
    a_gap_route,
    a_pool_v2,
    a_pool_v3,
    a_verdict,
    an_entry_opportunity,
    an_exposure,
    an_opportunity,
)

GWEI = 10**9
ROUNDS, CALLS = 40, 100
LEVELS = (1, 5, 10)


def run() -> list[str]:
    """One line for each kind of verdict, and one for a refusal."""
    market = _market()
    entry = a_verdict(an_entry_opportunity(edge_bps=400, expected_out=1), risk_score=5)
    gap = a_verdict(an_opportunity(route=a_gap_route(a_pool_v3(), a_pool_v2()), size_hint=10**10), risk_score=5)
    lines = []
    for name, verdict in (("entry", entry), ("gap", gap)):
        for level in LEVELS:
            spent, outcome = _spent(verdict, level, market)
            lines.append(f"plan: {name}, level {level}: {spent:.0f} us, {_said(outcome)}")
    spent, outcome = _spent(entry.model_copy(update={"risk_score": 90}), 5, market)
    return [*lines, f"refuse an entry: {spent:.0f} us, {_said(outcome)}"]


def show(lines: list[str]) -> None:
    """Print."""
    print("\n".join(lines))


def _spent(verdict: Any, level: int, market: Market) -> tuple[float, Planned | Refused]:
    book, holdings, rules = a_book(level=level), Holdings(exposure=an_exposure()), PlanningRules()

    def call() -> Planned | Refused:
        return plan(verdict, book, holdings, market, rules)

    return _best_us(call), call()


def _best_us(call: Callable[[], object]) -> float:
    best = float("inf")
    gc.disable()
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        for _ in range(CALLS):
            call()
        best = min(best, (time.process_time_ns() - began) / CALLS / 1e3)
    gc.enable()
    return best


def _said(outcome: Planned | Refused) -> str:
    return f"{outcome.plan.amount_in} put in" if isinstance(outcome, Planned) else outcome.outcome


def _market() -> Market:
    book = PoolBook()
    for pool in (a_pool_v2(reserve0=20_180_000 * 10**6), a_pool_v3()):
        book.put(pool, a_block_ref())
    tiers = {
        tier: FeeCap(max_fee_per_gas_wei=(2 + step) * GWEI, max_priority_fee_per_gas_wei=GWEI // 10)
        for step, tier in enumerate(FeeTier)
    }
    return Market(
        chain_id=1,
        block=a_block_ref(),
        timestamp_s=1_700_000_000,
        next_base_fee_wei=GWEI,
        age_ms=5,
        block_time_s=12,
        pool_book=book.frozen(),  # as an executor plans: on pools that later blocks do not change
        fee_quote=a_fee_quote(next_base_fee_per_gas_wei=GWEI, tiers=tiers),
        status=Status.ACTIVE,
    )
