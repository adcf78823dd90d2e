"""Budgets that follow the market: smaller where prices move more, or liquidity is thinner."""

from __future__ import annotations

from collections.abc import Iterator

from dexlane.domain.controls.bounds import Bound
from dexlane.domain.controls.facts import Candidate
from dexlane.events.risk import Category
from dexlane.values.amounts import BPS_DENOMINATOR, apply_bps, decimal_text
from dexlane.values.books import Book

LEAST_BUDGET_BPS = 2_500
"""What is left of an entry at the highest score. A risk that is too high is refused by the book's appetite."""
MARKET_CATEGORIES = (Category.VOLATILITY, Category.LIQUIDITY)


def budget_bounds(trade: Candidate, book: Book) -> Iterator[Bound]:
    """A share of the level's largest entry, by the worse of the scores for volatility and liquidity. A category that
    nobody scored counts as the worst. A gap is one transaction, and prices cannot move within it."""
    share = market_share_bps(trade, book)
    if share == BPS_DENOMINATOR:
        return
    worst = _worst(trade)
    yield Bound(
        "market_budget",
        apply_bps(trade.level_size, share),
        lambda: f"the market's risk scores {worst} of 100, which leaves {decimal_text(share, 2)} % of the level's size",
    )


def market_share_bps(trade: Candidate, book: Book) -> int:
    """What the market leaves of the largest entry of a level, whichever; all of it where no budget is asked for."""
    if not book.controls_in_force.budget_by_market or trade.route.is_cycle:
        return BPS_DENOMINATOR
    return budget_share_bps(_worst(trade))


def _worst(trade: Candidate) -> int:
    scores = {factor.category: factor.score for factor in trade.factors}
    return max(scores.get(category, 100) for category in MARKET_CATEGORIES)


def budget_share_bps(score: int) -> int:
    """All of it at score 0, a quarter at 100, on the straight line between."""
    return BPS_DENOMINATOR - (BPS_DENOMINATOR - LEAST_BUDGET_BPS) * score // 100
