"""One breaker: when it opens, what closes it, and that nothing makes it let a trade pass by mistake."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.breakers import machine, samples
from dexlane.domain.breakers.admission import Admission, admission, concerns
from dexlane.domain.breakers.machine import BreakerState, judged, measured, open_time_ms, reset, status_of, taken
from dexlane.domain.breakers.policy import DEFAULTS, HOUR_MS, LEVELS, MINUTE_MS, BreakerPolicy, policies
from dexlane.domain.breakers.samples import MAX_SAMPLES
from dexlane.events.breakers import BreakerKind, BreakerPhase, BreakerReset
from dexlane.events.control import Status
from dexlane.testing.builders import a_breaker
from dexlane.values.books import Mode

START_MS = 1_700_000_000_000
CLOSED, HALF_OPEN, OPEN = BreakerPhase.CLOSED, BreakerPhase.HALF_OPEN, BreakerPhase.OPEN
every_kind = pytest.mark.parametrize("kind", list(BreakerKind))
TROUBLE: dict[BreakerKind, list[int]] = {
    BreakerKind.TRANSACTION: [1] * 5,
    BreakerKind.DEX: [1] * 3,
    BreakerKind.RPC: [1] * 5,
    BreakerKind.GAS: [600 * 10**9],
    BreakerKind.SLIPPAGE: [9_000] * 3,
    BreakerKind.LATENCY: [900] * 20,
    BreakerKind.LOSSES: [-1] * 5,
    BreakerKind.VOLATILITY: [1_000, 1_100],
    BreakerKind.DRAWDOWN: [1_000, 900],
}
"""What opens each kind at its defaults."""
WELL: dict[BreakerKind, list[int]] = {
    **dict.fromkeys((BreakerKind.TRANSACTION, BreakerKind.DEX, BreakerKind.RPC, BreakerKind.SLIPPAGE), [0] * 30),
    BreakerKind.LATENCY: [20] * 30,
    BreakerKind.LOSSES: [5] * 30,
    BreakerKind.GAS: [10**9, 10**9],
    BreakerKind.VOLATILITY: [1_000, 1_001],
    BreakerKind.DRAWDOWN: [1_000, 1_001],
}


class Running:
    """A breaker with its clock."""

    def __init__(self, kind: BreakerKind = BreakerKind.TRANSACTION, **changes: Any) -> None:
        self.policy = policies({kind.value: changes})[kind]
        self.state = BreakerState(source=f"breaker-{kind}")
        self.now_ms = START_MS

    def see(self, *values: object, key: str = "") -> Running:
        for value in values:
            self.state = taken(self.state, self.policy, value, self.now_ms, key=key)
            self.look()
        return self

    def look(self, after_ms: int = 0) -> Running:
        self.now_ms += after_ms
        self.state = judged(self.state, self.policy, self.now_ms, "a seed")
        return self

    def over(self) -> Running:
        """Wait until its open time is over."""
        assert self.state.until_ms is not None
        return self.look(self.state.until_ms - self.now_ms)

    def reset(self, version: int = 1, opened_at_ms: int | None = None) -> Running:
        word = BreakerReset(
            id=BreakerReset.make_id(1, self.state.source, version),
            chain_id=1,
            occurred_at_ms=self.now_ms,
            source=self.state.source,
            reset_version=version,
            reason="looked into",
            opened_at_ms=opened_at_ms,
        )
        self.state = reset(self.state, self.policy, word, self.now_ms, "a seed")
        return self

    @property
    def lets_trade(self) -> bool:
        return status_of(self.state, self.policy) is Status.ACTIVE


@every_kind
def test_every_kind_lets_trade_while_all_is_well_and_opens_at_its_limit(kind: BreakerKind) -> None:
    assert Running(kind).see(*WELL[kind]).lets_trade
    opened = Running(kind).see(*TROUBLE[kind])
    assert opened.state.phase is OPEN
    assert status_of(opened.state, opened.policy) is Status.REDUCING
    assert "reaches the limit of" in opened.state.reason
    assert any(one.value is not None and one.value >= one.limit for one in measured(opened.state, opened.policy))


@every_kind
def test_one_sample_less_than_the_limit_opens_nothing(kind: BreakerKind) -> None:
    almost = Running(kind, **({"range_bps": 1_001} if kind is BreakerKind.VOLATILITY else {}))
    almost.see(*(TROUBLE[kind] if kind is BreakerKind.VOLATILITY else TROUBLE[kind][:-1]))
    assert almost.state.phase is CLOSED


@every_kind
@pytest.mark.parametrize("value", [None, float("nan"), 1.5, "7", True], ids=str)
def test_a_value_that_cannot_be_read_lets_no_entry_pass_whatever_the_kind(kind: BreakerKind, value: object) -> None:
    blind = Running(kind).see(*WELL[kind]).see(value)
    assert not blind.lets_trade
    assert "cannot be read" in machine.sentence_of(blind.state)


@every_kind
def test_an_error_inside_lets_no_entry_pass_whatever_the_kind(
    kind: BreakerKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(kind).see(*WELL[kind])

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a fault in the maths")

    monkeypatch.setattr(machine, "readings", fail)
    running.look()
    assert running.state.phase is OPEN
    assert "ZeroDivisionError: a fault in the maths" in running.state.reason
    assert measured(running.state, running.policy) == ()
    until_ms = running.state.until_ms
    assert until_ms is not None
    assert not running.look(until_ms - running.now_ms).lets_trade, "it stays open as long as the error lasts"


@pytest.mark.parametrize("kind", sorted(LEVELS))
def test_a_level_without_a_value_or_with_an_old_one_holds_and_lets_go_by_itself(kind: BreakerKind) -> None:
    running = Running(kind).look()
    assert not running.lets_trade, "nothing was measured yet"
    running.see(*WELL[kind])
    assert running.lets_trade
    running.look(running.policy.max_age_ms + 1)
    assert not running.lets_trade
    assert "old" in running.state.fault
    running.see(*WELL[kind])
    assert running.lets_trade
    assert running.state.openings == 0, "missing data is no opening: it counts for no escalation"


def test_of_several_keys_the_one_without_a_value_is_named() -> None:
    running = Running(BreakerKind.DRAWDOWN).see(1_000, key="a").see(None, key="b").see(1_000, key="a")
    assert not running.lets_trade
    assert "of b" in running.state.fault
    assert running.see(500, key="b").lets_trade


def test_old_samples_do_not_count() -> None:
    running = Running().see(1, 1, 1, 1).look(16 * MINUTE_MS).see(1)
    assert running.state.phase is CLOSED


def test_a_breaker_opens_for_its_time_tries_and_closes_when_that_goes_well() -> None:
    running = Running().see(*[1] * 5)
    assert running.state.until_ms is not None
    lasts_ms = running.state.until_ms - running.now_ms
    assert 5 * MINUTE_MS <= lasts_ms <= 5 * MINUTE_MS * 11 // 10
    assert running.look(lasts_ms - 1).state.phase is OPEN
    assert running.look(1).state.phase is HALF_OPEN
    assert running.lets_trade
    assert running.see(0).state.phase is HALF_OPEN, "two must come through"
    assert running.see(0).state.phase is CLOSED
    assert [change.phase for change in running.state.history] == [OPEN, HALF_OPEN, CLOSED]


def test_a_failed_probe_opens_it_again_for_longer() -> None:
    running = Running().see(*[1] * 5)
    first_ms = open_time_ms(running.policy, 0, "")
    assert running.over().see(1).state.phase is OPEN
    assert running.state.escalation == 1
    assert running.state.until_ms is not None
    assert running.state.until_ms - running.now_ms > first_ms


def test_who_opens_again_and_again_waits_for_an_operator_in_the_end() -> None:
    running = Running(operator_after=3).see(*[1] * 5)
    running.over().see(1).over().see(1)
    assert running.state.needs_operator
    assert running.look(1_000 * HOUR_MS).state.phase is OPEN
    assert running.reset().state.phase is CLOSED
    assert running.see(*[1] * 5).state.escalation == 0, "a person took it on: it counts from the beginning"


def test_after_a_calm_time_an_opening_is_the_first_again() -> None:
    running = Running().see(*[1] * 5).over().see(1).over().see(0, 0)
    assert running.state.phase is CLOSED
    soon = Running()
    soon.state, soon.now_ms = running.state, running.now_ms
    assert soon.see(*[1] * 5).state.escalation == 2
    assert running.look(running.policy.calm_ms).see(*[1] * 5).state.escalation == 0


def test_a_round_that_decides_nothing_is_followed_by_another_one() -> None:
    running = Running().see(*[1] * 5).over()
    assert running.state.round == 1
    running.look(running.policy.half_open_ms)
    assert (running.state.phase, running.state.round) == (HALF_OPEN, 2)


def test_a_level_closes_when_it_stayed_well_for_a_round_and_not_before() -> None:
    running = Running(BreakerKind.VOLATILITY).see(1_000, 1_200)
    running.over()
    assert running.state.phase is OPEN, "the range is as wide as it was, and the last price is old"
    running.look(15 * MINUTE_MS).see(1_200, 1_200)
    assert running.state.phase is HALF_OPEN
    running.look(running.policy.half_open_ms - 1).see(1_200)
    assert running.state.phase is HALF_OPEN
    assert running.look(1).state.phase is CLOSED


def test_a_level_that_moves_in_half_open_opens_again() -> None:
    running = Running(BreakerKind.VOLATILITY).see(1_000, 1_200).look(20 * MINUTE_MS).see(1_200, 1_200)
    assert running.see(1_400).state.phase is OPEN


def test_a_reset_forgives_what_happened() -> None:
    running = Running().see(*[1] * 5).reset()
    assert running.state.phase is CLOSED
    assert running.see(1, 1, 1, 1).state.phase is CLOSED
    assert running.see(1).state.phase is OPEN


@pytest.mark.parametrize("kind", [BreakerKind.GAS, BreakerKind.VOLATILITY, BreakerKind.DRAWDOWN])
def test_a_reset_opens_again_at_once_where_the_condition_still_holds(kind: BreakerKind) -> None:
    running = Running(kind).see(*TROUBLE[kind]).reset()
    assert running.state.phase is OPEN
    assert [change.phase for change in running.state.history] == [OPEN, CLOSED, OPEN]


def test_a_reset_forgives_losses_in_a_row_and_not_the_loss_of_the_day() -> None:
    assert Running(BreakerKind.LOSSES).see(*[-1] * 5).reset().state.phase is CLOSED
    running = Running(BreakerKind.LOSSES).see(-60_000)
    assert "day_loss_bps 600" in running.state.reason
    assert running.reset().state.phase is OPEN


def test_a_reset_that_comes_twice_is_taken_once() -> None:
    running = Running().see(*[1] * 5).reset(7).see(*[1] * 5)
    assert running.state.phase is OPEN
    assert running.reset(7).state.phase is OPEN
    assert running.reset(8).state.phase is CLOSED


def test_a_reset_releases_only_the_opening_that_was_looked_at() -> None:
    running = Running().see(*[1] * 5)
    seen = running.state.opened_at_ms
    running.reset(1).look(1).see(*[1] * 5)
    opened = running.state
    assert opened.phase is OPEN
    assert running.reset(2, opened_at_ms=seen).state.phase is OPEN
    assert running.state.reset_version == 2
    assert running.state.version > opened.version, "others hear that it was taken in"
    assert running.reset(3, opened_at_ms=0).state.phase is OPEN
    assert running.reset(4, opened_at_ms=opened.opened_at_ms).state.phase is CLOSED
    assert Running().reset(1, opened_at_ms=0).state.history[-1].reason == "reset: looked into"


def test_what_was_left_to_an_operator_is_not_released_by_who_saw_it_before() -> None:
    running = Running(BreakerKind.GAS)
    running.policy = gas
    seen = running.see(100).state.opened_at_ms
    running.look(1).see(1_000).look(1).see(10)
    assert running.reset(1, opened_at_ms=seen).state.needs_operator
    assert running.reset(2, opened_at_ms=running.state.opened_at_ms).state.phase is CLOSED


def test_a_win_ends_a_run_of_losses_and_books_lose_by_themselves() -> None:
    assert Running(BreakerKind.LOSSES).see(-1, -1, -1, -1, 5, -1, -1).state.phase is CLOSED
    two = Running(BreakerKind.LOSSES)
    for _ in range(4):
        two.see(-1, key="a").see(-1, key="b")
    assert two.state.phase is CLOSED
    assert two.see(-1, key="b").state.phase is OPEN


def test_losses_of_an_hour_count_within_the_hour_and_those_of_a_day_within_the_day() -> None:
    running = Running(BreakerKind.LOSSES, losses_in_a_row=100).see(-20_000).look(HOUR_MS).see(-20_000)
    assert running.state.phase is CLOSED
    assert running.see(-10_000).state.phase is OPEN


def test_a_drawdown_is_measured_from_the_highest_equity_of_each_book() -> None:
    running = Running(BreakerKind.DRAWDOWN).see(1_000, 2_000, 1_801, key="a").see(50, 46, key="b")
    assert running.state.phase is CLOSED
    assert running.see(1_800, key="a").state.phase is OPEN
    assert running.state.needs_operator
    assert Running(BreakerKind.DRAWDOWN).see(0, -5).lets_trade, "of what never was above zero nothing can be lost"


def test_a_price_of_nothing_cannot_be_judged_and_holds() -> None:
    running = Running(BreakerKind.VOLATILITY).see(1_000, 0)
    assert not running.lets_trade
    assert running.see(1_001).lets_trade


@given(
    kind=st.sampled_from(list(BreakerKind)),
    values=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=40),
    back_ms=st.integers(1, 10 * HOUR_MS),
)
def test_a_clock_that_goes_back_changes_nothing(kind: BreakerKind, values: list[int], back_ms: int) -> None:
    running = Running(kind).see(*values)
    before = running.state
    assert judged(before, running.policy, running.now_ms - back_ms, "a seed") == before
    late = taken(before, running.policy, values[-1], running.now_ms - back_ms)
    assert late.samples[-1].at_ms >= before.now_ms


few = settings(max_examples=40)
Steps = list[tuple[int, int | None, bool]]
steps = st.lists(
    st.tuples(st.integers(0, HOUR_MS), st.one_of(st.none(), st.integers(-20_000, 20_000)), st.booleans()),
    max_size=30,
)


@given(kind=st.sampled_from(list(BreakerKind)), script=steps, cut=st.integers(0, 30))
@few
def test_a_restart_from_what_was_stored_decides_the_same(kind: BreakerKind, script: Steps, cut: int) -> None:
    straight, restarted = Running(kind), Running(kind)
    for number, (after_ms, value, sees) in enumerate(script):
        if number == cut:
            restarted.state = BreakerState.model_validate_json(restarted.state.model_dump_json())
        for running in (straight, restarted):
            running.look(after_ms)
            if sees:
                running.see(value)
    assert straight.state == restarted.state


@given(kind=st.sampled_from(list(BreakerKind)), script=steps)
@few
def test_what_is_kept_is_bounded_and_versions_and_rounds_only_grow(kind: BreakerKind, script: Steps) -> None:
    running = Running(kind)
    version = round_ = 0
    for after_ms, value, sees in script:
        before = running.state
        running.look(after_ms)
        if sees:
            running.see(*[value] * 3)
        assert running.state.version >= version
        assert running.state.round >= round_
        version, round_ = running.state.version, running.state.round
        assert len(running.state.samples) <= MAX_SAMPLES * 2
        assert len(running.state.history) <= 20
        if (before.phase, before.reason) != (running.state.phase, running.state.reason):
            assert running.state.version > before.version, "what others must hear of has a version of its own"


@given(kind=st.sampled_from(list(BreakerKind)), script=steps)
@few
def test_an_open_breaker_never_closes_without_having_been_half_open_or_reset(kind: BreakerKind, script: Steps) -> None:
    running = Running(kind)
    for after_ms, value, sees in script:
        before = running.state.phase
        running.look(after_ms)
        middle = running.state.phase
        assert not (before is OPEN and middle is CLOSED)
        if sees:
            running.see(value)
            assert not (middle is OPEN and running.state.phase is CLOSED)


gas = BreakerPolicy.model_validate(
    DEFAULTS[BreakerKind.GAS].model_dump()
    | {"limits": {"fee_per_gas_wei": 100}, "operator_limits": {"fee_per_gas_wei": 1_000}}
)
prices = st.lists(st.tuples(st.integers(0, 20 * MINUTE_MS), st.integers(1, 1_500)), max_size=40)


@given(script=prices)
@few
def test_what_reached_the_limit_of_operators_never_tries_again_without_one(script: list[tuple[int, int]]) -> None:
    running = Running(BreakerKind.GAS)
    running.policy, waits = gas, False
    for after_ms, price in script:
        running.look(after_ms).see(price)
        waits = waits or price >= 1_000
        assert not (waits and running.lets_trade)
        assert not waits or (running.state.phase, running.state.needs_operator) == (OPEN, True)
    was_dear = bool(script) and script[-1][1] >= 100
    running.reset()
    assert running.state.phase is (OPEN if was_dear else CLOSED)
    assert running.state.needs_operator is (bool(script) and script[-1][1] >= 1_000)


def test_an_opening_says_which_of_its_limits_it_reached() -> None:
    running = Running(BreakerKind.GAS)
    running.policy = gas
    assert running.see(100).state.reason == "fee_per_gas_wei 100 reaches the limit of 100"
    assert running.see(1_000).state.reason == "fee_per_gas_wei 1000 reaches 1000, which waits for an operator"
    assert [change.reason for change in running.state.history][-1] == running.state.reason


@pytest.mark.parametrize("limits", [{"fee_per_gas_wei": 99}, {"failures": 5_000}], ids=["lower", "of another kind"])
def test_a_limit_of_operators_lies_above_that_of_the_breaker(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at or above a limit of gas"):
        BreakerPolicy.model_validate(gas.model_dump() | {"operator_limits": limits})


@given(
    kind=st.sampled_from(list(BreakerKind)),
    jitter_bps=st.integers(0, 10_000),
    seeds=st.lists(st.text(max_size=8), min_size=30, max_size=30),
)
def test_a_longer_escalation_is_never_shorter_open_and_no_opening_is_longer_than_the_cap(
    kind: BreakerKind, jitter_bps: int, seeds: list[str]
) -> None:
    policy = policies({kind.value: {"jitter_bps": jitter_bps}})[kind]
    times = [open_time_ms(policy, escalation, seed) for escalation, seed in enumerate(seeds)]
    assert times == sorted(times)
    assert policy.open_ms <= times[0]
    assert times[-1] <= policy.max_open_ms


def test_the_spread_follows_from_the_seed_and_differs_between_seeds() -> None:
    policy = DEFAULTS[BreakerKind.TRANSACTION]
    assert open_time_ms(policy, 0, "a") == open_time_ms(policy, 0, "a")
    assert len({open_time_ms(policy, 0, str(seed)) for seed in range(50)}) > 40


def test_many_results_are_folded_so_that_no_loss_is_forgotten() -> None:
    policy = DEFAULTS[BreakerKind.LOSSES]
    state = BreakerState(source="breaker-losses")
    for _ in range(1_000):
        state = taken(state, policy, -7, START_MS)
    assert sum(sample.value or 0 for sample in state.samples) == -7_000
    assert len(state.samples) <= MAX_SAMPLES


def test_many_levels_are_thinned_so_that_no_extreme_is_forgotten() -> None:
    policy = DEFAULTS[BreakerKind.DRAWDOWN]
    state = BreakerState(source="breaker-drawdown")
    for number in range(2_000):
        state = taken(state, policy, 5_000 if number == 3 else 1_000 + number % 7, START_MS + number)
    values = [sample.value for sample in state.samples]
    assert max(value or 0 for value in values) == 5_000
    assert len(values) <= MAX_SAMPLES


def test_the_95th_percentile_is_the_least_value_that_19_of_20_do_not_exceed() -> None:
    assert samples._p95(list(range(1, 101))) == 95
    assert samples._p95([1] * 19 + [500]) == 1
    assert samples._p95([7]) == 7


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"luck": {}}, "there is no breaker 'luck'"),
        ({"gas": {"failures": 3}}, "failures"),
        ({"transaction": {"failures": 0}}, "not positive"),
        ({"transaction": {"severity": "active"}}, "reducing or halted"),
        ({"volatility": {"max_age_ms": 0}}, "needs max_age_ms"),
        ({"transaction": {"max_open_ms": 1}}, "shorter than open_ms"),
        ({"transaction": {"failures": "many"}}, "failures"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        policies(changes)


def test_settings_replace_single_figures() -> None:
    made = policies({"losses": {"losses_in_a_row": 9, "severity": "halted"}})[BreakerKind.LOSSES]
    assert made.limits == {"losses_in_a_row": 9, "hour_loss_bps": 300, "day_loss_bps": 500}
    assert made.severity is Status.HALTED
    assert made.open_ms == DEFAULTS[BreakerKind.LOSSES].open_ms
    assert isinstance(made, BreakerPolicy)


def test_a_closed_breaker_leaves_all_an_open_one_nothing_and_a_half_open_one_small_probes() -> None:
    closed, opened = a_breaker(CLOSED), a_breaker(OPEN, source="breaker-rpc-fast")
    half = a_breaker(HALF_OPEN, source="breaker-losses", probes=2, probe_size_bps=2_500, round=4)
    assert admission([closed], {}) == Admission()
    assert admission([closed, opened, half], {}).status is Status.REDUCING
    assert "breaker-rpc-fast" in admission([opened], {}).reason
    allowed = admission([closed, half], {("breaker-losses", 4): 1, ("breaker-losses", 3): 9})
    assert (allowed.status, allowed.size_bps, allowed.rounds) == (Status.ACTIVE, 2_500, (("breaker-losses", 4),))
    assert admission([half], {("breaker-losses", 4): 2}).status is Status.REDUCING


def test_paper_entries_use_up_no_probe_of_live_ones() -> None:
    half = a_breaker(HALF_OPEN, source="breaker-losses", probes=1, round=4)
    on_paper = admission([half], {}, Mode.PAPER)
    assert on_paper.rounds == (("breaker-losses#paper", 4),)
    assert admission([half], {("breaker-losses#paper", 4): 1}, Mode.LIVE).status is Status.ACTIVE
    assert admission([half], {("breaker-losses#paper", 4): 1}, Mode.PAPER).status is Status.REDUCING
    own = a_breaker(HALF_OPEN, source="breaker-losses-paper", probes=1, round=4, mode=Mode.PAPER)
    assert admission([own], {}, Mode.PAPER).rounds == (("breaker-losses-paper", 4),)


def test_the_strictest_breaker_holds() -> None:
    facts = [a_breaker(OPEN), a_breaker(OPEN, source="breaker-x", status=Status.HALTED)]
    assert admission(facts, {}).status is Status.HALTED


def test_a_breaker_holds_what_it_watches_and_nothing_else() -> None:
    paper, venue = a_breaker(OPEN, mode=Mode.PAPER), a_breaker(OPEN, venue="uniswap_v3")
    assert concerns(paper, Mode.PAPER, ())
    assert not concerns(paper, Mode.LIVE, ())
    assert concerns(venue, Mode.LIVE, ("uniswap_v2", "uniswap_v3"))
    assert not concerns(venue, Mode.LIVE, ("uniswap_v2",))
    assert concerns(a_breaker(OPEN), Mode.LIVE, ())


@given(
    probes=st.integers(1, 5),
    script=st.lists(st.sampled_from(["entry", "fails", "comes through", "time"]), max_size=30),
)
@few
def test_half_open_never_admits_more_entries_than_its_probes(probes: int, script: list[str]) -> None:
    running = Running(probes=probes, successes=3).see(*[1] * 5).over()
    begun: dict[tuple[str, int], int] = {}
    for what in script:
        fact = a_breaker(
            running.state.phase,
            source=running.state.source,
            status=status_of(running.state, running.policy),
            probes=running.policy.probes,
            round=running.state.round,
        )
        if what == "entry":
            given_ = admission([fact], begun)
            if given_.status is Status.ACTIVE:
                for key in given_.rounds:
                    begun[key] = begun.get(key, 0) + 1
                assert given_.rounds or fact.phase is CLOSED
        elif what == "time":
            running.look(6 * MINUTE_MS)
        else:
            running.see(int(what == "fails"))
        assert all(count <= probes for count in begun.values())
