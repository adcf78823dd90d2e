"""How a journal transaction writes: through SQLAlchemy's connection, or straight to SQLite.

SQLAlchemy's asyncio part costs a few hundred microseconds a statement and aiosqlite some thread hops: most of the
time between a verdict and its transaction. A writer in a hurry therefore keeps one connection of the standard
library's driver and runs the very same statements on it, compiled once. The price is that a commit's fsync holds the
event loop, as the signer's own record does. PostgreSQL always goes through SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.runtime.database import is_busy
from dexlane.runtime.errors import Transient

Row = Mapping[str, Any]

BUSY_TIMEOUT_S = 5.0
SHORT_BUSY_MS = 5
"""A writer on the event loop waits no longer than this at a time for the file's lock; in between, others run."""
BUSY_PAUSES_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, *([0.2] * 20))
"""How often another process's lock is waited for before the transaction counts as refused."""
CHECKPOINT_ROWS = 60
"""After so many published rows the write-ahead log is copied back, beside the trades and never by one: with the
documents of trades among them some 2 MB, half of the room."""
LOG_ROOM_BYTES = 4_000_000
"""So large the write-ahead log is made before the first transaction."""


_DIALECT = SQLiteDialect_pysqlite(paramstyle="named")


def in_sqlite_words(statement: sa.Executable, row: Row) -> str:
    """A statement as text, for the columns that a row of it has. One that is used again is not compiled again."""
    return _words(statement, tuple(row))


@lru_cache(maxsize=512)
def _words(statement: sa.Executable, columns: tuple[str, ...]) -> str:
    return str(statement.compile(dialect=_DIALECT, column_keys=list(columns)))  # type: ignore[attr-defined]


class Statements(Protocol):
    """Runs prepared statements in one open transaction."""

    async def run(self, statement: sa.Executable, row: Row) -> int:
        """Run it and return how many rows it touched."""
        ...

    async def add(self, statement: sa.Insert, row: Row) -> int:
        """Insert a row and return its generated key."""
        ...

    async def finds(self, statement: sa.Select[Any], row: Row) -> bool:
        """Whether the query finds any row."""
        ...


class OnConnection:
    """Statements on a SQLAlchemy connection."""

    def __init__(self, conn: AsyncConnection) -> None:
        self.conn = conn

    async def run(self, statement: sa.Executable, row: Row) -> int:
        """Run it and return how many rows it touched."""
        return (await self.conn.execute(statement, dict(row))).rowcount

    async def add(self, statement: sa.Insert, row: Row) -> int:
        """Insert a row and return its generated key."""
        key = (await self.conn.execute(statement, dict(row))).inserted_primary_key
        if key is None:
            raise Transient("the database gave the row no key")
        return int(key[0])

    async def finds(self, statement: sa.Select[Any], row: Row) -> bool:
        """Whether the query finds any row."""
        return (await self.conn.execute(statement, dict(row))).first() is not None


class SqliteWriter:
    """The one writing connection of a journal in a SQLite file; use it from one thread only."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S, cached_statements=256)
        self._texts: dict[int, tuple[sa.Executable, str]] = {}
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=0"):
            self._db.execute(f"PRAGMA {pragma}")
        self._make_room()
        self._db.execute(f"PRAGMA busy_timeout={SHORT_BUSY_MS}")

    def _make_room(self) -> None:
        """Let commits overwrite blocks that the write-ahead log has already. One that makes the file longer has the
        file system commit its own journal too, with whatever other programs are writing at that moment."""
        with self.transaction():
            self._db.execute("CREATE TABLE room (filler BLOB)")
            self._db.execute("INSERT INTO room VALUES (zeroblob(?))", (LOG_ROOM_BYTES,))
            self._db.execute("DROP TABLE room")
        self._db.execute("PRAGMA wal_checkpoint(RESTART)")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is on disk when this ends, or nothing of it is."""
        self._db.execute("BEGIN IMMEDIATE")
        with self.begun():
            yield

    async def begin_when_free(self) -> None:
        """Begin a transaction when no other process writes. ``sqlite3.OperationalError`` when one does for too long."""
        for pause_s in BUSY_PAUSES_S:
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                await asyncio.sleep(pause_s)
            else:
                return
        self._db.execute("BEGIN IMMEDIATE")

    @contextmanager
    def begun(self) -> Iterator[None]:
        """The rest of a transaction that was begun: it commits at the end, or is rolled back."""
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    async def run(self, statement: sa.Executable, row: Row) -> int:
        """Run it and return how many rows it touched."""
        return self._db.execute(self._text(statement, row), row).rowcount

    async def add(self, statement: sa.Insert, row: Row) -> int:
        """Insert a row and return its generated key."""
        key = self._db.execute(self._text(statement, row), row).lastrowid
        if key is None:
            raise Transient("the database gave the row no key")
        return key

    async def finds(self, statement: sa.Select[Any], row: Row) -> bool:
        """Whether the query finds any row."""
        return self._db.execute(self._text(statement, row), row).fetchone() is not None

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _text(self, statement: sa.Executable, row: Row) -> str:
        """The statement in SQLite's words; compiled the first time, for the columns that a row of it has."""
        # The statement is kept beside its text: an id alone could be given to another object later.
        known = self._texts.get(id(statement))
        if known is None:
            known = self._texts[id(statement)] = (statement, in_sqlite_words(statement, row))
        return known[1]


class SqliteMarker:
    """A second connection for bookkeeping that may be lost in a crash: it never waits for the disk inside a
    transaction, and copies the write-ahead log back when nobody is in a hurry. One call at a time, in any thread."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        for pragma in ("synchronous=NORMAL", "wal_autocheckpoint=0"):
            self._db.execute(f"PRAGMA {pragma}")

    def run_many(self, text: str, rows: Sequence[tuple[int, ...]]) -> None:
        """Run one statement for many rows, in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(text, rows)
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def run_one(self, text: str, row: Row) -> int:
        """Run one statement, a transaction by itself; returns how many rows it touched."""
        return self._db.execute(text, row).rowcount

    def checkpoint(self) -> None:
        """Copy the write-ahead log back as far as no reader is in the way."""
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()
