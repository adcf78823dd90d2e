"""What people and breakers set: books and trading status."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from dexlane.events.base import Event
from dexlane.values.base import digest
from dexlane.values.books import Book


class Status(StrEnum):
    """ACTIVE trades; REDUCING only exits; HALTED only cancels. The strictest of all sources wins."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"

    @property
    def severity(self) -> int:
        """Grows with strictness."""
        return list(Status).index(self)


def strictest(statuses: list[Status]) -> Status:
    """The status that holds when several sources speak; ACTIVE when none does."""
    return max(statuses, key=lambda status: status.severity, default=Status.ACTIVE)


class BookChanged(Event):
    """A book as it now is; last value per book."""

    NAME: ClassVar[str] = "book.changed"

    book: Book
    book_version: int = Field(ge=1)

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """Book ids are an open set on this last-value subject."""
        return (">",)

    def tail(self) -> str:
        """The book id."""
        return self.book.id

    @staticmethod
    def make_id(book_id: str, book_version: int) -> str:
        """One id per version of a book."""
        return digest("book.changed", book_id, book_version)


class TradingStatus(Event):
    """One source's word on whether to trade; last value per source. It holds until the same source releases it."""

    NAME: ClassVar[str] = "trading.status"

    source: str = Field(pattern="^[a-z][a-z0-9-]{0,47}$")
    status: Status
    status_version: int = Field(ge=1)
    reason: str = Field(min_length=1)

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """Sources are an open set on this last-value subject."""
        return (">",)

    def tail(self) -> str:
        """The source."""
        return self.source

    @staticmethod
    def make_id(chain_id: int, source: str, status_version: int) -> str:
        """One id per version of a source's word."""
        return digest("trading.status", chain_id, source, status_version)
