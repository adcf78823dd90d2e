"""Bring a journal's tables to the newest revision. Each package that owns tables keeps its own Alembic branch."""

from __future__ import annotations

import asyncio
import fcntl
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from dexlane.runtime.database import DATABASE_ERRORS, is_outage
from dexlane.runtime.errors import Transient

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATION_LOCK = 0x6465786C
"""The advisory lock that a PostgreSQL server gives to one migrating process at a time, in each database."""
PAGE_BYTES = 2048
"""Of a new SQLite file. A commit writes a dozen pages in which little changed, so small ones cost less."""
HERE = Path(__file__).parent / "migrations"


def _versions(package: str) -> str:
    return str(files(package) / "migrations" / "versions")


def newest_revisions(packages: tuple[str, ...]) -> frozenset[str]:
    """The heads that a journal with these packages' tables has when nothing is missing.

    A revision is named like its file, and the last name of a folder is its newest. As Alembic does, a revision that
    another one depends on is not counted.
    """
    heads, implied = set(), set()
    for folder in (HERE / "versions", *(Path(_versions(package)) for package in packages)):
        revisions = sorted(folder.glob("*_[0-9]*.py"))
        heads.add(revisions[-1].stem)
        for revision in revisions:
            implied |= set(re.findall(r'^depends_on = "(\w+)"', revision.read_text(), re.MULTILINE))
    return frozenset(heads - implied)


def _is_newest(connection: Connection, packages: tuple[str, ...]) -> bool:
    if not sa.inspect(connection).has_table("alembic_version"):
        return False
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars()
    return frozenset(found) == newest_revisions(packages)


def _config(packages: tuple[str, ...]) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "newline")
    locations = [str(HERE / "versions"), *(_versions(package) for package in packages)]
    config.set_main_option("version_locations", "\n".join(locations))
    return config


async def upgrade(url: str, *packages: str) -> None:
    """Run every missing revision of the journal and of the named packages (``<package>/migrations/versions``).

    ``Transient`` when the database does not answer.
    """
    _make_folder(url)

    def run(connection: Connection) -> None:
        if _is_newest(connection, packages):
            return
        # Imported when used: Alembic takes half a second, and nearly every start finds nothing to do.
        from alembic import command

        config = _config(packages)
        config.attributes["connection"] = connection
        command.upgrade(config, "heads")

    engine = create_async_engine(url)
    try:
        async with _one_at_a_time(url), engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            else:
                await connection.execute(sa.text(f"PRAGMA page_size = {PAGE_BYTES}"))
            await connection.run_sync(run)
    except DATABASE_ERRORS as error:
        if not is_outage(error):
            raise
        raise Transient(f"the journal's database does not answer: {error}") from error
    finally:
        await engine.dispose()


def database_file(url: str) -> Path | None:
    """The file of a SQLite database; None for a server, or for one in memory."""
    prefix = "sqlite+aiosqlite:///"
    return Path(url.removeprefix(prefix)) if url.startswith(prefix) and ":memory:" not in url else None


def _make_folder(url: str) -> None:
    file = database_file(url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)


@asynccontextmanager
async def _one_at_a_time(url: str) -> AsyncIterator[None]:
    """Two instances of a service that start together must not both create a SQLite file's tables."""
    file = database_file(url)
    if file is None:
        yield
        return
    with file.with_name(f"{file.name}.migrating").open("a") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield
