"""The gauges show what was announced, rounded to whole quote tokens, and nothing where nothing is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dexlane.events.portfolio import ExitTriggered
from dexlane.testing.builders import BOOK_ID, a_block_ref, a_fill, an_exit_intent, an_opened_account

if TYPE_CHECKING:
    from conftest import Portfolio

LABELS = {"book": BOOK_ID, "lane": "fast", "mode": "paper", "quote": "USDC"}


def shown(portfolio: Portfolio, name: str) -> float | None:
    return portfolio.metrics.registry.get_sample_value(f"dexlane_portfolio_{name}", LABELS)


async def test_nothing_is_shown_of_an_account_that_was_not_opened(portfolio: Portfolio) -> None:
    assert [shown(portfolio, name) for name in ("realised_quote", "equity_quote", "at_work_quote")] == [None] * 3


async def test_opening_balances_and_positions_are_shown_in_whole_quote_tokens(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    assert (shown(portfolio, "equity_quote"), shown(portfolio, "open_positions")) == (20_000, 0)
    await portfolio.book(a_fill())
    assert (shown(portfolio, "at_work_quote"), shown(portfolio, "open_positions")) == (1_000, 1)


async def test_a_loss_is_shown_below_zero(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill())
    await portfolio.block(101, usdc=18_000_000)
    (triggered,) = await portfolio.emitted(ExitTriggered)
    await portfolio.book(a_fill(an_exit_intent(triggered, quoted_out=900 * 10**6), block=a_block_ref(102)))
    assert (shown(portfolio, "realised_quote"), shown(portfolio, "equity_quote")) == (-100, 19_900)


async def test_equity_is_no_data_as_soon_as_a_price_is_missing(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    assert shown(portfolio, "equity_quote") == 20_000
    portfolio.clock.advance(600_000)
    await portfolio.book(a_fill())
    assert shown(portfolio, "equity_quote") is None
    assert shown(portfolio, "at_work_quote") == 1_000
