"""What a book's account has to trade with: by the chain when it is live, by the ledger when it is paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dexlane.chain.execution.accounts import AccountFacts
from dexlane.chain.execution.live import LiveDesk
from dexlane.chain.execution.records import Cause
from dexlane.chain.execution.reservations import Reservations
from dexlane.chain.execution.side_values import SideValues
from dexlane.domain.circumstances import Holdings, Planned, Refused, Reserved
from dexlane.domain.controls.facts import ChainUse
from dexlane.events.confirmations import ConfirmationGiven
from dexlane.events.portfolio import ExitTriggered, ExposureChanged
from dexlane.runtime.clock import Clock
from dexlane.values.books import Book, Lane, Mode
from dexlane.values.chains import NATIVE

Beside = Iterable[tuple[Book, Planned | Refused]]
"""What was decided for other books in the same breath, which no journal holds yet."""


@dataclass(frozen=True, slots=True)
class AccountBook:
    """The accounts of one lane on one chain, as planning needs them."""

    lane: Lane
    side: SideValues
    reservations: Reservations
    live: LiveDesk
    clock: Clock

    def of(
        self, cause: Cause, book: Book, beside: Beside = (), confirmation: ConfirmationGiven | None = None
    ) -> Holdings:
        """What a book has for this cause, and what a person said about it."""
        now_ms = self.clock.now_ms()
        return replace(
            self._of_account(cause, book, now_ms),
            elsewhere=tuple(self.side.exposure(book.id, lane) for lane in book.accounts if lane is not self.lane),
            chain=self._chain(book, beside),
            confirmed=None if confirmation is None else confirmation.max_amount_in,
        )

    def _of_account(self, cause: Cause, book: Book, now_ms: int) -> Holdings:
        if book.mode is Mode.PAPER:
            return paper_holdings(book, self.lane, self.side, self.reservations, now_ms)
        sold = cause.token.address if isinstance(cause, ExitTriggered) else None
        account = book.accounts.get(self.lane)
        in_flight = frozenset[str]() if account is None else self.live.tokens_in_flight(account)
        exposure = self.side.exposure(book.id, self.lane)
        reserved = self.reservations.of(book.id, now_ms, exposure, in_flight)
        facts = None if account is None else self.live.facts(account)
        return live_holdings(facts, book, sold, exposure, reserved)

    def _chain(self, book: Book, beside: Beside) -> ChainUse | None:
        """What this lane has at work for all books like this one; None where the book does not ask. A book that is
        switched off and was never heard of holds nothing."""
        if book.controls_in_force.max_chain_bps is None:
            return None
        used: int | None = sum(
            planned.reserved for other, planned in beside if isinstance(planned, Planned) and _is_alike(other, book)
        )
        capital = 0
        for other in self.side.books(book.chain_id):
            limits = other.limits.get(self.lane)
            exposure = self.side.exposure(other.id, self.lane)
            if limits is None or not _is_alike(other, book) or (exposure is None and not other.enabled):
                continue
            capital += limits.capital
            reserved = self.reservations.capital_of(other.id, exposure)
            used = None if exposure is None or used is None else used + exposure.at_work + reserved
        return ChainUse(used=used, capital=capital)


def _is_alike(one: Book, other: Book) -> bool:
    return (one.mode, one.quote) == (other.mode, other.quote)


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
