"""All controls of a size together, cheap ones first."""

from __future__ import annotations

from dexlane.domain.circumstances import Holdings
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


def size_bounds(trade: Candidate, book: Book, holdings: Holdings, dollars: Dollars) -> list[Bound]:
    """The most that each control allows."""
    return [
        *daily_loss_bounds(book, holdings, dollars),
        *exposure_bounds(trade, book, holdings),
        *balance_bounds(book, holdings),
        *confirmed_bounds(book, holdings),
        *budget_bounds(trade, book),
        *heat_bounds(trade, book, holdings),
        *cap_bounds(book, holdings, dollars),
        *kelly_bounds(trade, book, holdings),
        *risk_bounds(trade, book, holdings),
    ]
