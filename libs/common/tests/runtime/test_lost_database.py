"""A PostgreSQL that is killed is an outage: what reads or publishes waits for it, and nothing ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dexlane.chain.execution.fencing import JournalLeaseStore, LeaseKey
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.bus import Bus
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import Journal, outbox
from dexlane.runtime.lease import Lease, LeasePolicy
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.observability import Log
from dexlane.testing.servers import LocalPostgres, prepare_postgres, shared_folder, wait_for_port

pytestmark = pytest.mark.integration


class Database:
    """A server that can be killed."""

    def __init__(self, prepared: LocalPostgres) -> None:
        self.prepared = prepared
        self.url = prepared.url.replace("postgresql:", "postgresql+asyncpg:")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        command = self.prepared.command
        self.process = subprocess.Popen(
            command, user=self.prepared.user, cwd="/", stdout=quiet, stderr=quiet, start_new_session=True
        )
        wait_for_port(int(self.url.rsplit(":", 1)[1].partition("/")[0]), self.process)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


@pytest.fixture
def database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(dir=shared_folder()) as folder:
        database = Database(prepare_postgres(Path(folder)))
        database.start()
        yield database
        database.kill()


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


async def upgraded(url: str, *packages: str) -> None:
    for _ in range(100):
        try:
            await upgrade(url, *packages)
        except Transient:
            await asyncio.sleep(0.1)
        else:
            return


async def all_are_marked(journal: Journal) -> bool:
    unsent = sa.select(outbox.c.sequence).where(outbox.c.sent_ms.is_(None))
    try:
        async with journal.reading() as conn:
            return not (await conn.execute(unsent)).all()
    except Transient:
        return False


async def read_on(journal: Journal) -> None:
    """Read for ten seconds: the children of a killed server have sessions of their own and end a moment after it."""
    for _ in range(100):
        async with journal.reading() as conn:
            await conn.execute(sa.select(outbox.c.sequence))
        await asyncio.sleep(0.1)


async def test_the_outbox_outlives_its_database(database: Database, bus: Bus, log: Log) -> None:
    await upgraded(database.url)
    journal = Journal(database.url, clock=SystemClock(), log=log)
    relay = asyncio.create_task(journal.relay(bus))
    async with journal.transaction() as tx:
        await tx.emit(a_decision(1))
    database.kill()
    with pytest.raises(Transient):
        await read_on(journal)
    with pytest.raises(Transient):
        await upgrade(database.url)
    await asyncio.sleep(0.5)
    assert not relay.done()
    database.start()
    for _ in range(200):
        if await all_are_marked(journal):
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("what was published is not marked")
    assert not relay.done()
    await cancelled([relay])
    await journal.stop()


async def test_a_lease_is_pursued_through_an_outage_of_its_database(database: Database, log: Log) -> None:
    await upgraded(database.url, "dexlane.chain")
    journal = Journal(database.url, clock=SystemClock(), log=log)
    store = JournalLeaseStore(journal, LeaseKey("fast-executor", 1))
    policy = LeasePolicy(ttl_s=0.6, margin_s=0.1)
    lease, standby = (Lease(store, name, clock=SystemClock(), policy=policy) for name in ("first", "second"))
    await lease.pursue()
    assert lease.held
    pursuing = [asyncio.create_task(one.run()) for one in (lease, standby)]
    database.kill()
    await asyncio.sleep(2)
    assert not lease.held
    assert not standby.held
    assert not any(task.done() for task in pursuing), "nobody gives up: both look again"
    database.start()
    for _ in range(200):
        if lease.held or standby.held:
            break
        await asyncio.sleep(0.1)
    assert lease.held != standby.held
    await cancelled(pursuing)
    await journal.stop()
