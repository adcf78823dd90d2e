"""SQLite without a thread: statements run where they are awaited.

aiosqlite gives each connection a thread, and a statement takes two or three hops to it and back. For the journal of
an executor, whose statements take some ten microseconds and whose commits a fraction of a millisecond, the hops are
most of the time between a verdict and its transaction. The price is that a commit's fsync holds the event loop, as
the signer's own record does. PostgreSQL is not touched by this.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import aiosqlite
from sqlalchemy import event as sa_event
from sqlalchemy.ext.asyncio import AsyncEngine

Job = tuple["asyncio.Future[Any] | None", Callable[[], Any]]


class _AtOnce:
    """Stands in the place of the connection's job queue and does each job when it is put."""

    def put_nowait(self, job: Job) -> None:
        future, function = job
        try:
            result = function()
        except sqlite3.Error as error:
            if future is None:
                raise
            future.set_exception(error)
        else:
            if future is not None:
                future.set_result(result)


class _InlineConnection(aiosqlite.Connection):
    """An aiosqlite connection whose thread is never started."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._tx: Any = _AtOnce()

    def __await__(self) -> Any:
        return self._connect().__await__()

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)


def run_inline(engine: AsyncEngine) -> None:
    """Let an engine on SQLite open its connections this way; call it before the first one."""
    if engine.dialect.name != "sqlite":
        return

    def open_inline(*args: Any, **kwargs: Any) -> _InlineConnection:
        return _InlineConnection(lambda: sqlite3.connect(*args, **kwargs))

    def choose(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        parameters["async_creator_fn"] = open_inline

    sa_event.listen(engine.sync_engine, "do_connect", choose)
