"""The send state of one slot (chain, account, nonce): from the plan to finality. No I/O; blocks come as arguments.

One intent owns one slot for life. Its *attempts* are the payloads ever signed for it: the trade, the same trade with
higher fees, and the cancel (a transfer of nothing to the own account). At most one of them can be included. Nothing is
terminal before the receipt has been seen so many blocks deep; an answer that did not come decides nothing.

Every function returns a ``Step``: the next state, what changed (each change is one ``tx.<state>`` event) and what is to
be done next.
"""

from __future__ import annotations

from dexlane.domain.fee_bumps import bumped, cancel_fee, last_exit_fee, second_exit_fee
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.send_values import (
    CANCEL_GAS,
    Action,
    Attempt,
    AttemptKind,
    Change,
    Head,
    Inclusion,
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
from dexlane.events.base import FeeCap
from dexlane.events.execution import FailureReason, SendPath, Submission, TxState

EXPIRED_AT_RELAY = "expired_at_relay"
"""The reason of a drop when relays no longer hold what was given to them alone. Nodes never knew it."""

EXIT_BLOCKS = 3
"""An exit is included within so many blocks whenever its budget allows."""


def planned(
    deadline_block: int,
    fee_budget_wei: int,
    submission: Submission | None = None,
    *,
    gas_limit: int = 0,
    exit_since: int = 0,
) -> Step:
    """A slot that exists before any signature."""
    state = SendState(
        deadline_block=deadline_block, fee_budget_wei=fee_budget_wei, gas_limit=gas_limit, exit_since=exit_since
    )
    if submission is not None:
        after = submission.public_after_blocks
        state = state.model_copy(update={"path": submission.path, "public_after_blocks": after})
    return begun(state)


def begun(state: SendState) -> Step:
    """The first thing told of a slot."""
    return Step(state, (Change(TxState.PLANNED),))


def signed(state: SendState, attempt: Attempt) -> Step:
    """A further attempt was signed and recorded; it is to be sent now."""
    if attempt.kind is AttemptKind.CANCEL:
        is_first_cancel = all(before.kind is AttemptKind.TRADE for before in state.attempts)
        change = TxState.REPLACED if is_first_cancel else TxState.BUMPED
    else:
        change = TxState.BUMPED if state.attempts else TxState.SIGNED
    following = state.model_copy(
        update={
            "stage": Stage.SIGNED if state.stage is Stage.PLANNED else state.stage,
            "attempts": tuple(sorted((*state.attempts, attempt), key=lambda one: one.number)),
            "bump_wanted": False,
            "dropped": False,
        }
    )
    reason = state.giving_up.value if state.giving_up is not None else None
    return Step(following, (Change(change, attempt.number, reason=reason),), Resend((attempt.number,)))


REASONS_TO_GIVE_UP = {
    PublishAnswer.UNUSABLE: FailureReason.DENIED,
    PublishAnswer.OVER_BLOCK_GAS: FailureReason.OVER_BLOCK_GAS,
    PublishAnswer.REVERTED: FailureReason.WOULD_REVERT,
}
"""Refusals of a trade that sending again cannot change: its slot is given to a cancel."""


def answered(state: SendState, number: int, answer: PublishAnswer) -> Step:
    """A node answered (or did not) when attempt ``number`` was sent."""
    if state.stage in {Stage.INCLUDED, Stage.FINAL}:
        return Step(state)
    if answer in {PublishAnswer.ACCEPTED, PublishAnswer.ALREADY_KNOWN, PublishAnswer.UNKNOWN}:
        return _may_be_there(state, number, answer)
    if answer is PublishAnswer.INSUFFICIENT_FUNDS:
        return _refused(state.model_copy(update={"short_of_funds": True}), number, answer)
    if answer in {PublishAnswer.REPLACEMENT_UNDERPRICED, PublishAnswer.FEE_TOO_LOW}:
        is_newest = number == state.attempts[-1].number
        return _refused(state.model_copy(update={"bump_wanted": state.bump_wanted or is_newest}), number, answer)
    if answer in REASONS_TO_GIVE_UP and state.attempt(number).kind is AttemptKind.TRADE:
        return give_up(state, REASONS_TO_GIVE_UP[answer])
    # A used nonce, a gap, a full pool, no relay: the next head's receipts decide, or the bytes go out again.
    return Step(state)


def give_up(state: SendState, reason: FailureReason) -> Step:
    """Stop wanting the trade: the next head replaces it by a cancel, unless it is included before."""
    if state.giving_up is not None or state.stage in {Stage.INCLUDED, Stage.FINAL}:
        return Step(state)
    return Step(state.model_copy(update={"giving_up": reason}))


def at_head(state: SendState, head: Head, policy: SendPolicy) -> Step:
    """A new block: find the attempt that was included, count its depth, or do what brings the slot forward."""
    if state.stage is Stage.FINAL:
        return _reexamined(state, head)
    sighting = _own_sighting(state, head)
    if sighting is not None:
        return _seen(state, sighting, head, policy)
    if not head.complete:
        return Step(state)
    if state.stage is Stage.INCLUDED:
        return _vanished(state, head)
    if head.slot_used:
        return _used_by_another(state, head, policy)
    return _waiting(state.model_copy(update={"foreign_heads": 0}), head, policy)


def _may_be_there(state: SendState, number: int, answer: PublishAnswer) -> Step:
    update: dict[str, object] = {"stage": Stage.SENT}
    if answer is not PublishAnswer.UNKNOWN:
        update |= {"short_of_funds": False, "accepted": max(number, state.accepted)}
    if number <= max(state.submitted, state.accepted) and not state.dropped:
        return Step(state.model_copy(update=update))
    update |= {"submitted": max(number, state.submitted), "pending": False, "dropped": False}
    reason = answer.value if answer is PublishAnswer.UNKNOWN else None
    return Step(state.model_copy(update=update), (Change(TxState.SUBMITTED, number, reason=reason),))


def _refused(state: SendState, number: int, answer: PublishAnswer) -> Step:
    """A refusal that may pass. It is told once, and only of the newest attempt: an older one may still be waiting."""
    if state.dropped or number != state.attempts[-1].number:
        return Step(state)
    return Step(state.model_copy(update={"dropped": True}), (Change(TxState.DROPPED, number, reason=answer.value),))


def _own_sighting(state: SendState, head: Head) -> Sighting | None:
    return next((seen for seen in head.sightings if _number_of(state, seen) is not None), None)


def _number_of(state: SendState, sighting: Sighting) -> int | None:
    return next((attempt.number for attempt in state.attempts if attempt.tx_hash == sighting.tx_hash), None)


def _seen(state: SendState, sighting: Sighting, head: Head, policy: SendPolicy) -> Step:
    step = _included(state, sighting)
    if _is_final(sighting, head, policy):
        now = Inclusion(number=_number_of(state, sighting) or 0, block=sighting.block, success=sighting.success)
        changes = (*step.changes, _final_change(step.state, now))
        return Step(step.state.model_copy(update={"stage": Stage.FINAL}), changes)
    return step


def _included(state: SendState, sighting: Sighting) -> Step:
    """The sighting is where the slot is included now; what was told before about another place is taken back."""
    number = _number_of(state, sighting) or 0
    now = Inclusion(number=number, block=sighting.block, success=sighting.success)
    before = state.included
    changes: list[Change] = []
    if before is not None and before != now:
        changes.append(Change(TxState.REORGED, before.number, before.block, "the block was replaced"))
    if before != now:
        changes.append(Change(TxState.MINED, number, now.block, None if now.success else "reverted"))
    update = {"stage": Stage.INCLUDED, "included": now, "foreign_heads": 0, "short_of_funds": False}
    return Step(state.model_copy(update=update), tuple(changes))


def _is_final(sighting: Sighting, head: Head, policy: SendPolicy) -> bool:
    deep = head.number - sighting.block.number + 1 >= policy.confirmations
    finalized = head.finalized is not None and head.finalized >= sighting.block.number
    return deep and head.complete and head.quorate and (finalized or not policy.needs_finalized)


def _final_change(state: SendState, included: Inclusion) -> Change:
    if state.attempt(included.number).kind is AttemptKind.CANCEL:
        expired = state.giving_up is FailureReason.EXPIRED
        end = TxState.EXPIRED if expired else TxState.CANCELLED
        reason = None if state.giving_up is None else state.giving_up.value
        return Change(end, included.number, included.block, reason)
    if included.success:
        return Change(TxState.CONFIRMED, included.number, included.block)
    return Change(TxState.FAILED, included.number, included.block, FailureReason.REVERTED.value)


def _vanished(state: SendState, head: Head) -> Step:
    """The receipt is not found any more: everything signed goes out again. That it was undone is said only when enough
    providers say so: one that lags has not seen it yet."""
    resend = Resend(_worth_resending(state))
    return _undone(state, resend) if head.quorate else Step(state, (), resend)


def _undone(state: SendState, action: Action) -> Step:
    included = state.included
    number, block = (included.number, included.block) if included is not None else (0, None)
    waiting = {"stage": Stage.SENT, "included": None, "accepted": 0, "submitted": 0, "pending": False, "dropped": False}
    change = Change(TxState.REORGED, number, block, "the receipt is gone")
    return Step(state.model_copy(update=waiting), (change,), action)


def _reexamined(state: SendState, head: Head) -> Step:
    """Look at a final slot again. Only a reorganisation deeper than finality changes anything, and that is told and
    stops trading: what was decided on top of it may be wrong."""
    if not (head.complete and head.quorate):
        return Step(state)
    sighting = _own_sighting(state, head)
    if sighting is None:
        return _undone(state, StopDeepReorg())
    step = _included(state, sighting)
    return Step(step.state, step.changes, StopDeepReorg()) if step.changes else Step(state)


def _used_by_another(state: SendState, head: Head, policy: SendPolicy) -> Step:
    """The nonce has passed the slot and no receipt is there: a receipt that lags, until every provider has been asked
    for every attempt and knows none, for more heads than finality takes, and until the chain's own finality has the
    nonce passed as well where that is what final means."""
    if not (head.quorate and head.absent):
        return Step(state)
    heads = state.foreign_heads + 1
    settled = heads > policy.confirmations and (head.finally_used or not policy.needs_finalized)
    action = StopForeignUse() if settled else None
    return Step(state.model_copy(update={"foreign_heads": heads}), (), action)


def _waiting(state: SendState, head: Head, policy: SendPolicy) -> Step:
    newest = state.newest
    wants_trade = newest is None or newest.kind is AttemptKind.TRADE
    reason = FailureReason.EXPIRED if head.number >= state.deadline_block else head.hopeless
    if state.giving_up is None and wants_trade and reason is not None:
        state = state.model_copy(update={"giving_up": reason})
    told = _looked_for(_made_public(state, head), head)
    state = told.state
    if state.giving_up is not None and wants_trade:
        paid = None if newest is None else newest.fee
        most = most_for_cancel(state, policy)
        fee = cancel_fee(paid, head.next_base_fee_wei, policy.bump_percent, most, policy.least_tip_wei)
        return Step(state, told.changes, _again(state) if fee is None else Sign(AttemptKind.CANCEL, fee))
    if newest is None:
        return Step(state, told.changes, Sign(AttemptKind.TRADE, None))
    fee = _due_bump(state, newest, head, policy)
    return Step(state, told.changes, _again(state) if fee is None else Sign(newest.kind, fee))


def _made_public(state: SendState, head: Head) -> SendState:
    """A trade that relays did not bring into a block in the time allowed goes to the public pool as well: the same
    bytes in the same slot, so that it happens once whoever includes it."""
    after = state.public_after_blocks
    if not (state.is_private and state.attempts) or after is None or state.giving_up is not None:
        return state
    if head.number - state.attempts[0].block < after:
        return state
    update = {"path": SendPath.PUBLIC, "accepted": 0, "submitted": 0, "pending": False}
    return state.model_copy(update=update)


def _looked_for(state: SendState, head: Head) -> Step:
    """Say once that a submitted attempt waits in a pool, or that every pool, or every relay, has lost it. What relays
    alone were given is in no pool; that says nothing as long as one of them may include it."""
    if state.submitted == 0 or state.dropped:
        return Step(state)
    if head.absent and not (state.is_private and head.held):
        update = {"accepted": 0, "submitted": 0, "pending": False, "dropped": True}
        reason = EXPIRED_AT_RELAY if state.is_private else "no node knows it any more"
        return Step(state.model_copy(update=update), (Change(TxState.DROPPED, state.submitted, reason=reason),))
    if state.pending or (state.is_private and not head.pooled):
        return Step(state)
    return Step(state.model_copy(update={"pending": True}), (Change(TxState.PENDING, state.submitted),))


def _again(state: SendState) -> Action:
    """The same bytes once more, for nodes forget."""
    return None if state.newest is None else Resend(_worth_resending(state))


def _worth_resending(state: SendState) -> tuple[int, ...]:
    """The newest attempt; after a reorganisation also the one that had been included, which nodes know best."""
    numbers = {state.attempts[-1].number}
    if state.included is not None:
        numbers.add(state.included.number)
    return tuple(sorted(numbers))


def most_for_cancel(state: SendState, policy: SendPolicy) -> int:
    """The highest fee cap of a cancel: it may not cost more than the trade it replaces was allowed to."""
    if not state.gas_limit:
        return policy.cancel_fee_cap_wei
    return min(policy.cancel_fee_cap_wei, state.fee_budget_wei * state.gas_limit // CANCEL_GAS)


def _due_bump(state: SendState, newest: Attempt, head: Head, policy: SendPolicy) -> FeeCap | None:
    """The fee of a replacement that is due and affordable; None otherwise."""
    waited = head.number - newest.block >= policy.bump_after_blocks
    cannot_be_included = newest.fee.max_fee_per_gas_wei < head.next_base_fee_wei
    if state.short_of_funds:
        return None
    is_exit = newest.kind is AttemptKind.TRADE and state.exit_since > 0
    if is_exit and head.number > newest.block and _missed_for_its_fee(state, newest.fee, head):
        return _exit_bump(state, newest.fee, head, policy)
    if not (waited or cannot_be_included or state.bump_wanted):
        return None
    is_cancel = newest.kind is AttemptKind.CANCEL
    most = most_for_cancel(state, policy) if is_cancel else state.fee_budget_wei
    return bumped(newest.fee, policy.bump_percent, most)


def _missed_for_its_fee(state: SendState, fee: FeeCap, head: Head) -> bool:
    """Whether the block left no room for the trade, or was too dear for it, or the next one is."""
    is_full = head.room_gas is not None and head.room_gas < state.gas_limit
    return is_full or fee.max_fee_per_gas_wei < max(head.base_fee_wei, head.next_base_fee_wei)


def _exit_bump(state: SendState, fee: FeeCap, head: Head, policy: SendPolicy) -> FeeCap | None:
    """More for the second block, and for the third all that the budget allows."""
    if head.number - state.exit_since < EXIT_BLOCKS - 1:
        return second_exit_fee(fee, head.next_base_fee_wei, policy.bump_percent, state.fee_budget_wei)
    return last_exit_fee(fee, policy.bump_percent, state.fee_budget_wei)
