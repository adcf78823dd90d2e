"""Pytest fixtures on real servers. Servers live for the session; what they hold is cleared for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import nats
import pytest
import pytest_asyncio
from nats.js import JetStreamContext

from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.declare import declare
from dexlane.runtime.journal import Journal
from dexlane.runtime.observability import Log, configure_logging
from dexlane.testing.journals import migrated
from dexlane.testing.servers import nats_server, postgres_server, redis_server


@pytest.fixture(scope="session")
def nats_url() -> Iterator[str]:
    """A NATS server with JetStream."""
    with nats_server() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A server that speaks the Redis protocol."""
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server."""
    with postgres_server() as url:
        yield url


@pytest_asyncio.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of an empty database of its own: every test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/test.db"
        return
    async with _own_database(request.getfixturevalue("postgres_url")) as url:
        yield url


@asynccontextmanager
async def _own_database(server_url: str) -> AsyncIterator[str]:
    name = f"dexlane_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        try:
            yield server_url.rsplit("/", 1)[0].replace("postgresql:", "postgresql+asyncpg:") + f"/{name}"
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
def log() -> Log:
    """A log that shows only errors."""
    return configure_logging("test", "ERROR")


@pytest_asyncio.fixture
async def js(nats_url: str) -> AsyncIterator[JetStreamContext]:
    """JetStream with the declared streams and bucket, all empty and without consumers."""
    client = await nats.connect(nats_url)
    context = client.jetstream()
    for info in await context.streams_info():
        await context.delete_stream(str(info.config.name))
    await declare(context, apply=True)
    yield context
    await client.close()


@pytest_asyncio.fixture
async def bus(nats_url: str, js: JetStreamContext, log: Log) -> AsyncIterator[Bus]:
    """A started bus on empty streams."""
    bus = Bus(nats_url, "main", "test", log)
    await bus.start()
    yield bus
    await bus.stop()


@pytest.fixture(params=[False, True], ids=["sqlalchemy", "direct"])
def asks_for_direct(request: pytest.FixtureRequest) -> bool:
    """Whether a journal is asked to write without SQLAlchemy in between. PostgreSQL never is written so, and a service
    that asks for it all the same must find everything as it is on SQLite."""
    return bool(request.param)


@pytest.fixture
def writes_directly(asks_for_direct: bool, database_url: str) -> bool:
    """Whether the journal really writes without SQLAlchemy."""
    return asks_for_direct and database_url.startswith("sqlite")


@pytest_asyncio.fixture
async def journal(database_url: str, log: Log, asks_for_direct: bool) -> AsyncIterator[Journal]:
    """An empty journal in a database of its own, on both databases and in both ways of writing."""
    await migrated(database_url)
    journal = Journal(database_url, clock=SystemClock(), log=log, direct=asks_for_direct)
    yield journal
    await journal.stop()
