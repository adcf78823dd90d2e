"""The last values that planning looks at: books, exposures, fee quotes, statuses, opening balances."""

from __future__ import annotations

from collections.abc import Iterator

from dexlane.chain.execution.breaker_facts import BreakerFacts
from dexlane.events.breakers import BreakerChanged
from dexlane.events.control import BookChanged, Status, TradingStatus, strictest
from dexlane.events.execution import AccountOpened
from dexlane.events.fees import FeeQuoted
from dexlane.events.portfolio import ExposureChanged
from dexlane.values.books import Book, Lane


class SideValues:
    """Last values by their keys; the highest version of each holds, whatever the order they come in."""

    def __init__(self) -> None:
        self._books: dict[str, BookChanged] = {}
        self._exposures: dict[tuple[str, Lane], ExposureChanged] = {}
        self._fee_quotes: dict[int, FeeQuoted] = {}
        self._statuses: dict[tuple[int, str], TradingStatus] = {}
        self._opened: dict[str, AccountOpened] = {}
        self._status: dict[int, Status] = {}
        self._held_by: dict[int, str] = {}
        self.breakers = BreakerFacts()

    def take_book(self, event: BookChanged) -> None:
        """A book as it now is."""
        known = self._books.get(event.book.id)
        if known is None or event.book_version > known.book_version:
            self._books[event.book.id] = event

    def take_exposure(self, event: ExposureChanged) -> None:
        """What a book has at work in one lane."""
        key = (event.book_id, event.lane)
        self._exposures[key] = event.joined(self._exposures.get(key))

    def take_fee_quote(self, event: FeeQuoted) -> None:
        """The newest fees of a chain; quotes come in the order of their blocks."""
        self._fee_quotes[event.chain_id] = event

    def take_status(self, event: TradingStatus) -> None:
        """One source's word."""
        key = (event.chain_id, event.source)
        known = self._statuses.get(key)
        if known is None or event.status_version > known.status_version:
            self._statuses[key] = event
            self._settle_status(event.chain_id)

    def take_breaker(self, event: BreakerChanged) -> None:
        """A breaker as it now is."""
        if self.breakers.take(event):
            self._settle_status(event.chain_id)

    def _settle_status(self, chain_id: int) -> None:
        """Every trade asks for the status, and it changes seldom."""
        words = [event for (chain, _), event in self._statuses.items() if chain == chain_id]
        self._status[chain_id] = strictest([*(word.status for word in words), self.breakers.chain_status(chain_id)])
        held = [f"{word.source}: {word.reason}" for word in words if word.status is not Status.ACTIVE]
        self._held_by[chain_id] = "; ".join(held)

    def take_opened(self, event: AccountOpened) -> None:
        """The balances an account begins with."""
        self._opened[event.account] = event

    def books(self, chain_id: int) -> Iterator[Book]:
        """All books of a chain, in the order of their ids."""
        for book_id in sorted(self._books):
            book = self._books[book_id].book
            if book.chain_id == chain_id:
                yield book

    def book(self, book_id: str) -> Book | None:
        """One book."""
        event = self._books.get(book_id)
        return None if event is None else event.book

    def exposure(self, book_id: str, lane: Lane) -> ExposureChanged | None:
        """What a book has at work; None while that is not known."""
        return self._exposures.get((book_id, lane))

    def fee_quote(self, chain_id: int) -> FeeQuoted | None:
        """The newest fee quote of a chain."""
        return self._fee_quotes.get(chain_id)

    def status(self, chain_id: int) -> Status:
        """The strictest word of all sources of a chain, its breakers among them. A breaker lets go when both its word
        and its fact say so, in whatever order they come."""
        return self._status.get(chain_id, Status.ACTIVE)

    def why_held(self, chain_id: int) -> str:
        """Who holds a chain back, and why; empty while it is active."""
        return self._held_by.get(chain_id, "")

    def paper_balance(self, book: Book, lane: Lane) -> int | None:
        """Quote balance of a paper account: what it opened with, plus what was realised, less what is at work."""
        opened = self._opened.get(book.accounts[lane])
        exposure = self.exposure(book.id, lane)
        if opened is None or exposure is None:
            return None
        start = sum(delta.amount for delta in opened.balances if delta.token == book.quote.address)
        return max(0, start + exposure.realised_total - exposure.at_work)
