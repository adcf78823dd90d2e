"""A small part of `make crash`: ten crashes of a trading stack, then every book is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash_run import Plan, run
from ports import free_shift

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(400)]


async def test_after_ten_crashes_no_trade_is_lost_or_doubled_and_the_books_equal_the_chain(tmp_path: Path) -> None:
    plan = Plan(crashes=10, seed=11, minutes=3, home=tmp_path, shift=free_shift(), batch=10, pace_s=1.5)
    result = await run(plan, lambda _what, _done: None)
    evidence = "\n".join([*result.violations, *result.timeline, result.line(plan.seed)])
    assert not result.violations, evidence
    assert result.crashes >= 10
    assert result.live_intents > 0, evidence
    assert result.transactions > 0, evidence
