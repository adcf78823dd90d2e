"""The transactions of one chain, driven from the journal: sign, store, send, settle.

The order that makes a crash harmless: the intent and its slot are committed before a signature exists; every attempt
is committed before its bytes leave. A restart finds each open slot, sends its bytes again or signs what is missing,
and learns from receipts what happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dexlane.chain.abi import AbiError
from dexlane.chain.answers import Receipt
from dexlane.chain.calldata import UnroutableError
from dexlane.chain.execution import slots as store
from dexlane.chain.execution.fencing import FencedJournal
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.chain.execution.outcomes import Told, tell
from dexlane.chain.execution.payloads import Payloads
from dexlane.chain.execution.slots import Slot, SlotRecord
from dexlane.chain.execution.submission import submit
from dexlane.chain.rpc import Rpc, RpcError, RpcUnavailable
from dexlane.domain import send_state
from dexlane.domain.send_state import (
    Attempt,
    AttemptKind,
    Head,
    Resend,
    SendPolicy,
    Sighting,
    Sign,
    Step,
    StopForeignUse,
)
from dexlane.events.base import FeeCap
from dexlane.events.execution import FailureReason, IntentCreated
from dexlane.events.market import BlockApplied
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Fatal, Transient
from dexlane.runtime.journal import Tx
from dexlane_signer import GuardUnavailableError, SignedAttempt, SigningDenied

HighestSigned = Callable[[str], int | None]
"""Account to the highest nonce the signer ever signed for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What driving transactions needs: the node, the payloads, the journal, time, and the named moments."""

    rpc: Rpc
    payloads: Payloads
    journal: FencedJournal
    clock: Clock
    moments: ExecutionMoments
    on_final: Callable[[Slot], None] = lambda slot: None
    """Told of every slot that came to its end, after that was committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTerms:
    """How long an intent's slot is worth sending, and what it may cost. ``first_fee_wei`` is for intents without a
    plan."""

    deadline_block: int
    fee_budget_wei: int
    first_fee_wei: int = 0
    price_impact_bps: int | None = None


class Transactions:
    """Every open slot of one chain. One instance per chain and journal."""

    def __init__(self, equipment: Equipment, policy: SendPolicy | None = None) -> None:
        self._rpc = equipment.rpc
        self._payloads = equipment.payloads
        self._journal = equipment.journal
        self._clock = equipment.clock
        self._moments = equipment.moments
        self._on_final = equipment.on_final
        self._policy = policy or SendPolicy()
        self._open: dict[str, Slot] = {}
        self._next_nonce: dict[str, int] = {}
        self._tip = 0

    @property
    def open_slots(self) -> Sequence[Slot]:
        """Slots that are not final, in the order of their nonces."""
        return list(self._open.values())

    def tokens_in_flight(self, account: str) -> frozenset[str]:
        """Tokens that trades of this account, not yet in a block, are paying with."""
        paying = (
            slot.intent.plan for slot in self._open.values() if slot.intent.account == account and slot.blocks_its_token
        )
        return frozenset(plan.paid_token for plan in paying if plan is not None)

    def knows(self, account: str) -> bool:
        """Whether the account's next nonce is known, so that it may be given new slots."""
        return account in self._next_nonce

    async def recover(self) -> None:
        """Take up every slot that the journal holds open. ``settle`` then brings them forward."""
        async with self._journal.reading() as conn:
            found = await store.load_open_slots(conn, self._payloads.chain_id)
        self._open.update({slot.intent.id: slot for slot in found})
        self._moments.open_slots(len(self._open))

    async def watch(self, accounts: Iterable[str], highest_signed: HighestSigned) -> None:
        """Find the next nonce of accounts, and refuse to go on when chain, journal and signer disagree.

        Raises ``Fatal`` with one sentence, or ``Transient`` while the node does not answer.
        """
        wanted = [account for account in accounts if account not in self._next_nonce]
        if not wanted:
            return
        async with self._journal.reading() as conn:
            known = await store.highest_nonces(conn, self._payloads.chain_id)
        for account in wanted:
            given, final = known.get(account, (-1, -1))
            on_chain = await self._count(account)
            signed = highest_signed(account)
            fault = _nonce_fault(
                account, given=given, final=final, on_chain=on_chain, signed=-1 if signed is None else signed
            )
            if fault is not None:
                raise Fatal(fault)
            self._next_nonce[account] = max(given + 1, on_chain)

    def draft(self, intent: IntentCreated, reserved: int, terms: SlotTerms) -> Slot:
        """A slot for an intent at the account's next nonce; it exists once ``write`` is committed and it is adopted."""
        record = SlotRecord(
            state=send_state.planned(terms.deadline_block, terms.fee_budget_wei).state,
            fallback_fee_wei=terms.first_fee_wei,
            price_impact_bps=terms.price_impact_bps,
        )
        return Slot(intent=intent, nonce=self._next_nonce[intent.account], reserved=reserved, record=record)

    async def write(self, tx: Tx, slot: Slot) -> None:
        """Write intent, reservation, slot and their events in an open journal transaction."""
        step = send_state.planned(slot.state.deadline_block, slot.state.fee_budget_wei)
        told = tell(slot, step, self._clock.now_ns())
        slot.record = told.record
        await store.add_intent(tx, slot.intent, slot.reserved)
        await store.add_slot(tx, slot)
        await tx.emit(slot.intent)
        for event in told.events:
            await tx.emit(event)

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
        """Bring every open slot forward with what the node says at this block.

        Raises ``Fatal`` when somebody else uses one of the accounts, ``Transient`` when the journal does not commit.
        """
        is_new, self._tip = tip.block.number > self._tip, tip.block.number
        slots = self.open_slots
        if not slots:
            return
        # Nonces first: a transaction included between the two look-ups then shows up as a receipt at least.
        nonces = await self._nonces({slot.intent.account for slot in slots})
        found = await asyncio.gather(*(self._receipts(slot) for slot in slots))
        for slot, (receipts, complete) in zip(slots, found, strict=True):
            nonce = nonces.get(slot.intent.account)
            head = Head(
                number=tip.block.number,
                next_base_fee_wei=tip.next_base_fee_per_gas_wei,
                sightings=[Sighting(r.tx_hash, r.block, r.success) for r in receipts.values()],
                # A second pass at one block is no further evidence of foreign use.
                slot_used=is_new and nonce is not None and nonce > slot.nonce,
                complete=complete and nonce is not None,
            )
            async with slot.lock:
                await self._advance(slot, head, receipts)
        self._moments.open_slots(len(self._open))

    async def _advance(self, slot: Slot, head: Head, receipts: Mapping[str, Receipt]) -> None:
        step = send_state.at_head(slot.state, head, self._policy)
        await self._commit(slot, step, receipts)
        if isinstance(step.action, Resend):
            for number in step.action.numbers:
                await self._send(slot, number)
        elif isinstance(step.action, Sign):
            await self._sign_and_send(slot, step.action.kind, step.action.fee)
        elif isinstance(step.action, StopForeignUse):
            raise Fatal(
                f"nonce {slot.nonce} of account {slot.intent.account} was used by a transaction that is not ours: "
                "somebody else holds its key; move its funds and use a new account"
            )

    async def _sign_and_send(self, slot: Slot, kind: AttemptKind, fee: FeeCap | None) -> None:
        try:
            calldata = slot.calldata
            if calldata is None and kind is AttemptKind.TRADE:
                calldata = await self._payloads.calldata(slot.intent)
            signed = await self._payloads.sign(slot, kind, fee or _first_fee(slot), calldata)
        except (SigningDenied, UnroutableError, AbiError) as error:
            self._moments.denied(slot.intent.id, str(error))
            await self._commit(slot, send_state.give_up(slot.state, FailureReason.DENIED))
            return
        except GuardUnavailableError as error:
            self._moments.denied(slot.intent.id, str(error))
            return
        if signed.number in slot.raws:
            await self._send(slot, signed.number)
            return
        # What the signer has on record counts, and it may be older than what was asked for just now.
        attempt = _attempt(signed, self._tip)
        calldata = signed.transaction.data if attempt.kind is AttemptKind.TRADE else calldata
        step = send_state.signed(slot.state, attempt)
        told = tell(slot, step, self._clock.now_ns())
        async with self._journal.transaction() as tx:
            await store.add_attempt(tx, slot, attempt, signed.raw)
            await self._write(tx, slot, told, calldata)
        slot.calldata = calldata
        slot.raws[attempt.number] = signed.raw
        self._take(slot, step, told)
        await self._send(slot, attempt.number)

    async def _send(self, slot: Slot, number: int) -> None:
        first = slot.state.stage is send_state.Stage.SIGNED and number == 1
        handed_over_ns: list[int] = []
        answer, text = await submit(
            self._rpc, slot.raws[number], on_sent=lambda: handed_over_ns.append(self._clock.now_ns())
        )
        if first and handed_over_ns:
            self._moments.sent(slot.intent.id, max(0, handed_over_ns[0] - slot.intent.received_at_ns) / 1e9)
        self._moments.answered(slot.intent.id, answer, text)
        await self._commit(slot, send_state.answered(slot.state, number, answer))

    async def _commit(self, slot: Slot, step: Step, receipts: Mapping[str, Receipt] | None = None) -> None:
        if step.state == slot.state and not step.changes:
            return
        included = step.state.included
        receipt = None
        if included is not None and receipts is not None:
            receipt = receipts.get(step.state.attempt(included.number).tx_hash)
        told = tell(slot, step, self._clock.now_ns(), receipt)
        async with self._journal.transaction() as tx:
            await self._write(tx, slot, told, slot.calldata)
        self._take(slot, step, told)

    @staticmethod
    async def _write(tx: Tx, slot: Slot, told: Told, calldata: bytes | None) -> None:
        await store.save_slot(tx, slot, told.record, calldata)
        for event in told.events:
            await tx.emit(event)

    def _take(self, slot: Slot, step: Step, told: Told) -> None:
        """Memory follows the journal, never the other way round."""
        slot.record = told.record
        for change in step.changes:
            self._moments.changed(slot.intent.id, change.state, change.reason)
        if not slot.state.is_open:
            self._open.pop(slot.intent.id, None)
            self._on_final(slot)

    async def _count(self, account: str) -> int:
        try:
            return await self._rpc.transaction_count(account)
        except RpcError as error:
            raise Transient(f"the nonce of account {account} could not be read: {error}") from error

    async def _nonces(self, accounts: set[str]) -> dict[str, int]:
        nonces: dict[str, int] = {}
        for account in sorted(accounts):
            try:
                nonces[account] = await self._rpc.transaction_count(account)
            except (RpcError, RpcUnavailable) as error:
                self._moments.pass_failed(self._payloads.chain_id, str(error))
        return nonces

    async def _receipts(self, slot: Slot) -> tuple[dict[str, Receipt], bool]:
        """Receipts of a slot's attempts by hash, and whether every look-up was answered."""
        receipts: dict[str, Receipt] = {}
        for attempt in slot.state.attempts:
            try:
                receipt = await self._rpc.receipt(attempt.tx_hash)
            except (RpcError, RpcUnavailable) as error:
                self._moments.pass_failed(self._payloads.chain_id, str(error))
                return receipts, False
            if receipt is not None:
                receipts[attempt.tx_hash] = receipt
        return receipts, True


def _attempt(signed: SignedAttempt, tip: int) -> Attempt:
    fee = FeeCap(
        max_fee_per_gas_wei=signed.transaction.max_fee_per_gas_wei,
        max_priority_fee_per_gas_wei=signed.transaction.max_priority_fee_per_gas_wei,
    )
    return Attempt(number=signed.number, kind=AttemptKind(signed.kind), tx_hash=signed.hash, fee=fee, block=tip)


def _first_fee(slot: Slot) -> FeeCap:
    if slot.intent.plan is not None:
        return slot.intent.plan.fee_cap
    cap = slot.record.fallback_fee_wei
    return FeeCap(max_fee_per_gas_wei=cap, max_priority_fee_per_gas_wei=min(cap, 10**9))


def _nonce_fault(account: str, *, given: int, final: int, on_chain: int, signed: int) -> str | None:
    """Why an account may not be used, in one sentence; None when chain, journal and signer agree."""
    if signed > given:
        return (
            f"the signer has signed nonce {signed} of account {account} but this journal knows only up to {given}: an "
            " old or empty journal was put in place; bring back the newest one"
        )
    if final >= on_chain:
        return (
            f"account {account} has used nonce {final} by this journal, but its next nonce on the chain is {on_chain}: "
            "the chain was reset or rolled back beyond finality; a journal serves one chain only"
        )
    if 0 <= given < on_chain - 1:
        return (
            f"account {account} is at nonce {on_chain} on the chain, but this journal gave out only up to {given}: "
            "somebody else uses its key; move its funds and use a new account"
        )
    return None
