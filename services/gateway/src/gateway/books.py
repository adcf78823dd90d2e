"""The books: what the file says, what was changed through the API since, and every version of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from pydantic import Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.risk.profiles import PROFILES
from dexlane.events.control import BookChanged
from dexlane.runtime.books_file import BooksFile
from dexlane.runtime.errors import DexlaneError, Misconfigured
from dexlane.runtime.journal import Journal, Tx
from dexlane.runtime.settings import REAL_MONEY_WORDS
from dexlane.values.amounts import Amount
from dexlane.values.base import Value
from dexlane.values.books import Book, Lane, Mode
from gateway.records import book_versions, loaded_files
from gateway.settings import DEVNET_ACCOUNTS, Settings

IDENTITY = ("chain_id", "mode", "quote", "accounts")
"""What a book's ledger is counted in; a book that changes it is another book and needs another id."""
_FILE = "books"
_OF_FILE = "file"


class ChangeRefused(DexlaneError):  # noqa: N818
    """A change that the rules of books do not allow."""


class UnknownBook(DexlaneError):  # noqa: N818
    """There is no book of that id."""


class LaneLimitsChange(Value):
    """New limits of one lane; what is left out stays. Amounts in smallest units of the quote token."""

    capital: Amount | None = None
    max_trade: Amount | None = None
    max_daily_loss: Amount | None = None
    max_open_positions: int | None = Field(default=None, ge=0, le=1_000)
    max_orders_per_minute: int | None = Field(default=None, ge=0, le=10_000)


class BookChange(Value):
    """A change of a book; what is left out stays. With ``expected_version`` it holds only for that version."""

    level: int | None = Field(default=None, strict=True, ge=1, le=10, description="1 (least) to 10 (most)")
    enabled: bool | None = Field(default=None, strict=True, description="false: no entries")
    limits: dict[Lane, LaneLimitsChange] = Field(default_factory=dict, description="by lane, smallest quote units")
    expected_version: int | None = Field(default=None, ge=1, description="refuse the change at any other version")


@dataclass(frozen=True)
class BookVersion:
    """A book and which version of it this is."""

    book: Book
    version: int


def refuse_unsafe_books(books: Iterable[Book], settings: Settings) -> None:
    """``Fatal`` for a book whose profile has no place in its mode, or whose chain is not served, and for live books
    where real money is at stake unless that was accepted in words and the keys of their accounts are not public."""
    for book in books:
        if book.mode not in PROFILES[book.profile].modes:
            raise Misconfigured(f"book {book.id!r} is {book.mode} and {book.profile}; give it another profile")
        if book.chain_id not in settings.chains:
            raise Misconfigured(f"book {book.id!r} trades on chain {book.chain_id}, which DEXLANE_CHAINS does not name")
        if book.mode is not Mode.LIVE or settings.network == "devnet":
            continue
        if settings.live_trading_on_real_chains != REAL_MONEY_WORDS:
            raise Misconfigured(
                f"book {book.id!r} is live and the network is not the devnet; make it a paper book, or set "
                f'DEXLANE_GATEWAY_LIVE_TRADING_ON_REAL_CHAINS="{REAL_MONEY_WORDS}"'
            )
        public = set(book.accounts.values()) & set(DEVNET_ACCOUNTS.values())
        if public:
            raise Misconfigured(f"book {book.id!r} uses {min(public)}, whose key is public; funds sent there are lost")


def changed_book(book: Book, change: BookChange) -> Book:
    """The book after the change, checked as a whole; ``ChangeRefused`` with the reason."""
    unknown = set(change.limits) - set(book.limits)
    if unknown:
        raise ChangeRefused(f"book {book.id!r} has no {min(unknown).value} lane")
    limits = {
        lane.value: {
            **old.model_dump(),
            **(change.limits[lane].model_dump(exclude_none=True) if lane in change.limits else {}),
        }
        for lane, old in book.limits.items()
    }
    given = change.model_dump(exclude_none=True, include={"level", "enabled"})
    try:
        return Book.model_validate({**book.model_dump(), **given, "limits": limits})
    except ValidationError as error:
        sentences = [problem["msg"].removeprefix("Value error, ") for problem in error.errors()]
        raise ChangeRefused("; ".join(sentences)) from error


class BookKeeper:
    """The current version of every book, kept in the journal and published as ``book.changed``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._current: dict[str, BookVersion] = {}

    @property
    def current(self) -> Mapping[str, BookVersion]:
        """The newest version of each book, by id."""
        return self._current

    def get(self, book_id: str) -> BookVersion:
        """The newest version of one book; ``UnknownBook`` when there is none."""
        try:
            return self._current[book_id]
        except KeyError as error:
            known = ", ".join(sorted(self._current)) or "none"
            raise UnknownBook(f"there is no book {book_id!r}; the books are: {known}") from error

    async def load(self, file: BooksFile, published: Mapping[str, int]) -> list[str]:
        """Merge the file into the journal; returns the ids of the books that changed.

        The file wins for each book of which it says something else than before; otherwise what was set through the API
        stays.
        A book that left the file is disabled. ``published`` are the versions on the bus: what it lacks is told
        again, and a lost or restored journal continues above them.

        ``Fatal`` when a book of the file contradicts its own history.
        """
        async with self._journal.transaction() as tx:
            self._current = await _newest(tx.conn)
            is_same = await _digest(tx.conn) == file.digest
            changed = [] if is_same else self._changes(file, await _newest(tx.conn, source=_OF_FILE))
            behind = [old.book for old in self._current.values() if published.get(old.book.id, 0) > old.version]
            source = dict.fromkeys((book.id for book in changed), _OF_FILE)
            changed += [book for book in behind if book.id not in source]
            versions = [
                await self._write(tx, book, source=source.get(book.id, "bus"), above=published.get(book.id, 0))
                for book in changed
            ]
            for old in self._current.values():
                if published.get(old.book.id, 0) < old.version and old.book.id not in {b.id for b in changed}:
                    await tx.emit(event_of(old, tx.now_ms))
            await _put_digest(tx, file.digest)
        self._current.update({version.book.id: version for version in versions})
        return [version.book.id for version in versions]

    def _changes(self, file: BooksFile, said: Mapping[str, BookVersion]) -> list[Book]:
        """What the file says anew. A book that it says as ``said`` before keeps what was set through the API: somebody
        who adds a book must not switch on another that was switched off meanwhile."""
        for book in file.books:
            self._refuse_another(book)
        changed = [book for book in file.books if book.id not in said or said[book.id].book != book]
        gone = set(self._current) - {book.id for book in file.books}
        removed = [self._current[book_id].book for book_id in sorted(gone) if self._current[book_id].book.enabled]
        return changed + [book.model_copy(update={"enabled": False}) for book in removed]

    def _refuse_another(self, book: Book) -> None:
        before = self._current.get(book.id)
        if before is None:
            return
        moved = [key for key in IDENTITY if getattr(before.book, key) != getattr(book, key)]
        if moved:
            raise Misconfigured(
                f"book {book.id!r} changed its {' and '.join(moved)}; its ledger is counted in the old one, "
                "so give the new book another id"
            )

    async def change(self, book_id: str, change: BookChange) -> BookVersion:
        """Change a book; ``UnknownBook``, or ``ChangeRefused`` with the reason."""
        async with self._journal.transaction() as tx:
            before = self.get(book_id)
            if change.expected_version not in {None, before.version}:
                raise ChangeRefused(
                    f"book {book_id!r} is at version {before.version} now, not {change.expected_version}; "
                    "read it again and repeat the change"
                )
            book = changed_book(before.book, change)
            if book == before.book:
                return before
            after = await self._write(tx, book, source="api", above=before.version)
        self._current[book_id] = after
        return after

    async def _write(self, tx: Tx, book: Book, *, source: str, above: int) -> BookVersion:
        before = self._current.get(book.id)
        version = max(above, before.version if before else 0) + 1
        values = {"book_id": book.id, "version": version, "source": source, "changed_ms": tx.now_ms}
        await tx.conn.execute(book_versions.insert().values(**values, body=book.model_dump_json()))
        written = BookVersion(book, version)
        await tx.emit(event_of(written, tx.now_ms))
        return written


def event_of(version: BookVersion, now_ms: int) -> BookChanged:
    """The event that tells everybody this version of the book."""
    return BookChanged(
        id=BookChanged.make_id(version.book.id, version.version),
        chain_id=version.book.chain_id,
        occurred_at_ms=now_ms,
        book=version.book,
        book_version=version.version,
    )


async def _newest(conn: AsyncConnection, source: str | None = None) -> dict[str, BookVersion]:
    query = sa.select(book_versions).order_by(book_versions.c.version)
    rows = await conn.execute(query if source is None else query.where(book_versions.c.source == source))
    return {row.book_id: BookVersion(Book.model_validate_json(row.body), row.version) for row in rows}


async def _digest(conn: AsyncConnection) -> str | None:
    found = await conn.execute(sa.select(loaded_files.c.digest).where(loaded_files.c.name == _FILE))
    return found.scalar()


async def _put_digest(tx: Tx, digest: str) -> None:
    await tx.conn.execute(loaded_files.delete().where(loaded_files.c.name == _FILE))
    await tx.conn.execute(loaded_files.insert().values(name=_FILE, digest=digest, loaded_ms=tx.now_ms))
