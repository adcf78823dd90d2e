"""Sizes and ways that planning looked at, for the record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dexlane.domain.trade_quotes import TradeQuote
from dexlane.values.routes import Route

TAKEN = "taken"
PASSED_OVER = "passed_over"


@dataclass(frozen=True, slots=True)
class Tried:
    """A size, or a way to trade it: ``outcome`` is ``TAKEN``, ``PASSED_OVER`` (another way brings more) or the word of
    what spoke against it. ``amount_out`` is None where no quote was made or kept."""

    amount_in: int
    amount_out: int | None
    pools: tuple[str, ...]
    outcome: str
    sentence: str = ""


def refused_size(route: Route, size: int, outcome: str, sentence: str) -> Tried:
    """A size that something spoke against."""
    return Tried(size, None, tuple(leg.pool for leg in route.legs), outcome, sentence)


def ways(taken: TradeQuote, passed_over: TradeQuote | None = None) -> Iterator[Tried]:
    """The way that was taken, and the one that it was preferred to."""
    for quote, outcome in ((taken, TAKEN), (passed_over, PASSED_OVER)):
        if quote is not None:
            pools = tuple(leg.pool for path, _ in quote.paths for leg in path.legs)
            yield Tried(quote.amount_in, quote.amount_out, pools, outcome)
