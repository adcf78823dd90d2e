"""The live books of one chain and lane, and with which block each account began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dexlane.values.books import Book, Lane, Mode


class LiveBooks:
    """Books as they now are, and those that gave their account up while this process ran."""

    def __init__(self, chain_id: int, lane: Lane) -> None:
        self._chain_id = chain_id
        self._lane = lane
        self._retired: dict[str, Book] = {}
        self.all: Mapping[str, Book] = {}
        """By id."""
        self.opened: dict[tuple[str, str], int] = {}
        """(book, account) to the block of its opening entries."""

    def changed(self, books: Iterable[Book]) -> None:
        """The books as they now are. An account that a book gave up can still hold allowances, and only we can take
        them back: it is kept, switched off."""
        lane = self._lane
        before = {book.accounts[lane]: book for book in self.tended}
        self.all = {
            book.id: book
            for book in books
            if book.mode is Mode.LIVE and book.chain_id == self._chain_id and lane in book.accounts
        }
        kept = {book.accounts[lane] for book in self.all.values()}
        self._retired = {
            account: book.model_copy(update={"enabled": False})
            for account, book in before.items()
            if account not in kept
        }

    @property
    def tended(self) -> list[Book]:
        """The live books, and after them those that gave their account up, switched off."""
        return [*self.all.values(), *self._retired.values()]

    def opened_at(self, book: Book) -> int | None:
        """The block with which the book's account began; None before it is open."""
        return self.opened.get((book.id, book.accounts[self._lane]))
