"""Which way a trade leaves, and which relays are given it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.circumstances import Objection, Planned
from dexlane.domain.relay_holds import Hold, RacePolicy, broken, is_held, let_go, next_relays, passed, taken
from dexlane.domain.relay_scores import (
    DELAYS,
    Fault,
    RelayScore,
    after_acceptance,
    after_fault,
    after_inclusion,
    after_miss,
    in_order,
)
from dexlane.domain.submission_choice import NO_RELAY, Relays, choose
from dexlane.events.execution import Purpose, SendPath, Submission
from dexlane.testing.builders import (
    USDC,
    V2_POOL,
    WETH,
    a_gap_route,
    a_market,
    a_plan,
)
from dexlane.values.books import RelayPolicy, RelayRules
from dexlane.values.pools import Protocol
from dexlane.values.routes import Leg, Route
from dexlane.values.tokens import TokenTax

WORTH = RelayRules(policy=RelayPolicy.PRIVATE_WHEN_WORTH)
ONLY = RelayRules(policy=RelayPolicy.PRIVATE_ONLY)
GOOD, DOWN, NONE = Relays(2, 1), Relays(2, 0), Relays(0, 0)
ROUTE = Route(
    legs=(
        Leg(
            pool=V2_POOL,
            protocol=Protocol.UNISWAP_V2,
            token_in=USDC.address,
            token_out=WETH.address,
            fee_pips=3000,
        ),
    )
)


def planned(amount: int = 1_000 * 10**6, purpose: Purpose = Purpose.ENTRY, **fields: Any) -> Planned:
    out = amount * 997 * 10**22 // (1_000 * 20 * 10**12 + amount * 997)
    plan = {"route": ROUTE, "amount_in": amount, "quoted_out": out, "minimum_out": out * 995 // 1_000} | fields
    return Planned(
        purpose=purpose,
        strategy="momentum",
        plan=a_plan(**plan),
        reserved=amount,
        price_impact_bps=1,
        max_fee_per_gas_budget_wei=10**11,
    )


def chosen(trade: Planned, rules: RelayRules, relays: Relays = GOOD, waited: int = 0) -> Submission | Objection | None:
    return choose(trade, rules, a_market(), relays, waited_blocks=waited)


def test_a_book_that_does_not_ask_is_not_asked_for_relays_nor_for_an_estimate() -> None:
    assert chosen(planned(), RelayRules(), NONE) is None


def test_a_trade_that_no_sandwich_is_worth_may_go_public_even_without_relays() -> None:
    for relays in (GOOD, DOWN, NONE):
        way = chosen(planned(), WORTH, relays)
        assert isinstance(way, Submission)
        assert (way.path, way.sandwich_value_wei) == (SendPath.PUBLIC, 0)


def test_a_trade_that_a_sandwich_is_worth_goes_to_relays_and_says_what_it_is_worth() -> None:
    way = chosen(planned(400_000 * 10**6), WORTH)
    assert isinstance(way, Submission)
    assert way.path is SendPath.PRIVATE
    assert (way.sandwich_value_wei or 0) > WORTH.sandwich_limit_wei
    assert "a sandwich could take" in way.reason
    generous = WORTH.model_copy(update={"sandwich_limit_wei": 10**19})
    assert isinstance(public := chosen(planned(400_000 * 10**6), generous), Submission)
    assert public.path is SendPath.PUBLIC


REVERTING = {
    "a gap": planned(
        purpose=Purpose.GAP, route=a_gap_route(), amount_in=10**9, quoted_out=2 * 10**9, minimum_out=10**9
    ),
    "a tax": planned(taxes=(TokenTax(token=WETH.address, bps=10),)),
    "a tight minimum": planned(quoted_out=10_000_000, minimum_out=9_990_001),
}


@pytest.mark.parametrize("case", REVERTING)
def test_what_may_revert_never_goes_to_the_public_pool(case: str) -> None:
    way = chosen(REVERTING[case], WORTH)
    assert isinstance(way, Submission)
    assert way.path is SendPath.PRIVATE
    assert "may revert" in way.reason


def test_what_cannot_be_valued_is_private() -> None:
    unknown = Route(legs=(ROUTE.legs[0].model_copy(update={"pool": "0x" + "ab" * 20}),))
    way = chosen(planned(route=unknown), WORTH)
    assert isinstance(way, Submission)
    assert (way.path, way.sandwich_value_wei) == (SendPath.PRIVATE, None)


@pytest.mark.parametrize("relays", [DOWN, NONE], ids=["none healthy", "none configured"])
@pytest.mark.parametrize("case", ["only", *REVERTING])
def test_without_a_usable_relay_what_needs_one_is_not_sent(case: str, relays: Relays) -> None:
    trade, rules = (planned(), ONLY) if case == "only" else (REVERTING[case], WORTH)
    against = chosen(trade, rules, relays)
    assert isinstance(against, Objection)
    assert against.outcome == NO_RELAY
    assert not against.passing


def test_an_exit_waits_for_a_relay_only_as_long_as_its_book_says() -> None:
    exit_ = planned(purpose=Purpose.EXIT)
    waits = chosen(exit_, ONLY, DOWN, waited=2)
    assert isinstance(waits, Objection)
    assert waits.passing
    goes = chosen(exit_, ONLY, DOWN, waited=3)
    assert isinstance(goes, Submission)
    assert goes.path is SendPath.PUBLIC
    assert "has waited 3 blocks" in goes.reason
    never = ONLY.model_copy(update={"exits_public_after_blocks": None})
    assert isinstance(chosen(exit_, never, DOWN, waited=1_000), Objection)


def test_only_exits_may_become_public_on_their_way() -> None:
    entry, exit_ = chosen(planned(), ONLY), chosen(planned(purpose=Purpose.EXIT), ONLY)
    assert isinstance(entry, Submission)
    assert isinstance(exit_, Submission)
    assert (entry.public_after_blocks, exit_.public_after_blocks) == (None, 3)


# ------------------------------------------------------------------------------------------------------- scores


def test_relays_that_include_come_before_those_that_do_not_and_the_faster_first() -> None:
    scores = {
        "new": RelayScore(),
        "idle": after_miss(after_miss(RelayScore())),
        "slow": after_inclusion(RelayScore(), 5),
        "fast": after_inclusion(RelayScore(), 1),
    }
    assert in_order(scores, 0) == ["fast", "slow", "new", "idle"]


@given(st.lists(st.sampled_from(list(Fault)), min_size=1, max_size=40), st.integers(0, 9_999))
def test_a_fault_drops_a_relay_for_a_bounded_time_and_never_shortens_a_drop(faults: list[Fault], jitter: int) -> None:
    score, now_ms, until = RelayScore(), 0, 0
    for fault in faults:
        score = after_fault(score, fault, now_ms, jitter)
        assert score.is_dropped(now_ms)
        assert until <= score.dropped_until_ms <= max(until, now_ms + DELAYS[fault].longest_ms)
        until = score.dropped_until_ms
        now_ms += 500
    assert in_order({"one": score}, until) == ["one"]
    assert in_order({"one": score}, until - 1) == []


def test_faults_in_a_row_are_left_alone_longer_and_an_answer_or_an_inclusion_makes_good() -> None:
    once = after_fault(RelayScore(), Fault.UNREACHABLE, 0, 5_000)
    twice = after_fault(once, Fault.UNREACHABLE, once.dropped_until_ms, 5_000)
    assert twice.dropped_until_ms - once.dropped_until_ms == 2 * once.dropped_until_ms
    assert after_acceptance(twice).silences == 0
    lied = after_fault(RelayScore(), Fault.LIED, 0, 0)
    assert after_acceptance(lied).breaches == 1
    assert after_inclusion(lied, 1).breaches == 0
    assert (lied.given, lied.dropped_for) == (1, Fault.LIED)


# -------------------------------------------------------------------------------------------------------- holds

RELAYS = ["a", "b", "c"]


def a_hold(relay: str, **fields: Any) -> Hold:
    return Hold(**({"relay": relay, "attempt": 1, "since": 10, "given": 10, "until": 12} | fields))


def test_as_many_relays_as_race_are_given_the_bytes_and_not_again_while_they_hold_them() -> None:
    policy = RacePolicy(at_once=2)
    assert next_relays((), 1, 10, RELAYS, policy) == ["a", "b"]
    assert next_relays((a_hold("a"), a_hold("b")), 1, 11, RELAYS, policy) == []
    assert next_relays((a_hold("a"), a_hold("b")), 1, 12, RELAYS, policy) == ["a", "b"]
    assert next_relays((a_hold("a"), a_hold("b")), 2, 11, RELAYS, policy) == ["a", "b"]


def test_a_relay_that_is_left_alone_does_not_count_as_holding() -> None:
    assert next_relays((a_hold("a"),), 1, 11, ["b", "c"], RacePolicy(at_once=1)) == ["b"]


def test_the_circle_widens_when_blocks_pass_without_an_inclusion() -> None:
    policy = RacePolicy(at_once=1, widen_after_blocks=2, lie_after_blocks=4)
    holds = (a_hold("a", until=35),)
    given = []
    for tip in range(11, 17):
        holds = passed(holds, 1)
        given += [(tip, name) for name in next_relays(holds, 1, tip, RELAYS, policy)]
        for name in next_relays(holds, 1, tip, RELAYS, policy):
            holds = taken(holds, a_hold(name, since=tip, given=tip, until=tip + 25))
    assert given == [(12, "b"), (14, "c")]
    assert [hold.relay for hold in broken(holds, policy)] == ["a", "b"]


def test_what_a_relay_missed_counts_on_through_a_new_attempt_and_a_new_bundle() -> None:
    holds = passed((a_hold("a"),), 1)
    holds = taken(holds, a_hold("a", attempt=2, since=12, given=12, until=13))
    assert {hold.attempt: hold.missed for hold in holds} == {1: 1, 2: 1}
    again = taken(holds, a_hold("a", attempt=2, since=13, given=13, until=14))
    assert next(hold for hold in again if hold.attempt == 2).since == 12


def test_bytes_are_held_until_the_last_relay_lets_go_and_nothing_on_record_proves_nothing() -> None:
    assert is_held((), 99)
    holds = (a_hold("a"), a_hold("b", until=20))
    assert is_held(holds, 15)
    assert not is_held(holds, 20)
    assert not is_held(let_go(holds, "b", 1), 15)
