"""Bugs that must be noticed: each is a patch of the real code, off unless it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import portfolio.accounting
from dexlane.chain.execution import allowances, executor, live, payloads, txmgr
from dexlane.chain.execution import slots as store
from dexlane.chain.execution.fencing import Term
from dexlane.chain.execution.handover import Handover
from dexlane.chain.execution.keys import policy_for
from dexlane.chain.execution.reservations import Reservations
from dexlane.chain.execution.settings import ExecutorSettings
from dexlane.chain.execution.side_values import SideValues
from dexlane.chain.execution.signed_record import SignedRecord
from dexlane.chain.execution.submission import submit
from dexlane.chain.execution.thoughts import TradeThoughts
from dexlane.chain.execution.txmgr import Transactions
from dexlane.chain.permit2 import MAX_PERMIT_AMOUNT as ALL
from dexlane.domain import fee_bumps, send_state
from dexlane.domain.controls.facts import OpenTrade
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.send_values import AttemptKind, Stage, Step
from dexlane.events.base import FeeCap
from dexlane.events.control import Status
from dexlane.events.execution import FillConfirmed
from dexlane.events.portfolio import TradeResults
from dexlane.events.streams import STATE, stream_of
from dexlane.runtime import consuming, journal
from dexlane.runtime.consuming import ConsumerPolicy
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import Journal, Tx
from dexlane.runtime.lease import Lease
from dexlane_signer import LocalSigner, NonceGuard, SignedAttempt, TokenLimit

Bug = Callable[[ExitStack], None]
BUGS: dict[str, Bug] = {}
"""By name, in words a person would use of it."""


def _bug(plant: Bug) -> Bug:
    BUGS[plant.__name__] = plant
    return plant


def _node(transactions: Any) -> Any:
    return transactions._handover._providers[0].rpc


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """While this lasts the bug is there; with None nothing is."""
    with ExitStack() as stack:
        if name is not None:
            BUGS[name](stack)
        yield


@_bug
def bytes_leave_the_signer_before_they_are_on_record(stack: ExitStack) -> None:
    """OpenZeppelin's relayer does it with a fee-bumped replacement."""
    stack.enter_context(patch.object(LocalSigner, "end_transaction", lambda _self, _request, signed, _wanted: signed))


@_bug
def a_start_does_not_ask_what_was_signed(stack: ExitStack) -> None:
    """The journal is believed to know everything that may be on the chain."""

    async def believed(*_: Any) -> None:
        return

    stack.enter_context(patch.object(SignedRecord, "complete", believed))


@_bug
def a_takeover_leaves_earlier_leases_their_signatures(stack: ExitStack) -> None:
    """Who asked for the record may be overtaken by what is signed for the executor before it."""
    signed_from = NonceGuard.signed_from

    def read_only(self: NonceGuard, first: Any, number: int, _epoch: int) -> Any:
        known = self._db.execute(
            "SELECT coalesce(max(epoch), 0) FROM epochs WHERE chain_id = ? AND address = ?",
            (first.chain_id, first.address),
        ).fetchone()[0]
        return signed_from(self, first, number, known)

    stack.enter_context(patch.object(NonceGuard, "signed_from", read_only))


@_bug
def a_timeout_gets_a_new_slot(stack: ExitStack) -> None:
    """What was not answered is taken for not sent, and signed again for the next nonce."""
    send = Transactions._send

    async def again_elsewhere(self: Any, slot: Any, number: int) -> None:
        await send(self, slot, number)
        if slot.state.stage is Stage.SENT and not slot.state.accepted and slot.state.included is None:
            slot.nonce = self._next_nonce.get(slot.intent.account, slot.nonce + 1)
            self._next_nonce[slot.intent.account] = slot.nonce + 1

    stack.enter_context(patch.object(Transactions, "_send", again_elsewhere))


def _next_nonce_after_watch(stack: ExitStack, change: Callable[[int, int], int]) -> None:
    watch = Transactions.watch

    async def careless(self: Any, account: str, signed: int) -> None:
        await watch(self, account, signed)
        latest = _node(self)._real.blocks[-1].nonces.get(account, 0)
        self._next_nonce[account] = change(self._next_nonce[account], latest)

    stack.enter_context(patch.object(Transactions, "watch", careless))


@_bug
def the_nonce_is_the_latest_of_the_chain(stack: ExitStack) -> None:
    """After a start the next nonce is what the chain says, whatever is still on its way."""
    _next_nonce_after_watch(stack, lambda _known, latest: latest)


@_bug
def a_nonce_is_left_out(stack: ExitStack) -> None:
    """After a start counting goes on one too high: everything waits behind the gap."""
    _next_nonce_after_watch(stack, lambda known, _latest: known + 1)


@_bug
def messages_are_acknowledged_before_the_commit(stack: ExitStack) -> None:
    """At most once instead of at least once."""
    decide = ConsumerPolicy.decide

    async def early(self: Any, route: Any, message: Any) -> None:
        await message.ack()
        await decide(self, route, message)

    stack.enter_context(patch.object(ConsumerPolicy, "decide", early))


@_bug
def facts_are_written_after_the_transaction(stack: ExitStack) -> None:
    """The outbox in a transaction of its own."""
    transaction, emit = Journal.transaction, Tx.emit

    async def later(self: Tx, event: Any, _wire: bytes | None = None) -> None:
        self.__dict__.setdefault("waiting", []).append(event)

    @asynccontextmanager
    async def in_two(self: Journal) -> Any:
        async with transaction(self) as tx:
            yield tx
        waiting = tx.__dict__.get("waiting", [])
        if waiting:
            async with transaction(self) as second:
                for event in waiting:
                    await emit(second, event)

    stack.enter_context(patch.object(Tx, "emit", later))
    stack.enter_context(patch.object(Journal, "transaction", in_two))


@_bug
def no_answer_is_taken_for_a_failure(stack: ExitStack) -> None:
    """The slot is closed, and its bytes live on."""
    answered = send_state.answered

    def failed(state: Any, number: int, answer: PublishAnswer, *rest: Any) -> Step:
        if answer is PublishAnswer.UNKNOWN and state.stage is not Stage.INCLUDED:
            return Step(state.model_copy(update={"stage": Stage.FINAL}))
        return answered(state, number, answer, *rest)

    stack.enter_context(patch.object(send_state, "answered", failed))


@_bug
def the_first_receipt_is_final(stack: ExitStack) -> None:
    """Confirmations are not waited for."""
    policy = ExecutorSettings.send_policy
    stack.enter_context(
        patch.object(ExecutorSettings, "send_policy", lambda self: replace(policy(self), confirmations=1))
    )


@_bug
def a_bump_lowers_the_tip(stack: ExitStack) -> None:
    """Only the fee cap is raised."""
    raised = fee_bumps.raised

    def less(fee: FeeCap, percent: int) -> FeeCap:
        higher = raised(fee, percent)
        return higher.model_copy(update={"max_priority_fee_per_gas_wei": fee.max_priority_fee_per_gas_wei * 9 // 10})

    stack.enter_context(patch.object(fee_bumps, "raised", less))


@_bug
def an_exit_that_was_left_out_waits(stack: ExitStack) -> None:
    """Its fee stays what it was, whatever its budget allows: it is sold when gas is cheap again."""
    stack.enter_context(patch.object(send_state, "_exit_bump", lambda *_: None))


@_bug
def the_signer_keeps_no_record(stack: ExitStack) -> None:
    """Whatever is asked for is signed."""

    def forgetful(_self: Any, _slot: Any, asked: Any, signed: Any, _conditions: Any = ()) -> SignedAttempt:
        return SignedAttempt.from_raw(signed.raw, number=asked.number or 1, kind=asked.kind)

    stack.enter_context(patch.object(NonceGuard, "admit", forgetful))


@_bug
def a_cancel_takes_a_new_slot(stack: ExitStack) -> None:
    """It cancels nothing."""
    sign = payloads.Payloads.sign

    def elsewhere(self: Any, slot: Any, kind: AttemptKind, *rest: Any) -> Any:
        if kind is not AttemptKind.CANCEL:
            return sign(self, slot, kind, *rest)
        return sign(self, replace(slot, nonce=slot.nonce + 1), kind, *rest)

    stack.enter_context(patch.object(payloads.Payloads, "sign", elsewhere))


@_bug
def reservations_are_forgotten_by_a_restart(stack: ExitStack) -> None:
    """Limits begin anew with every start."""

    async def nothing(*_: Any) -> list[Any]:
        return []

    stack.enter_context(patch.object(store, "load_reservations", nothing))


@_bug
def every_exposure_is_believed_to_contain_what_was_filled(stack: ExitStack) -> None:
    """A fill counts no longer once it is final, whether or not portfolio has heard of it."""
    stack.enter_context(patch.object(TradeResults, "contain", lambda *_: True))


@_bug
def the_inbox_is_skipped(stack: ExitStack) -> None:
    """Every delivery is taken for the first."""

    async def always(*_: Any) -> bool:
        return True

    stack.enter_context(patch.object(Tx, "first_time", always))


@_bug
def the_last_outcome_to_arrive_holds(stack: ExitStack) -> None:
    """Versions are ignored: what is late overrides what is newer."""
    apply = portfolio.accounting.apply_outcome

    def by_arrival(current: Any, event: Any) -> Any:
        if current is None or event.outcome_version > current.event.outcome_version:
            return apply(current, event)
        return apply(current, event.model_copy(update={"outcome_version": current.event.outcome_version + 1}))

    stack.enter_context(patch.object(portfolio.accounting, "apply_outcome", by_arrival))


@_bug
def a_confirmed_fill_counts_again(stack: ExitStack) -> None:
    """Included and confirmed are booked as two trades."""
    apply = portfolio.accounting.apply_outcome

    def twice(current: Any, event: Any) -> Any:
        return apply(None if isinstance(event, FillConfirmed) else current, event)

    stack.enter_context(patch.object(portfolio.accounting, "apply_outcome", twice))


@_bug
def reorganisations_are_ignored(stack: ExitStack) -> None:
    """What was included stays included."""
    stack.enter_context(patch.object(send_state, "_vanished", lambda state, *_: Step(state)))


@_bug
def deadlines_are_ignored(stack: ExitStack) -> None:
    """A trade is signed whatever block it is."""
    planned_ = send_state.planned
    stack.enter_context(
        patch.object(
            send_state, "planned", lambda deadline, *more, **named: planned_(deadline + 10_000, *more, **named)
        )
    )


@_bug
def a_halt_is_ignored(stack: ExitStack) -> None:
    """Executors trade on."""
    stack.enter_context(patch.object(SideValues, "status", lambda *_: Status.ACTIVE))


@_bug
def allowances_have_no_bound(stack: ExitStack) -> None:
    """Permit2 may take everything, and the signer agrees."""

    def generous(*arguments: Any) -> Any:
        policy = policy_for(*arguments)
        limits = {token: TokenLimit(2**256 - 1, limit.max_trade) for token, limit in policy.tokens.items()}
        return replace(policy, tokens=limits)

    stack.enter_context(patch.object(live, "policy_for", generous))
    allowance_intent = executor.allowance_intent
    stack.enter_context(
        patch.object(
            executor, "allowance_intent", lambda book, token, _amount, *rest: allowance_intent(book, token, ALL, *rest)
        )
    )


@_bug
def an_approval_that_expired_is_given_up(stack: ExitStack) -> None:
    """What was never tried counts as the token's refusal, and its position cannot be sold any more."""
    refused = property(lambda slot: slot.state.included is not None and not slot.state.is_filled)
    stack.enter_context(patch.object(store.Slot, "was_refused", refused))
    stack.enter_context(patch.object(allowances, "REST_BLOCKS", 10**6))


@_bug
def a_revert_is_tried_again(stack: ExitStack) -> None:
    """A failed receipt is no receipt."""
    seen = send_state._seen

    def blind(state: Any, sighting: Any, head: Any, policy: Any) -> Step:
        if not sighting.success:
            return send_state._waiting(state, head, policy)
        return seen(state, sighting, head, policy)

    stack.enter_context(patch.object(send_state, "_seen", blind))


@_bug
def memory_runs_ahead_of_the_journal(stack: ExitStack) -> None:
    """A step is taken before it is committed, and stays taken when the commit fails."""
    write = txmgr._write

    async def early(tx: Any, slot: Any, told: Any, calldata: Any) -> None:
        slot.record = told.record
        await write(tx, slot, told, calldata)

    stack.enter_context(patch.object(txmgr, "_write", early))


@_bug
def facts_are_marked_before_they_are_published(stack: ExitStack) -> None:
    """At most once instead of at least once, on the way out."""
    publish = Journal._publish

    async def marked_first(self: Any, bus: Any, row: Any) -> None:
        self._sent.append(row.sequence)
        await self._mark_sent()
        await publish(self, bus, row)

    stack.enter_context(patch.object(Journal, "_publish", marked_first))


@_bug
def a_fact_that_was_not_acknowledged_is_dropped(stack: ExitStack) -> None:
    """Publishing is tried once."""

    async def once(self: Any, bus: Any, row: Any) -> None:
        try:
            await bus.publish_raw(row.subject, row.payload, event_id=row.event_id, stream=row.stream, headers={})
        except Transient:
            return

    stack.enter_context(patch.object(Journal, "_publish", once))


@_bug
def a_passing_error_loses_the_message(stack: ExitStack) -> None:
    """FastStream's own policy for JetStream."""
    stack.enter_context(patch.object(consuming, "MAX_TRANSIENT_DELIVERIES", 1))


@_bug
def open_slots_are_not_taken_up(stack: ExitStack) -> None:
    """A restart begins with an empty mind."""

    async def nothing(*_: Any) -> list[Any]:
        return []

    stack.enter_context(patch.object(store, "load_open_slots", nothing))


@_bug
def a_lost_store_stays_empty(stack: ExitStack) -> None:
    """What was published once is taken for told, whatever became of the broker."""

    async def nothing(*_: Any) -> int:
        return 0

    stack.enter_context(patch.object(journal, "unmark", nothing))


@_bug
def foreign_use_of_a_key_is_not_noticed(stack: ExitStack) -> None:
    """A slot that somebody else used is waited for like any other."""
    stack.enter_context(patch.object(send_state, "_used_by_another", lambda state, *_: Step(state)))
    stack.enter_context(patch.object(txmgr, "nonce_fault", lambda *_, **__: None))


@_bug
def the_signer_forgets_epochs(stack: ExitStack) -> None:
    """Whoever asks is signed for, also one whose lease was taken over."""
    standing = NonceGuard._standing
    stack.enter_context(patch.object(NonceGuard, "_standing", lambda *of: replace(standing(*of), epoch=0)))


@_bug
def what_is_private_goes_to_nodes(stack: ExitStack) -> None:
    """A trade that relays do not take is given to the public pool, where everybody sees it."""
    privately = Handover._privately

    async def or_publicly(self: Any, slot: Any, number: int, on_sent: Any) -> PublishAnswer:
        answer = await privately(self, slot, number, on_sent)
        if answer is not PublishAnswer.UNSENT:
            return answer
        answer, _ = await submit(self._providers[0].rpc, slot.raws[number], on_sent=on_sent)
        return answer

    stack.enter_context(patch.object(Handover, "_privately", or_publicly))


@_bug
def two_instances_act_at_once(stack: ExitStack) -> None:
    """Nobody looks at the lease."""

    async def unasked(*_: Any) -> None:
        return

    stack.enter_context(patch.object(Term, "prove", unasked))
    stack.enter_context(patch.object(Term, "runs", True))
    stack.enter_context(patch.object(Lease, "held", True))


@_bug
def a_later_last_value_passes_by_the_outbox(stack: ExitStack) -> None:
    """The first one of a subject is written, and those after it are published as they are."""
    emit, written = Tx.emit, set[str]()

    async def past_it(self: Tx, event: Any, wire: bytes | None = None) -> None:
        stream, subject = stream_of(type(event)), event.subject(self.realm)
        if stream is not STATE or subject not in written:
            await emit(self, event, wire)
            written.add(subject)
            return
        row = journal._OutboxRow(0, event.id, subject, stream.name_in(self.realm), event.to_wire(), self.headers)
        self.emitted.append(row)

    stack.enter_context(patch.object(Tx, "emit", past_it))


@_bug
def a_trade_that_a_crash_cut_off_is_never_explained(stack: ExitStack) -> None:
    """A cause that comes again was carried out, and that is all."""

    async def nothing(*_: Any) -> None:
        return

    stack.enter_context(patch.object(TradeThoughts, "make_up", nothing))


@_bug
def controls_forget_what_is_under_way_with_every_start(stack: ExitStack) -> None:
    """What open entries hold of the capital is restored, but not what they buy, nor what was bought a moment ago."""
    restore, reserved, forgotten = Reservations.restore, Reservations.of, set[OpenTrade]()

    def without_trades(self: Any, stored: Any) -> None:
        stored = list(stored)
        restore(self, stored)
        self._traded.clear()
        forgotten.update(OpenTrade.of(row.intent, row.reserved) for row in stored if row.is_open)

    def of_this_life(self: Any, *rest: Any) -> Any:
        all_of_it = reserved(self, *rest)
        return replace(all_of_it, trades=tuple(trade for trade in all_of_it.trades if trade not in forgotten))

    stack.enter_context(patch.object(Reservations, "restore", without_trades))
    stack.enter_context(patch.object(Reservations, "of", of_this_life))
