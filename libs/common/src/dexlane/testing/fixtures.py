"""Pytest fixtures on real servers. Servers live for the session; what they hold is cleared for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
import pytest_asyncio
from nats.js import JetStreamContext

from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.declare import declare
from dexlane.runtime.journal import Journal
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.observability import Log, configure_logging
from dexlane.testing.servers import nats_server, redis_server


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


@pytest_asyncio.fixture
async def journal(tmp_path: Path, log: Log) -> AsyncIterator[Journal]:
    """An empty journal in a file of its own."""
    url = f"sqlite+aiosqlite:///{tmp_path}/journal.db"
    await upgrade(url)
    journal = Journal(url, clock=SystemClock(), log=log)
    yield journal
    await journal.stop()
