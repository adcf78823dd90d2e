"""What open intents hold of a book, and how long a filled one goes on counting: in memory and after a restart."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from dexlane.chain.execution import slots as slots_module
from dexlane.chain.execution.assembly import restored
from dexlane.chain.execution.reservations import RECALL_MS, Reservations
from dexlane.chain.execution.slots import StoredIntent, load_reservations
from dexlane.chain.execution.tables import intents
from dexlane.events.execution import FillConfirmed, IntentCreated, IntentFailed, Purpose
from dexlane.events.portfolio import FILLS_TOLD, ExposureChanged, FinalFill, TradeResults
from dexlane.runtime.errors import Fatal
from dexlane.runtime.migrate import upgrade
from dexlane.testing.builders import (
    CHAIN_ID,
    a_block_ref,
    a_book,
    a_confirmed_fill,
    a_failure,
    all_booked,
    an_exposure,
    an_intent,
)
from dexlane.testing.live_bench import ROUTER, Bench, Home, live_book, reborn, running
from dexlane.values.base import digest
from dexlane.values.books import Lane

HOUR_MS = 3_600_000
LIVE, PAPER = "live-one", "paper-one"
FILL = FinalFill(intent_id=an_intent().id, version=2, block=101)
ANOTHER = FinalFill(intent_id="5e" * 16, version=2, block=101)


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def naming(*fills: FinalFill, **fields: object) -> ExposureChanged:
    """An exposure, told long after all of them, whose ledger has booked these fills."""
    results = TradeResults(trades=len(fills), good=0, fills=fills)
    return an_exposure(**({"occurred_at_ms": 10**15, "results": results} | fields))


def held(reservations: Reservations, exposure: ExposureChanged | None) -> int:
    intent = an_intent()
    capital = reservations.of(intent.book_id, 1, exposure, frozenset()).capital
    assert capital == reservations.capital_of(intent.book_id, exposure)
    return capital


def filled() -> Reservations:
    """Of the default intent, by a fill."""
    reservations, intent = Reservations(), an_intent()
    reservations.hold(intent, 1_000, 0)
    reservations.release(intent.id, FILL)
    return reservations


def test_an_exposure_told_after_a_fill_that_portfolio_has_not_booked_frees_nothing() -> None:
    reservations = filled()
    for version, booked in enumerate(((), (ANOTHER,), ()), 2):
        assert held(reservations, naming(*booked, exposure_version=version)) == 1_000
    assert held(reservations, None) == 1_000
    assert held(reservations, naming(ANOTHER, FILL, occurred_at_ms=0)) == 0, "when it was told does not matter"
    assert held(reservations, None) == 0, "it is forgotten then"


def test_a_fill_that_a_reorganisation_took_back_is_not_the_one_that_counts() -> None:
    for version, expected in ((1, 1_000), (2, 0), (3, 0)):
        assert held(filled(), naming(FILL.model_copy(update={"version": version}))) == expected, version


@pytest.mark.parametrize("others", [FILLS_TOLD - 1, FILLS_TOLD])
def test_a_fill_older_than_all_that_can_be_named_counts_no_longer(others: int) -> None:
    """Only a full list can have left it out."""
    for block, is_left_out in ((FILL.block - 1, False), (FILL.block, True), (FILL.block + 1, True)):
        fills = (all_booked(block).fills or ())[:others]
        expected = 0 if is_left_out and others == FILLS_TOLD else 1_000
        assert held(filled(), naming(*fills)) == expected, block


def test_an_exposure_that_names_no_fills_shows_nothing() -> None:
    """An older portfolio's has no names, and one whose results are still on their way has no results."""
    for results in (None, TradeResults(trades=9, good=9)):
        assert held(filled(), an_exposure(occurred_at_ms=10**15, results=results)) == 1_000


def test_an_intent_that_was_not_filled_counts_no_longer_than_it_is_open() -> None:
    reservations, intent = Reservations(), an_intent()
    reservations.hold(intent, 1_000, 0)
    assert held(reservations, naming(FILL)) == 1_000, "it is open, whatever is told"
    reservations.release(intent.id, None)
    assert held(reservations, None) == 0


def test_what_the_journal_says_was_filled_counts_like_what_was_seen_to_be() -> None:
    intent, other = an_intent(), an_intent(book_id="another", id=ANOTHER.intent_id)
    fills = ((intent, FILL), (other, ANOTHER))
    stored = [StoredIntent(one, 1_000, is_open=False, created_ms=0, fill=fill) for one, fill in fills]
    for exposure, expected in ((None, 1_000), (naming(), 1_000), (naming(ANOTHER), 1_000), (naming(FILL), 0)):
        read = Reservations()
        read.restore(stored)
        assert (held(filled(), exposure), held(read, exposure)) == (expected, expected)
        assert read.capital_of("another", None) == 1_000, "what a book was told says nothing of another"
        assert not read.is_held(intent.id)
        assert read.of(intent.book_id, 1_001, None, frozenset()).orders_last_minute == 1


def counted(bench: Bench, book_id: str = LIVE) -> int:
    """What counts of a book with the exposure in force."""
    return bench.reservations.capital_of(book_id, bench.side.exposure(book_id, Lane.FAST))


def tell(bench: Bench, version: int, *fills: FinalFill, book_id: str = LIVE, lane: Lane = Lane.FAST) -> None:
    bench.side.take_exposure(naming(*fills, book_id=book_id, lane=lane, exposure_version=version))


async def filled_ms(bench: Bench, intent_id: str) -> int | None:
    async with bench.journal.reading() as conn:
        found = await conn.execute(sa.select(intents.c.filled_ms).where(intents.c.intent_id == intent_id))
        at_ms: int | None = found.scalar_one()
        return at_ms


async def traded(bench: Bench) -> tuple[FinalFill, int]:
    """An entry that was filled, to finality, and what it reserved."""
    verdict = bench.verdict(blocks=40)
    await bench.executor.on_verdict(verdict)
    reserved = counted(bench)
    assert reserved > 0
    for _ in range(3):
        await bench.head()
    (confirmed,) = await bench.of_intent(IntentCreated.make_id(LIVE, verdict.id, Purpose.ENTRY), FillConfirmed)
    return confirmed.fill, reserved


async def test_a_fill_counts_after_restarts_until_portfolio_has_booked_it_however_long_that_takes(home: Home) -> None:
    async with running(home) as bench:
        fill, reserved = await traded(bench)
        tell(bench, 2)
        assert counted(bench) == reserved
        bench.clock.advance(2 * RECALL_MS)
        again = await reborn(await reborn(bench))
        tell(again, 3)
        tell(again, 4, fill, lane=Lane.SMART)
        tell(again, 4, fill, book_id="another")
        assert counted(again) == reserved, "none of them contains it"
        tell(again, 4, fill)
        assert counted(again) == 0
        last = await reborn(again)
        tell(last, 4, fill)
        assert counted(last) == 0, "what the exposure in force contains blocks nobody who takes over"
        await last.die()


async def test_the_fill_that_ends_an_intent_is_one_in_memory_and_in_the_journal(home: Home) -> None:
    async with running(home, live_book(), a_book(id=PAPER)) as bench:
        live, _ = await traded(bench)
        (paper,) = [one for one in await bench.events() if isinstance(one, IntentCreated) and one.book_id == PAPER]
        confirmed = a_confirmed_fill(paper, outcome_version=3)
        await bench.executor.on_outcome(confirmed)
        for at in (bench.reservations, await restored(bench.journal, CHAIN_ID, bench.clock.now_ms())):
            for book_id, fill in ((LIVE, live), (PAPER, confirmed.fill)):
                earlier = fill.model_copy(update={"version": fill.version - 1})
                assert at.capital_of(book_id, naming(earlier, *(all_booked(fill.block - 1).fills or ())[1:])) > 0
                assert at.capital_of(book_id, naming(fill)) == 0


async def changed(home: Home, *statements: sa.Executable) -> None:
    """The journal, behind the back of whoever has it."""
    engine = create_async_engine(home.database_url)
    async with engine.begin() as conn:
        for one in statements:
            await conn.execute(one)
    await engine.dispose()


async def test_as_many_fills_of_each_book_are_recalled_as_can_be_named(home: Home) -> None:
    async with running(home, ready=False) as bench:
        rows = [
            {
                "intent_id": (intent := an_intent(id=digest(book_id, at_ms), book_id=book_id)).id,
                "payload": intent.to_wire(),
                "reserved": "0" if at_ms > FILLS_TOLD else "1",
                "filled_ms": at_ms,
                **{name: getattr(intent, name) for name in ("chain_id", "book_id", "mode", "purpose")},
                "is_open": False,
                "created_ms": at_ms,
                "filled_version": 1,
                "filled_block": at_ms,
            }
            for book_id in (LIVE, PAPER)
            for at_ms in range(FILLS_TOLD + 2)
        ]
        await changed(home, intents.insert().values(rows))
        async with bench.journal.reading() as conn:
            found = await load_reservations(conn, CHAIN_ID, since_ms=10**15)
        newest = {(book_id, block) for book_id in (LIVE, PAPER) for block in range(1, FILLS_TOLD + 1)}
        assert {(one.intent.book_id, one.fill.block) for one in found if one.fill} == newest, "exits reserve nothing"


def many_intents(number: int) -> list[dict[str, Any]]:
    """Trades of three books, long over; every second was filled, and every other of these an entry."""
    return [
        {
            "intent_id": digest("many", each),
            "payload": b"",
            "reserved": "1" if each % 4 else "0",
            "filled_ms": None if each % 2 else each,
            "chain_id": CHAIN_ID,
            "book_id": f"book-{each % 3}",
            "mode": "paper",
            "purpose": "entry",
            "is_open": False,
            "created_ms": each,
        }
        for each in range(number)
    ]


async def test_what_is_recalled_is_found_without_a_look_at_every_intent(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home, ready=False) as bench:
        rows = many_intents(6_000)
        await changed(home, *(intents.insert().values(rows[at : at + 500]) for at in range(0, len(rows), 500)))
        asked: list[tuple[str, Any]] = []
        monkeypatch.setattr(slots_module, "_stored", lambda row: row)

        def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("SELECT"):
                asked.append((statement, parameters))

        async with bench.journal.reading() as conn:
            sa.event.listen(conn.sync_engine, "before_cursor_execute", note)
            found = await load_reservations(conn, CHAIN_ID, since_ms=10**15)
            sa.event.remove(conn.sync_engine, "before_cursor_execute", note)
            assert len(found) == 3 * FILLS_TOLD
            is_sqlite = conn.dialect.name == "sqlite"
            if not is_sqlite:  # as its own vacuum does; a SQLite journal is never analysed
                await conn.exec_driver_sql("ANALYZE execution_intents")
            explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
            for statement, parameters in asked:
                lines = await conn.exec_driver_sql(f"{explain} {statement}", parameters)
                plan = "\n".join(str(tuple(line)) for line in lines)
                assert "SCAN execution_intents" not in plan, plan
                assert "Seq Scan" not in plan, plan
        assert len(asked) == 2 + 2 * 3 + 1


async def test_an_intent_that_is_written_changes_no_page_of_the_index_of_fills(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await upgrade(f"sqlite+aiosqlite:///{path}", "dexlane.chain")
    pages = []
    with sqlite3.connect(path, isolation_level=None) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("PRAGMA wal_autocheckpoint = 0")
        page = conn.execute("PRAGMA page_size").fetchone()[0]
        for rows in (many_intents(400)[:200], many_intents(400)[200:]):
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for row in rows:
                values = row | {"filled_ms": None, "is_open": True, "intent_id": digest(row["intent_id"])}
                conn.execute(str(intents.insert().values(values)), values)
            pages.append(Path(f"{path}-wal").stat().st_size // (page + 24))
            conn.execute("DELETE FROM execution_intents")
            conn.execute("DROP INDEX IF EXISTS execution_intents_filled")
    assert pages[0] <= pages[1] > 200


async def test_a_fill_that_an_older_executor_noted_counts_until_it_is_named(home: Home) -> None:
    async with running(home) as bench:
        fill, reserved = await traded(bench)
        columns = ("filled_version", "filled_block")
        await changed(
            home,
            *(sa.text(f"ALTER TABLE execution_intents DROP COLUMN {name}") for name in columns),
            sa.text("DROP INDEX execution_intents_filled"),
            sa.text("ALTER TABLE execution_attempts DROP COLUMN block"),
            sa.text("UPDATE alembic_version SET version_num = 'execution_0003' WHERE version_num = 'execution_0006'"),
        )
        again = await reborn(bench)
        tell(again, 2)
        assert counted(again) == reserved
        tell(again, 3, fill)
        assert counted(again) == 0
        last = await reborn(again)
        planned_on = fill.block - 1
        for version, block, expected in ((2, planned_on - 1, reserved), (3, planned_on, 0)):
            tell(last, version, *(all_booked(block).fills or ()))
            assert counted(last) == expected, "nothing says that it was left out"
        await last.die()


async def test_a_paper_fill_counts_after_a_restart_and_a_paper_failure_does_not(home: Home) -> None:
    async with running(home, a_book(id=PAPER)) as bench:
        for number in (1, 2):
            await bench.executor.on_verdict(bench.verdict(blocks=40, strategy_version=number))
            await bench.head()
        intent, failed = [one for one in await bench.events() if isinstance(one, IntentCreated)]
        both, confirmed = counted(bench, PAPER), a_confirmed_fill(intent, outcome_version=3, block=a_block_ref(107))
        await bench.executor.on_outcome(confirmed)
        assert counted(bench, PAPER) == both
        await bench.executor.on_outcome(a_failure(failed, final=True))
        left = counted(bench, PAPER)
        assert 0 < left < both
        again = await reborn(bench)
        assert counted(again, PAPER) == left
        await again.executor.on_outcome(confirmed)  # the broker delivers it again
        tell(again, 2, confirmed.fill.model_copy(update={"version": 2}), book_id=PAPER)
        tell(again, 3, *(all_booked(106).fills or ()), book_id=PAPER)
        assert counted(again, PAPER) == left
        tell(again, 4, confirmed.fill, book_id=PAPER)
        assert counted(again, PAPER) == 0
        await again.executor.on_outcome(confirmed)
        assert counted(again, PAPER) == 0
        await again.die()


async def test_a_trade_that_reverted_counts_no_longer_after_a_restart_either(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict()
        await bench.executor.on_verdict(verdict)
        bench.world.reverts.update(tx.hash for tx in bench.chain.pool.values() if tx.to == ROUTER)
        for _ in range(3):
            await bench.head()
        failures = await bench.of_intent(IntentCreated.make_id(LIVE, verdict.id, Purpose.ENTRY), IntentFailed)
        assert failures[-1].final
        again = await reborn(bench)
        assert counted(again) == counted(bench) == 0
        await again.die()


async def test_a_fill_that_was_opened_again_counts_once_and_until_its_new_end_is_booked(home: Home) -> None:
    async with running(home) as bench:
        first, reserved = await traded(bench)
        bench.chain.reorg(3, longer=1)
        with pytest.raises(Fatal, match="a reorganisation undid"):
            await bench.follow()
        again = await reborn(bench)
        assert await filled_ms(again, first.intent_id) is None
        tell(again, 2, first)
        assert again.reservations.is_held(first.intent_id)
        assert counted(again) == reserved, "it is open, whatever was booked when it had ended"
        for _ in range(2):
            await again.head()
        assert not again.reservations.is_held(first.intent_id)
        last = await reborn(again)
        tell(last, 2, first)
        assert counted(last) == reserved, "portfolio has not heard of the reorganisation yet"
        newest = (await last.of_intent(first.intent_id, FillConfirmed))[-1].fill
        assert newest.version > first.version
        tell(last, 3, newest)
        assert counted(last) == 0
        await last.die()
