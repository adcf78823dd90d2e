"""The nonce guard: a durable record of what each slot (chain, address, nonce) was signed for.

Modelled on the slashing protection of validators: whoever asks, whatever restarted, and however old the
asker's database is, one slot serves one intent for life and one intent has one slot. The signed bytes are on disk
before they leave the signer.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from dexlane_signer.addresses import normal_address
from dexlane_signer.attempts import Asked, Attempt, SignedAttempt, SignedBefore, Slot
from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.guard_file import GuardUnavailableError, open_guard_file, unavailable
from dexlane_signer.guard_log import LogCopying
from dexlane_signer.latch import Latch, Level
from dexlane_signer.policy import Kind
from dexlane_signer.spending import Spending
from dexlane_signer.transactions import DynamicFeeTransaction

Condition: TypeAlias = Callable[[sqlite3.Connection], Denial | None]
"""A further record that must agree inside the guard's transaction. What it writes is undone if anything is refused."""

OPEN_SLOTS_BELOW = 16
"""How far below the highest signed nonce a slot may be opened for a trade: slots that one executor has open at once are
signed in any order. Further down only cancels are, so that a gap can be closed and an old journal signs nothing."""
_LAST_LATCH = "SELECT level, source, reason, at_s FROM latches ORDER BY number DESC LIMIT 1"
# Each question of a signature is one statement: a trade waits for them.
_STANDING = """
SELECT level, source, reason, at_s, coalesce(epoch, 0)
FROM (SELECT max(number) AS last FROM latches) LEFT JOIN latches ON number = last
LEFT JOIN epochs ON chain_id = ? AND address = ?
"""
"""The last latch, and the highest epoch of an account."""
_OWNERS = """
SELECT here.intent_id, here.cancelled, own.chain_id, own.nonce,
    (SELECT max(nonce) FROM slots WHERE chain_id = ? AND address = ?)
FROM (SELECT 1) LEFT JOIN slots AS here ON here.chain_id = ? AND here.address = ? AND here.nonce = ?
LEFT JOIN slots AS own ON own.intent_id = ?
"""
"""Whose a slot is and whether it was cancelled, which slot an intent has, and the highest nonce of the account."""
_FROM = """
SELECT intent_id, number, kind, raw, nonce FROM slots JOIN attempts USING (intent_id)
WHERE chain_id = ? AND address = ? AND (nonce, number) >= (?, ?) ORDER BY nonce, number LIMIT 1
"""
_RAISE_EPOCH = "INSERT INTO epochs VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET epoch = excluded.epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a new attempt goes. ``is_on_record`` is one of the first form, known by its hash and without bytes."""

    number: int
    is_new_slot: bool = False
    is_on_record: bool = False
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class _Standing:
    """What holds for every signature of an account: the latch, and the highest epoch that was ever asked for."""

    latch: Latch
    epoch: int

    def refusal(self, *, is_cancel: bool, is_entry: bool, epoch: int) -> Denial | None:
        """Why nothing may be signed for that epoch now; ``None`` when something may."""
        if self.latch.level.stops(is_cancel=is_cancel, is_entry=is_entry):
            return Denial(DenialReason.HALTED, self.latch.sentence)
        if epoch >= self.epoch:
            return None
        sentence = f"epoch {epoch} was followed by {self.epoch}: another executor took over"
        return Denial(DenialReason.STALE_EPOCH, sentence)


class NonceGuard:
    """Admits signatures slot by slot. Safe for several threads, and for several processes on one file."""

    def __init__(self, path: Path, *, busy_timeout_s: float = 5.0) -> None:
        """Open or create the file with mode 0600.

        Raises ``PermissionError`` when group or others may read or write it, ``GuardUnavailableError`` when it cannot
        be opened durably.
        """
        self._lock = threading.Lock()
        self.spending = Spending()
        self._db = open_guard_file(path, busy_timeout_s)
        self._log = LogCopying(path)

    def admit(
        self, slot: Slot, asked: Asked, signed: SignedAttempt, conditions: Sequence[Condition] = ()
    ) -> Denial | SignedAttempt:
        """Record ``signed`` for the slot, and return what may be handed out now that it is on disk; or say why not.

        The first admission gives the slot to the intent. Later ones must come from the same intent. A number that was
        signed before gives the transaction recorded then, whatever is asked for now, and costs no write; so does the
        same transaction under any number. A cancel never gives a trade back: where its number was used for a trade it
        takes the next free one. After a cancel no new trade is admitted. A lower epoch than the highest seen for the
        account is refused. While halted only cancels are admitted, while reducing no entries. What is newly
        signed must also meet every condition. Raises ``GuardUnavailableError`` with nothing recorded.
        """
        with self._transaction() as db:
            standing = self._standing(slot.chain_id, slot.address)
            place = self._place(slot, asked, signed.transaction, standing, signed.hash)
            outcome = self._record(slot, asked, signed, place) if isinstance(place, _Place) else place
            # A transaction that was signed before was counted then, and is on its way perhaps: it is given back.
            if isinstance(place, _Place) and not place.is_on_record:
                refusals = (condition(db) for condition in conditions)
                outcome = next((refusal for refusal in refusals if refusal is not None), outcome)
            if isinstance(outcome, Denial):
                db.execute("ROLLBACK")
            elif asked.epoch > standing.epoch:
                db.execute(_RAISE_EPOCH, (slot.chain_id, slot.address, asked.epoch))
        return outcome

    def recorded(self, slot: Slot, asked: Asked, transaction: DynamicFeeTransaction) -> Denial | SignedAttempt | None:
        """What ``admit`` would answer already without a signature; ``None`` when it needs one.

        For keys that lie elsewhere: they are not asked for what cannot be admitted, and never twice for what is on
        record, because their signatures of one transaction differ.
        """
        with self._lock, unavailable():
            found = self._place(slot, asked, transaction, self._standing(slot.chain_id, slot.address))
        return None if isinstance(found, _Place) else found

    def _place(
        self,
        slot: Slot,
        asked: Asked,
        transaction: DynamicFeeTransaction,
        standing: _Standing,
        hash_: str | None = None,
    ) -> Denial | SignedAttempt | _Place:
        refusal = standing.refusal(is_cancel=asked.kind == "cancel", is_entry=asked.is_entry, epoch=asked.epoch)
        if refusal is not None:
            return refusal
        account = (slot.chain_id, slot.address)
        row = self._db.execute(_OWNERS, (*account, *account, slot.nonce, asked.intent_id)).fetchone()
        owner, cancelled, *own, highest = row
        if owner is None:
            return _new_slot(slot, asked, own, highest)
        if owner != asked.intent_id:
            return Denial(DenialReason.SLOT_TAKEN, f"nonce {slot.nonce} belongs to intent {owner}")
        return self._next_attempt(asked, transaction, hash_, cancelled=bool(cancelled))

    def refusal(self, chain_id: int, address: str, epoch: int, *, is_entry: bool) -> Denial | None:
        """Why nothing may be signed, or told of what was, now; ``None`` when something may."""
        with self._lock, unavailable():
            standing = self._standing(chain_id, normal_address(address))
            return standing.refusal(is_cancel=False, is_entry=is_entry, epoch=epoch)

    def halt(self, reason: str, *, level: Level = Level.HALTED, source: str = "operator") -> bool:
        """Latch: from now on, restarts included, only what ``level`` allows is admitted. Never loosens; whether it
        tightened. ``reason`` must say something."""
        return self._set_latch(Latch(level, source, reason))

    def resume(self, reason: str, *, source: str = "operator") -> None:
        """Release the latch. ``reason`` must say something; it is kept."""
        self._set_latch(Latch(Level.ACTIVE, source, reason))

    def latch(self) -> Latch:
        """What holds now."""
        with self._lock, unavailable():
            return _latch(self._db)

    def latches(self) -> tuple[Latch, ...]:
        """Every halt and every release there ever was, oldest first."""
        with self._lock, unavailable():
            rows = self._db.execute("SELECT level, source, reason, at_s FROM latches ORDER BY number").fetchall()
        return tuple(Latch(Level(row[0]), *row[1:]) for row in rows)

    def slot_of(self, intent_id: str) -> Slot | None:
        """The slot of an intent, for an executor that lost its own record."""
        with self._lock, unavailable():
            row = self._db.execute(
                "SELECT chain_id, address, nonce FROM slots WHERE intent_id = ?", (intent_id,)
            ).fetchone()
        return Slot(*row) if row else None

    def attempts(self, intent_id: str) -> tuple[Attempt, ...]:
        """Everything ever signed for an intent, oldest first."""
        with self._lock, unavailable():
            rows = self._db.execute(
                "SELECT number, kind, hash FROM attempts WHERE intent_id = ? ORDER BY number", (intent_id,)
            ).fetchall()
        return tuple(Attempt(*row) for row in rows)

    def signed_from(self, first: Slot, number: int, epoch: int) -> Denial | SignedBefore | None:
        """The first attempt of an account at or after one, in the order of nonces and numbers; ``None`` when there is
        none. From now on nothing is signed for a lower epoch, so that what was told stays all there is of it.
        ``GuardUnavailableError`` for an attempt of the first form, of which there are no bytes."""
        account = (first.chain_id, first.address)
        with self._transaction() as db:
            standing = self._standing(*account)
            refusal = standing.refusal(is_cancel=True, is_entry=False, epoch=epoch)
            if refusal is not None:
                return refusal
            if epoch > standing.epoch:
                db.execute(_RAISE_EPOCH, (*account, epoch))
            row = db.execute(_FROM, (*account, first.nonce, number)).fetchone()
        if row is None:
            return None
        intent_id, number, kind, raw, nonce = row
        if raw is None:
            raise GuardUnavailableError(f"what was signed for nonce {nonce} is on record without its bytes")
        return SignedBefore(intent_id, SignedAttempt.from_raw(raw, number=number, kind=kind))

    def highest_nonce(self, chain_id: int, address: str) -> int | None:
        """The highest nonce ever signed for an account, or ``None``: a restored backup must agree with it."""
        with self._lock, unavailable():
            return _highest(self._db, chain_id, normal_address(address))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._log.stop()
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock from the first read on, and commit only what changed something."""
        with self._lock, unavailable():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                if self._db.in_transaction:
                    self._db.execute("COMMIT")
                    self._log.committed()
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _standing(self, chain_id: int, address: str) -> _Standing:
        *latch, epoch = self._db.execute(_STANDING, (chain_id, address)).fetchone()
        return _Standing(_latch_of(latch), epoch)

    def _next_attempt(
        self, asked: Asked, transaction: DynamicFeeTransaction, hash_: str | None, *, cancelled: bool
    ) -> Denial | SignedAttempt | _Place:
        rows = self._db.execute(
            "SELECT number, kind, hash, raw FROM attempts WHERE intent_id = ?", (asked.intent_id,)
        ).fetchall()
        for number, kind, known, raw in rows:
            # Attempts of the first form have no bytes: what was signed cannot be given back, unless it was signed anew.
            if raw is None:
                if known == hash_:
                    return _Place(number=number, kind=kind, is_on_record=True)
            elif transaction.is_signed_in(raw) or (
                number == asked.number and not (asked.kind == "cancel" and kind == "trade")
            ):
                return SignedAttempt.from_raw(raw, number=number, kind=kind)
        if cancelled and asked.kind != "cancel":
            return Denial(DenialReason.SLOT_CANCELLED, "a cancel was signed for this nonce, so no new trade may be")
        numbers = {row[0] for row in rows}
        free = asked.number is not None and asked.number not in numbers
        return _Place(number=asked.number if asked.number and free else max(numbers) + 1)

    def _record(self, slot: Slot, asked: Asked, signed: SignedAttempt, place: _Place) -> SignedAttempt:
        if place.is_on_record:
            return replace(signed, number=place.number, kind=place.kind or signed.kind)
        if place.is_new_slot:
            self._db.execute(
                "INSERT INTO slots VALUES (?, ?, ?, ?, ?)",
                (slot.chain_id, slot.address, slot.nonce, asked.intent_id, asked.kind == "cancel"),
            )
        elif asked.kind == "cancel":
            self._db.execute("UPDATE slots SET cancelled = 1 WHERE intent_id = ?", (asked.intent_id,))
        self._db.execute(
            "INSERT INTO attempts VALUES (?, ?, ?, ?, ?)",
            (asked.intent_id, place.number, signed.kind, signed.hash, signed.raw),
        )
        return signed if signed.number == place.number else replace(signed, number=place.number)

    def _set_latch(self, wanted: Latch) -> bool:
        if not wanted.reason.strip():
            raise ValueError("halting and resuming need a reason")
        with self._transaction() as db:
            if wanted.level is not Level.ACTIVE and _latch(db).level.severity >= wanted.level.severity:
                return False
            db.execute(
                "INSERT INTO latches (level, source, reason) VALUES (?, ?, ?)",
                (wanted.level, wanted.source, wanted.reason),
            )
            return True


def _new_slot(slot: Slot, asked: Asked, own: Sequence[int | None], highest: int | None) -> Denial | _Place:
    """``own`` are chain and nonce of the slot that the intent has already, if it has one."""
    if own[0] is not None:
        return Denial(DenialReason.INTENT_HAS_SLOT, f"the intent already owns nonce {own[1]} on chain {own[0]}")
    if asked.kind != "cancel" and highest is not None and slot.nonce < highest - OPEN_SLOTS_BELOW:
        sentence = f"nonce {slot.nonce} lies far below {highest}, the highest signed; only its cancel would be signed"
        return Denial(DenialReason.BELOW_HIGH_WATER, sentence)
    return _Place(number=asked.number or 1, is_new_slot=True)


def _latch(db: sqlite3.Connection) -> Latch:
    row = db.execute(_LAST_LATCH).fetchone()
    return Latch() if row is None else _latch_of(row)


def _latch_of(row: Sequence[Any]) -> Latch:
    return Latch() if row[0] is None else Latch(Level(row[0]), *row[1:])


def _highest(db: sqlite3.Connection, chain_id: int, address: str) -> int | None:
    query = "SELECT max(nonce) FROM slots WHERE chain_id = ? AND address = ?"
    value = db.execute(query, (chain_id, address)).fetchone()[0]
    return None if value is None else int(value)
