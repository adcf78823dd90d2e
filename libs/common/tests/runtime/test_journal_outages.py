"""A database that is busy, gone, or does not say whether it committed."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.database import ReadBack, is_outage
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import CommitUnknown, Journal, inbox, outbox
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.observability import Log
from dexlane.runtime.statements import SqliteWriter


def a_decision(number: int) -> DecisionRecorded:
    return DecisionRecorded(
        id=DecisionRecorded.make_id("test", str(number), None, "skipped"),
        chain_id=1,
        occurred_at_ms=1,
        service="test",
        subject_id=str(number),
        outcome="skipped",
        reasons=("a test",),
    )


async def stored(journal: Journal) -> tuple[int, int]:
    """Rows of inbox and outbox."""
    async with journal.reading() as conn:
        counts = [await conn.scalar(sa.select(sa.func.count()).select_from(table)) for table in (inbox, outbox)]
    return counts[0], counts[1]


def lose_commits(journal: Journal, patch: pytest.MonkeyPatch, *, lands: bool) -> None:
    """From now on every commit ends in an error of the link or the disk, with or without having landed."""
    real_begun, dialect = SqliteWriter.begun, journal.engine.sync_engine.dialect
    real_commit = dialect.do_commit

    @contextmanager
    def begun(writer: SqliteWriter) -> Iterator[None]:
        with real_begun(writer):
            yield
            if not lands:
                raise sqlite3.OperationalError("disk I/O error")
        raise sqlite3.OperationalError("disk I/O error")

    def do_commit(connection: Any) -> None:
        if lands:
            real_commit(connection)
        raise ConnectionResetError("connection was closed in the middle of operation")

    patch.setattr(SqliteWriter, "begun", begun)
    patch.setattr(dialect, "do_commit", do_commit)


async def opened(journal: Journal) -> None:
    """Let it open its connections, before anything is broken."""
    async with journal.transaction() as tx:
        await tx.first_time("opened", "m0")
        await tx.run(inbox.delete(), {})


async def note(journal: Journal, message_id: str, *, with_event: bool = True) -> None:
    """A transaction as a handler would make it."""
    async with journal.transaction() as tx:
        assert await tx.first_time("ledger", message_id)
        if with_event:
            await tx.emit(a_decision(1))


async def test_a_commit_that_landed_without_an_answer_counts_as_landed(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(journal)
    with monkeypatch.context() as patch:
        lose_commits(journal, patch, lands=True)
        async with journal.transaction() as tx:
            assert await tx.first_time("ledger", "m1")
            await tx.emit(a_decision(1))
        assert journal.unsent == 1
        async with journal.transaction() as tx:  # known by its inbox row alone
            assert await tx.first_time("ledger", "m2")
    assert await stored(journal) == (2, 1)


async def test_a_commit_that_was_lost_is_transient_and_leaves_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journal.transaction() as tx:
        await tx.emit(a_decision(0))
    for with_event in (True, False):
        with monkeypatch.context() as patch:
            lose_commits(journal, patch, lands=False)
            with pytest.raises(Transient, match="did not commit"):
                await note(journal, "m1", with_event=with_event)
    assert await stored(journal) == (0, 1)
    assert journal.unsent == 1
    async with journal.transaction() as tx:
        assert await tx.first_time("ledger", "m1")


async def test_a_commit_that_wrote_no_key_is_said_to_be_unknown(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journal.transaction() as tx:
        await tx.emit(a_decision(1))
    with monkeypatch.context() as patch:
        lose_commits(journal, patch, lands=True)
        with pytest.raises(CommitUnknown):
            async with journal.transaction() as tx:
                await tx.run(outbox.delete(), {})


async def test_nobody_goes_on_before_the_database_has_said_whether_it_committed(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(journal)
    refusals = iter([True] * 3)
    really = ReadBack._is_there

    async def is_there(*key: Any) -> bool:
        if next(refusals, False):
            raise ConnectionRefusedError("nobody listens")
        return await really(*key)

    with monkeypatch.context() as patch:
        patch.setattr("dexlane.runtime.database.READ_BACK_S", (0.01,))
        patch.setattr(ReadBack, "_is_there", staticmethod(is_there))
        lose_commits(journal, patch, lands=True)
        async with journal.transaction() as tx:
            await tx.first_time("ledger", "m1")
    assert next(refusals, None) is None
    assert await stored(journal) == (1, 0)


async def test_a_transaction_waits_for_another_process_on_the_same_file_without_holding_the_event_loop(
    tmp_path: Any, log: Log
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/test.db"
    await upgrade(url)
    journal = Journal(url, clock=SystemClock(), log=log, direct=True)
    async with journal.transaction() as tx:
        await tx.emit(a_decision(0))
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def write() -> None:
        async with journal.transaction() as tx:
            await tx.emit(a_decision(1))

    writing = asyncio.create_task(write())
    longest, looked = 0.0, time.monotonic()
    for _ in range(30):
        await asyncio.sleep(0.01)
        longest, looked = max(longest, time.monotonic() - looked), time.monotonic()
    assert not writing.done()
    other.execute("COMMIT")
    await writing
    assert longest < 0.25  # a busy timeout of SQLite's own would have held it all the time
    assert await stored(journal) == (0, 2)
    await journal.stop()


async def test_a_file_that_stays_locked_is_transient(tmp_path: Any, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dexlane.runtime.statements.BUSY_PAUSES_S", (0.001,))
    url = f"sqlite+aiosqlite:///{tmp_path}/test.db"
    await upgrade(url)
    journal = Journal(url, clock=SystemClock(), log=log, direct=True)
    async with journal.transaction() as tx:
        await tx.emit(a_decision(0))
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="locked"):
        async with journal.transaction() as tx:
            await tx.emit(a_decision(1))
    other.execute("ROLLBACK")
    async with journal.transaction() as tx:
        await tx.emit(a_decision(1))
    assert await stored(journal) == (0, 2)
    await journal.stop()


@pytest.mark.integration
async def test_a_session_that_the_server_ends_in_the_middle_is_transient_and_the_next_one_works(
    journal: Journal, database_url: str, postgres_url: str
) -> None:
    if database_url.startswith("sqlite"):
        return  # a file has no sessions
    admin = await asyncpg.connect(postgres_url)

    async def interrupted() -> None:
        async with journal.transaction() as tx:
            await tx.first_time("ledger", "m1")
            pid = await tx.conn.scalar(sa.text("SELECT pg_backend_pid()"))
            await admin.execute(f"SELECT pg_terminate_backend({pid})")
            await asyncio.sleep(0.1)
            await tx.first_time("ledger", "m2")

    with pytest.raises(Transient, match="did not commit"):
        await interrupted()
    await admin.close()
    async with journal.transaction() as tx:
        assert await tx.first_time("ledger", "m1")
    assert await stored(journal) == (1, 0)


async def test_a_wrong_statement_is_no_outage(journal: Journal) -> None:
    async def twice() -> None:
        async with journal.transaction() as tx:
            row = {"consumer": "ledger", "message_id": "m1", "received_ms": 1}
            await tx.run(inbox.insert(), row)
            await tx.run(inbox.insert(), row)

    with pytest.raises((sa.exc.IntegrityError, sqlite3.IntegrityError)):
        await twice()
    assert await stored(journal) == (0, 0)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        *((state, True) for state in ("57P01", "25006", "25P03", "53100", "08006", "40P01", "55P03")),
        *((state, False) for state in ("22003", "23505", "42P01")),
    ],
)
def test_postgresql_says_by_its_state_whether_it_is_an_outage(state: str, expected: bool) -> None:
    cause = Exception("the server's words")
    cause.sqlstate = state  # type: ignore[attr-defined]
    assert is_outage(sa.exc.DBAPIError("SELECT 1", None, cause)) is expected


async def test_bookkeeping_is_written_also_when_nobody_waits_for_it_any_more(journal: Journal) -> None:
    async with journal.transaction() as tx:
        await tx.emit(a_decision(1))
    mark = outbox.update().where(outbox.c.sent_ms.is_(None)).values(sent_ms=sa.bindparam("at"))
    asked = asyncio.create_task(journal.write_aside(mark, {"at": 5}))
    await asyncio.sleep(0)
    asked.cancel()
    for _ in range(100):
        async with journal.reading() as conn:
            if await conn.scalar(sa.select(outbox.c.sent_ms)) == 5:
                return
        await asyncio.sleep(0.01)
    raise AssertionError("not written within a second")
