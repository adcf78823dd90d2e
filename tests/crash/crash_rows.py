"""Rows of a database that another process writes. Not on the event loop's thread."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg


def database_of(journal: str) -> str:
    """The name of a journal's database."""
    return journal.replace("-", "_")


def rows(data: Path | str, journal: str, query: str) -> list[dict[str, Any]]:
    """Of a journal: ``data`` is the folder of SQLite files, or the URL of a PostgreSQL server."""
    if isinstance(data, str):
        return asyncio.run(_postgres_rows(f"{data}/{database_of(journal)}", query))
    return sqlite_rows(data / f"{journal}.db", query)


def sqlite_rows(path: Path, query: str) -> list[dict[str, Any]]:
    """Of a SQLite file."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


async def _postgres_rows(url: str, query: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url)
    try:
        return [dict(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()
