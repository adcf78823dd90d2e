"""The nonce guard: a durable record of what each slot (chain, address, nonce) was signed for.

Modelled on the slashing protection of validators: whoever asks, whatever restarted, and however old the
asker's database is, one slot serves one intent for life and one intent has one slot. The record is on disk
before signed bytes leave the signer.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from dexlane_signer import approval_record, spending
from dexlane_signer.addresses import normal_address
from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.policy import Kind

_SCHEMA = """
CREATE TABLE IF NOT EXISTS slots (
    chain_id INTEGER NOT NULL, address TEXT NOT NULL, nonce INTEGER NOT NULL,
    intent_id TEXT NOT NULL UNIQUE, cancelled INTEGER NOT NULL,
    PRIMARY KEY (chain_id, address, nonce)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
    intent_id TEXT NOT NULL REFERENCES slots (intent_id), number INTEGER NOT NULL,
    kind TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY (intent_id, number), UNIQUE (intent_id, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS halts (
    number INTEGER PRIMARY KEY, halted INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT;
PRAGMA user_version = 1;
"""
_LOG_ROOM_BYTES = 4_000_000
_LAST_HALT = "SELECT halted, reason FROM halts ORDER BY number DESC LIMIT 1"

Condition: TypeAlias = Callable[[sqlite3.Connection], Denial | None]
"""A further record that must agree inside the guard's transaction. What it writes is undone if anything is refused."""


class GuardUnavailableError(Exception):
    """The record could not be read or written, so nothing was signed. Transient: a lock, a full disk."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in the order of an account's transactions. ``nonce`` fits 63 bits."""

    chain_id: int
    address: str
    nonce: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", normal_address(self.address))
        if not (0 < self.chain_id < 1 << 63 and 0 <= self.nonce < 1 << 63):
            raise ValueError("chain_id must be positive, nonce must not be negative, and both fit 63 bits")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction of an intent; numbers count from 1."""

    number: int
    kind: str
    hash: str


class NonceGuard:
    """Admits signatures slot by slot. Safe for several threads, and for several processes on one file."""

    def __init__(self, path: Path, *, busy_timeout_s: float = 5.0) -> None:
        """Open or create the file with mode 0600.

        Raises ``PermissionError`` when group or others may write it, ``GuardUnavailableError`` when it cannot
        be opened durably.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        if mode & 0o022:
            raise PermissionError(f"{path.name} may be written by group or others; run chmod 600 on it")
        self._lock = threading.Lock()
        self.spending = spending.Spending()
        with _unavailable():
            self._db = sqlite3.connect(
                path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=64
            )
            # WAL with FULL: one fsync at each commit, none elsewhere but at the rare checkpoint.
            journal = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(_SCHEMA + approval_record.SCHEMA + spending.SCHEMA)
            self._make_room()
        if journal != "wal":
            raise GuardUnavailableError("the file system does not support the write-ahead log of SQLite")

    def admit(
        self, slot: Slot, intent_id: str, kind: Kind, *, signed_hash: str, conditions: Sequence[Condition] = ()
    ) -> Denial | None:
        """Record ``signed_hash`` for the slot, on disk when this returns ``None``; or say why it is refused.

        The first admission gives the slot to the intent. Later ones must come from the same intent: another
        hash is a replacement, the same hash is a repetition that costs no write. After a cancel only cancels,
        and hashes already signed, are admitted. While halted only cancels are. Every condition is asked in the same
        transaction. Raises ``GuardUnavailableError`` with nothing recorded.
        """
        with self._transaction() as db:
            denial = self._admit(slot, intent_id, kind, signed_hash=signed_hash)
            for condition in conditions:
                denial = denial or condition(db)
            if denial is not None:
                db.execute("ROLLBACK")
        return denial

    def _admit(self, slot: Slot, intent_id: str, kind: Kind, *, signed_hash: str) -> Denial | None:
        halted, reason = self._db.execute(_LAST_HALT).fetchone() or (0, "")
        if halted and kind != "cancel":
            return Denial(DenialReason.HALTED, f"the signer is halted: {reason}")
        key = (slot.chain_id, slot.address, slot.nonce)
        row = self._db.execute(
            "SELECT intent_id, cancelled FROM slots WHERE chain_id = ? AND address = ? AND nonce = ?", key
        ).fetchone()
        if row is None:
            return self._open_slot(slot, intent_id, kind, signed_hash=signed_hash)
        if row[0] != intent_id:
            return Denial(DenialReason.SLOT_TAKEN, f"nonce {slot.nonce} belongs to intent {row[0]}")
        return self._replace(intent_id, kind, signed_hash, cancelled=bool(row[1]))

    def halt(self, reason: str) -> None:
        """Latch: from now on, restarts included, only cancels are admitted. ``reason`` must say something."""
        self._record_halt(reason, halted=True)

    def resume(self, reason: str) -> None:
        """Release the latch. ``reason`` must say something; it is kept."""
        self._record_halt(reason, halted=False)

    def halt_reason(self) -> str | None:
        """Why the signer is halted, or ``None``."""
        with self._lock, _unavailable():
            halted, reason = self._db.execute(_LAST_HALT).fetchone() or (0, "")
        return reason if halted else None

    def slot_of(self, intent_id: str) -> Slot | None:
        """The slot of an intent, for an executor that lost its own record."""
        with self._lock, _unavailable():
            row = self._db.execute(
                "SELECT chain_id, address, nonce FROM slots WHERE intent_id = ?", (intent_id,)
            ).fetchone()
        return Slot(*row) if row else None

    def attempts(self, intent_id: str) -> tuple[Attempt, ...]:
        """Everything ever signed for an intent, oldest first."""
        with self._lock, _unavailable():
            rows = self._db.execute(
                "SELECT number, kind, hash FROM attempts WHERE intent_id = ? ORDER BY number", (intent_id,)
            ).fetchall()
        return tuple(Attempt(*row) for row in rows)

    def highest_nonce(self, chain_id: int, address: str) -> int | None:
        """The highest nonce ever signed for an account, or ``None``: a restored backup must agree with it."""
        with self._lock, _unavailable():
            row = self._db.execute(
                "SELECT max(nonce) FROM slots WHERE chain_id = ? AND address = ?", (chain_id, normal_address(address))
            ).fetchone()
        return None if row[0] is None else int(row[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _make_room(self) -> None:
        """Let commits overwrite blocks that the write-ahead log has already: making a file longer costs the file
        system a commit of its own."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("CREATE TABLE room (filler BLOB) STRICT")
            self._db.execute("INSERT INTO room VALUES (zeroblob(?))", (_LOG_ROOM_BYTES,))
            self._db.execute("DROP TABLE room")
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        self._db.execute("PRAGMA wal_checkpoint(RESTART)")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock from the first read on, and commit only what changed something."""
        with self._lock, _unavailable():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                if self._db.in_transaction:
                    self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _open_slot(self, slot: Slot, intent_id: str, kind: Kind, *, signed_hash: str) -> Denial | None:
        held = self._db.execute("SELECT chain_id, nonce FROM slots WHERE intent_id = ?", (intent_id,)).fetchone()
        if held is not None:
            return Denial(DenialReason.INTENT_HAS_SLOT, f"the intent already owns nonce {held[1]} on chain {held[0]}")
        self._db.execute(
            "INSERT INTO slots VALUES (?, ?, ?, ?, ?)",
            (slot.chain_id, slot.address, slot.nonce, intent_id, kind == "cancel"),
        )
        self._db.execute("INSERT INTO attempts VALUES (?, 1, ?, ?)", (intent_id, kind, signed_hash))
        return None

    def _replace(self, intent_id: str, kind: Kind, signed_hash: str, *, cancelled: bool) -> Denial | None:
        known, count = self._db.execute(
            "SELECT coalesce(sum(hash = ?), 0), count(*) FROM attempts WHERE intent_id = ?", (signed_hash, intent_id)
        ).fetchone()
        if known:
            return None
        if cancelled and kind != "cancel":
            return Denial(DenialReason.SLOT_CANCELLED, "a cancel was signed for this nonce, so no new trade may be")
        if kind == "cancel" and not cancelled:
            self._db.execute("UPDATE slots SET cancelled = 1 WHERE intent_id = ?", (intent_id,))
        self._db.execute("INSERT INTO attempts VALUES (?, ?, ?, ?)", (intent_id, count + 1, kind, signed_hash))
        return None

    def _record_halt(self, reason: str, *, halted: bool) -> None:
        if not reason.strip():
            raise ValueError("halting and resuming need a reason")
        with self._transaction() as db:
            db.execute("INSERT INTO halts (halted, reason) VALUES (?, ?)", (halted, reason))


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise GuardUnavailableError(f"the nonce guard cannot be used: {error}") from error
