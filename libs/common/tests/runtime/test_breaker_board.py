"""The board of a service: what it says, when, and that a restart or a lost journal lifts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dexlane.domain.breakers import machine
from dexlane.domain.breakers.policy import policies
from dexlane.events.base import Event
from dexlane.events.breakers import BreakerChanged, BreakerKind, BreakerPhase, BreakerReset
from dexlane.events.control import Status, TradingStatus
from dexlane.runtime.breaker_board import BoardPlace, BreakerBoard, BreakerMoments, BreakerSpec
from dexlane.runtime.breaker_store import load_states, tend
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.journal import Journal
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.builders import a_breaker
from dexlane.values.books import Mode

SOURCE = "breaker-transaction-fast"
SPEC = BreakerSpec(source=SOURCE, kind=BreakerKind.TRANSACTION)
LIMITS = policies({"transaction": {"failures": 2, "jitter_bps": 0}})


class Told:
    """Changes as they are told at once."""

    def __init__(self) -> None:
        self.facts: list[BreakerChanged] = []


def a_board(log: Log, clock: ManualClock, told: Told | None = None) -> BreakerBoard:
    place = BoardPlace(
        service="fast-executor",
        chain_id=1,
        policies=LIMITS,
        clock=clock,
        moments=BreakerMoments(Metrics("board"), log),
        on_change=(told or Told()).facts.append,
    )
    return BreakerBoard(place)


def said(board: BreakerBoard) -> Sequence[Event]:
    told = board.changes()
    board.stored(told)
    return [event for one in told for event in one.events]


def test_a_change_holds_here_at_once_and_is_said_once(log: Log) -> None:
    clock, told = ManualClock(), Told()
    board = a_board(log, clock, told)
    board.add(SPEC)
    assert [type(event) for event in said(board)] == [BreakerChanged, TradingStatus]
    board.see(SOURCE, 1)
    assert said(board) == [], "a sample is stored and not said"
    board.see(SOURCE, 1)
    assert told.facts[-1].status is Status.REDUCING
    fact, word = said(board)
    assert isinstance(fact, BreakerChanged)
    assert isinstance(word, TradingStatus)
    assert (fact.phase, word.status, word.source) == (BreakerPhase.OPEN, Status.REDUCING, SOURCE)
    assert fact.breaker_version == word.status_version == told.facts[-1].breaker_version
    board.judge()
    assert said(board) == []


@pytest.mark.parametrize("scope", [{"mode": Mode.PAPER}, {"venue": "uniswap_v3"}], ids=["paper", "venue"])
def test_a_breaker_of_a_part_says_nothing_about_the_chain(log: Log, scope: dict[str, Any]) -> None:
    board = a_board(log, ManualClock())
    board.add(BreakerSpec(source=SOURCE, kind=BreakerKind.TRANSACTION, **scope))
    board.see(SOURCE, 1)
    board.see(SOURCE, 1)
    assert [type(event) for event in said(board)] == [BreakerChanged]


def test_what_must_be_renewed_is_said_again_in_time(log: Log) -> None:
    clock = ManualClock()
    board = a_board(log, clock)
    board.add(BreakerSpec(source=SOURCE, kind=BreakerKind.TRANSACTION, renewed_within_ms=90_000))
    first = said(board)[0]
    clock.advance(29_000)
    board.judge()
    assert said(board) == []
    clock.advance(2_000)
    board.judge()
    again = said(board)[0]
    assert isinstance(first, BreakerChanged)
    assert isinstance(again, BreakerChanged)
    assert again.breaker_version > first.breaker_version
    assert again.occurred_at_ms - first.occurred_at_ms <= 90_000


def test_a_level_that_stays_blind_is_renewed_without_a_new_word_for_the_chain(log: Log) -> None:
    clock, policy = ManualClock(), LIMITS[BreakerKind.DRAWDOWN]
    board = a_board(log, clock)
    board.add(BreakerSpec(source=SOURCE, kind=BreakerKind.DRAWDOWN, renewed_within_ms=90_000))
    for _ in range(4):
        board.see(SOURCE, 0)
        clock.advance(31_000)
    said(board)
    clock.advance(policy.max_age_ms + 1)
    board.judge()
    assert [type(event) for event in said(board)] == [BreakerChanged, TradingStatus]
    clock.advance(policy.window_ms - policy.max_age_ms - 4 * 31_000)
    reasons = []
    for _ in range(4):
        board.judge()
        (fact,) = said(board)
        assert isinstance(fact, BreakerChanged)
        assert fact.status is Status.REDUCING
        reasons.append(fact.reason)
        clock.advance(31_000)
    assert len(set(reasons)) > 1, "as values leave the window, the fact says anew how old the newest is"
    board.see(SOURCE, 0)
    fact, word = said(board)
    assert isinstance(word, TradingStatus)
    assert word.status is Status.ACTIVE


def test_an_error_while_a_sample_is_taken_opens_the_breaker(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    board = a_board(log, ManualClock())
    board.add(SPEC)

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a fault")

    monkeypatch.setattr(machine, "taken", fail)
    board.see(SOURCE, 0)
    fact = said(board)[0]
    assert isinstance(fact, BreakerChanged)
    assert fact.status is Status.REDUCING
    assert "a sample could not be taken: RuntimeError: a fault" in fact.reason


def a_reset(version: int, source: str = SOURCE, chain_id: int = 1, opened_at_ms: int | None = None) -> BreakerReset:
    return BreakerReset(
        id=BreakerReset.make_id(chain_id, source, version),
        chain_id=chain_id,
        occurred_at_ms=0,
        source=source,
        reset_version=version,
        reason="looked into",
        opened_at_ms=opened_at_ms,
    )


def test_resets_of_others_and_of_other_chains_change_nothing(log: Log) -> None:
    board = a_board(log, ManualClock())
    board.add(SPEC)
    board.see(SOURCE, 1)
    board.see(SOURCE, 1)
    said(board)
    board.take(a_reset(1, source="breaker-losses"))
    board.take(a_reset(1, chain_id=8_453))
    assert said(board) == []
    board.take(a_reset(1))
    fact = said(board)[0]
    assert isinstance(fact, BreakerChanged)
    assert (fact.phase, fact.reset_version) == (BreakerPhase.CLOSED, 1)


def test_a_reset_of_an_opening_that_another_one_followed_is_counted_and_closes_nothing(log: Log) -> None:
    metrics, clock = Metrics("board"), ManualClock()
    place = BoardPlace(
        service="portfolio", chain_id=1, policies=LIMITS, clock=clock, moments=BreakerMoments(metrics, log)
    )
    board = BreakerBoard(place)
    board.add(SPEC)
    board.see(SOURCE, 1)
    board.see(SOURCE, 1)
    for _ in range(2):
        board.take(a_reset(1, opened_at_ms=clock.now_ms() - 1))
    fact = said(board)[0]
    assert isinstance(fact, BreakerChanged)
    assert (fact.phase, fact.reset_version) == (BreakerPhase.OPEN, 1)
    assert metrics.registry.get_sample_value("dexlane_board_breaker_resets_missed_total") == 1


@pytest.fixture
async def journal(database_url: str, log: Log) -> Any:
    await upgrade(database_url)
    opened = Journal(database_url, clock=ManualClock(), log=log, direct=True)
    yield opened
    await opened.stop()


async def test_an_open_breaker_is_open_after_a_restart_and_counts_on_from_its_samples(
    log: Log, journal: Journal
) -> None:
    clock = ManualClock()
    board = a_board(log, clock)
    board.add(SPEC)
    board.see(SOURCE, 1)
    await tend(board, 1, journal)
    async with journal.reading() as conn:
        again_states = await load_states(conn, 1)
    again = a_board(log, clock)
    again.restore(again_states)
    again.add(SPEC)
    again.see(SOURCE, 1)
    await tend(again, 1, journal)
    async with journal.reading() as conn:
        (state,) = await load_states(conn, 1)
        assert await load_states(conn, 8_453) == []
    assert state.phase is BreakerPhase.OPEN
    third = a_board(log, clock)
    third.restore([state])
    third.add(SPEC)
    fact = said(third)[0]
    assert isinstance(fact, BreakerChanged)
    assert fact.phase is BreakerPhase.OPEN, "and it says so again, for what was said may be lost"
    assert fact.breaker_version > state.version


def test_a_lost_journal_closes_nothing_that_the_bus_still_knows(log: Log) -> None:
    open_fact = a_breaker(
        BreakerPhase.OPEN, breaker_version=7, escalation=2, needs_operator=True, next_probe_at_ms=None
    )
    board = a_board(log, ManualClock())
    board.restore([], [open_fact])
    fact = said(board)[0]
    assert isinstance(fact, BreakerChanged)
    assert (fact.phase, fact.needs_operator, fact.escalation) == (BreakerPhase.OPEN, True, 2)
    assert fact.breaker_version > 7


def test_of_journal_and_bus_the_newer_one_holds(log: Log) -> None:
    clock = ManualClock()
    newer = machine.BreakerState(source=SOURCE, phase=BreakerPhase.OPEN, version=9, needs_operator=True)
    board = a_board(log, clock)
    board.restore([newer], [a_breaker(BreakerPhase.CLOSED, breaker_version=8)])
    fact = said(board)[0]
    assert isinstance(fact, BreakerChanged)
    assert fact.phase is BreakerPhase.OPEN
