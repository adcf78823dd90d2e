"""What would have had to be otherwise for a refused trade to be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from dexlane.domain.circumstances import Planned, Refused
from dexlane.domain.levels import HIGHEST
from dexlane.domain.thoughts.calls import CALLS, Thought
from dexlane.values.books import Book

APPETITE = frozenset({"too_risky", "too_uncertain", "lane_not_allowed", "not_checked", "too_old"})
"""Refusals that a higher level may lift. Whether it does is computed, by planning again."""

_IF: Mapping[str, str] = MappingProxyType(
    {
        "halted": "trading were active again",
        "reducing": "trading were active again",
        "book_disabled": "the book were switched on",
        "strategy_off": "the book took this strategy",
        "lane_off": "the book had an account in this lane",
        "stale_state": "a fresh block had come",
        "stale_fee_quote": "a fresh fee quote had come",
        "fee_too_low": "a fee quote of this base fee had come",
        "data_fee_unknown": "the rollup's fee for data were known",
        "gas_ceiling": "gas cost less than the ceiling of entries",
        "deadline_passed": "the decision had come before the deadline block",
        "daily_loss": "the day's loss were below its limit",
        "open_positions": "a position or an open entry came to its end",
        "order_rate": "fewer orders had been made in the last minute",
        "capital": "capital came free in this lane",
        "no_exposure": "portfolio had told what the book has at work",
        "in_flight": "the transaction on its way came to its end",
        "gas_reserve": "the account held more native coin",
        "other_quote": "the trade were paid with the book's quote token",
        "unknown_pool": "the pool were watched",
        "nothing_free": "capital, balance or size were left",
        "no_liquidity": "the pools could take the amount",
        "price_moved": "the price came back to what it was when the chance was found",
        "price_impact": "the pools were deeper",
        "no_edge": "the trade brought more, or gas cost less",
        "no_gas_price": "a pool traded the native coin for the quote token",
        "no_route": "a known pool took the whole quantity",
        "over_exit_budget": "gas cost less, or the exit brought more",
        "nothing_to_sell": "the account held the token",
        "unroutable": "a router could trade exactly this route",
        "no_relay": "a private relay could be used",
        "planned": "the cheaper block had come",
        "confirmation_needed": "a person confirmed it",
    }
)


def would_trade_if(thought: Thought, refused: Refused) -> Iterator[str]:
    """Clauses that complete "it would be traded if ...". With several reasons, all of them have to go."""
    if refused.outcome in APPETITE and thought.occasion.overruled is None:
        yield _by_level(thought)
    elif refused.outcome in _IF:
        yield f"{_IF[refused.outcome]} ({refused.reasons[0]})"
    else:
        yield f"it did not hold that {refused.reasons[0]}"
    for reason in refused.reasons[1:]:
        yield f"it did not hold that {reason}"


def _by_level(thought: Thought) -> str:
    """The lowest level of the same book that trades this, found by planning again."""
    book: Book = thought.arguments["book"]
    if book.level == HIGHEST or not _trades_at(thought, HIGHEST):
        return f"a {book.profile.value} book accepted this at any level; none does"
    refuses, trades = book.level, HIGHEST
    while trades - refuses > 1:
        middle = (refuses + trades) // 2
        refuses, trades = (refuses, middle) if _trades_at(thought, middle) else (middle, trades)
    return f"the book had level {trades} instead of {book.level}"


def _trades_at(thought: Thought, level: int) -> bool:
    book: Book = thought.arguments["book"]
    raised = {**thought.arguments, "book": book.model_copy(update={"level": level})}
    return isinstance(CALLS[thought.call](**raised), Planned)
