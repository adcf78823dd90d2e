"""The signers' own records, against journals and chain: what was signed, for which slot, in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from crash_evidence import Journals, OurChain
from crash_signers import Record, SignerRecords
from dexlane_signer import DynamicFeeTransaction

LEAST_RISE_PERCENT = 10
"""What go-ethereum asks of a replacement, in both fee fields (``legacypool`` ``PriceBump``)."""


def signatures(records: SignerRecords, journals: Journals, chain: OurChain) -> Iterator[str]:
    """Every breach between what the signers have on record and what journals and chain say."""
    yield from (f"a signer is held, and nobody held it: {held}" for held in records.halts)
    yield from _slots(records, journals)
    signed_for = defaultdict(list)
    for record in records.signed:
        signed_for[record.intent_id].append(record)
    for signed in signed_for.values():
        yield from _of_one_slot(sorted(signed, key=lambda record: record.number))
    yield from _journalled(records, journals)
    yield from _on_chain(records, chain)


def _slots(records: SignerRecords, journals: Journals) -> Iterator[str]:
    """The intent was in the journal before anything was signed for it, and with the same slot."""
    given = {slot["intent_id"]: (slot["account"].lower(), slot["nonce"]) for slot in journals.slots}
    owners = defaultdict(set)
    for slot in records.slots:
        place = (slot["address"], slot["nonce"])
        owners[slot["chain_id"], *place].add(slot["intent_id"])
        if given.get(slot["intent_id"]) != place:
            known = given.get(slot["intent_id"], "nothing")
            yield f"signed for intent {slot['intent_id']} in slot {place}, and the journal says {known}"
    yield from (f"slot {slot} was signed for {sorted(held)}" for slot, held in owners.items() if len(held) > 1)


def _of_one_slot(signed: Sequence[Record]) -> Iterator[str]:
    """All payloads of a slot are one trade with other fees, then cancels; each is what its record says."""
    trades: dict[tuple[str, int, bytes, int], Record] = {}
    cancelled: Record | None = None
    for record in signed:
        transaction, tx_hash = DynamicFeeTransaction.from_signed(record.raw)
        if (tx_hash, transaction.chain_id, transaction.nonce) != (record.tx_hash, 1, record.nonce):
            yield f"the signed bytes are not what their record says: {record}"
        if record.kind == "cancel":
            cancelled = record
            if (transaction.to, transaction.value_wei, transaction.data) != (record.account, 0, b""):
                yield f"a cancel does more than cancel: {record}"
            continue
        if cancelled is not None:
            yield f"a trade was signed after the cancel {cancelled.number} of its slot: {record}"
        trades[transaction.to, transaction.value_wei, transaction.data, transaction.gas_limit] = record
    if len(trades) > 1:
        yield f"different trades were signed for one slot: {list(trades.values())}"


def _journalled(records: SignerRecords, journals: Journals) -> Iterator[str]:
    """Every attempt of a journal is on record as it is, and pays enough more than the one before it."""
    on_record = {(record.intent_id, record.number): record for record in records.signed}
    before: dict[str, DynamicFeeTransaction] = {}
    for attempt in sorted(journals.attempts, key=lambda attempt: (attempt["intent_id"], attempt["number"])):
        intent_id = attempt["intent_id"]
        record = on_record.get((intent_id, attempt["number"]))
        told = attempt["kind"], attempt["tx_hash"]
        # A signer that signs no entries, or that has just begun, keeps the bytes and tells the rest.
        if record is None or told != (record.kind, record.tx_hash) or attempt["raw"] not in {b"", record.raw}:
            yield f"a journalled attempt is not on record with its signer: {attempt}"
            continue
        transaction, _ = DynamicFeeTransaction.from_signed(record.raw)
        if intent_id in before and not _replaces(transaction, before[intent_id]):
            yield f"attempt {attempt['number']} of {intent_id} pays too little more: {before[intent_id]}, {transaction}"
        before[intent_id] = transaction


def _replaces(new: DynamicFeeTransaction, old: DynamicFeeTransaction) -> bool:
    def rose(now: int, then: int) -> bool:
        return 100 * now >= (100 + LEAST_RISE_PERCENT) * then

    return rose(new.max_fee_per_gas_wei, old.max_fee_per_gas_wei) and rose(
        new.max_priority_fee_per_gas_wei, old.max_priority_fee_per_gas_wei
    )


def _on_chain(records: SignerRecords, chain: OurChain) -> Iterator[str]:
    """Every signature on the chain has its record, for that very slot."""
    places = {record.tx_hash: (record.account, record.nonce) for record in records.signed}
    for tx in chain.mined:
        if places.get(tx.hash) != (tx.account, tx.nonce):
            yield f"{tx} is signed, and its signer has {places.get(tx.hash, 'nothing')} on record"
