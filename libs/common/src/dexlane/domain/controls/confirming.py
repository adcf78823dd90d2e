"""Which trades a person has to confirm first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dexlane.domain.circumstances import Holdings, Objection, Planned, Refused, refusal
from dexlane.domain.controls.bounds import Bound, in_quote
from dexlane.domain.controls.records import UNKNOWN, results_of
from dexlane.domain.dollars import Dollars
from dexlane.events.portfolio import TradeResults
from dexlane.values.books import Book

CONFIRMATION_NEEDED = "confirmation_needed"


def confirmed_or_asked(planned: Planned, book: Book, holdings: Holdings, dollars: Dollars) -> Planned | Refused:
    """The plan, when nobody has to confirm it or somebody did; else a refusal that proposes it. What was tried stands
    in the one that is returned."""
    controls = book.controls_in_force
    first, new = controls.confirm_first_trades, controls.confirm_new_tokens
    if holdings.confirmed is not None or not (first or new or controls.confirm_above_usd is not None):
        return planned
    results = results_of(holdings)
    if results is None and (first or new):
        return replace(refusal([Objection("results_unknown", UNKNOWN, passing=True)]), tried=planned.tried)
    reasons = (*_by_record(planned, book, results or []), *_by_worth(planned, book, dollars))
    if not reasons:
        return planned
    proposal = replace(planned, tried=())
    return Refused(outcome=CONFIRMATION_NEEDED, reasons=reasons, proposal=proposal, tried=planned.tried)


def confirmed_bounds(book: Book, holdings: Holdings) -> Iterator[Bound]:
    """What a person confirmed is the most that is traded."""
    most = holdings.confirmed
    if most is not None:
        yield Bound("confirmed_size", most, lambda: f"a person confirmed {in_quote(most, book)}")


def _by_record(planned: Planned, book: Book, results: list[TradeResults]) -> Iterator[str]:
    controls, made = book.controls_in_force, sum(one.trades for one in results)
    if made < controls.confirm_first_trades:
        yield f"it is among the first {controls.confirm_first_trades} trades of the book, which has made {made}"
    route = planned.plan.route
    known = any(route.token_out in one.tokens for one in results)
    if controls.confirm_new_tokens and not route.is_cycle and not known:
        yield f"the book has never bought {route.token_out}, or not among its last 256 tokens"


def _by_worth(planned: Planned, book: Book, dollars: Dollars) -> Iterator[str]:
    usd = book.controls_in_force.confirm_above_usd
    if usd is None:
        return
    limit = dollars.amount(usd)
    if limit is None:
        yield f"nobody can tell whether it is worth more than {usd} USD"
    elif planned.plan.amount_in > limit:
        yield f"{in_quote(planned.plan.amount_in, book)} are worth more than {usd} USD"
