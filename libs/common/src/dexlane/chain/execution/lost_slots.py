"""Going on with an older journal: what it does not know is filled in from the signer's record and from the bus.

The signer has on record which nonce was signed for which intent, and the bytes; the bus has the intents, and what was
told of them. Together they are the slots that the journal lost. One that was told as ended has ended. Any other trade
is not wanted any more, for what it was decided on is gone: it is looked for on the chain, booked if it is there, and
cancelled in its own slot if it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from dexlane.chain.execution import slots as store
from dexlane.chain.execution.payloads import Payloads
from dexlane.chain.execution.signed_record import SignedRecord
from dexlane.chain.execution.slots import Signed, Slot, SlotRecord
from dexlane.chain.execution.told_before import ToldBefore, ToldFacts
from dexlane.domain import send_state
from dexlane.domain.ledger import Outcome
from dexlane.domain.send_values import AttemptKind, Inclusion, SendState, Stage
from dexlane.events.execution import (
    ENTRIES,
    FailureReason,
    FillConfirmed,
    FillReversed,
    IntentCreated,
    IntentFailed,
)
from dexlane.runtime.errors import Fatal, Transient
from dexlane.runtime.journal import Tx
from dexlane_signer import SignedAttempt, SignedBefore, SigningDenied

if TYPE_CHECKING:
    from dexlane.chain.execution.live import LiveParts


@dataclass(frozen=True, slots=True)
class Found:
    """A slot, its record as it is to be, and those of its attempts that the journal does not have."""

    slot: Slot
    record: SlotRecord
    is_new: bool
    lost: tuple[SignedAttempt, ...]


class LostSlots:
    """Fills in what a journal lost."""

    def __init__(self, payloads: Payloads, parts: LiveParts, told: ToldFacts) -> None:
        self._payloads = payloads
        self._record = SignedRecord(payloads, parts.journal, parts.clock)
        self._parts = parts
        self._journal = parts.journal
        self._told = told

    async def fill_in(self, account: str, given: int) -> NoReturn:
        """Write what the journal lost above the nonce it knows last, and of what it holds open; then end the term,
        because everything in memory was built from less.

        Raises ``Transient`` afterwards, and while the signer or the bus does not answer; ``Fatal`` with one sentence
        where the two do not suffice. Nothing is written then.
        """
        async with self._journal.reading() as conn:
            known = {
                slot.nonce: slot
                for slot in await store.load_open_slots(conn, self._payloads.chain_id)
                if slot.intent.account == account
            }
        try:
            signed = await self._record.since(account, min([*known, given + 1]))
        except SigningDenied as error:
            raise Transient(f"the signer does not tell what it signed for account {account}: {error}") from error
        told = await self._told.of(self._payloads.chain_id, {one.intent_id for one in signed})
        found = _found(account, given, known, signed, told)
        async with self._journal.transaction() as tx:
            for one in found:
                await self._write(tx, one)
        self._parts.moments.slots_filled_in(self._payloads.chain_id, account, [one.slot.nonce for one in found])
        self._journal.term.end()
        raise Transient(f"the journal was filled in from the signer's record for account {account}; it is read anew")

    async def _write(self, tx: Tx, found: Found) -> None:
        slot = found.slot
        if found.is_new:
            cause = slot.intent.exit or slot.intent.verdict
            if cause is not None:
                await tx.first_time(self._parts.consumer, cause.id)
            await store.add_told_intent(tx, slot.intent, slot.reserved)
            await store.add_slot(tx, slot)
        for signed in found.lost:
            attempt = found.record.state.attempt(signed.number)
            await store.add_attempt(tx, slot, Signed(attempt, signed.raw, tx.now_ms * 1_000_000))
        await store.save_slot(tx, slot, found.record, slot.calldata)


def _found(
    account: str,
    given: int,
    known: dict[int, Slot],
    signed: Sequence[SignedBefore],
    told: dict[str, ToldBefore],
) -> list[Found]:
    by_nonce: dict[int, list[SignedBefore]] = {}
    for one in signed:
        by_nonce.setdefault(one.attempt.transaction.nonce, []).append(one)
    lost = [nonce for nonce in by_nonce if nonce > given]
    if missing := sorted(set(range(given + 1, max(lost, default=given) + 1)) - set(lost)):
        raise Fatal(
            f"this journal is old, and the signer has nothing on record for nonce {missing[0]} of account {account}, "
            "which lies among what it signed later; bring back the newest journal"
        )
    found: list[Found] = []
    for nonce, attempts in by_nonce.items():
        intent_id, slot = attempts[0].intent_id, known.get(nonce)
        if slot is None and nonce <= given:
            continue  # the journal knows its end
        if (before := told.get(intent_id)) is None or before.intent.account != account:
            raise Fatal(
                f"this journal is old, and the bus does not know the intent {intent_id} that the signer has on record "
                f"for nonce {nonce} of account {account}; bring back the newest journal"
            )
        slot, is_new = slot or _new(nonce, before.intent, [one.attempt for one in attempts]), slot is None
        recorded = {attempt.number for attempt in slot.state.attempts}  # of some of them without bytes
        missed = tuple(one.attempt for one in attempts if one.attempt.number not in recorded)
        found.append(Found(slot, _brought_up(slot.record, missed, before), is_new, missed))
    return found


def _new(nonce: int, intent: IntentCreated, attempts: Sequence[SignedAttempt]) -> Slot:
    plan = intent.plan
    state = send_state.planned(
        intent.block.number if plan is None else plan.deadline_block,
        max(one.transaction.max_fee_per_gas_wei for one in attempts),
        submission=intent.submission,
        gas_limit=0 if plan is None else plan.gas_limit,
    ).state
    reserved = plan.amount_in if plan is not None and intent.purpose in ENTRIES else 0
    return Slot(intent=intent, nonce=nonce, reserved=reserved, record=SlotRecord(state=state))


def _brought_up(record: SlotRecord, missed: Sequence[SignedAttempt], told: ToldBefore) -> SlotRecord:
    """The record with the attempts it lacked and the outcome told last; what has no outcome is given up."""
    state = record.state
    for signed in missed:
        state = send_state.signed(state, store.attempt_of(signed, told.intent.block.number)).state
    outcome = told.outcome
    version = 0 if outcome is None else outcome.outcome_version
    if outcome is not None and version > record.outcome_version:
        state = _as_told(state, outcome)
    newest = state.newest
    if state.stage in {Stage.PLANNED, Stage.SIGNED} and newest is not None:
        state = state.model_copy(update={"stage": Stage.SENT, "submitted": newest.number})
    return record.model_copy(
        update={
            "state": send_state.give_up(state, FailureReason.CANCELLED).state,
            "sequence": max(record.sequence, told.sequence),
            "outcome_version": max(record.outcome_version, version),
        }
    )


def _as_told(state: SendState, outcome: Outcome) -> SendState:
    if isinstance(outcome, FillReversed):
        return state.model_copy(update={"stage": Stage.SENT, "included": None})
    attempt = next((one for one in state.attempts if one.tx_hash == outcome.tx_hash), None)
    if attempt is None or outcome.block is None:
        raise Fatal(
            f"the outcome that was told of intent {outcome.intent_id} is of transaction {outcome.tx_hash}, which the "
            "signer does not have on record: it is not the record that belongs to this account"
        )
    reverted = isinstance(outcome, IntentFailed) and attempt.kind is AttemptKind.TRADE
    included = Inclusion(number=attempt.number, block=outcome.block, success=not reverted)
    is_end = isinstance(outcome, FillConfirmed) or (isinstance(outcome, IntentFailed) and outcome.final)
    stage = Stage.FINAL if is_end else Stage.INCLUDED
    update: dict[str, object] = {"stage": stage, "included": included}
    if isinstance(outcome, IntentFailed) and attempt.kind is AttemptKind.CANCEL:
        update["giving_up"] = outcome.reason
    return state.model_copy(update=update)
