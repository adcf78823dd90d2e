"""The line to the database loses answers of commits as it is told, and nothing else."""

from __future__ import annotations

import asyncpg
import pytest

from crash_database import WAY_OF_CUT, CommitFaults, DatabaseLine
from dexlane.testing.servers import postgres_server

pytestmark = [pytest.mark.integration]


@pytest.fixture(scope="module")
def server() -> object:
    with postgres_server() as url:
        yield url


async def write_through(line: DatabaseLine, url: str, key: int) -> None:
    """One row in a transaction, over the line."""
    user = url.partition("://")[2].rpartition("@")[0]
    connection = await asyncpg.connect(f"postgresql://{user}@127.0.0.1:{line.port}/postgres")
    try:
        async with connection.transaction():
            await connection.execute("CREATE TABLE IF NOT EXISTS written (key INT)")
            await connection.execute("INSERT INTO written VALUES ($1)", key)
    finally:
        connection.terminate()


async def is_there(url: str, key: int) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT count(*) FROM written WHERE key = $1", key))
    finally:
        await connection.close()


async def test_a_commit_is_passed_on_or_lost_as_the_faults_say(server: str) -> None:
    port = int(server.rpartition(":")[2].partition("/")[0])
    async with DatabaseLine(port, seed=1) as line:
        await write_through(line, server, 1)
        assert await is_there(server, 1)
        line.faults = CommitFaults(after=1.0)
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await write_through(line, server, 2)
        assert await is_there(server, 2), "the answer was lost, and the row is there"
        line.faults = CommitFaults(before=1.0)
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await write_through(line, server, 3)
        assert not await is_there(server, 3)
        line.faults = CommitFaults(during=1.0)
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await write_through(line, server, 4)
        assert dict(line.cuts) == dict.fromkeys(WAY_OF_CUT, 1)
        assert line.commits == 4
