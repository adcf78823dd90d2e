"""Losses and drawdown: what counts, whom it holds, and that nobody trades on while they cannot be measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from dexlane.events.breakers import BreakerChanged, BreakerPhase, BreakerReset
from dexlane.events.control import Status, TradingStatus
from dexlane.testing.builders import (
    ENTRY_OUT,
    USDC,
    WETH,
    a_book,
    a_fill,
    an_exit_intent,
    an_exposure,
    an_intent,
    an_opened_account,
)
from dexlane.values.books import Lane, Mode
from dexlane.values.tokens import TokenDelta
from portfolio.marks.results import Result

from .conftest import Portfolio

LOSSES, DRAWDOWN = "breaker-losses-paper", "breaker-drawdown-paper"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind of database is enough here: the tables of breakers are tested on both."""
    return f"sqlite+aiosqlite:///{tmp_path / 'portfolio.db'}"


async def newest(portfolio: Portfolio, source: str) -> BreakerChanged:
    return [one for one in await portfolio.emitted(BreakerChanged) if one.source == source][-1]


def results(portfolio: Portfolio, *amounts: int, mode: Mode = Mode.PAPER, book_id: str = "paper-one") -> None:
    for amount in amounts:
        portfolio.deps.results.sold(Result(1, book_id, Lane.FAST, mode, amount))


async def test_buying_is_not_a_loss(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    seen: list[Result] = []
    portfolio.deps.results.sold = seen.append  # type: ignore[method-assign]
    object.__setattr__(portfolio.accounting, "on_result", seen.append)
    entry = an_intent()
    await portfolio.book(a_fill(entry))
    assert seen == []
    sale = an_exit_intent()
    deltas = (TokenDelta(token=WETH.address, amount=-ENTRY_OUT), TokenDelta(token=USDC.address, amount=400 * 10**6))
    fill = a_fill(sale, deltas=deltas)
    await portfolio.book(fill)
    await portfolio.book(fill)
    assert [one.amount < 0 for one in seen] == [True], "the sale lost once, however often it is heard of"


async def test_five_losses_in_a_row_on_paper_hold_paper_books_alone(portfolio: Portfolio) -> None:
    results(portfolio, *[-1] * 5)
    await portfolio.block(101)
    fact = await newest(portfolio, LOSSES)
    assert (fact.phase, fact.mode, fact.status) == (BreakerPhase.OPEN, Mode.PAPER, Status.REDUCING)
    assert (await newest(portfolio, "breaker-losses")).phase is BreakerPhase.CLOSED
    words = {one.source: one.status for one in await portfolio.emitted(TradingStatus)}
    assert words == {"breaker-losses": Status.ACTIVE}


async def test_live_losses_hold_the_chain(portfolio: Portfolio) -> None:
    results(portfolio, *[-1] * 5, mode=Mode.LIVE)
    await portfolio.block(101)
    words = [one for one in await portfolio.emitted(TradingStatus) if one.source == "breaker-losses"]
    assert words[-1].status is Status.REDUCING
    assert "losses_in_a_row 5 reaches the limit of 5" in words[-1].reason


async def test_a_result_of_a_book_that_is_not_known_yet_counts_once_it_is(portfolio: Portfolio) -> None:
    results(portfolio, *[-1] * 5, book_id="late")
    await portfolio.block(101)
    assert (await newest(portfolio, LOSSES)).phase is BreakerPhase.CLOSED
    portfolio.use(a_book(id="late"))
    await portfolio.block(102)
    assert (await newest(portfolio, LOSSES)).phase is BreakerPhase.OPEN


async def test_equity_that_falls_too_far_waits_for_an_operator(portfolio: Portfolio) -> None:
    for equity in (1_000_000, 1_200_000, 1_080_001):
        portfolio.deps.results.valued(an_exposure(equity=equity), Mode.PAPER)
    await portfolio.block(101)
    assert (await newest(portfolio, DRAWDOWN)).phase is BreakerPhase.CLOSED
    portfolio.deps.results.valued(an_exposure(equity=1_080_000), Mode.PAPER)
    await portfolio.block(102)
    fact = await newest(portfolio, DRAWDOWN)
    assert (fact.phase, fact.needs_operator, fact.readings[0].value) == (BreakerPhase.OPEN, True, 1_000)


async def test_every_valuation_of_an_account_is_looked_at(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.block(101)
    fact = await newest(portfolio, DRAWDOWN)
    assert (fact.mode, fact.status, fact.readings[0].value) == (Mode.PAPER, Status.ACTIVE, 0)


async def test_without_a_price_nobody_can_judge_the_drawdown_and_entries_wait(portfolio: Portfolio) -> None:
    portfolio.deps.results.valued(an_exposure(equity=1_000), Mode.PAPER)
    portfolio.deps.results.valued(an_exposure(equity=None), Mode.PAPER)
    await portfolio.block(101)
    fact = await newest(portfolio, DRAWDOWN)
    assert fact.status is Status.REDUCING
    assert "cannot be read" in fact.reason
    portfolio.deps.results.valued(an_exposure(equity=1_001), Mode.PAPER)
    await portfolio.block(102)
    assert (await newest(portfolio, DRAWDOWN)).status is Status.ACTIVE


async def test_a_reset_is_taken_in_and_what_still_holds_opens_again(portfolio: Portfolio) -> None:
    results(portfolio, -(10**12))
    await portfolio.block(101)
    assert (await newest(portfolio, LOSSES)).phase is BreakerPhase.OPEN
    word = BreakerReset(
        id=BreakerReset.make_id(1, LOSSES, 5),
        chain_id=1,
        occurred_at_ms=0,
        source=LOSSES,
        reset_version=5,
        reason="looked into",
    )
    await portfolio.deps.results.reset(word)
    fact = await newest(portfolio, LOSSES)
    assert (fact.phase, fact.reset_version) == (BreakerPhase.OPEN, 5)
    assert [change.phase for change in fact.history] == [BreakerPhase.OPEN, BreakerPhase.CLOSED, BreakerPhase.OPEN]


async def test_the_breakers_are_renewed_as_long_as_blocks_come(portfolio: Portfolio) -> None:
    await portfolio.block(101)
    before = await newest(portfolio, "breaker-losses")
    portfolio.clock.advance(60_000)
    await portfolio.block(102)
    after = await newest(portfolio, "breaker-losses")
    assert after.breaker_version > before.breaker_version
    assert after.renewed_within_ms == 120_000
