"""All controls of a trade together, cheap ones first: what forbids it, and how large it may be."""

from __future__ import annotations

from collections.abc import Iterator

from dexlane.domain.circumstances import Holdings, Market, Objection
from dexlane.domain.controls.bounds import Bound
from dexlane.domain.controls.budgets import budget_bounds
from dexlane.domain.controls.confirming import confirmed_bounds
from dexlane.domain.controls.duplicates import against_duplicate
from dexlane.domain.controls.exposures import exposure_bounds
from dexlane.domain.controls.facts import Candidate
from dexlane.domain.controls.records import against_daily_loss, balance_bounds, cap_bounds
from dexlane.domain.controls.returns import kelly_bounds, risk_bounds
from dexlane.domain.controls.stops import heat_bounds
from dexlane.values.books import Book
from dexlane.values.routes import Route


def against_trade(route: Route, book: Book, holdings: Holdings, market: Market) -> Iterator[Objection]:
    """What forbids an entry or a gap, whatever its size."""
    yield from against_duplicate(route, book, holdings, market)
    yield from against_daily_loss(book, holdings, market)


def size_bounds(trade: Candidate, book: Book, holdings: Holdings, market: Market) -> Iterator[Bound]:
    """The most that each control allows."""
    yield from exposure_bounds(trade, book, holdings)
    yield from balance_bounds(book, holdings)
    yield from confirmed_bounds(book, holdings)
    yield from budget_bounds(trade, book)
    yield from heat_bounds(trade, book, holdings)
    yield from cap_bounds(book, holdings, market)
    yield from kelly_bounds(trade, book, holdings)
    yield from risk_bounds(trade, book, holdings)
