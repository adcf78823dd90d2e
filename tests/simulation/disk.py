"""Databases on a memory disk, without threads, whose commits are boundaries at which a process can die."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dexlane.runtime import database, statements
from dexlane.runtime import journal as journal_module
from dexlane_signer import guard_file as guard_module
from simulation.lives import CURRENT, DiedError, Life, crossing

_connect = sqlite3.connect

LABELS: tuple[tuple[str, str], ...] = (
    ("INSERT INTO execution_intents", "intent"),
    ("INSERT INTO execution_attempts", "attempt"),
    ("INSERT INTO execution_accounts", "opening"),
    ("INSERT INTO attempts", "signature"),
    ("INSERT INTO halts", "halt"),
    ("INSERT INTO entries", "entry"),
    ("INSERT INTO exits", "exit"),
    ("paper_", "trade"),
    ("UPDATE execution_slots", "progress"),
    ("INSERT INTO inbox", "inbox"),
    ("UPDATE outbox", "mark"),
    ("DELETE FROM outbox", "mark"),
    ("INSERT INTO outbox", "fact"),
)
"""What a transaction is called, by the first of these that one of its statements begins with (or contains)."""


@cache
def label_of(sql: str) -> int:
    """The place of a statement in ``LABELS``; their number when it is in none."""
    text = " ".join(sql.split())
    for place, (begin, _label) in enumerate(LABELS):
        if begin in text and not text.startswith("SELECT"):
            return place
    return len(LABELS)


class SimulatedConnection(sqlite3.Connection):
    """A connection of a process that can die before or after a commit, or be told a lie about it."""

    life: Life
    database: str
    _lowest = len(LABELS)

    def belong_to(self, life: Life, database: str) -> None:
        """Whose it is, and to which file."""
        self.life, self.database = life, database

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:  # type: ignore[override]
        """Run a statement; a commit is a boundary."""
        if sql == "COMMIT":
            self._commit()
            return super().cursor()
        self.note(sql)
        return super().execute(sql, *arguments)

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:  # type: ignore[override]
        """Run a statement for many rows."""
        self.note(sql)
        return super().executemany(sql, rows)

    def note(self, sql: str) -> None:
        """Remember what the open transaction does."""
        if not self.life.alive:
            raise DiedError(self.life.name)
        if sql.startswith("BEGIN"):
            self._lowest = len(LABELS)
        else:
            self._lowest = min(self._lowest, label_of(sql))

    def commit(self) -> None:
        """End the transaction."""
        if self.in_transaction:
            self._commit()

    def _commit(self) -> None:
        if self._lowest == len(LABELS):
            super().execute("COMMIT")
            return
        label = LABELS[self._lowest][1]
        self._lowest = len(LABELS)
        world = self.life.process.witness
        crossing(f"{self.database}.{label}:before")
        if world.commit_fails(self.life, f"{self.database}.{label}"):  # type: ignore[attr-defined]
            raise sqlite3.OperationalError("database is locked")
        super().execute("COMMIT")
        world.committed(self.life, self.database, label)  # type: ignore[attr-defined]
        crossing(f"{self.database}.{label}:after")
        if self.database == "journal" and world.commit_unheard(self.life, label):  # type: ignore[attr-defined]
            raise sqlite3.OperationalError("disk I/O error")


def _simulated_connect(path: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
    life = CURRENT.get()
    if life is None:
        return _connect(path, *arguments, **options)
    if not life.alive:
        raise DiedError(life.name)
    options.pop("factory", None)
    connection = _connect(path, *arguments, factory=SimulatedConnection, **options)
    connection.belong_to(life, "guard" if "guard" in Path(path).name else "journal")
    life.connections.append(connection)
    return connection


class _Cursor:
    """A cursor with asynchronous methods that never wait."""

    def __init__(self, raw: SimulatedConnection) -> None:
        self._raw = raw
        self._cursor = raw.cursor()

    async def execute(self, sql: str, parameters: Any = ()) -> _Cursor:
        self._raw.note(sql)
        self._cursor.execute(sql, parameters)
        return self

    async def executemany(self, sql: str, rows: Any) -> _Cursor:
        self._raw.note(sql)
        self._cursor.executemany(sql, rows)
        return self

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()

    async def fetchmany(self, size: int | None = None) -> Any:
        return self._cursor.fetchmany(size or 100)

    async def fetchall(self) -> Any:
        return self._cursor.fetchall()

    async def close(self) -> None:
        self._cursor.close()

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> Any:
        return self._cursor.lastrowid

    @property
    def arraysize(self) -> int:
        return self._cursor.arraysize


class _Worker:
    """Where aiosqlite has a thread's queue, the work is done at once."""

    @staticmethod
    def put_nowait(job: tuple[Any, Any]) -> None:
        future, function = job
        future.set_result(function())


class _Connection:
    """What SQLAlchemy's aiosqlite dialect asks of a connection."""

    _tx = _Worker()

    def __init__(self, raw: SimulatedConnection) -> None:
        self._conn = self._connection = raw

    @property
    def isolation_level(self) -> Any:
        return self._conn.isolation_level

    @isolation_level.setter
    def isolation_level(self, value: Any) -> None:
        self._conn.isolation_level = value

    def cursor(self, *_arguments: Any, **_options: Any) -> _Ready:
        return _Ready(_Cursor(self._conn))

    async def execute(self, sql: str, parameters: Any = ()) -> _Cursor:
        return await _Cursor(self._conn).execute(sql, parameters)

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        self._conn.create_function(*arguments, **options)

    async def commit(self) -> None:
        self._conn.commit()

    async def rollback(self) -> None:
        if self._conn.life.alive:
            self._conn.rollback()

    async def close(self) -> None:
        self._conn.close()

    def stop(self) -> None:
        self._conn.close()


class _Ready:
    """A cursor that can be awaited, as aiosqlite's is."""

    def __init__(self, cursor: _Cursor) -> None:
        self._cursor = cursor

    def __await__(self) -> Iterator[Any]:
        return self
        yield

    async def __aenter__(self) -> _Cursor:
        return self._cursor

    async def __aexit__(self, *_: object) -> None:
        await self._cursor.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


_engines: dict[tuple[str, str], AsyncEngine] = {}


def _simulated_engine(url: str) -> AsyncEngine:
    """One engine per instance and file for all lives: statements are compiled once, connections are a life's own."""
    life = CURRENT.get()
    key = (life.process.name if life is not None else "", url)
    engine = _engines.get(key)
    if engine is None:
        path = url.removeprefix("sqlite+aiosqlite:///")

        async def open_one() -> Any:
            return _Connection(sqlite3.connect(path, check_same_thread=False))

        def create(of_url: str, **options: Any) -> AsyncEngine:
            return create_async_engine(of_url, async_creator=open_one, **options)

        with patch.object(database, "create_async_engine", create):
            engine = _engines[key] = database.make_engine(url)
    engine.sync_engine.dispose(close=False)
    return engine


@contextmanager
def simulated_disk() -> Iterator[None]:
    """While this lasts a simulated process opens simulated connections, and no log is made long in advance."""
    with (
        patch.object(sqlite3, "connect", _simulated_connect),
        patch.object(journal_module, "make_engine", _simulated_engine),
        patch.object(statements, "LOG_ROOM_BYTES", 0),
        patch.object(guard_module, "_LOG_ROOM_BYTES", 0),
    ):
        yield
