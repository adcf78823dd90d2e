"""What the providers know about our slots at a block, as the send state needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dexlane.chain.answers import Receipt
from dexlane.chain.execution.signed_bytes import signed_call
from dexlane.chain.execution.slots import Slot, SlotRecord
from dexlane.chain.execution.testimony import Questions, Testimony, Trial
from dexlane.chain.execution.witnesses import Witnesses
from dexlane.chain.signed_call import SignedCall
from dexlane.domain.agreement import Weighed, Word, agreed_height, weigh
from dexlane.domain.send_values import AttemptKind, Head, SendPolicy, SendState, Sighting, Stage
from dexlane.events.execution import FailureReason
from dexlane.events.market import BlockApplied
from dexlane.values.base import digest
from dexlane.values.chains import BlockRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about one slot while its record was ``record``. ``receipt`` is that of the sighting in ``head``;
    ``funded`` says that an account which was short of funds can pay now."""

    slot: Slot
    record: SlotRecord
    head: Head
    receipt: Receipt | None
    funded: bool


@dataclass(frozen=True, slots=True)
class _Settled:
    """What enough providers say about the finalized block: its number, and whether the slot is used at it."""

    number: int | None
    used: bool


class Evidence:
    """Asks the witnesses about slots and weighs what they say."""

    def __init__(self, witnesses: Witnesses, policy: SendPolicy) -> None:
        self._witnesses = witnesses
        self._policy = policy

    async def at(self, tip: BlockApplied, slots: Sequence[Slot], *, is_new: bool = True) -> list[Finding]:
        """One finding per slot, in their order. ``is_new``: this block was not looked at before."""
        records = [slot.record for slot in slots]
        calls = {
            slot.intent.id: signed_call(slot.raws[max(slot.raws)]) for slot in slots if _is_waiting(slot) and slot.raws
        }
        testimonies = await self._witnesses.ask(self._questions(tip, slots, calls), is_new=is_new)
        finalized = agreed_height(
            [one.finalized for one in testimonies if one.finalized is not None], self._witnesses.quorum
        )
        findings = []
        for slot, record in zip(slots, records, strict=True):
            weighed = self._weighed(slot, tip, testimonies)
            call = calls.get(slot.intent.id)
            settled = _Settled(finalized, self._is_finally_used(slot, testimonies))
            head = _head(tip, weighed, settled, _hopeless(slot, call, tip, testimonies), _is_pooled(slot, testimonies))
            if head.slot_used and not is_new and weighed.seen is None:
                continue  # a second look at one block is no further evidence of foreign use
            receipt = _receipt_of(weighed.seen, testimonies)
            funded = call is not None and record.state.short_of_funds and _can_pay(slot, call, testimonies)
            findings.append(Finding(slot=slot, record=record, head=head, receipt=receipt, funded=funded))
        return findings

    def _questions(self, tip: BlockApplied, slots: Sequence[Slot], calls: Mapping[str, SignedCall]) -> Questions:
        waiting = [slot for slot in slots if _is_waiting(slot)]
        next_nonces = _next_nonces(slots)
        return Questions(
            block=tip.block,
            accounts=frozenset(slot.intent.account for slot in slots),
            hashes=frozenset(attempt.tx_hash for slot in slots for attempt in slot.state.attempts),
            sought=frozenset(attempt.tx_hash for slot in waiting for attempt in slot.state.attempts),
            trials={
                slot.intent.id: Trial(slot.intent.account, calls[slot.intent.id])
                for slot in waiting
                if slot.intent.id in calls
                and slot.state.attempts[-1].kind is AttemptKind.TRADE
                # On today's state the trade above one that waits, such as its allowance, means nothing.
                and slot.nonce == next_nonces[slot.intent.account]
            },
            poor=frozenset(slot.intent.account for slot in waiting if slot.state.short_of_funds),
            suspect=frozenset(slot.intent.account for slot in slots if self._is_suspect(slot)),
            final=_final_blocks(slots),
            finalized=self._policy.needs_finalized and any(slot.state.stage is Stage.INCLUDED for slot in slots),
        )

    def _weighed(self, slot: Slot, tip: BlockApplied, testimonies: Sequence[Testimony]) -> Weighed:
        words = {}
        for testimony in testimonies:
            word = _word(slot, testimony, with_content=len(testimonies) > 1)
            if slot.state.stage is not Stage.FINAL or self._may_judge(testimony, slot.state):
                words[testimony.name] = word
        weighed = weigh(words, self._witnesses.quorum, slot.state.included)
        seen = weighed.seen
        if seen is not None and tip.block.number - seen.block.number + 1 >= self._policy.confirmations:
            self._name_dissenters(slot, weighed)
        return weighed

    def _is_suspect(self, slot: Slot) -> bool:
        """Whether somebody else seems to have used the slot, and the chain's own finality is to be asked."""
        return self._policy.needs_finalized and slot.state.foreign_heads > 0

    def _is_finally_used(self, slot: Slot, testimonies: Sequence[Testimony]) -> bool:
        account = slot.intent.account
        nonces = [one.final_nonces[account] for one in testimonies if account in one.final_nonces]
        agreed = agreed_height(nonces, self._witnesses.quorum)
        return agreed is not None and agreed > slot.nonce

    def _may_judge(self, testimony: Testimony, state: SendState) -> bool:
        """Whether what a provider says of a final slot counts: it has come as far as finality, and does not merely lack
        the receipt of a transaction whose block it still has."""
        if state.included is None:
            return True
        is_far_enough = testimony.head >= state.included.block.number + self._policy.confirmations - 1
        return is_far_enough and state.attempt(state.included.number).tx_hash not in testimony.mislaid

    def _name_dissenters(self, slot: Slot, weighed: Weighed) -> None:
        if weighed.dissenters and weighed.seen is not None:
            about = f"transaction {weighed.seen.tx_hash} of intent {slot.intent.id}"
            self._witnesses.dissent(weighed.dissenters, about, outvoted=weighed.quorate)


def gaps_of(findings: Sequence[Finding]) -> list[Slot]:
    """Slots that no node and no relay knows, below one of the same account that was signed."""
    signed: dict[str, int] = {}
    for finding in findings:
        if finding.record.state.attempts:
            account = finding.slot.intent.account
            signed[account] = max(finding.slot.nonce, signed.get(account, -1))
    return [
        finding.slot
        for finding in findings
        if ((finding.head.absent and not finding.head.held) or not finding.record.state.attempts)
        and not finding.head.slot_used
        and finding.slot.nonce < signed.get(finding.slot.intent.account, -1)
    ]


def _next_nonces(slots: Sequence[Slot]) -> dict[str, int]:
    """The lowest nonce of each account that is not in a block."""
    lowest: dict[str, int] = {}
    for slot in slots:
        if slot.state.stage not in {Stage.INCLUDED, Stage.FINAL}:
            lowest[slot.intent.account] = min(slot.nonce, lowest.get(slot.intent.account, slot.nonce))
    return lowest


def _final_blocks(slots: Sequence[Slot]) -> dict[str, BlockRef]:
    """The block in which each final transaction is, by its hash."""
    final = [slot.state for slot in slots if slot.state.stage is Stage.FINAL]
    return {
        state.attempt(state.included.number).tx_hash: state.included.block
        for state in final
        if state.included is not None
    }


def _is_waiting(slot: Slot) -> bool:
    """Whether something was signed for the slot and is not in a block, wherever its bytes are."""
    return slot.state.stage in {Stage.SIGNED, Stage.SENT}


def _is_pooled(slot: Slot, testimonies: Sequence[Testimony]) -> bool:
    """Whether some node has an attempt of the slot in its pool."""
    hashes = {attempt.tx_hash for attempt in slot.state.attempts}
    return any(not hashes.isdisjoint(testimony.pooled) for testimony in testimonies)


def _head(tip: BlockApplied, weighed: Weighed, settled: _Settled, hopeless: FailureReason | None, pooled: bool) -> Head:
    return Head(
        number=tip.block.number,
        next_base_fee_wei=tip.next_base_fee_per_gas_wei,
        sightings=() if weighed.seen is None else (weighed.seen,),
        slot_used=weighed.used,
        complete=weighed.complete,
        quorate=weighed.quorate,
        absent=weighed.absent,
        finalized=settled.number,
        finally_used=settled.used,
        hopeless=hopeless,
        base_fee_wei=tip.base_fee_per_gas_wei,
        room_gas=tip.gas_limit - tip.gas_used,
        pooled=pooled,
    )


def _hopeless(
    slot: Slot, call: SignedCall | None, tip: BlockApplied, testimonies: Sequence[Testimony]
) -> FailureReason | None:
    """Why the signed trade cannot do its work in the next block.

    One revert is enough. What waits in a pool at a sufficient fee is usually in the next block, so waiting for a second
    head would mostly mean to pay for the revert, several times the gas of a cancel. The trial is made on exactly the
    block that was announced, so a provider that is behind cannot answer for an older state.
    """
    if call is None or slot.state.attempts[-1].kind is AttemptKind.CANCEL:
        return None
    if call.gas_limit > tip.gas_limit:
        return FailureReason.OVER_BLOCK_GAS
    if any(slot.intent.id in testimony.reverting for testimony in testimonies):
        return FailureReason.WOULD_REVERT
    return None


def _word(slot: Slot, testimony: Testimony, *, with_content: bool) -> Word:
    attempts = slot.state.attempts
    receipts = [testimony.receipts.get(attempt.tx_hash) for attempt in attempts]
    answered = all(attempt.tx_hash in testimony.receipts for attempt in attempts)
    receipt = next((one for one in receipts if one is not None), None)
    nonce = testimony.nonces.get(slot.intent.account)
    known = [testimony.known.get(attempt.tx_hash) for attempt in attempts]
    return Word(
        head=testimony.head,
        used=None if nonce is None else nonce > slot.nonce,
        seen=None if receipt is None else _sighting(receipt, with_content=with_content),
        answered=answered,
        absent=None if None in known or not answered else receipt is None and not any(known),
    )


def _sighting(receipt: Receipt, *, with_content: bool) -> Sighting:
    return Sighting(receipt.tx_hash, receipt.block, receipt.success, content=_content(receipt) if with_content else "")


def _content(receipt: Receipt) -> str:
    """What the books are made from; providers that differ in it do not agree."""
    logs = [(log.address, log.topics, log.data.hex()) for log in receipt.logs]
    costs = (receipt.gas_used, receipt.effective_gas_price_wei, receipt.rollup_fee_wei)
    return digest(logs, [str(cost) for cost in costs])


def _receipt_of(seen: Sighting | None, testimonies: Sequence[Testimony]) -> Receipt | None:
    if seen is None:
        return None
    receipts = (testimony.receipts.get(seen.tx_hash) for testimony in testimonies)
    return next(
        receipt
        for receipt in receipts
        if receipt is not None and _sighting(receipt, with_content=bool(seen.content)) == seen
    )


def _can_pay(slot: Slot, call: SignedCall, testimonies: Sequence[Testimony]) -> bool:
    balances = [one.balances[slot.intent.account] for one in testimonies if slot.intent.account in one.balances]
    return bool(balances) and min(balances) >= call.most_it_costs_wei
