"""The send state of one slot (chain, account, nonce): from the plan to finality. No I/O; blocks come as arguments.

One intent owns one slot for life. Its *attempts* are the payloads ever signed for it: the trade, the same trade with
higher fees, and the cancel (a transfer of nothing to the own account). At most one of them can be included. Nothing is
terminal before the receipt has been seen so many blocks deep; an answer that did not come decides nothing.

Every function returns a ``Step``: the next state, what changed (each change is one ``tx.<state>`` event) and what is to
be done next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dexlane.domain.publish_answers import PublishAnswer
from dexlane.events.base import FeeCap
from dexlane.events.execution import FailureReason, TxState
from dexlane.values.base import Value
from dexlane.values.chains import BlockRef


class AttemptKind(StrEnum):
    """What an attempt does when it is included."""

    TRADE = "trade"
    CANCEL = "cancel"


class Stage(StrEnum):
    """How far the slot is. SENT means that some bytes may have reached a node; FINAL is the only end."""

    PLANNED = "planned"
    SIGNED = "signed"
    SENT = "sent"
    INCLUDED = "included"
    FINAL = "final"


class Attempt(Value):
    """One signed payload; numbers count from 1. ``block`` is the tip it was signed at."""

    number: int
    kind: AttemptKind
    tx_hash: str
    fee: FeeCap
    block: int


class Inclusion(Value):
    """Where an attempt was included, and whether it succeeded."""

    number: int
    block: BlockRef
    success: bool


class SendState(Value):
    """Everything that is remembered about a slot; small, and stored whole."""

    deadline_block: int
    fee_budget_wei: int
    """Most that a trade's fee cap per gas may be raised to."""
    stage: Stage = Stage.PLANNED
    attempts: tuple[Attempt, ...] = ()
    included: Inclusion | None = None
    giving_up: FailureReason | None = None
    """Why a cancel takes the place of the trade."""
    accepted: int = 0
    """The highest attempt a node said it has; after a reorganisation none."""
    pending: bool = False
    bump_wanted: bool = False
    short_of_funds: bool = False
    foreign_heads: int = 0
    """Heads in a row at which the slot was used and none of our attempts was there."""

    @property
    def newest(self) -> Attempt | None:
        """The last attempt signed."""
        return self.attempts[-1] if self.attempts else None

    @property
    def is_open(self) -> bool:
        """Whether anything can still change."""
        return self.stage is not Stage.FINAL

    def attempt(self, number: int) -> Attempt:
        """The attempt of that number; numbers rise, but one that the signer alone knows is left out."""
        return next(attempt for attempt in self.attempts if attempt.number == number)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPolicy:
    """How a slot is brought home. Blocks, per cent, and wei per gas."""

    confirmations: int = 2
    """A receipt this deep is final: 1 is the tip itself."""
    bump_after_blocks: int = 2
    bump_percent: int = 13
    """Both fee fields rise by this much. Nodes ask for 10 % (go-ethereum) to 12.5 %."""
    cancel_fee_cap_wei: int = 1_000 * 10**9


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to the slot: one ``tx.<state>`` event."""

    state: TxState
    attempt: int = 0
    block: BlockRef | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Resend:
    """Give these attempts to the node again, the same bytes."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign a further attempt with this fee, store it, send it. ``fee`` None means the plan's own."""

    kind: AttemptKind
    fee: FeeCap | None


@dataclass(frozen=True, slots=True)
class StopForeignUse:
    """The slot was used by a transaction that is not ours: somebody else has the key. Stop trading."""


Action = Resend | Sign | StopForeignUse | None


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one transition."""

    state: SendState
    changes: tuple[Change, ...] = ()
    action: Action = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """A receipt of one of our attempts, in the node's canonical chain."""

    tx_hash: str
    block: BlockRef
    success: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is known at a new block: receipts of our attempts, and whether the account's nonce has passed the slot.

    ``complete`` is False when any look-up went unanswered; then absence proves nothing.
    """

    number: int
    next_base_fee_wei: int
    sightings: Sequence[Sighting] = ()
    slot_used: bool = False
    complete: bool = True


def planned(deadline_block: int, fee_budget_wei: int) -> Step:
    """A slot that exists before any signature."""
    return Step(SendState(deadline_block=deadline_block, fee_budget_wei=fee_budget_wei), (Change(TxState.PLANNED),))


def signed(state: SendState, attempt: Attempt) -> Step:
    """A further attempt was signed and stored; it is to be sent now."""
    if attempt.kind is AttemptKind.CANCEL:
        is_first_cancel = all(before.kind is AttemptKind.TRADE for before in state.attempts)
        change = TxState.REPLACED if is_first_cancel else TxState.BUMPED
    else:
        change = TxState.BUMPED if state.attempts else TxState.SIGNED
    following = state.model_copy(
        update={
            "stage": Stage.SIGNED if state.stage is Stage.PLANNED else state.stage,
            "attempts": (*state.attempts, attempt),
            "bump_wanted": False,
        }
    )
    reason = state.giving_up.value if state.giving_up is not None else None
    return Step(following, (Change(change, attempt.number, reason=reason),), Resend((attempt.number,)))


def answered(state: SendState, number: int, answer: PublishAnswer) -> Step:
    """A node answered (or did not) when attempt ``number`` was sent."""
    if state.stage in {Stage.INCLUDED, Stage.FINAL}:
        return Step(state)
    if answer in {PublishAnswer.ACCEPTED, PublishAnswer.ALREADY_KNOWN, PublishAnswer.UNKNOWN}:
        return _may_be_there(state, number, answer)
    if answer is PublishAnswer.INSUFFICIENT_FUNDS:
        changes = () if state.short_of_funds else (Change(TxState.DROPPED, number, reason=answer.value),)
        return Step(state.model_copy(update={"short_of_funds": True}), changes)
    if answer in {PublishAnswer.REPLACEMENT_UNDERPRICED, PublishAnswer.FEE_TOO_LOW}:
        changes = () if state.bump_wanted else (Change(TxState.DROPPED, number, reason=answer.value),)
        return Step(state.model_copy(update={"bump_wanted": True}), changes)
    if answer is PublishAnswer.UNUSABLE and state.attempt(number).kind is AttemptKind.TRADE:
        return give_up(state, FailureReason.DENIED)
    return Step(state)  # a used nonce, a gap, a full pool: the next head's receipts decide, or the bytes go out again


def give_up(state: SendState, reason: FailureReason) -> Step:
    """Stop wanting the trade: the next head replaces it by a cancel, unless it is included before."""
    if state.giving_up is not None or state.stage in {Stage.INCLUDED, Stage.FINAL}:
        return Step(state)
    return Step(state.model_copy(update={"giving_up": reason}))


def at_head(state: SendState, head: Head, policy: SendPolicy) -> Step:
    """A new block: find the attempt that was included, count its depth, or do what brings the slot forward."""
    if state.stage is Stage.FINAL:
        return Step(state)
    sighting = next((seen for seen in head.sightings if _number_of(state, seen) is not None), None)
    if sighting is not None:
        return _seen(state, sighting, head, policy)
    if not head.complete:
        return Step(state)
    if state.stage is Stage.INCLUDED:
        return _vanished(state)
    if head.slot_used:
        return _used_by_another(state, policy)
    return _waiting(state.model_copy(update={"foreign_heads": 0}), head, policy)


def raised(fee: FeeCap, percent: int) -> FeeCap:
    """Both fields higher by ``percent``, rounded up, and by at least one wei."""

    def up(value: int) -> int:
        return max(value + 1, -(-value * (100 + percent) // 100))

    return FeeCap(
        max_fee_per_gas_wei=up(fee.max_fee_per_gas_wei),
        max_priority_fee_per_gas_wei=up(fee.max_priority_fee_per_gas_wei),
    )


def _may_be_there(state: SendState, number: int, answer: PublishAnswer) -> Step:
    update: dict[str, object] = {"stage": Stage.SENT, "short_of_funds": False}
    if answer is PublishAnswer.UNKNOWN:
        changes = () if state.stage is Stage.SENT else (Change(TxState.SUBMITTED, number, reason=answer.value),)
        return Step(state.model_copy(update=update), changes)
    update["accepted"] = max(number, state.accepted)
    following = state.model_copy(update=update)
    if number > state.accepted:
        return Step(following, (Change(TxState.SUBMITTED, number),))
    if answer is PublishAnswer.ACCEPTED:
        forgotten = Change(TxState.DROPPED, number, reason="the node had forgotten it")
        return Step(following, (forgotten, Change(TxState.SUBMITTED, number)))
    return Step(following)


def _number_of(state: SendState, sighting: Sighting) -> int | None:
    return next((attempt.number for attempt in state.attempts if attempt.tx_hash == sighting.tx_hash), None)


def _seen(state: SendState, sighting: Sighting, head: Head, policy: SendPolicy) -> Step:
    number = _number_of(state, sighting) or 0
    now = Inclusion(number=number, block=sighting.block, success=sighting.success)
    before, changes = state.included, []
    if before is not None and before != now:
        changes.append(Change(TxState.REORGED, before.number, before.block, "the block was replaced"))
    if before != now:
        changes.append(Change(TxState.MINED, number, now.block, None if now.success else "reverted"))
    update = {"stage": Stage.INCLUDED, "included": now, "foreign_heads": 0, "short_of_funds": False}
    following = state.model_copy(update=update)
    # Final only when this head confirms what an earlier one (or this one, with one confirmation) already saw.
    if head.number - now.block.number + 1 >= policy.confirmations and head.complete:
        changes.append(_final_change(following, now))
        following = following.model_copy(update={"stage": Stage.FINAL})
    return Step(following, tuple(changes))


def _final_change(state: SendState, included: Inclusion) -> Change:
    if state.attempt(included.number).kind is AttemptKind.CANCEL:
        expired = state.giving_up is FailureReason.EXPIRED
        end = TxState.EXPIRED if expired else TxState.CANCELLED
        reason = None if state.giving_up is None else state.giving_up.value
        return Change(end, included.number, included.block, reason)
    if included.success:
        return Change(TxState.CONFIRMED, included.number, included.block)
    return Change(TxState.FAILED, included.number, included.block, FailureReason.REVERTED.value)


def _vanished(state: SendState) -> Step:
    """A reorganisation took the receipt away: back to waiting, and everything signed goes out again."""
    included = state.included
    update = {"stage": Stage.SENT, "included": None, "accepted": 0, "pending": False}
    change = Change(
        TxState.REORGED,
        included.number if included else 0,
        included.block if included else None,
        "the receipt is gone",
    )
    return Step(state.model_copy(update=update), (change,), Resend(_worth_resending(state)))


def _used_by_another(state: SendState, policy: SendPolicy) -> Step:
    heads = state.foreign_heads + 1
    action = StopForeignUse() if heads > policy.confirmations else None
    return Step(state.model_copy(update={"foreign_heads": heads}), (), action)


def _waiting(state: SendState, head: Head, policy: SendPolicy) -> Step:
    if state.giving_up is None and head.number >= state.deadline_block:
        state = state.model_copy(update={"giving_up": FailureReason.EXPIRED})
    newest = state.newest
    if state.giving_up is not None and (newest is None or newest.kind is AttemptKind.TRADE):
        fee = _cancel_fee(newest, head, policy)
        if fee is not None:
            return Step(state, (), Sign(AttemptKind.CANCEL, fee))
        return _again(state)
    if newest is None:
        return Step(state, (), Sign(AttemptKind.TRADE, None))
    fee = _bumped_fee(state, newest, head, policy)
    if fee is not None:
        return Step(state, (), Sign(newest.kind, fee))
    return _again(state)


def _again(state: SendState) -> Step:
    """Still waiting: say so once it may be at a node, and send the same bytes again, for nodes forget."""
    if state.newest is None:
        return Step(state)
    changes: tuple[Change, ...] = ()
    if state.stage is Stage.SENT and not state.pending:
        state = state.model_copy(update={"pending": True})
        changes = (Change(TxState.PENDING, state.attempts[-1].number),)
    return Step(state, changes, Resend(_worth_resending(state)))


def _worth_resending(state: SendState) -> tuple[int, ...]:
    """The newest attempt; after a reorganisation also the one that had been included, which nodes know best."""
    numbers = {state.attempts[-1].number}
    if state.included is not None:
        numbers.add(state.included.number)
    return tuple(sorted(numbers))


def _bumped_fee(state: SendState, newest: Attempt, head: Head, policy: SendPolicy) -> FeeCap | None:
    """The fee of a replacement that is due and affordable; None otherwise."""
    waited = head.number - newest.block >= policy.bump_after_blocks
    cannot_be_included = newest.fee.max_fee_per_gas_wei < head.next_base_fee_wei
    if state.short_of_funds or not (waited or cannot_be_included or state.bump_wanted):
        return None
    fee = raised(newest.fee, policy.bump_percent)
    most = policy.cancel_fee_cap_wei if newest.kind is AttemptKind.CANCEL else state.fee_budget_wei
    return fee if fee.max_fee_per_gas_wei <= most else None


def _cancel_fee(newest: Attempt | None, head: Head, policy: SendPolicy) -> FeeCap | None:
    """Enough to replace the newest attempt and to be included soon; None when that is above the cap of cancels."""
    soon = 2 * head.next_base_fee_wei + 1
    if newest is None:
        most = min(soon, policy.cancel_fee_cap_wei)
        return FeeCap(max_fee_per_gas_wei=most, max_priority_fee_per_gas_wei=min(1, most))
    fee = raised(newest.fee, policy.bump_percent)
    if fee.max_fee_per_gas_wei > policy.cancel_fee_cap_wei:
        return None
    most = min(max(fee.max_fee_per_gas_wei, soon), policy.cancel_fee_cap_wei)
    return fee.model_copy(update={"max_fee_per_gas_wei": most})
