"""What open intents hold of a book, and how long a filled one goes on counting: in memory and after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from dexlane.chain.execution.assembly import restored
from dexlane.chain.execution.reservations import RECALL_MS, Reservations
from dexlane.chain.execution.slots import StoredIntent
from dexlane.chain.execution.tables import intents
from dexlane.events.execution import FillConfirmed, IntentCreated, IntentFailed, Purpose
from dexlane.events.portfolio import ExposureChanged
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.errors import Fatal
from dexlane.testing.builders import CHAIN_ID, a_book, a_confirmed_fill, a_failure, an_exposure, an_intent
from dexlane.testing.live_bench import ROUTER, Bench, Home, live_book, reborn, running
from dexlane.values.books import Lane

HOUR_MS = 3_600_000
LIVE, PAPER = "live-one", "paper-one"


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def held(reservations: Reservations, now_ms: int, exposure: ExposureChanged | None) -> int:
    intent = an_intent()
    capital = reservations.of(intent.book_id, now_ms, exposure, frozenset()).capital
    assert capital == reservations.capital_of(intent.book_id, exposure)
    return capital


def test_a_filled_intent_counts_until_an_exposure_that_can_contain_it_however_long_portfolio_is_away() -> None:
    reservations, intent = Reservations(), an_intent()
    reservations.hold(intent, 1_000, 0)
    before = an_exposure(occurred_at_ms=500)
    reservations.release(intent.id, 1_000)
    assert held(reservations, 1_001, before) == 1_000
    assert held(reservations, HOUR_MS, before) == 1_000
    assert held(reservations, HOUR_MS, None) == 1_000
    after = an_exposure(occurred_at_ms=HOUR_MS, exposure_version=2)
    assert held(reservations, HOUR_MS + 1, after) == 0
    assert held(reservations, HOUR_MS + 2, before) == 0, "it is forgotten then"


def test_an_intent_that_was_not_filled_counts_no_longer_than_it_is_open() -> None:
    reservations, intent = Reservations(), an_intent()
    reservations.hold(intent, 1_000, 0)
    assert held(reservations, 1, None) == 1_000
    reservations.release(intent.id, None)
    assert held(reservations, 3, None) == 0


def test_what_the_journal_says_was_filled_counts_like_what_was_seen_to_be() -> None:
    intent, other = an_intent(), an_intent(book_id="another", id="5e" * 16)
    stored = [StoredIntent(one, 1_000, is_open=False, created_ms=0, filled_ms=1_000) for one in (intent, other)]
    for told_ms, expected in ((None, 1_000), (999, 1_000), (1_000, 0), (1_001, 0)):
        exposure = None if told_ms is None else an_exposure(occurred_at_ms=told_ms)
        seen, read = Reservations(), Reservations()
        seen.hold(intent, 1_000, 0)
        seen.release(intent.id, 1_000)
        read.restore(stored)
        assert (held(seen, HOUR_MS, exposure), held(read, HOUR_MS, exposure)) == (expected, expected), told_ms
        assert read.capital_of("another", None) == 1_000, "what a book was told says nothing of another"
        assert not read.is_held(intent.id)
        assert read.of(intent.book_id, 1_001, None, frozenset()).orders_last_minute == 1


def counted(bench: Bench, book_id: str = LIVE) -> int:
    """What counts of a book with the exposure in force."""
    return bench.reservations.capital_of(book_id, bench.side.exposure(book_id, Lane.FAST))


def tell_exposure(bench: Bench, at_ms: int, version: int, book_id: str = LIVE, lane: Lane = Lane.FAST) -> None:
    bench.side.take_exposure(
        an_exposure(book_id=book_id, lane=lane, occurred_at_ms=at_ms, exposure_version=version, at_work=0)
    )


async def filled_ms(bench: Bench, intent_id: str) -> int | None:
    async with bench.journal.reading() as conn:
        found = await conn.execute(sa.select(intents.c.filled_ms).where(intents.c.intent_id == intent_id))
        at_ms: int | None = found.scalar_one()
        return at_ms


async def traded(bench: Bench, *, wait_ms: int = 0) -> tuple[str, int]:
    """An entry that was filled, to finality, and what it reserved."""
    verdict = bench.verdict(blocks=40)
    await bench.executor.on_verdict(verdict)
    reserved = counted(bench)
    assert reserved > 0
    bench.clock.advance(wait_ms)
    for _ in range(3):
        await bench.head()
    intent_id = IntentCreated.make_id(LIVE, verdict.id, Purpose.ENTRY)
    assert len(await bench.of_intent(intent_id, FillConfirmed)) == 1
    return intent_id, reserved


async def test_a_fill_counts_after_a_restart_while_portfolio_is_away_and_until_it_is_back(home: Home) -> None:
    async with running(home) as bench:
        intent_id, reserved = await traded(bench)
        assert counted(bench) == reserved
        bench.clock.advance(RECALL_MS // 2)
        again = await reborn(await reborn(bench))
        at_ms = await filled_ms(again, intent_id)
        assert at_ms is not None
        assert counted(again) == reserved
        tell_exposure(again, at_ms - 1, 2)
        tell_exposure(again, at_ms + 1, 3, lane=Lane.SMART)
        tell_exposure(again, at_ms + 1, 3, book_id="another")
        assert counted(again) == reserved, "none of them can contain it"
        tell_exposure(again, at_ms + 1, 3)
        assert counted(again) == 0
        last = await reborn(again)
        tell_exposure(last, at_ms + 1, 3)
        assert counted(last) == 0, "what the exposure in force can contain blocks nobody who takes over"
        await last.die()


async def test_a_fill_counts_after_a_restart_by_when_it_ended_and_not_by_when_it_began(home: Home) -> None:
    async with running(home) as bench:
        _, reserved = await traded(bench, wait_ms=RECALL_MS + 1)
        again = await reborn(bench)
        assert counted(again) == reserved
        await again.die()


async def test_the_end_of_a_fill_is_one_moment_in_memory_and_in_the_journal(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = ManualClock.now_ns

    def ticking(clock: ManualClock) -> int:
        clock.advance(1)
        return now_ns(clock) // 1_000_000

    async with running(home, live_book(), a_book(id=PAPER)) as bench:
        monkeypatch.setattr(ManualClock, "now_ms", ticking)  # no two looks at it give the same time
        intent_id, _ = await traded(bench)
        (paper,) = [one for one in await bench.events() if isinstance(one, IntentCreated) and one.book_id == PAPER]
        await bench.executor.on_outcome(a_confirmed_fill(paper))
        for one, book_id in ((intent_id, LIVE), (paper.id, PAPER)):
            at_ms = await filled_ms(bench, one)
            assert at_ms is not None
            read = await restored(bench.journal, CHAIN_ID, bench.clock.now_ms())
            for told_ms, counts in ((at_ms - 1, True), (at_ms, False)):
                exposure = an_exposure(book_id=book_id, occurred_at_ms=told_ms)
                assert bool(bench.reservations.capital_of(book_id, exposure)) is counts, (book_id, told_ms)
                assert bool(read.capital_of(book_id, exposure)) is counts, (book_id, told_ms)


async def test_a_paper_fill_counts_after_a_restart_and_a_paper_failure_does_not(home: Home) -> None:
    async with running(home, a_book(id=PAPER)) as bench:
        for number in (1, 2):
            await bench.executor.on_verdict(bench.verdict(blocks=40, strategy_version=number))
            await bench.head()
        filled, failed = [one for one in await bench.events() if isinstance(one, IntentCreated)]
        both = counted(bench, PAPER)
        await bench.executor.on_outcome(a_confirmed_fill(filled))
        assert counted(bench, PAPER) == both
        await bench.executor.on_outcome(a_failure(failed, final=True))
        left = counted(bench, PAPER)
        assert 0 < left < both
        again = await reborn(bench)
        assert counted(again, PAPER) == left
        await again.executor.on_outcome(a_confirmed_fill(filled))  # the broker delivers it again
        assert counted(again, PAPER) == left
        tell_exposure(again, again.clock.now_ms(), 2, PAPER)
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


async def test_a_fill_that_a_reorganisation_opened_again_counts_once_and_from_its_new_end(home: Home) -> None:
    async with running(home) as bench:
        intent_id, reserved = await traded(bench)
        first_ms = await filled_ms(bench, intent_id)
        assert first_ms is not None
        bench.chain.reorg(3, longer=1)
        with pytest.raises(Fatal, match="a reorganisation undid"):
            await bench.follow()
        again = await reborn(bench)
        assert await filled_ms(again, intent_id) is None
        tell_exposure(again, first_ms, 2)
        assert again.reservations.is_held(intent_id)
        assert counted(again) == reserved, "it is open, whatever was told when it had ended"
        for _ in range(2):
            await again.head()
        assert not again.reservations.is_held(intent_id)
        last = await reborn(again)
        last_ms = await filled_ms(last, intent_id)
        assert last_ms is not None
        assert last_ms > first_ms
        tell_exposure(last, first_ms, 2)
        assert counted(last) == reserved
        tell_exposure(last, last_ms, 3)
        assert counted(last) == 0
        await last.die()
