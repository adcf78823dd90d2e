"""Nonce slots and the intents that own them: what the journal keeps of them, and how it is written and read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.chain.execution.tables import accounts, attempts, intents, slots
from dexlane.domain import send_state
from dexlane.domain.resending import Patience
from dexlane.domain.send_values import Attempt, AttemptKind, Change, SendState, Stage, Step
from dexlane.events.base import FeeCap
from dexlane.events.execution import FailureReason, IntentCreated, Purpose
from dexlane.events.portfolio import FILLS_TOLD, FinalFill
from dexlane.runtime.journal import Tx
from dexlane.values.base import Value
from dexlane.values.chains import BlockRef
from dexlane_signer import SignedAttempt

# Built once: on the way of a trade, putting a statement together costs more than running it.
_ADD_INTENT = intents.insert()
_ADD_SLOT = slots.insert()
_COLUMNS = ", ".join(column.name for column in attempts.columns)
_ADD_ATTEMPT = sa.text(
    f"INSERT INTO execution_attempts ({_COLUMNS}) VALUES (:{_COLUMNS.replace(', ', ', :')})"  # noqa: S608  names of columns
    " ON CONFLICT (intent_id, number) DO UPDATE SET raw = excluded.raw"
    " WHERE length(excluded.raw) > 0 AND execution_attempts.tx_hash = excluded.tx_hash"
)
"""One is there already whose bytes the signer gave later, or that an executor of before stored without naming it."""
_SAVE_SLOT = (
    slots.update()
    .where(slots.c.intent_id == sa.bindparam("of_intent"))
    .values(record=sa.bindparam("record"), is_open=sa.bindparam("is_open"), calldata=sa.bindparam("calldata"))
)

_SET_INTENT = (
    intents.update()
    .where(intents.c.intent_id == sa.bindparam("of_intent"))
    .values({name: sa.bindparam(name) for name in ("is_open", "filled_ms", "filled_version", "filled_block")})
)
_OPEN_ACCOUNT = accounts.insert()
_EVERY_SLOT = sa.select(slots, intents.c.payload, intents.c.reserved, intents.c.created_ms).join(
    intents, intents.c.intent_id == slots.c.intent_id
)

_FILLED = (intents.c.filled_ms.is_not(None), intents.c.reserved != sa.literal_column("'0'"))
"""What the index of fills has, in its words."""

_REFUSALS = frozenset({FailureReason.WOULD_REVERT, FailureReason.DENIED, FailureReason.OVER_BLOCK_GAS})
"""Why a trade is given up that would not have done what it should, whenever it had been included."""


class SlotRecord(Value):
    """What changes in the life of a slot. ``sequence`` counts its ``tx`` events, ``outcome_version`` its outcomes."""

    state: SendState
    sequence: int = 0
    outcome_version: int = 0
    fallback_fee_wei: int = 0
    """Fee cap of the first attempt when the intent has no plan (an allowance)."""
    price_impact_bps: int | None = None


@dataclass(frozen=True, slots=True)
class Untold:
    """A change that the journal has in other words, and when it happened (Unix nanoseconds)."""

    change: Change
    at_ns: int

    @classmethod
    def of(cls, step: Step, at_ns: int) -> tuple[Untold, ...]:
        """The changes of a step."""
        return tuple([cls(change, at_ns) for change in step.changes])


@dataclass(frozen=True, slots=True)
class Signed:
    """An attempt with its bytes, and when it became known (Unix nanoseconds). Without bytes it is only known of."""

    attempt: Attempt
    raw: bytes
    at_ns: int


@dataclass
class Slot:
    """One slot in memory: what the journal holds and what the signer has on record, and the lock under which it is
    moved on."""

    intent: IntentCreated
    nonce: int
    reserved: int
    record: SlotRecord
    calldata: bytes | None = None
    raws: dict[int, bytes] = field(default_factory=dict)
    patience: dict[int, Patience] = field(default_factory=dict)
    """By attempt; not stored, so that a restart sends everything once more."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    untold: tuple[Untold, ...] = ()
    """What no event has told yet, since nothing waits for that: that it was planned, as its row says, and signed, as
    the signer's record says. It is told with what is committed next."""
    unstored: tuple[Signed, ...] = ()
    """What the signer has on record and the journal does not have yet: it gets it with what is committed next."""

    def signed(self, signed: SignedAttempt, block: int, at_ns: int) -> int:
        """The signer has this attempt on record, signed at that tip if it is new; its number. It counts as it is
        recorded, and may be older than what was asked for; what another signer has under its number is another one."""
        attempt = next((one for one in self.state.attempts if one.tx_hash == signed.hash), None)
        if attempt is None:
            is_taken = signed.number in [one.number for one in self.state.attempts]
            attempt = attempt_of(replace(signed, number=self.state.next_number) if is_taken else signed, block)
            step = send_state.signed(self.state, attempt)
            self.record = self.record.model_copy(update={"state": step.state})
            if attempt.kind is AttemptKind.TRADE:
                self.calldata = signed.transaction.data
            self.untold += Untold.of(step, at_ns)
            self.unstored += (Signed(attempt, signed.raw, at_ns),)
        elif signed.raw and attempt.number not in self.raws:
            self.unstored += (Signed(attempt, signed.raw, at_ns),)
        if signed.raw:
            self.raws[attempt.number] = signed.raw
        return attempt.number

    @property
    def state(self) -> SendState:
        """Its send state."""
        return self.record.state

    @property
    def lacks_bytes(self) -> bool:
        """Whether the signer keeps the bytes of an attempt, as it does while entries are not signed."""
        return len(self.raws) < len(self.state.attempts)

    @property
    def fill(self) -> FinalFill | None:
        """The fill in which it ended; None while it is open, or where it ended otherwise."""
        return _fill(self.intent.id, self.record)

    @property
    def was_refused(self) -> bool:
        """Whether its trade reverted, or was given up because it would have. One that expired, was halted or cancelled
        says nothing about what the chain would have made of it."""
        included = self.state.included
        if included is None or self.state.is_filled:
            return False
        return self.state.attempt(included.number).kind is AttemptKind.TRADE or self.state.giving_up in _REFUSALS

    @property
    def blocks_its_token(self) -> bool:
        """Whether another trade paying with the same token must wait: until this one is in a block, nobody knows
        which Permit2 nonce comes next."""
        return self.intent.plan is not None and self.state.stage not in {Stage.INCLUDED, Stage.FINAL}


def _fill(intent_id: str, record: SlotRecord) -> FinalFill | None:
    state = record.state
    if state.is_open or state.included is None or not state.is_filled:
        return None
    return FinalFill(intent_id=intent_id, version=record.outcome_version, block=state.included.block.number)


@dataclass(frozen=True, slots=True)
class StoredIntent:
    """An open intent of either mode, or a recent one, as the reservations need it. ``fill`` is how it ended; None for
    one that is open, or ended otherwise."""

    intent: IntentCreated
    reserved: int
    is_open: bool
    created_ms: int
    fill: FinalFill | None = None


def attempt_of(signed: SignedAttempt, block: int) -> Attempt:
    """What the send state remembers of signed bytes; ``block`` is the tip they were signed at."""
    fee = FeeCap(
        max_fee_per_gas_wei=signed.transaction.max_fee_per_gas_wei,
        max_priority_fee_per_gas_wei=signed.transaction.max_priority_fee_per_gas_wei,
    )
    return Attempt(number=signed.number, kind=AttemptKind(signed.kind), tx_hash=signed.hash, fee=fee, block=block)


async def add_intent(tx: Tx, intent: IntentCreated, reserved: int) -> None:
    """Write an intent with what it reserves, and its event."""
    wire = intent.to_wire()
    await _add_intent(tx, intent, reserved, wire)
    await tx.emit(intent, wire)


async def _add_intent(tx: Tx, intent: IntentCreated, reserved: int, wire: bytes) -> None:
    row = {
        "intent_id": intent.id,
        "chain_id": intent.chain_id,
        "book_id": intent.book_id,
        "mode": intent.mode.value,
        "purpose": intent.purpose.value,
        "reserved": str(reserved),
        "is_open": True,
        "created_ms": tx.now_ms,
        "payload": wire,
    }
    await tx.run(_ADD_INTENT, row)


async def add_told_intent(tx: Tx, intent: IntentCreated, reserved: int) -> None:
    """Write an intent that was told before, with what it reserves."""
    await _add_intent(tx, intent, reserved, intent.to_wire())


async def add_slot(tx: Tx, slot: Slot) -> None:
    """Give an intent its slot, for life."""
    row = {
        "chain_id": slot.intent.chain_id,
        "account": slot.intent.account,
        "nonce": slot.nonce,
        "intent_id": slot.intent.id,
        "is_open": True,
        "record": slot.record.model_dump_json(),
        "calldata": None,
    }
    await tx.run(_ADD_SLOT, row)


async def add_attempt(tx: Tx, slot: Slot, signed: Signed) -> None:
    """Store an attempt."""
    attempt = signed.attempt
    row = {
        "intent_id": slot.intent.id,
        "number": attempt.number,
        "kind": attempt.kind.value,
        "tx_hash": attempt.tx_hash,
        "max_fee_per_gas_wei": str(attempt.fee.max_fee_per_gas_wei),
        "max_priority_fee_per_gas_wei": str(attempt.fee.max_priority_fee_per_gas_wei),
        "raw": signed.raw,
        "signed_ms": signed.at_ns // 1_000_000,
        "block": attempt.block,
    }
    await tx.run(_ADD_ATTEMPT, row)


async def save_slot(tx: Tx, slot: Slot, record: SlotRecord, calldata: bytes | None) -> None:
    """Write a slot's new record, with the attempts that are not stored. The end of the slot is the end of its intent
    and of what it reserved, and a slot that is open again opens both. An end by a fill is noted with it."""
    for signed in slot.unstored:
        await add_attempt(tx, slot, signed)
    row = {
        "of_intent": slot.intent.id,
        "record": record.model_dump_json(),
        "is_open": record.state.is_open,
        "calldata": calldata,
    }
    await tx.run(_SAVE_SLOT, row)
    if record.state.is_open != slot.state.is_open:
        await _set_intent(tx, slot.intent.id, record.state.is_open, _fill(slot.intent.id, record))


async def close_intent(tx: Tx, intent_id: str, fill: FinalFill | None) -> None:
    """The intent is at its end, perhaps in a fill."""
    await _set_intent(tx, intent_id, is_open=False, fill=fill)


async def _set_intent(tx: Tx, intent_id: str, is_open: bool, fill: FinalFill | None) -> None:
    row = {
        "of_intent": intent_id,
        "is_open": is_open,
        "filled_ms": None if fill is None else tx.now_ms,
        "filled_version": None if fill is None else fill.version,
        "filled_block": None if fill is None else fill.block,
    }
    await tx.run(_SET_INTENT, row)


async def open_account(tx: Tx, book_id: str, account: str, block: BlockRef) -> None:
    """Note with which block an account of a book begins."""
    row = {"block_number": block.number, "block_hash": block.hash, "opened_ms": tx.now_ms}
    await tx.run(_OPEN_ACCOUNT, {"book_id": book_id, "account": account, **row})


async def opened_accounts(conn: AsyncConnection) -> dict[tuple[str, str], int]:
    """The block with which each (book, account) begins."""
    rows = await conn.execute(sa.select(accounts.c.book_id, accounts.c.account, accounts.c.block_number))
    return {(row.book_id, row.account): int(row.block_number) for row in rows}


async def load_allowances(conn: AsyncConnection, chain_id: int) -> list[IntentCreated]:
    """Every intent that ever set or took back an allowance on this chain, oldest first."""
    query = (
        sa.select(intents.c.payload)
        .where(intents.c.chain_id == chain_id, intents.c.purpose == Purpose.ALLOWANCE.value)
        .order_by(intents.c.created_ms)
    )
    return [IntentCreated.from_wire(row.payload) for row in await conn.execute(query)]


async def load_open_slots(conn: AsyncConnection, chain_id: int) -> list[Slot]:
    """Every slot that is not final, in the order of accounts and nonces, with all signed bytes."""
    query = _EVERY_SLOT.where(slots.c.is_open, slots.c.chain_id == chain_id).order_by(slots.c.account, slots.c.nonce)
    return await _load(conn, query)


async def load_last_final_slots(conn: AsyncConnection, chain_id: int, most: int) -> list[Slot]:
    """The slots that became final last, by account at most so many, with all signed bytes."""
    place = sa.func.row_number().over(partition_by=slots.c.account, order_by=slots.c.nonce.desc()).label("place")
    ranked = sa.select(slots.c.intent_id, place).where(~slots.c.is_open, slots.c.chain_id == chain_id).subquery()
    last = sa.select(ranked.c.intent_id).where(ranked.c.place <= most)
    return await _load(conn, _EVERY_SLOT.where(slots.c.intent_id.in_(last)))


async def _load(conn: AsyncConnection, query: sa.Select[Any]) -> list[Slot]:
    found = {row.intent_id: _slot(row) for row in await conn.execute(query)}
    signed = sa.select(attempts).where(attempts.c.intent_id.in_(found)).order_by(attempts.c.number)
    for row in await conn.execute(signed):
        if row.raw:
            found[row.intent_id].raws[row.number] = row.raw
    return list(found.values())


def _slot(row: sa.Row[Any]) -> Slot:
    record = SlotRecord.model_validate_json(row.record)
    return Slot(
        intent=IntentCreated.from_wire(row.payload),
        nonce=row.nonce,
        reserved=int(row.reserved),
        record=record,
        calldata=row.calldata,
        untold=() if record.sequence else Untold.of(send_state.begun(record.state), row.created_ms * 1_000_000),
    )


async def has_open_slots(conn: AsyncConnection, chain_id: int) -> bool:
    """Whether any transaction of this chain is not final."""
    query = sa.select(slots.c.nonce).where(slots.c.is_open, slots.c.chain_id == chain_id).limit(1)
    return (await conn.execute(query)).first() is not None


async def highest_nonces(conn: AsyncConnection, chain_id: int) -> dict[str, tuple[int, int]]:
    """For each account the highest nonce given to an intent, and the highest of a final one (-1 for none)."""
    final = sa.func.max(sa.case((slots.c.is_open, -1), else_=slots.c.nonce))
    query = (
        sa.select(slots.c.account, sa.func.max(slots.c.nonce).label("given"), final.label("final"))
        .where(slots.c.chain_id == chain_id)
        .group_by(slots.c.account)
    )
    return {row.account: (int(row.given), int(row.final)) for row in await conn.execute(query)}


async def load_reservations(conn: AsyncConnection, chain_id: int, since_ms: int) -> list[StoredIntent]:
    """Open intents of a chain in either mode, those created since then, and of each book those filled last: as many as
    an exposure names, whenever that was."""
    mine = sa.select(intents).where(intents.c.chain_id == chain_id)
    rows = [*await conn.execute(mine.where(intents.c.is_open))]
    rows += await conn.execute(mine.where(~intents.c.is_open, intents.c.created_ms >= since_ms))
    newest = mine.where(*_FILLED).order_by(intents.c.filled_ms.desc()).limit(FILLS_TOLD)
    book = ""
    while (book := await _book_after(conn, chain_id, book) or "") != "":
        rows += await conn.execute(newest.where(intents.c.book_id == book))
    return [_stored(row) for row in {row.intent_id: row for row in rows}.values()]


async def _book_after(conn: AsyncConnection, chain_id: int, book_id: str) -> str | None:
    """The next book of a chain that was filled. To ask for one after the other is to look at none of their intents."""
    query = sa.select(intents.c.book_id).where(intents.c.chain_id == chain_id, *_FILLED, intents.c.book_id > book_id)
    found: str | None = (await conn.execute(query.order_by(intents.c.book_id).limit(1))).scalar()
    return found


def _stored(row: sa.Row[Any]) -> StoredIntent:
    intent, fill = IntentCreated.from_wire(row.payload), None
    if row.filled_ms is not None:
        # Noted by an executor that kept the time alone: any version of it is the one, in a block after the planned one.
        version, block = row.filled_version or 1, row.filled_block or intent.block.number
        fill = FinalFill(intent_id=intent.id, version=version, block=block)
    return StoredIntent(intent, int(row.reserved), bool(row.is_open), row.created_ms, fill)
