"""Effects, inbox and outbox stand or fall together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.journal import Journal
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.observability import Log


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


async def test_a_message_is_new_only_once_for_each_consumer(journal: Journal) -> None:
    async with journal.transaction() as tx:
        assert await tx.first_time("ledger", "m1")
    async with journal.transaction() as tx:
        assert not await tx.first_time("ledger", "m1")
        assert await tx.first_time("exits", "m1")
        assert await tx.first_time("ledger", "m2")


async def test_a_failed_transaction_leaves_neither_inbox_nor_outbox(journal: Journal) -> None:
    async def failing() -> None:
        async with journal.transaction() as tx:
            await tx.first_time("ledger", "m1")
            await tx.emit(a_decision(1))
            raise ValueError("the effect failed")

    with pytest.raises(ValueError, match="effect"):
        await failing()
    assert journal.unsent == 0
    async with journal.transaction() as tx:
        assert await tx.first_time("ledger", "m1")


@pytest.mark.integration
async def test_committed_facts_are_published_in_order(journal: Journal, bus: Bus, js: JetStreamContext) -> None:
    relay = asyncio.create_task(journal.relay(bus))
    for number in range(20):
        async with journal.transaction() as tx:
            await tx.emit(a_decision(2 * number))
            await tx.emit(a_decision(2 * number + 1))
    assert await journal.drained(5)
    stored = [DecisionRecorded.from_wire((await js.get_msg("TRADING", n)).data or b"") for n in range(1, 41)]
    assert [int(event.subject_id) for event in stored] == list(range(40))
    relay.cancel()


@pytest.mark.integration
async def test_a_restart_publishes_what_was_committed_and_the_broker_drops_the_twins(
    journal: Journal, bus: Bus, js: JetStreamContext, database_url: str, log: Log
) -> None:
    async with journal.transaction() as tx:
        await tx.emit(a_decision(1))
    # The process died after the publish and before the row was marked:
    await bus.publish(a_decision(1))
    async with journal.transaction() as tx:
        await tx.emit(a_decision(2))
    again = Journal(database_url, clock=SystemClock(), log=log)
    assert await again.recover() == 2
    relay = asyncio.create_task(again.relay(bus))
    assert await again.drained(5)
    relay.cancel()
    await again.stop()
    assert (await js.stream_info("TRADING")).state.messages == 2
    third = Journal(database_url, clock=SystemClock(), log=log)
    assert await third.recover() == 0
    await third.stop()


@pytest.mark.integration
async def test_the_outbox_waits_a_moment_for_whoever_is_in_more_of_a_hurry(
    journal: Journal, bus: Bus, js: JetStreamContext
) -> None:
    relay = asyncio.create_task(journal.relay(bus))
    with journal.relay_held():
        async with journal.transaction() as tx:
            await tx.emit(a_decision(1))
        await asyncio.sleep(0.01)
        assert (await js.stream_info("TRADING")).state.messages == 0
    assert await journal.drained(5)
    with journal.relay_held():  # and no longer than a moment
        async with journal.transaction() as tx:
            await tx.emit(a_decision(2))
        assert await journal.drained(5)
    assert (await js.stream_info("TRADING")).state.messages == 2
    relay.cancel()


@pytest.mark.integration
async def test_published_facts_are_marked_and_the_write_ahead_log_stays_small(
    journal: Journal, bus: Bus, database_url: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dexlane.runtime.journal.CHECKPOINT_ROWS", 10)
    monkeypatch.setattr("dexlane.runtime.journal.MARK_SENT_AT", 10)
    relay = asyncio.create_task(journal.relay(bus))
    for number in range(600):
        async with journal.transaction() as tx:
            await tx.emit(a_decision(number))
        await asyncio.sleep(0.001)
    assert await journal.drained(10)
    relay.cancel()
    if database_url.startswith("sqlite"):
        size = Path(database_url.split("///", 1)[1] + "-wal").stat().st_size
        assert size < 4_500_000  # without copying back it would be some 6 MB
    await journal.stop()
    again = Journal(database_url, clock=SystemClock(), log=log)
    assert await again.recover() == 0
    await again.stop()


@pytest.mark.integration
async def test_the_write_ahead_log_has_room_for_the_documents_of_trades(bus: Bus, tmp_path: Path, log: Log) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/test.db"
    await upgrade(url)
    journal = Journal(url, clock=SystemClock(), log=log, direct=True)
    relay = asyncio.create_task(journal.relay(bus))
    sizes = set()
    for number in range(240):
        async with journal.transaction() as tx:
            await tx.emit(a_decision(number).model_copy(update={"reasons": ("x" * 20_000,)}))
        sizes.add((tmp_path / "test.db-wal").stat().st_size)
        if number % 20 == 19:  # now and then nobody trades, and what was published is marked
            assert await journal.drained(5)
            await asyncio.sleep(0.2)
    assert len(sizes) == 1
    relay.cancel()
    await journal.stop()


async def test_a_journal_that_writes_directly_offers_no_connection(journal: Journal, writes_directly: bool) -> None:
    async with journal.transaction() as tx:
        if writes_directly:
            with pytest.raises(TypeError, match="run"):
                _ = tx.conn
        else:
            assert tx.conn is not None


async def test_commits_of_a_direct_writer_do_not_make_the_write_ahead_log_longer(tmp_path: Path, log: Log) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/test.db"
    await upgrade(url)
    journal = Journal(url, clock=SystemClock(), log=log, direct=True)
    sizes = set()
    for number in range(20):
        async with journal.transaction() as tx:
            await tx.emit(a_decision(number))
        sizes.add((tmp_path / "test.db-wal").stat().st_size)
    assert len(sizes) == 1
    await journal.stop()
