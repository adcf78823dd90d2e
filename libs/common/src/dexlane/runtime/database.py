"""The journal's database: how it is opened, which of its errors mean an outage, and whether a commit landed.

PostgreSQL and SQLite say in different ways that they are busy, gone, full or failing over. All of that is one class
here, for the same input may succeed later; a wrong statement is not.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event as sa_event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from dexlane.runtime.observability import Log

CONNECT_S = 5.0
STATEMENT_S = 10.0
"""A server that says nothing for so long is taken for gone."""
IDLE_IN_TRANSACTION_MS = 4_000
"""PostgreSQL ends a session that was left in the middle of a transaction: a frozen process must not keep the row of
its lease locked for longer than the lease lasts and a moment."""
READ_BACK_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)

_OUTAGE_CLASSES = ("08", "25", "40", "53", "55", "57", "58")
"""SQLSTATE classes (PostgreSQL's appendix A): connection, transaction state, rollback, resources, locks, operator,
system."""

DATABASE_ERRORS = (sa.exc.DBAPIError, sqlite3.Error, OSError)
"""What a database, its driver or the link to it may raise; a ``TimeoutError`` is an ``OSError``."""


def make_engine(url: str) -> AsyncEngine:
    """An engine with the durability that money needs: every commit is on disk when it returns."""
    if not url.startswith("sqlite"):
        settings = {"idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS)}
        options = {"timeout": CONNECT_S, "command_timeout": STATEMENT_S, "server_settings": settings}
        engine = create_async_engine(url, pool_size=4, pool_pre_ping=True, connect_args=options)
        sa_event.listen(engine.sync_engine, "handle_error", _link_is_lost)
        return engine
    engine = create_async_engine(url, pool_size=2, max_overflow=2)

    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # SQLAlchemy emits BEGIN itself (below); the driver's own late BEGIN would upgrade read locks and deadlock.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    sa_event.listen(engine.sync_engine, "connect", on_connect)
    sa_event.listen(engine.sync_engine, "begin", on_begin)
    return engine


def _link_is_lost(context: ExceptionContext) -> BaseException | None:
    """asyncpg lets errors of the link through as they are; the connection is of no use after one."""
    error = context.original_exception
    if not isinstance(error, OSError):
        return None
    context.is_disconnect = True
    return sa.exc.OperationalError(context.statement, None, error)


def is_outage(error: BaseException) -> bool:
    """Whether the database was busy, gone, full or failing over, and not the statement wrong."""
    if isinstance(error, sqlite3.OperationalError | OSError):
        return True
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state:
        return state.startswith(_OUTAGE_CLASSES)
    return error.connection_invalidated or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Whether another connection has the file's lock."""
    return error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@dataclass(frozen=True, slots=True)
class OwnRow:
    """A row that only one transaction writes: how it is written, doing nothing on a conflict, how it is found, and its
    values for both."""

    insert: sa.Executable
    own: sa.Select[Any]
    row: Mapping[str, Any]


class ReadBack:
    """Finds out whether a transaction landed whose commit was not answered, by a key that it wrote.

    The key is written again, in a transaction that is then rolled back: where the lost one is still being committed,
    PostgreSQL lets this wait for its end, while a query would see nothing yet.
    """

    def __init__(self, engine: AsyncEngine, log: Log) -> None:
        self._engine = engine
        self._log = log

    async def landed(self, mark: OwnRow) -> bool:
        """Whether the row is there. Asks until the database answers: nobody may go on without knowing."""
        for pause_s in chain(READ_BACK_S, repeat(READ_BACK_S[-1])):
            try:
                async with self._engine.connect() as conn:
                    found = await self._is_there(conn, mark)
                    await conn.rollback()
            except DATABASE_ERRORS as error:
                if not is_outage(error):
                    raise
                self._log.warning("commit_being_read_back", reason=str(error))
                await asyncio.sleep(pause_s)
            else:
                self._log.warning("commit_read_back", landed=found)
                return found
        raise AssertionError("unreachable")

    @staticmethod
    async def _is_there(conn: AsyncConnection, mark: OwnRow) -> bool:
        if (await conn.execute(mark.insert, dict(mark.row))).rowcount:
            return False
        return (await conn.execute(mark.own, dict(mark.row))).first() is not None
