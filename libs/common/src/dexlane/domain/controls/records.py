"""Controls that look at what the book has done: caps that grow with proven trades, and the loss of the day.

Every figure is the ledger's, over all lanes of the book. Where one lane's is not known, nothing is assumed.
"""

from __future__ import annotations

from collections.abc import Iterator

from dexlane.domain.circumstances import Holdings, Market
from dexlane.domain.controls.bounds import Bound, in_quote, unknown
from dexlane.domain.dollars import Dollars
from dexlane.events.portfolio import ExposureChanged, TradeResults
from dexlane.values.books import Book
from dexlane.values.controls import CapStep
from dexlane.values.tokens import Token

UNKNOWN = "what the book has done in all its lanes is not known yet"


def lanes_of(holdings: Holdings) -> list[ExposureChanged] | None:
    """The exposure of every lane of the book; None while one is missing."""
    lanes = [exposure for exposure in (holdings.exposure, *holdings.elsewhere) if exposure is not None]
    return lanes if len(lanes) == 1 + len(holdings.elsewhere) else None


def results_of(holdings: Holdings) -> list[TradeResults] | None:
    """What the trades of every lane amount to; None while that of one is missing."""
    results = [lane.results for lane in lanes_of(holdings) or () if lane.results is not None]
    return results if len(results) == 1 + len(holdings.elsewhere) else None


def dollars_of(book: Book, market: Market) -> Dollars:
    """What dollars are in the book's quote token."""
    return Dollars(market.pools, market.chain_id, traded_quote(book, market))


def daily_loss_bounds(book: Book, holdings: Holdings, dollars: Dollars) -> Iterator[Bound]:
    """Nothing when all lanes together have lost the limit today."""
    usd = book.controls_in_force.max_daily_loss_usd
    if usd is None:
        return
    lanes, limit = lanes_of(holdings), dollars.amount(usd)
    if lanes is None:
        yield from unknown("results_unknown", UNKNOWN)
    elif limit is None:
        yield Bound("worth_unknown", 0, lambda: _no_worth(book))
    elif (lost := -sum(lane.realised_today for lane in lanes)) >= limit:
        sentence = f"all lanes together lost {in_quote(lost, book)} today; the limit is {usd} USD"
        yield Bound("book_daily_loss", 0, lambda: sentence)


def cap_bounds(book: Book, holdings: Holdings, dollars: Dollars) -> Iterator[Bound]:
    """What a trade may be worth by what the book has proven.

    The last step counts whose good trades there are. A book that has lost in all, or has not earned its gas, is back at
    the first one: many small gains before one large loss prove nothing.
    """
    steps = book.controls_in_force.caps
    if not steps:
        return
    lanes, results = lanes_of(holdings), results_of(holdings)
    if lanes is None or results is None:
        yield from unknown("results_unknown", UNKNOWN)
        return
    good = sum(one.good for one in results)
    step = _step(steps, good) if _has_earned(lanes, dollars) else steps[0]
    most = dollars.amount(step.usd)
    if most is None:
        yield Bound("worth_unknown", 0, lambda: _no_worth(book))
    else:
        yield Bound("cap", most, lambda: f"after {good} good trades of this book one may be worth {step.usd} USD")


def _step(steps: tuple[CapStep, ...], good: int) -> CapStep:
    return max((step for step in steps if step.good_trades <= good), key=lambda step: step.good_trades)


def _has_earned(lanes: list[ExposureChanged], dollars: Dollars) -> bool:
    """Whether all results together pay for all gas, at the price of today."""
    gas = sum(lane.fees_paid_wei for lane in lanes)
    cost = dollars.native.of_wei(gas) if gas else 0
    return cost is not None and sum(lane.realised_total for lane in lanes) >= cost


def traded_quote(book: Book, market: Market) -> Token:
    """The book's quote token as pools trade it."""
    address = market.traded_as(book.quote.address)
    return book.quote if address == book.quote.address else book.quote.model_copy(update={"address": address})


def _no_worth(book: Book) -> str:
    return f"no known pool tells what {book.quote.symbol} is worth in dollars, and a limit of this book is in dollars"


def balance_bounds(book: Book, holdings: Holdings) -> Iterator[Bound]:
    """What the balance leaves above the part that is never traded with."""
    least = book.controls_in_force.min_quote_balance
    if not least:
        return
    balance = holdings.quote_balance
    if balance is None:
        yield from unknown("balance_unknown", "the balance of the account is not known yet")
        return
    yield Bound(
        "minimum_balance",
        max(0, balance - holdings.reserved.capital - least),
        lambda: f"{in_quote(balance, book)} are there, and {in_quote(least, book)} are never traded with",
    )
