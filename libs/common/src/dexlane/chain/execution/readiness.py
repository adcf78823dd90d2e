"""When an executor is ready: open transactions are settled, and every enabled book could trade or never will."""

from __future__ import annotations

from collections.abc import Iterable

from dexlane.chain.execution.allowances import Approvals
from dexlane.chain.execution.live import BEING_READ, LiveDesk
from dexlane.chain.execution.side_values import SideValues
from dexlane.values.books import Book, Lane, Mode

BOOKS_WAIT_NS = 10 * 10**9
"""Books are announced while the system starts; after this time an executor without any is ready to wait for one."""


class Readiness:
    """Looks at the books of one chain in one lane."""

    def __init__(self, lane: Lane, live: LiveDesk, side: SideValues, approvals: Approvals) -> None:
        self._lane = lane
        self._live = live
        self._side = side
        self._approvals = approvals
        self._seen_set_up: set[tuple[str, str]] = set()
        """Books with their accounts that could trade before."""

    def why_not(self, books: Iterable[Book], age_ns: int) -> bool | str:
        """True, or the reason why not. ``age_ns``: since the executor was built."""
        settled = self._live.why_not_settled()
        if settled is not True:
            return settled
        known = list(books)
        if not known and age_ns < BOOKS_WAIT_NS:
            return "no book is known yet"
        for book in known:
            reason = self._why_not_set_up(book) if book.enabled and self._lane in book.accounts else None
            if reason is not None:
                return f"book {book.id}: {reason}"
        return True

    def _why_not_set_up(self, book: Book) -> str | None:
        lane = self._lane
        if book.mode is Mode.LIVE:
            account = book.accounts[lane]
            objection = self._live.objection_to_token(book, book.quote.address, book.limits[lane].max_trade)
            hopeless = self._approvals.is_hopeless(account, book.quote.address)
            if objection is None:
                self._seen_set_up.add((book.id, account))
            # A trade that is on its way has its account read anew: that is work, and no lack of readiness.
            elif objection.outcome != BEING_READ or (book.id, account) not in self._seen_set_up:
                return objection.sentence if objection.passing and not hopeless else None
        return None if self._side.exposure(book.id, lane) else "what it has at work is not known yet"
