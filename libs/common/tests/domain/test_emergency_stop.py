"""An emergency stop: what is worth most is closed first, everything ends in a halt, and the end says what is left."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.emergency_stop import (
    ASK_AGAIN_MS,
    SETTLE_MS,
    AskedExit,
    Holding,
    Seen,
    StopPhase,
    StopState,
    step,
    with_asked,
)

NOW_MS = 1_700_000_000_000
NOTHING = Seen((), 0)


def a_stop(*, closes: bool = True, **fields: object) -> StopState:
    defaults: dict[str, object] = {
        "id": "a",
        "reason": "drill",
        "close_positions": closes,
        "began_ms": NOW_MS,
        "phase": StopPhase.CLOSING,
        "exits_until_ms": NOW_MS + 300_000 * int(closes),
        "cancels_for_ms": 60_000,
    }
    return StopState.model_validate(defaults | fields)


def asked(position: str, version: int, at_ms: int) -> AskedExit:
    return AskedExit(position=position, position_version=version, exit_id="e", at_ms=at_ms)


def test_without_closing_everything_is_halted_at_once() -> None:
    taken = step(a_stop(closes=False), Seen((Holding("a", 1, 5),), 3), NOW_MS)
    assert (taken.state.phase, taken.halt, taken.close) == (StopPhase.CANCELLING, True, ())


def test_what_is_worth_most_is_closed_first() -> None:
    holdings = (Holding("small", 1, 5), Holding("large", 1, 500), Holding("worthless", 1, -7), Holding("middle", 1, 50))
    assert step(a_stop(), Seen(holdings, 0), NOW_MS).close == ("large", "middle", "small", "worthless")


def test_an_exit_is_awaited_and_asked_for_again_when_its_position_changed_or_after_a_while() -> None:
    stop = with_asked(a_stop(), [asked("a", 1, NOW_MS)])
    assert step(stop, Seen((Holding("a", 1, 5),), 0), NOW_MS + ASK_AGAIN_MS - 1).close == ()
    assert step(stop, Seen((Holding("a", 2, 5),), 0), NOW_MS + 1).close == ("a",)
    assert step(stop, Seen((Holding("a", 1, 5),), 0), NOW_MS + ASK_AGAIN_MS).close == ("a",)


def test_it_halts_when_nothing_is_held_for_a_moment_because_a_last_fill_may_be_on_its_way() -> None:
    first = step(a_stop(), NOTHING, NOW_MS)
    assert not first.halt
    late_fill = step(first.state, Seen((Holding("a", 1, 5),), 0), NOW_MS + SETTLE_MS)
    assert late_fill.close == ("a",)
    clear = step(late_fill.state, NOTHING, NOW_MS + SETTLE_MS + 1)
    assert not clear.halt
    assert step(clear.state, NOTHING, NOW_MS + 2 * SETTLE_MS + 1).halt


def test_it_halts_when_the_time_for_exits_is_over_whatever_is_held() -> None:
    taken = step(a_stop(), Seen((Holding("a", 1, 5),), 0), NOW_MS + 300_000)
    assert (taken.halt, taken.close, taken.state.positions_left) == (True, (), 1)


def test_it_ends_when_no_transaction_is_open_or_their_time_is_over() -> None:
    halted = step(a_stop(closes=False), NOTHING, NOW_MS).state
    waiting = step(halted, Seen((), 2), NOW_MS + 59_999)
    assert (waiting.ended, waiting.state.transactions_open) == (False, 2)
    assert step(halted, NOTHING, NOW_MS + 1).ended
    late = step(halted, Seen((), 2), NOW_MS + 60_000)
    assert (late.ended, late.state.phase, late.state.transactions_open) == (True, StopPhase.DONE, 2)


def test_what_is_over_does_nothing_more() -> None:
    done = a_stop(phase=StopPhase.DONE)
    taken = step(done, Seen((Holding("a", 1, 5),), 9), NOW_MS)
    assert (taken.state, taken.close, taken.halt, taken.ended) == (done, (), False, False)


looks = st.lists(
    st.tuples(st.integers(0, 40_000), st.lists(st.integers(0, 3), max_size=3, unique=True), st.integers(0, 2)),
    min_size=1,
    max_size=30,
)


@given(script=looks, closes=st.booleans(), cut=st.integers(0, 30))
@settings(max_examples=60)
def test_it_always_ends_halts_exactly_once_and_a_restart_changes_nothing(
    script: list[tuple[int, list[int], int]], closes: bool, cut: int
) -> None:
    stop, now_ms, halts, phases = a_stop(closes=closes), NOW_MS, 0, [StopPhase.CLOSING]
    for number, (after_ms, held, transactions) in enumerate([*script, (400_000, [1], 1), (400_000, [1], 1)]):
        if number == cut:
            stop = StopState.model_validate_json(stop.model_dump_json())
        now_ms += after_ms
        seen = Seen(tuple(Holding(str(one), 1, one) for one in held), transactions)
        taken = step(stop, seen, now_ms)
        assert not (taken.close and taken.halt)
        stop = with_asked(taken.state, [asked(one, 1, now_ms) for one in taken.close])
        halts += taken.halt
        phases.append(stop.phase)
    assert stop.is_over
    assert halts == 1
    assert phases == sorted(phases, key=list(StopPhase).index)
