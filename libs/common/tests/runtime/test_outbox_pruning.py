"""Superseded last values, and what is too old for its stream, leave the outbox, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dexlane.events.base import Event
from dexlane.events.portfolio import ExposureChanged
from dexlane.events.risk import DecisionRecorded
from dexlane.events.streams import STREAMS, THOUGHTS, TRADING
from dexlane.events.thoughts import DocumentsRecorded
from dexlane.runtime import outbox_pruning
from dexlane.runtime.bus import Bus
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.clock import Clock, ManualClock, SystemClock
from dexlane.runtime.journal import Journal, outbox
from dexlane.runtime.lost_streams import MADE_MARGIN_MS, unmark
from dexlane.runtime.observability import Log
from dexlane.runtime.outbox_pruning import EVERY_S, Pruning
from dexlane.testing.builders import NOW_MS, an_exposure
from dexlane.testing.journals import migrated
from dexlane.testing.thinking import recorded_thoughts


def a_value(book: str, version: int) -> ExposureChanged:
    return an_exposure(book_id=book, exposure_version=version, id=ExposureChanged.make_id(book, "fast", version))


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


async def written(journal: Journal, facts: Iterable[Event], unsent: Iterable[Event] = ()) -> None:
    async with journal.transaction() as tx:
        for fact in facts:
            await tx.emit(fact)
    marked = outbox.c.event_id.not_in([fact.id for fact in unsent])
    async with journal.engine.begin() as conn:
        await conn.execute(outbox.update().where(marked).values(sent_ms=NOW_MS))


async def kept(journal: Journal) -> list[str]:
    async with journal.reading() as conn:
        rows = await conn.execute(sa.select(outbox.c.event_id).order_by(outbox.c.sequence))
        return list(rows.scalars())


def a_pruning(journal: Journal, log: Log, clock: Clock | None = None) -> Pruning:
    return Pruning(journal.engine, "main", asyncio.Lock(), clock or ManualClock(NOW_MS), log)


async def whole_round(journal: Journal, log: Log, clock: Clock | None = None) -> Pruning:
    pruning = a_pruning(journal, log, clock)
    pruning.begin()
    while pruning.is_under_way:
        await pruning.piece()
    return pruning


async def until_kept(journal: Journal, rows: int) -> None:
    for _ in range(100):
        if len(await kept(journal)) == rows:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{rows} rows should be kept, not {len(await kept(journal))}")


async def test_of_published_last_values_the_newest_of_each_subject_stays(journal: Journal, log: Log) -> None:
    first, second = [a_value("one", n) for n in (1, 2, 3)], [a_value("two", n) for n in (1, 2)]
    decisions = [a_decision(1), a_decision(2)]
    await written(journal, [first[0], *second, *decisions, *first[1:]])
    await whole_round(journal, log)
    assert await kept(journal) == [fact.id for fact in (second[1], *decisions, first[2])]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12), st.integers(1, 4))
async def test_whatever_was_not_published_stays_and_so_does_the_newest_that_was(
    tmp_path: Path, log: Log, rows: list[tuple[str, bool]], piece_rows: int
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'journal.db'}"
    await migrated(url)
    journal = Journal(url, clock=SystemClock(), log=log)
    async with journal.engine.begin() as conn:
        await conn.execute(outbox.delete())
    values = [(a_value(book, number), is_sent) for number, (book, is_sent) in enumerate(rows, 1)]
    await written(journal, [value for value, _ in values], [value for value, is_sent in values if not is_sent])
    newest = {value.book_id: value.id for value, is_sent in values if is_sent}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox_pruning, "PIECE_ROWS", piece_rows)
        await whole_round(journal, log)
    wanted = [value.id for value, is_sent in values if not is_sent or newest[value.book_id] == value.id]
    assert await kept(journal) == wanted
    await journal.close()


async def test_what_is_published_while_a_round_goes_on_is_not_lost(
    journal: Journal, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_pruning, "PIECE_ROWS", 2)
    late = a_value("two", 1)
    await written(journal, [*(a_value("one", n) for n in (1, 2, 3)), late, a_value("one", 4)], [late])
    pruning = a_pruning(journal, log)
    pruning.begin()
    await pruning.piece()
    assert len(await kept(journal)) == 3
    await written(journal, [a_value("one", 5)])
    while pruning.is_under_way:
        await pruning.piece()
    assert await kept(journal) == [late.id, a_value("one", 4).id, a_value("one", 5).id]


async def test_a_database_that_is_gone_ends_the_round_and_nothing_else(
    journal: Journal, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_self: object) -> None:
        raise ConnectionRefusedError("no database")

    await written(journal, [a_value("one", 1), a_value("one", 2)])
    with monkeypatch.context() as patch:
        patch.setattr(type(journal.engine), "connect", gone)
        pruning = await whole_round(journal, log)
    assert len(await kept(journal)) == 2
    pruning.begin()
    await pruning.piece()
    assert await kept(journal) == [a_value("one", 2).id]


def documents() -> DocumentsRecorded:
    [told, _] = recorded_thoughts()
    assert isinstance(told, DocumentsRecorded)
    return told


async def test_what_is_too_old_for_its_stream_goes_once_it_was_published(journal: Journal, log: Log) -> None:
    told, decision, value, waits = documents(), a_decision(1), a_value("one", 1), a_decision(2)
    await written(journal, [told, decision, value, waits], [waits])
    async with journal.engine.begin() as conn:
        await conn.execute(outbox.update().values(created_ms=NOW_MS))
    clock = ManualClock(NOW_MS + THOUGHTS.max_age_s * 1_000)
    await whole_round(journal, log, clock)
    assert await kept(journal) == [told.id, decision.id, value.id, waits.id]
    clock.advance(1)
    await whole_round(journal, log, clock)
    assert await kept(journal) == [decision.id, value.id, waits.id]
    clock.advance(TRADING.max_age_s * 1_000)
    await whole_round(journal, log, clock)
    assert await kept(journal) == [value.id, waits.id], "a last value has no age, and what nobody heard stays"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(-2, 2)), min_size=1, max_size=10))
async def test_what_goes_for_its_age_is_what_would_not_be_published_anew(
    tmp_path: Path, log: Log, rows: list[tuple[bool, bool, int]]
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'journal.db'}"
    await migrated(url)
    journal = Journal(url, clock=SystemClock(), log=log)
    async with journal.engine.begin() as conn:
        await conn.execute(outbox.delete())
    told = documents()
    facts = [told if is_document else a_decision(n) for n, (is_document, _, _) in enumerate(rows)]
    await written(journal, facts)
    async with journal.engine.begin() as conn:
        for sequence, (is_document, is_sent, after_ms) in zip(
            (await conn.execute(sa.select(outbox.c.sequence).order_by(outbox.c.sequence))).scalars().all(),
            rows,
            strict=True,
        ):
            age_ms = (THOUGHTS if is_document else TRADING).max_age_s * 1_000
            values = {"created_ms": NOW_MS - age_ms + after_ms, "sent_ms": NOW_MS if is_sent else None}
            await conn.execute(outbox.update().where(outbox.c.sequence == sequence).values(**values))
    await whole_round(journal, log)
    left = len(await kept(journal))
    assert left == sum(1 for _, is_sent, after_ms in rows if not is_sent or after_ms >= 0)
    published_anew = await unmark(journal.engine, "main", {spec.name: NOW_MS for spec in STREAMS}, NOW_MS)
    assert published_anew == left - sum(1 for _, is_sent, _ in rows if not is_sent)
    await journal.close()


async def test_a_round_begins_an_hour_after_the_last_one_began(journal: Journal, log: Log) -> None:
    await written(journal, [a_value("one", 1), a_value("one", 2)])
    clock = ManualClock(NOW_MS)
    pruning = a_pruning(journal, log, clock)
    assert pruning.pause_s == EVERY_S
    await pruning.piece()
    clock.advance(EVERY_S * 1_000 - 1)
    await pruning.piece()
    assert len(await kept(journal)) == 2
    clock.advance(1)
    assert pruning.pause_s == 0
    await pruning.piece()
    assert await kept(journal) == [a_value("one", 2).id]
    assert pruning.pause_s == EVERY_S


@pytest.mark.integration
async def test_a_journal_that_hears_of_no_new_link_prunes_by_the_clock(
    journal: Journal, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = asyncio.create_task(journal.relay(bus))
    await until_kept(journal, 0)
    await asyncio.sleep(0.3)
    await written(journal, [a_value("one", 1), a_value("one", 2)])
    monkeypatch.setattr(journal._pruning, "_next_ns", 0)
    journal._wake.set()
    await until_kept(journal, 1)
    await cancelled([relay])


async def test_a_value_older_than_one_that_the_new_stream_has_is_never_published_again(journal: Journal) -> None:
    old, new = a_value("one", 1), a_value("one", 2)
    await written(journal, [old, new])
    made_ms = NOW_MS + 1
    made = {spec.name: made_ms for spec in STREAMS}
    assert await unmark(journal.engine, "main", made, made_ms) == 1
    async with journal.engine.begin() as conn:
        again = outbox.update().where(outbox.c.event_id == new.id)
        await conn.execute(again.values(sent_ms=made_ms + MADE_MARGIN_MS))
    assert await unmark(journal.engine, "main", made, made_ms) == 0, "at the next link"


@pytest.mark.integration
async def test_a_journal_prunes_at_every_new_link_when_nothing_waits(journal: Journal, bus: Bus) -> None:
    await written(journal, [a_value("one", 1), a_value("one", 2)])
    relay = asyncio.create_task(journal.relay(bus))
    await until_kept(journal, 1)
    assert await kept(journal) == [a_value("one", 2).id]
    await cancelled([relay])
