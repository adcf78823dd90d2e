"""Best routes through pools: single, split over several paths, and cycles that gain."""

from __future__ import annotations

from dexlane.domain.routing.best import QuotedRoute, best_on, best_route, rotated_to
from dexlane.domain.routing.graph import PoolGraph
from dexlane.domain.routing.splits import Split, best_split
from dexlane.domain.routing.terms import GAS_PRICE_LEGS, GasTerms, out_per_wei
from dexlane.domain.routing.walks import MAX_LEGS, Errand

__all__ = [
    "GAS_PRICE_LEGS",
    "MAX_LEGS",
    "Errand",
    "GasTerms",
    "PoolGraph",
    "QuotedRoute",
    "Split",
    "best_on",
    "best_route",
    "best_split",
    "out_per_wei",
    "rotated_to",
]
