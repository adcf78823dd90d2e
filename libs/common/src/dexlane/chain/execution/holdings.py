"""What a book's account has to trade with: by the chain when it is live, by the ledger when it is paper."""

from __future__ import annotations

from dexlane.chain.execution.accounts import AccountFacts
from dexlane.chain.execution.reservations import Reservations
from dexlane.chain.execution.side_values import SideValues
from dexlane.domain.circumstances import Holdings, Reserved
from dexlane.events.portfolio import ExposureChanged
from dexlane.values.books import Book, Lane
from dexlane.values.chains import NATIVE


def paper_holdings(book: Book, lane: Lane, side: SideValues, reservations: Reservations, now_ms: int) -> Holdings:
    """A paper account, by what portfolio says about it."""
    exposure = side.exposure(book.id, lane)
    return Holdings(
        exposure=exposure,
        reserved=reservations.of(book.id, now_ms, exposure, frozenset()),
        quote_balance=side.paper_balance(book, lane) if lane in book.accounts else None,
        native_balance_wei=None if exposure is None else exposure.native_balance_wei,
    )


def live_holdings(
    facts: AccountFacts | None, book: Book, sold: str | None, exposure: ExposureChanged | None, reserved: Reserved
) -> Holdings:
    """A live account, by what the chain said last. ``sold`` is the token of an exit."""
    tokens = {} if facts is None else facts.tokens
    paid, held = tokens.get(book.quote.address), tokens.get(sold or "")
    balance = None if paid is None else paid.balance
    if book.quote.address == NATIVE and facts is not None:
        # What the book trades with also pays the gas: the reserve for it is not to be traded away.
        balance = max(0, facts.native_wei - book.gas_reserve_wei)
    return Holdings(
        exposure=exposure,
        reserved=reserved,
        quote_balance=balance,
        native_balance_wei=None if facts is None else facts.native_wei,
        held=None if held is None else held.balance,
    )
