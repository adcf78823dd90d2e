"""The guard's file: opened durably and privately, brought to the present form, and made ready for quick commits."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dexlane_signer import approval_record, spending
from dexlane_signer.guard_log import MOST_PAGES

VERSION = 4
_VERSION_1 = """
CREATE TABLE slots (
    chain_id INTEGER NOT NULL, address TEXT NOT NULL, nonce INTEGER NOT NULL,
    intent_id TEXT NOT NULL UNIQUE, cancelled INTEGER NOT NULL,
    PRIMARY KEY (chain_id, address, nonce)
) STRICT, WITHOUT ROWID;
CREATE TABLE attempts (
    intent_id TEXT NOT NULL REFERENCES slots (intent_id), number INTEGER NOT NULL,
    kind TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY (intent_id, number), UNIQUE (intent_id, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE halts (
    number INTEGER PRIMARY KEY, halted INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT;
"""
_TO_VERSION_2 = """
ALTER TABLE attempts ADD COLUMN raw BLOB;
CREATE TABLE epochs (
    chain_id INTEGER NOT NULL, address TEXT NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (chain_id, address)
) STRICT, WITHOUT ROWID;
CREATE TABLE latches (
    number INTEGER PRIMARY KEY, level TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
    at_s INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER))
) STRICT;
INSERT INTO latches (number, level, source, reason, at_s)
    SELECT number, iif(halted, 'halted', 'active'), 'operator', reason, 0 FROM halts;
DROP TABLE halts;
"""
_TO_VERSION_3 = approval_record.SCHEMA + spending.SCHEMA
# Two indexes fewer to write at each signature: nobody looks a spending up by its slot, and who records an attempt has
# looked for its bytes among those before.
_TO_VERSION_4 = """
ALTER TABLE attempts RENAME TO attempts_before;
CREATE TABLE attempts (
    intent_id TEXT NOT NULL REFERENCES slots (intent_id), number INTEGER NOT NULL,
    kind TEXT NOT NULL, hash TEXT NOT NULL, raw BLOB,
    PRIMARY KEY (intent_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO attempts SELECT intent_id, number, kind, hash, raw FROM attempts_before;
DROP TABLE attempts_before;
DROP INDEX spendings_of_slot;
"""
_STEPS = (_VERSION_1, _TO_VERSION_2, _TO_VERSION_3, _TO_VERSION_4)
PAGE_BYTES = 2048
"""Of a new file. A commit writes a dozen pages in which little changed, so small ones cost less."""
_LOG_ROOM_BYTES = 4_000_000


class GuardUnavailableError(Exception):
    """The record could not be read or written, so nothing was signed. Transient: a lock, a full disk."""


@contextmanager
def unavailable() -> Iterator[None]:
    """Errors of SQLite become ``GuardUnavailableError``."""
    try:
        yield
    except sqlite3.Error as error:
        raise GuardUnavailableError(f"the nonce guard cannot be used: {error}") from error


def open_guard_file(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open or create the file with mode 0600, in the present form.

    Raises ``PermissionError`` when group or others may read or write it, ``GuardUnavailableError`` when it cannot be
    opened durably or comes from a later version.
    """
    _require_private(path)
    with unavailable():
        db = sqlite3.connect(
            path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        # WAL with FULL: one fsync at each commit; the log is copied back beside them.
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        journal = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {MOST_PAGES}")
        db.execute("PRAGMA foreign_keys = ON")
        _upgrade(db)
        _make_room(db)
    if journal != "wal":
        raise GuardUnavailableError("the file system does not support the write-ahead log of SQLite")
    return db


def _require_private(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    if mode & 0o077:
        raise PermissionError(f"{path.name} is open to group or others; run chmod 600 on it")


def _upgrade(db: sqlite3.Connection) -> None:
    """Each step is one transaction with its version number, so that a crash leaves a whole form."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise GuardUnavailableError(f"the guard's file has form {version}; use a signer newer than form {VERSION}")
    if version == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        for statement in ";".join(_STEPS[version:]).split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _make_room(db: sqlite3.Connection) -> None:
    """Let commits overwrite blocks that the write-ahead log has already: making a file longer costs the file
    system a commit of its own."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("CREATE TABLE room (filler BLOB) STRICT")
        db.execute("INSERT INTO room VALUES (zeroblob(?))", (_LOG_ROOM_BYTES,))
        db.execute("DROP TABLE room")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    db.execute("PRAGMA wal_checkpoint(RESTART)")
