"""The life of one slot, as rules."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dexlane.domain import send_state
from dexlane.domain.fee_bumps import raised
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.send_state import EXPIRED_AT_RELAY
from dexlane.domain.send_values import (
    Attempt,
    AttemptKind,
    Change,
    Head,
    Resend,
    SendPolicy,
    SendState,
    Sighting,
    Sign,
    Stage,
    Step,
    StopDeepReorg,
    StopForeignUse,
)
from dexlane.domain.tx_states import ENDS, FOLLOWING, first_illegal
from dexlane.events.base import FeeCap
from dexlane.events.execution import FailureReason, SendPath, Submission, TxState
from dexlane.testing.builders import a_block_ref, a_hash

GWEI = 10**9
FEE = FeeCap(max_fee_per_gas_wei=20 * GWEI, max_priority_fee_per_gas_wei=GWEI)
POLICY = SendPolicy(confirmations=2, bump_after_blocks=2)


def an_attempt(number: int = 1, kind: AttemptKind = AttemptKind.TRADE, fee: FeeCap = FEE, block: int = 100) -> Attempt:
    return Attempt(number=number, kind=kind, tx_hash=a_hash(f"{kind} {number}"), fee=fee, block=block)


def a_head(
    number: int = 101, *, seen: Attempt | None = None, success: bool = True, fork: str = "main", **fields: Any
) -> Head:
    at = fields.pop("at", number)
    sightings = () if seen is None else (Sighting(seen.tx_hash, a_block_ref(at, fork), success),)
    return Head(number=number, next_base_fee_wei=fields.pop("base_fee", 5 * GWEI), sightings=sightings, **fields)


def sent(deadline: int = 110, budget: int = 40 * GWEI) -> SendState:
    state = send_state.planned(deadline, budget).state
    state = send_state.signed(state, an_attempt()).state
    return send_state.answered(state, 1, PublishAnswer.ACCEPTED).state


def states(step: Step) -> list[TxState]:
    return [change.state for change in step.changes]


def test_a_plan_is_signed_at_the_next_head_when_nothing_was_signed_yet() -> None:
    step = send_state.at_head(send_state.planned(110, GWEI).state, a_head(), POLICY)
    assert step.action == Sign(AttemptKind.TRADE, None)


def test_the_first_answer_submits_and_the_first_head_without_a_receipt_makes_it_pending() -> None:
    state = send_state.signed(send_state.planned(110, GWEI).state, an_attempt()).state
    step = send_state.answered(state, 1, PublishAnswer.ACCEPTED)
    assert states(step) == [TxState.SUBMITTED]
    step = send_state.at_head(step.state, a_head(), POLICY)
    assert (states(step), step.action) == ([TxState.PENDING], Resend((1,)))
    assert states(send_state.at_head(step.state, a_head(), POLICY)) == []


@pytest.mark.parametrize("answer", [PublishAnswer.ALREADY_KNOWN, PublishAnswer.UNKNOWN])
def test_already_known_and_no_answer_both_count_as_possibly_sent(answer: PublishAnswer) -> None:
    state = send_state.signed(send_state.planned(110, GWEI).state, an_attempt()).state
    assert send_state.answered(state, 1, answer).state.stage is Stage.SENT


@pytest.mark.parametrize("answer", [PublishAnswer.ACCEPTED, PublishAnswer.ALREADY_KNOWN, PublishAnswer.UNKNOWN])
def test_a_repeated_answer_tells_nothing_new(answer: PublishAnswer) -> None:
    assert states(send_state.answered(sent(), 1, answer)) == []


def test_what_no_node_knows_any_more_is_dropped_once_and_the_same_bytes_go_out_again() -> None:
    step = send_state.at_head(sent(), a_head(101, absent=True), POLICY)
    assert (states(step), step.action) == ([TxState.DROPPED], Resend((1,)))
    again = send_state.at_head(step.state, a_head(101, absent=True), POLICY)
    assert (states(again), again.action) == ([], Resend((1,)))
    back = send_state.answered(again.state, 1, PublishAnswer.ACCEPTED)
    assert states(back) == [TxState.SUBMITTED]
    assert states(send_state.at_head(back.state, a_head(101), POLICY)) == [TxState.PENDING]


def test_what_was_never_at_a_node_is_not_dropped() -> None:
    state = send_state.signed(send_state.planned(110, GWEI).state, an_attempt()).state
    step = send_state.at_head(state, a_head(absent=True), POLICY)
    assert (states(step), step.action) == ([], Resend((1,)))


def test_a_used_nonce_decides_nothing_before_receipts_are_seen() -> None:
    state = sent()
    assert send_state.answered(state, 1, PublishAnswer.NONCE_TOO_LOW).state == state


def test_a_receipt_is_final_only_at_its_depth() -> None:
    step = send_state.at_head(sent(), a_head(101, seen=an_attempt()), POLICY)
    assert (states(step), step.state.stage) == ([TxState.MINED], Stage.INCLUDED)
    step = send_state.at_head(step.state, a_head(102, seen=an_attempt(), at=101), POLICY)
    assert (states(step), step.state.stage) == ([TxState.CONFIRMED], Stage.FINAL)


def test_a_revert_fails_only_at_its_depth() -> None:
    step = send_state.at_head(sent(), a_head(101, seen=an_attempt(), success=False), POLICY)
    assert states(step) == [TxState.MINED]
    step = send_state.at_head(step.state, a_head(102, seen=an_attempt(), at=101, success=False), POLICY)
    assert states(step) == [TxState.FAILED]


def test_a_vanished_receipt_goes_back_to_waiting_and_everything_is_sent_again() -> None:
    included = send_state.at_head(sent(), a_head(101, seen=an_attempt()), POLICY).state
    step = send_state.at_head(included, a_head(101, fork="other"), POLICY)
    assert (states(step), step.action, step.state.stage) == ([TxState.REORGED], Resend((1,)), Stage.SENT)


def test_a_moved_receipt_is_reorged_and_mined_again() -> None:
    included = send_state.at_head(sent(), a_head(101, seen=an_attempt()), POLICY).state
    step = send_state.at_head(included, a_head(101, seen=an_attempt(), fork="other"), POLICY)
    assert states(step) == [TxState.REORGED, TxState.MINED]


def test_an_unanswered_look_up_decides_nothing() -> None:
    for state in (sent(), send_state.at_head(sent(), a_head(101, seen=an_attempt()), POLICY).state):
        step = send_state.at_head(state, a_head(120, complete=False), POLICY)
        assert (step.state, step.changes, step.action) == (state, (), None)


def test_a_waiting_trade_is_bumped_on_both_fields_within_its_budget() -> None:
    step = send_state.at_head(sent(), a_head(102), POLICY)
    assert isinstance(step.action, Sign)
    assert step.action.fee == FeeCap(max_fee_per_gas_wei=22_600_000_000, max_priority_fee_per_gas_wei=1_130_000_000)
    assert send_state.at_head(sent(budget=21 * GWEI), a_head(102), POLICY).action == Resend((1,))


def test_a_trade_below_the_base_fee_is_bumped_at_once() -> None:
    assert isinstance(send_state.at_head(sent(), a_head(101, base_fee=21 * GWEI), POLICY).action, Sign)
    assert send_state.at_head(sent(), a_head(101), POLICY).action == Resend((1,))


def test_an_underpriced_answer_asks_for_a_bump_at_the_next_head() -> None:
    step = send_state.answered(sent(), 1, PublishAnswer.REPLACEMENT_UNDERPRICED)
    assert isinstance(send_state.at_head(step.state, a_head(101), POLICY).action, Sign)


def test_without_funds_nothing_is_bumped_and_the_same_bytes_are_tried_again() -> None:
    step = send_state.answered(sent(), 1, PublishAnswer.INSUFFICIENT_FUNDS)
    assert states(step) == [TxState.DROPPED]
    assert states(send_state.answered(step.state, 1, PublishAnswer.INSUFFICIENT_FUNDS)) == []
    assert send_state.at_head(step.state, a_head(105), POLICY).action == Resend((1,))


def test_at_the_deadline_block_the_trade_is_replaced_by_a_cancel_that_outbids_it() -> None:
    step = send_state.at_head(sent(), a_head(110), POLICY)
    assert isinstance(step.action, Sign)
    assert step.action.kind is AttemptKind.CANCEL
    assert step.action.fee is not None
    assert step.action.fee.max_fee_per_gas_wei * 8 >= FEE.max_fee_per_gas_wei * 9
    assert step.state.giving_up is FailureReason.EXPIRED


def test_a_cancel_is_replaced_bumped_and_ends_as_expired() -> None:
    waiting = send_state.at_head(sent(), a_head(110), POLICY).state
    cancel = an_attempt(2, AttemptKind.CANCEL, raised(FEE, 13), 110)
    step = send_state.signed(waiting, cancel)
    assert step.changes == (Change(TxState.REPLACED, 2, reason="expired"),)
    mined = send_state.at_head(step.state, a_head(111, seen=cancel), POLICY).state
    assert states(send_state.at_head(mined, a_head(112, seen=cancel, at=111), POLICY)) == [TxState.EXPIRED]


def test_an_original_that_wins_against_its_cancel_is_what_counts() -> None:
    waiting = send_state.at_head(sent(), a_head(110), POLICY).state
    cancel = an_attempt(2, AttemptKind.CANCEL, raised(FEE, 13), 110)
    raced = send_state.signed(waiting, cancel).state
    mined = send_state.at_head(raced, a_head(111, seen=an_attempt()), POLICY).state
    assert states(send_state.at_head(mined, a_head(112, seen=an_attempt(), at=111), POLICY)) == [TxState.CONFIRMED]


def test_a_plan_that_expired_unsigned_signs_only_its_cancel() -> None:
    step = send_state.at_head(send_state.planned(100, GWEI).state, a_head(101), POLICY)
    assert isinstance(step.action, Sign)
    assert step.action.kind is AttemptKind.CANCEL


def test_foreign_use_needs_more_heads_than_finality() -> None:
    state = sent()
    for number in (101, 102):
        step = send_state.at_head(state, a_head(number, slot_used=True, absent=True), POLICY)
        assert step.action is None
        state = step.state
    last = a_head(103, slot_used=True, absent=True)
    assert isinstance(send_state.at_head(state, last, POLICY).action, StopForeignUse)
    found = send_state.at_head(state, a_head(103, slot_used=True, seen=an_attempt()), POLICY)
    assert found.state.stage is Stage.INCLUDED


def test_where_the_chain_says_what_is_final_foreign_use_needs_its_word_too() -> None:
    policy = SendPolicy(confirmations=2, needs_finalized=True)
    state = sent()
    for number in range(101, 120):
        step = send_state.at_head(state, a_head(number, slot_used=True, absent=True), policy)
        assert step.action is None
        state = step.state
    final = a_head(120, slot_used=True, absent=True, finally_used=True)
    assert isinstance(send_state.at_head(state, final, policy).action, StopForeignUse)
    early = send_state.at_head(sent(), a_head(101, slot_used=True, absent=True, finally_used=True), policy)
    assert early.action is None


@pytest.mark.parametrize(
    "lag", [{"absent": False}, {"absent": True, "quorate": False}, {"absent": True, "complete": False}]
)
def test_a_used_slot_without_a_receipt_is_a_lag_as_long_as_the_evidence_has_a_gap(lag: dict[str, bool]) -> None:
    state = sent()
    for number in range(101, 130):
        step = send_state.at_head(state, a_head(number, slot_used=True, **lag), POLICY)
        assert (step.state, step.changes, step.action) == (state, (), None)


def test_nothing_is_final_before_enough_providers_agree() -> None:
    included = send_state.at_head(sent(), a_head(101, seen=an_attempt()), POLICY).state
    alone = send_state.at_head(included, a_head(120, seen=an_attempt(), at=101, quorate=False), POLICY)
    assert (states(alone), alone.state.stage) == ([], Stage.INCLUDED)
    assert states(send_state.at_head(included, a_head(120, seen=an_attempt(), at=101), POLICY)) == [TxState.CONFIRMED]


@pytest.mark.parametrize(("finalized", "is_final"), [(None, False), (100, False), (101, True), (105, True)])
def test_where_the_chain_says_what_is_final_its_word_is_needed_too(finalized: int | None, is_final: bool) -> None:
    policy = SendPolicy(confirmations=2, needs_finalized=True)
    included = send_state.at_head(sent(), a_head(101, seen=an_attempt()), policy).state
    step = send_state.at_head(included, a_head(110, seen=an_attempt(), at=101, finalized=finalized), policy)
    assert (step.state.stage is Stage.FINAL) is is_final


def final() -> SendState:
    included = send_state.at_head(sent(), a_head(101, seen=an_attempt()), POLICY).state
    return send_state.at_head(included, a_head(102, seen=an_attempt(), at=101), POLICY).state


def test_a_final_slot_that_a_deeper_reorganisation_undoes_is_open_again_and_stops_trading() -> None:
    step = send_state.at_head(final(), a_head(105, absent=True), POLICY)
    assert (states(step), step.action, step.state.stage) == ([TxState.REORGED], StopDeepReorg(), Stage.SENT)
    flipped = send_state.at_head(final(), a_head(105, seen=an_attempt(), at=101, success=False), POLICY)
    assert (states(flipped), flipped.action) == ([TxState.REORGED, TxState.MINED], StopDeepReorg())
    assert flipped.state.included is not None
    assert not flipped.state.included.success


@pytest.mark.parametrize("doubt", [{"complete": False}, {"quorate": False}])
def test_a_final_slot_is_not_doubted_on_thin_evidence(doubt: dict[str, bool]) -> None:
    for head in (a_head(105, **doubt), a_head(105, seen=an_attempt(), at=104, **doubt)):
        assert send_state.at_head(final(), head, POLICY) == Step(final())


def test_a_receipt_that_only_one_provider_misses_is_not_reorged_but_its_bytes_go_out_again() -> None:
    included = send_state.at_head(sent(), a_head(101, seen=an_attempt()), POLICY).state
    step = send_state.at_head(included, a_head(102, quorate=False), POLICY)
    assert (step.state, step.changes, step.action) == (included, (), Resend((1,)))


@pytest.mark.parametrize("reason", [FailureReason.WOULD_REVERT, FailureReason.OVER_BLOCK_GAS])
def test_a_trade_that_became_hopeless_is_cancelled_in_the_same_slot_at_once(reason: FailureReason) -> None:
    step = send_state.at_head(sent(), a_head(101, hopeless=reason), POLICY)
    assert isinstance(step.action, Sign)
    assert (step.action.kind, step.state.giving_up) == (AttemptKind.CANCEL, reason)
    found = send_state.at_head(sent(), a_head(101, hopeless=reason, seen=an_attempt()), POLICY)
    assert found.state.giving_up is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (PublishAnswer.REVERTED, FailureReason.WOULD_REVERT),
        (PublishAnswer.OVER_BLOCK_GAS, FailureReason.OVER_BLOCK_GAS),
    ],
)
def test_a_refusal_that_repeating_cannot_change_is_given_up(answer: PublishAnswer, reason: FailureReason) -> None:
    assert send_state.answered(sent(), 1, answer).state.giving_up is reason


@pytest.mark.parametrize("answer", [PublishAnswer.RATE_LIMITED, PublishAnswer.POOL_FULL, PublishAnswer.NONCE_TOO_HIGH])
def test_an_answer_about_the_node_says_nothing_about_the_trade(answer: PublishAnswer) -> None:
    assert send_state.answered(sent(), 1, answer) == Step(sent())


def test_a_bump_that_nodes_would_refuse_is_no_policy() -> None:
    with pytest.raises(ValueError, match="13 %"):
        SendPolicy(bump_percent=12)


def test_a_lost_answer_does_not_say_that_the_funds_suffice() -> None:
    short = send_state.answered(sent(), 1, PublishAnswer.INSUFFICIENT_FUNDS).state
    assert send_state.answered(short, 1, PublishAnswer.UNKNOWN).state.short_of_funds
    assert not send_state.answered(short, 1, PublishAnswer.ALREADY_KNOWN).state.short_of_funds


def test_bytes_that_can_never_be_included_are_given_up() -> None:
    step = send_state.answered(sent(), 1, PublishAnswer.UNUSABLE)
    assert step.state.giving_up is FailureReason.DENIED


@given(fee=st.integers(0, 10**12), tip=st.integers(0, 10**12))
def test_a_raised_fee_always_satisfies_the_strictest_node(fee: int, tip: int) -> None:
    cap = FeeCap(max_fee_per_gas_wei=max(fee, tip), max_priority_fee_per_gas_wei=tip)
    up = raised(cap, 13)
    for name in ("max_fee_per_gas_wei", "max_priority_fee_per_gas_wei"):
        assert getattr(up, name) * 8 >= getattr(cap, name) * 9
        assert getattr(up, name) > getattr(cap, name)
    assert up.max_priority_fee_per_gas_wei <= up.max_fee_per_gas_wei


def private(after: int | None = None) -> SendState:
    """A trade that a relay has, and no node."""
    way = Submission(path=SendPath.PRIVATE, reason="a test", public_after_blocks=after)
    state = send_state.planned(110, 40 * GWEI, way).state
    state = send_state.signed(state, an_attempt()).state
    return send_state.answered(state, 1, PublishAnswer.ACCEPTED).state


def test_a_private_trade_that_no_node_knows_is_neither_dropped_nor_pending_while_a_relay_holds_it() -> None:
    step = send_state.at_head(private(), a_head(101, absent=True, held=True), POLICY)
    assert (states(step), step.action) == ([], Resend((1,)))


def test_a_private_trade_that_relays_let_go_is_told_as_expired_there_and_goes_out_again() -> None:
    step = send_state.at_head(private(), a_head(101, absent=True, held=False), POLICY)
    assert [(change.state, change.reason) for change in step.changes] == [(TxState.DROPPED, EXPIRED_AT_RELAY)]
    assert step.action == Resend((1,))
    assert states(send_state.at_head(step.state, a_head(101, absent=True), POLICY)) == []
    assert states(send_state.answered(step.state, 1, PublishAnswer.ACCEPTED)) == [TxState.SUBMITTED]


def test_a_private_trade_is_pending_only_when_a_node_has_it_in_its_pool() -> None:
    assert states(send_state.at_head(private(), a_head(101, held=True), POLICY)) == []
    seen = send_state.at_head(private(), a_head(101, held=True, pooled=True), POLICY)
    assert states(seen) == [TxState.PENDING]


def test_what_no_relay_could_be_given_is_not_told_as_submitted() -> None:
    way = Submission(path=SendPath.PRIVATE, reason="a test")
    state = send_state.signed(send_state.planned(110, GWEI, way).state, an_attempt()).state
    assert send_state.answered(state, 1, PublishAnswer.UNSENT) == Step(state)


def test_a_private_trade_becomes_public_after_its_patience_and_never_without_one() -> None:
    quiet = {"absent": True, "held": True, "base_fee": GWEI}
    policy = SendPolicy(confirmations=2, bump_after_blocks=50)
    early = send_state.at_head(private(after=3), a_head(102, **quiet), policy)
    assert early.state.path is SendPath.PRIVATE
    late = send_state.at_head(early.state, a_head(103, **quiet), policy)
    assert (late.state.path, late.action) == (SendPath.PUBLIC, Resend((1,)))
    assert states(send_state.answered(late.state, 1, PublishAnswer.ACCEPTED)) == [TxState.SUBMITTED]
    assert send_state.at_head(private(), a_head(109, **quiet), policy).state.path is SendPath.PRIVATE


def test_a_private_trade_that_is_given_up_is_cancelled_and_not_made_public() -> None:
    state = send_state.give_up(private(after=1), FailureReason.HALTED).state
    step = send_state.at_head(state, a_head(105, absent=True, held=True), POLICY)
    assert step.state.path is SendPath.PRIVATE
    assert isinstance(step.action, Sign)
    assert step.action.kind is AttemptKind.CANCEL


def test_the_cancel_of_a_private_trade_is_looked_for_in_the_pools_like_any_other() -> None:
    state = send_state.give_up(private(), FailureReason.HALTED).state
    state = send_state.signed(state, an_attempt(2, AttemptKind.CANCEL)).state
    state = send_state.answered(state, 2, PublishAnswer.ACCEPTED).state
    step = send_state.at_head(state, a_head(101, absent=True, held=True), POLICY)
    assert [change.reason for change in step.changes] == ["no node knows it any more"]


def test_foreign_use_is_seen_although_relays_hold_an_attempt() -> None:
    state = private()
    used = {"slot_used": True, "absent": True, "held": True}
    for number in range(101, 103):
        state = send_state.at_head(state, a_head(number, **used), POLICY).state
    assert send_state.at_head(state, a_head(103, **used), POLICY).action == StopForeignUse()


class SlotLife(RuleBasedStateMachine):
    """Anything may happen in any order; what must never happen is stated as invariants."""

    @initialize(deadline=st.integers(101, 110))
    def begin(self, deadline: int) -> None:
        self.state = send_state.planned(deadline, 30 * GWEI).state
        self.told = [TxState.PLANNED]
        self.number = 100
        self.was_final = False
        self.counted = 0

    def take(self, step: Step) -> None:
        assert not self.was_final or not step.changes or isinstance(step.action, StopDeepReorg)
        self.told += [change.state for change in step.changes]
        for change in step.changes:
            self.counted += {TxState.MINED: 1, TxState.REORGED: -1}.get(change.state, 0)
        self.state = step.state
        self.was_final = self.state.stage is Stage.FINAL
        if isinstance(step.action, Sign):
            fee = step.action.fee or FEE
            attempt = an_attempt(len(self.state.attempts) + 1, step.action.kind, fee, self.number)
            self.take(send_state.signed(self.state, attempt))

    @rule(
        grows=st.integers(0, 2),
        evidence=st.fixed_dictionaries(
            {name: st.booleans() for name in ("complete", "slot_used", "quorate", "absent")}
        ),
        hopeless=st.sampled_from([None, None, FailureReason.WOULD_REVERT]),
    )
    def head_without_receipt(self, grows: int, evidence: dict[str, bool], hopeless: FailureReason | None) -> None:
        self.number += grows
        self.take(send_state.at_head(self.state, a_head(self.number, hopeless=hopeless, **evidence), POLICY))

    @precondition(lambda self: self.state.attempts)
    @rule(data=st.data(), success=st.booleans(), fork=st.sampled_from(["main", "other"]), quorate=st.booleans())
    def head_with_receipt(self, data: st.DataObject, success: bool, fork: str, quorate: bool) -> None:
        self.number += 1
        seen = data.draw(st.sampled_from(self.state.attempts))
        at = data.draw(st.integers(max(1, self.number - 3), self.number + 1))
        head = a_head(self.number, seen=seen, success=success, fork=fork, at=at, quorate=quorate)
        self.take(send_state.at_head(self.state, head, POLICY))

    @precondition(lambda self: self.state.attempts)
    @rule(data=st.data(), answer=st.sampled_from(PublishAnswer))
    def answer(self, data: st.DataObject, answer: PublishAnswer) -> None:
        number = data.draw(st.integers(1, len(self.state.attempts)))
        self.take(send_state.answered(self.state, number, answer))

    @rule(reason=st.sampled_from([FailureReason.HALTED, FailureReason.CANCELLED]))
    def give_up(self, reason: FailureReason) -> None:
        self.take(send_state.give_up(self.state, reason))

    @invariant()
    def the_states_told_are_in_a_legal_order(self) -> None:
        assert first_illegal(self.told) is None

    @invariant()
    def an_inclusion_is_counted_once_and_taken_back_once(self) -> None:
        assert self.counted == (1 if self.state.included is not None else 0)

    @invariant()
    def after_a_cancel_no_trade_is_signed(self) -> None:
        kinds = [attempt.kind for attempt in self.state.attempts]
        if AttemptKind.CANCEL in kinds:
            assert AttemptKind.TRADE not in kinds[kinds.index(AttemptKind.CANCEL) :]

    @invariant()
    def fees_only_rise_and_trades_stay_within_their_budget(self) -> None:
        fees = [attempt.fee for attempt in self.state.attempts]
        for before, after in pairwise(fees):
            assert after.max_fee_per_gas_wei > before.max_fee_per_gas_wei
            assert after.max_priority_fee_per_gas_wei > before.max_priority_fee_per_gas_wei
        trades = [attempt for attempt in self.state.attempts if attempt.kind is AttemptKind.TRADE]
        assert all(attempt.fee.max_fee_per_gas_wei <= self.state.fee_budget_wei for attempt in trades)

    @invariant()
    def the_end_needs_an_inclusion(self) -> None:
        assert self.state.stage is not Stage.FINAL or self.state.included is not None

    @invariant()
    def the_stored_form_is_the_state(self) -> None:
        assert SendState.model_validate_json(self.state.model_dump_json()) == self.state


SlotLife.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestSlotLife = SlotLife.TestCase


def test_every_state_that_clients_can_see_has_its_place_in_the_order() -> None:
    assert set(FOLLOWING) == set(TxState)
    reached = {TxState.PLANNED} | {after for row in FOLLOWING.values() for after in row}
    assert reached == set(TxState)
    assert all(FOLLOWING[end] == {TxState.REORGED} for end in ENDS)


@pytest.mark.parametrize(
    ("life", "fault"),
    [
        ([TxState.PLANNED, TxState.SIGNED, TxState.SUBMITTED, TxState.MINED, TxState.CONFIRMED], None),
        ([TxState.SIGNED], (None, TxState.SIGNED)),
        ([TxState.PLANNED, TxState.CONFIRMED], (TxState.PLANNED, TxState.CONFIRMED)),
        ([TxState.PLANNED, TxState.SIGNED, TxState.PLANNED], (TxState.SIGNED, TxState.PLANNED)),
    ],
)
def test_an_order_that_must_not_be_is_named(life: list[TxState], fault: object) -> None:
    assert first_illegal(life) == fault
