"""The transactions of one chain, driven from the journal: sign, store, send, settle.

The order that makes a crash harmless: the intent and its slot are committed before a signature exists; every attempt
is on the signer's record before its bytes leave the signer. The journal has it with the answer of those it was sent to;
one that another machine may go on with, whose signer has a record of its own, has it before the bytes leave. A restart
finds each open slot, asks the signer for what it has on record of it, sends its bytes again or signs what is missing,
and learns from receipts what happened.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dexlane.chain.abi import AbiError
from dexlane.chain.answers import Receipt
from dexlane.chain.calldata import UnroutableError
from dexlane.chain.execution import slots as store
from dexlane.chain.execution.breaker_watch import NoWatch, Watch
from dexlane.chain.execution.evidence import Evidence, Finding, gaps_of
from dexlane.chain.execution.fencing import FencedJournal
from dexlane.chain.execution.final_watch import FinalWatch, deep_reorg
from dexlane.chain.execution.handover import Handover, is_for_relays
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.chain.execution.nonce_faults import foreign_use, nonce_fault
from dexlane.chain.execution.outcomes import Told, tell
from dexlane.chain.execution.payloads import Payloads
from dexlane.chain.execution.private_sending import PrivateSending
from dexlane.chain.execution.rollup_receipts import BytesKept, whole_receipt
from dexlane.chain.execution.signed_record import SignedRecord
from dexlane.chain.execution.slots import Slot, SlotRecord, Untold
from dexlane.chain.execution.testimony import Witness
from dexlane.chain.execution.witnesses import Witnesses
from dexlane.chain.rpc import Rpc
from dexlane.domain import send_state
from dexlane.domain.circumstances import Objection
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.resending import after_answer
from dexlane.domain.send_values import (
    AttemptKind,
    Resend,
    SendPolicy,
    Sign,
    Stage,
    Step,
    StopDeepReorg,
    StopForeignUse,
)
from dexlane.events.base import FeeCap
from dexlane.events.execution import FailureReason, IntentCreated, TxState
from dexlane.events.market import BlockApplied
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Fatal, Transient
from dexlane.runtime.journal import Tx
from dexlane_signer import DenialReason, GuardUnavailableError, SigningDenied

MOST_WATCHED = 256
"""Final slots per account that are taken up again after a restart."""
LOST = frozenset({TxState.DROPPED, TxState.REORGED})
"""What happened to bytes that must go out again whatever was answered before."""

NOT_ANSWERED = frozenset({PublishAnswer.UNKNOWN, PublishAnswer.RATE_LIMITED})
"""What counts against the nodes."""

FillIn = Callable[[str, int], Awaitable[None]]
"""Fill in what the journal lost of an account above the nonce it knows last; does not return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What driving transactions needs: the node, the payloads, the journal, time, and the named moments.

    ``witnesses`` are all providers of the chain; without any, ``rpc`` is the only one. ``jitter_bps`` gives numbers
    from 0 to 9,999 that spread what is sent again.
    """

    rpc: Rpc
    payloads: Payloads
    journal: FencedJournal
    clock: Clock
    moments: ExecutionMoments
    on_final: Callable[[Slot], None] = lambda slot: None
    """Told of every slot that came to its end, after that was committed."""
    witnesses: Sequence[Witness] = ()
    jitter_bps: Callable[[], int] = lambda: 5_000
    private: PrivateSending | None = None
    """Private relays, where the chain has any."""
    watch: Watch = field(default_factory=NoWatch)
    why_held: Callable[[IntentCreated], str] = lambda intent: ""
    """Why an entry may not be signed any more; empty when it may."""
    fill_in: FillIn | None = None
    """What to do about an older journal; without it such an account is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTerms:
    """How long an intent's slot is worth sending, and what it may cost. ``first_fee_wei`` is for intents without a
    plan; ``exit_since`` is the block that an exit was planned on, zero for what is no exit."""

    deadline_block: int
    fee_budget_wei: int
    gas_limit: int = 0
    exit_since: int = 0
    first_fee_wei: int = 0
    price_impact_bps: int | None = None


class Transactions:
    """Every open slot of one chain. One instance per chain and journal."""

    def __init__(self, equipment: Equipment, policy: SendPolicy | None = None) -> None:
        self._rpc = equipment.rpc
        self._payloads = equipment.payloads
        self._journal = equipment.journal
        self._record = SignedRecord(equipment.payloads, equipment.journal, equipment.clock)
        self._clock = equipment.clock
        self._moments = equipment.moments
        self._on_final = equipment.on_final
        self._policy = policy or SendPolicy()
        self._jitter_bps = equipment.jitter_bps
        self._watch, self._why_held, self._fill_in = equipment.watch, equipment.why_held, equipment.fill_in
        providers = equipment.witnesses or (Witness(name="node", rpc=equipment.rpc),)
        self._witnesses = Witnesses(self._payloads.chain_id, providers, self._moments.sending, self._watch)
        self._evidence = Evidence(self._witnesses, self._policy)
        self._handover = Handover(providers, equipment.private, self._moments.sending)
        self._finals = FinalWatch(self._policy.watch_blocks, self._handover.forget)
        self._gapped: set[str] = set()
        self._open: dict[str, Slot] = {}
        self._next_nonce: dict[str, int] = {}
        self._tip = 0

    @property
    def open_slots(self) -> Sequence[Slot]:
        """Slots that are not final, in the order of their nonces: what is missing below goes out first."""
        return sorted(self._open.values(), key=lambda slot: (slot.intent.account, slot.nonce))

    def tokens_in_flight(self, account: str) -> frozenset[str]:
        """Tokens that trades of this account, not yet in a block, are paying with."""
        paying = (slot for slot in self._open.values() if slot.intent.account == account and slot.blocks_its_token)
        return frozenset(slot.intent.plan.paid_token for slot in paying if slot.intent.plan is not None)

    def knows(self, account: str) -> bool:
        """Whether the account's next nonce is known, so that it may be given new slots."""
        return account in self._next_nonce

    def objection(self, account: str, *, is_entry: bool) -> Objection | None:
        """Why nothing new may be sent from an account just now; None when something may."""
        if account in _short_of_funds(self._open.values()):
            waits = f"a transaction of account {account} waits for native coin to pay its gas with"
            return Objection("no_gas_funds", waits, passing=True)
        return self._witnesses.objection(is_entry=is_entry)

    async def recover(self) -> None:
        """Take up every slot that the journal holds open, with all that was signed for it. ``settle`` then brings them
        forward. ``Transient`` while the journal or the signer does not answer."""
        async with self._journal.reading() as conn:
            found = await store.load_open_slots(conn, self._payloads.chain_id)
            final = await store.load_last_final_slots(conn, self._payloads.chain_id, MOST_WATCHED)
        await self._record.complete(found)
        self._finals.take(final)
        self._open.update({slot.intent.id: slot for slot in found})
        self._moments.open_slots(len(self._open))

    async def watch(self, account: str, signed: int) -> None:
        """Find an account's next nonce, and refuse to go on when chain, journal and signer disagree. ``signed`` is the
        highest nonce ever signed for it, -1 for none; a journal that does not know it is old, and is filled in.

        Raises ``Fatal`` with one sentence, or ``Transient`` while the node does not answer and after filling in.
        """
        async with self._journal.reading() as conn:
            known = await store.highest_nonces(conn, self._payloads.chain_id)
        given, final = known.get(account, (-1, -1))
        if signed > given and self._fill_in is not None:
            await self._fill_in(account, given)
        on_chain = await self._witnesses.nonce(account, used=final, tip=self._tip)
        if fault := nonce_fault(account, given=given, final=final, on_chain=on_chain, signed=signed):
            raise Fatal(fault)
        self._next_nonce[account] = max(given + 1, on_chain)

    def draft(self, intent: IntentCreated, reserved: int, terms: SlotTerms) -> Slot:
        """A slot for an intent at the account's next nonce; it exists once ``write`` is committed and it is adopted."""
        step = send_state.planned(
            terms.deadline_block,
            terms.fee_budget_wei,
            submission=intent.submission,
            gas_limit=terms.gas_limit,
            exit_since=terms.exit_since,
        )
        record = SlotRecord(
            state=step.state, fallback_fee_wei=terms.first_fee_wei, price_impact_bps=terms.price_impact_bps
        )
        return Slot(
            intent=intent,
            nonce=self._next_nonce[intent.account],
            reserved=reserved,
            record=record,
            untold=Untold.of(step, self._clock.now_ns()),
        )

    async def write(self, tx: Tx, slot: Slot) -> None:
        """Write intent, reservation and slot, and the intent's event, in an open journal transaction."""
        await store.add_intent(tx, slot.intent, slot.reserved)
        await store.add_slot(tx, slot)

    def adopt(self, slot: Slot) -> None:
        """The slot was committed: drive it from now on, and give the next intent the next nonce."""
        self._open[slot.intent.id] = slot
        self._next_nonce[slot.intent.account] = slot.nonce + 1
        self._moments.open_slots(len(self._open))

    async def launch(self, slot: Slot) -> None:
        """Sign, store and send a new slot's trade. What cannot be done now is done at the next block."""
        async with slot.lock:
            if not slot.state.attempts:
                await self._sign_and_send(slot, AttemptKind.TRADE, None)

    async def cancel_all(self, reason: FailureReason) -> None:
        """Stop wanting every trade that is not in a block; the next pass cancels them in their own slots."""
        for slot in self.open_slots:
            async with slot.lock:
                await self._commit(slot, send_state.give_up(slot.state, reason))

    async def settle(self, tip: BlockApplied) -> None:
        """Bring every open slot forward with what the providers say at this block.

        Raises ``Fatal`` when somebody else uses one of the accounts or what was final is undone, ``Transient`` when the
        journal does not commit, or a slot could not be brought forward: that holds up no other.
        """
        is_new, self._tip = tip.block.number > self._tip, tip.block.number
        slots, final = self.open_slots, self._finals.newest(self._tip)
        with contextlib.suppress(Transient):
            await self._record.complete([slot for slot in slots if slot.lacks_bytes])
        found = await self._evidence.at(tip, [*final, *slots], is_new=is_new)
        findings = self._handover.weigh(found, tip, is_new=is_new)
        if any(_is_undone(finding, self._policy) for finding in findings):
            await self._reopen(tip)
        gaps = gaps_of(findings)
        hurried, self._gapped = self._gapped | {gap.intent.account for gap in gaps}, set()
        failed: list[Transient] = []
        for finding in findings:
            async with finding.slot.lock:
                if finding.slot.record is finding.record and finding.slot.state.is_open:
                    try:
                        await self._advance(finding, hurried=finding.slot.intent.account in hurried)
                    except BytesKept:  # for as long as entries are not signed; exits must go on
                        self._moments.sending.receipt_lags(self._payloads.chain_id, finding.slot.intent.id)
                    except Transient as error:
                        failed.append(error)
        self._moments.open_slots(len(self._open))
        oldest = max((self._tip - slot.intent.block.number for slot in slots), default=0)
        short, chain_id = len(_short_of_funds(self._open.values())), self._payloads.chain_id
        self._moments.sending.looked_at(chain_id, oldest_blocks=oldest, gaps=len(gaps), short_of_funds=short)
        if failed:
            raise failed[0]

    async def _reopen(self, tip: BlockApplied) -> None:
        """A reorganisation went deeper than finality: open again everything that it undid, and stop."""
        undone: list[Slot] = []
        for finding in await self._evidence.at(tip, self._finals.all, is_new=False):
            step = send_state.at_head(finding.record.state, finding.head, self._policy)
            if isinstance(step.action, StopDeepReorg):
                receipt = await whole_receipt(self._rpc, self._payloads.chain_id, finding, step)
                await self._commit(finding.slot, step, receipt)
                undone.append(finding.slot)
        if undone:
            raise deep_reorg(undone)

    async def _advance(self, finding: Finding, *, hurried: bool) -> None:
        slot, head = finding.slot, finding.head
        was_wanted, path = slot.state.giving_up is None, slot.state.path
        step = send_state.at_head(slot.state, head, self._policy)
        await self._commit(slot, step, await whole_receipt(self._rpc, self._payloads.chain_id, finding, step))
        if was_wanted and step.state.giving_up is not None:
            self._moments.sending.given_up(slot.intent.id, step.state.giving_up.value)
        if head.slot_used and not head.sightings:
            self._moments.sending.receipt_lags(self._payloads.chain_id, slot.intent.id)
        if isinstance(step.action, Resend):
            hurried |= finding.funded or path is not step.state.path
            hurried |= any(change.state in LOST for change in step.changes)
            await self._send_again(slot, step.action.numbers, hurried=hurried)
        elif isinstance(step.action, Sign):
            await self._sign_and_send(slot, step.action.kind, step.action.fee)
        elif isinstance(step.action, StopForeignUse):
            raise foreign_use(slot.intent.account, slot.nonce)

    async def _send_again(self, slot: Slot, numbers: Sequence[int], *, hurried: bool) -> None:
        for number in numbers:
            await self._record.get_back(slot, number)
            if number in slot.raws and self._handover.is_due(slot, number, _monotonic_ms(self._clock), hurried=hurried):
                self._moments.sending.sent_again(slot.intent.id, number)
                await self._send(slot, number)

    async def _sign_and_send(self, slot: Slot, kind: AttemptKind, fee: FeeCap | None) -> None:
        if kind is AttemptKind.TRADE and (why := self._why_held(slot.intent)):
            self._moments.held_back(slot.intent.id, why)
            await self._commit(slot, send_state.give_up(slot.state, FailureReason.HALTED))
            return
        try:
            is_first = slot.calldata is None and kind is AttemptKind.TRADE
            calldata = self._payloads.calldata(slot.intent) if is_first else slot.calldata
            signed = await self._payloads.sign(slot, kind, fee or _first_fee(slot), calldata)
        except (SigningDenied, UnroutableError, AbiError) as error:
            if isinstance(error, SigningDenied) and error.reason is DenialReason.STALE_EPOCH:
                raise self._journal.term.followed() from error
            self._moments.denied(slot.intent.id, error)
            await self._commit(slot, send_state.give_up(slot.state, FailureReason.DENIED))
            return
        except GuardUnavailableError as error:
            self._moments.denied(slot.intent.id, error)
            return
        if signed.number > slot.state.next_number:
            raise self._record.more_than_known(slot)
        number = slot.signed(signed, self._tip, self._clock.now_ns())
        if self._journal.is_shared:
            await self._commit(slot, Step(slot.state))
        await self._send(slot, number)

    async def _send(self, slot: Slot, number: int) -> None:
        first = slot.state.stage is Stage.SIGNED and number == 1 and not slot.patience
        asks_nodes = not is_for_relays(slot, number)
        handed_over_ns: list[int] = []
        answer = await self._handover.submit(slot, number, lambda: handed_over_ns.append(self._clock.now_ns()))
        if first and handed_over_ns:
            seconds = max(0, handed_over_ns[0] - slot.intent.received_at_ns) / 1e9
            self._moments.sent(slot.intent.id, seconds)
            self._watch.sent(slot.intent, seconds)
        before = slot.patience.get(number)
        slot.patience[number] = after_answer(before, answer, _monotonic_ms(self._clock), self._jitter_bps())
        if asks_nodes:
            self._watch.answered(well=answer not in NOT_ANSWERED)
        if answer is PublishAnswer.NONCE_TOO_HIGH:
            self._gapped.add(slot.intent.account)
        await self._commit(slot, send_state.answered(slot.state, number, answer))

    async def _commit(self, slot: Slot, step: Step, receipt: Receipt | None = None) -> None:
        if step.state == slot.state and not step.changes and not slot.untold:
            return
        told = tell(slot, step, self._clock.now_ns(), receipt)
        async with self._journal.transaction() as tx:
            await _write(tx, slot, told, slot.calldata)
        self._take(slot, step, told)

    def _take(self, slot: Slot, step: Step, told: Told) -> None:
        """Memory follows the journal, but for what the signer has on record."""
        changes = (*(untold.change for untold in slot.untold), *step.changes)
        slot.record, slot.untold, slot.unstored = told.record, (), ()
        self._watch.ended(slot.intent, told.events)
        for change in changes:
            self._moments.changed(slot.intent.id, change.state, change.reason)
        if slot.state.is_open:
            self._open[slot.intent.id] = slot
            self._finals.let_go(slot)
        else:
            self._open.pop(slot.intent.id, None)
            self._finals.take([slot])
            self._moments.sending.ended(slot.intent.id, len(slot.state.attempts))
            self._on_final(slot)


async def _write(tx: Tx, slot: Slot, told: Told, calldata: bytes | None) -> None:
    await store.save_slot(tx, slot, told.record, calldata)
    for event in told.events:
        await tx.emit(event)


def _monotonic_ms(clock: Clock) -> int:
    return clock.monotonic_ns() // 1_000_000


def _short_of_funds(slots: Iterable[Slot]) -> set[str]:
    return {slot.intent.account for slot in slots if slot.state.short_of_funds}


def _is_undone(finding: Finding, policy: SendPolicy) -> bool:
    """Whether a final slot is not where it was."""
    if finding.record.state.is_open:
        return False
    return isinstance(send_state.at_head(finding.record.state, finding.head, policy).action, StopDeepReorg)


def _first_fee(slot: Slot) -> FeeCap:
    if slot.intent.plan is not None:
        return slot.intent.plan.fee_cap
    cap = slot.record.fallback_fee_wei
    return FeeCap(max_fee_per_gas_wei=cap, max_priority_fee_per_gas_wei=min(cap, 10**9))
