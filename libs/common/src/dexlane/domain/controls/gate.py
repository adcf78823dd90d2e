"""All controls of a size together, cheap ones first."""

from __future__ import annotations

from collections.abc import Iterator

from dexlane.domain.circumstances import Holdings, Market
from dexlane.domain.controls.bounds import Bound
from dexlane.domain.controls.budgets import budget_bounds
from dexlane.domain.controls.confirming import confirmed_bounds
from dexlane.domain.controls.exposures import exposure_bounds
from dexlane.domain.controls.facts import Candidate
from dexlane.domain.controls.records import balance_bounds, cap_bounds, daily_loss_bounds
from dexlane.domain.controls.returns import kelly_bounds, risk_bounds
from dexlane.domain.controls.stops import heat_bounds
from dexlane.domain.dollars import Dollars
from dexlane.values.books import Book


def size_bounds(trade: Candidate, book: Book, holdings: Holdings, market: Market, dollars: Dollars) -> Iterator[Bound]:
    """The most that each control allows."""
    yield from daily_loss_bounds(book, holdings, dollars)
    yield from exposure_bounds(trade, book, holdings)
    yield from balance_bounds(book, holdings)
    yield from confirmed_bounds(book, holdings)
    yield from budget_bounds(trade, book)
    yield from heat_bounds(trade, book, holdings)
    yield from cap_bounds(book, holdings, dollars)
    yield from kelly_bounds(trade, book, holdings)
    yield from risk_bounds(trade, book, holdings)
