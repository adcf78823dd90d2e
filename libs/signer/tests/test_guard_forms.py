"""Records of earlier forms are brought forward whole: whatever was signed, used, spent and halted holds on."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from dexlane_signer import (
    Approver,
    Attempt,
    DenialReason,
    GuardUnavailableError,
    Latch,
    Level,
    LocalSigner,
    NonceGuard,
    Policy,
    SignedAttempt,
    SignedBefore,
    SigningDenied,
    SignRequest,
    Slot,
    TokenLimit,
)

from .conftest import KEY, NOW_S, US, USDC, program, transaction, v3
from .test_approvals import sealed

FORM_1 = """
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
FORM_2 = """
CREATE TABLE slots (
    chain_id INTEGER NOT NULL, address TEXT NOT NULL, nonce INTEGER NOT NULL,
    intent_id TEXT NOT NULL UNIQUE, cancelled INTEGER NOT NULL,
    PRIMARY KEY (chain_id, address, nonce)
) STRICT, WITHOUT ROWID;
CREATE TABLE attempts (
    intent_id TEXT NOT NULL REFERENCES slots (intent_id), number INTEGER NOT NULL,
    kind TEXT NOT NULL, hash TEXT NOT NULL, raw BLOB,
    PRIMARY KEY (intent_id, number), UNIQUE (intent_id, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE epochs (
    chain_id INTEGER NOT NULL, address TEXT NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (chain_id, address)
) STRICT, WITHOUT ROWID;
CREATE TABLE latches (
    number INTEGER PRIMARY KEY, level TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
    at_s INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER))
) STRICT;
"""
FORM_3 = (
    FORM_2
    + """
CREATE TABLE approvals (
    chain_id INTEGER NOT NULL, address TEXT NOT NULL, approval_id TEXT NOT NULL, intent_id TEXT NOT NULL,
    PRIMARY KEY (chain_id, address, approval_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE spendings (
    number INTEGER PRIMARY KEY, chain_id INTEGER NOT NULL, address TEXT NOT NULL, nonce INTEGER NOT NULL,
    at_s INTEGER NOT NULL, meter TEXT NOT NULL, amount TEXT NOT NULL
) STRICT;
CREATE INDEX spendings_of_slot ON spendings (chain_id, address, nonce);
"""
)
FORMS = {1: FORM_1, 2: FORM_2, 3: FORM_3}

TRADE, BUMP = transaction(nonce=7), transaction(nonce=7, max_fee_per_gas_wei=30 * 10**9)
OLDER = transaction(nonce=8)
CANCEL = transaction(nonce=8, to=KEY.address, data=b"", max_fee_per_gas_wei=30 * 10**9)


def write(path: Path, form: int) -> None:
    """A record as a signer of that form left it: intent ``a`` with a trade and its bump at nonce 7, intent ``b``
    cancelled at nonce 8, and REDUCING, or HALTED in the first form, which knew nothing else."""
    path.touch(0o600)
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(FORMS[form])
    us = (1, KEY.address)
    db.executemany("INSERT INTO slots VALUES (?, ?, ?, ?, ?)", [(*us, 7, "a", 0), (*us, 8, "b", 1)])
    attempts = (("a", 1, "trade", TRADE), ("a", 2, "trade", BUMP), ("b", 1, "trade", OLDER), ("b", 4, "cancel", CANCEL))
    for intent, number, kind, made in attempts:
        signed = KEY.sign_transaction(made)
        row = (intent, number, kind, signed.hash)
        if form == 1:
            db.execute("INSERT INTO attempts VALUES (?, ?, ?, ?)", row)
        else:
            db.execute("INSERT INTO attempts VALUES (?, ?, ?, ?, ?)", (*row, signed.raw))
    if form == 1:
        db.executemany("INSERT INTO halts (halted, reason) VALUES (?, ?)", [(1, "drill"), (0, "over"), (1, "fire")])
    else:
        db.execute("INSERT INTO epochs VALUES (?, ?, 5)", us)
        words = [("halted", "api", "drill", 10), ("active", "operator", "over", 20), ("reducing", "bus", "losses", 30)]
        db.executemany("INSERT INTO latches (level, source, reason, at_s) VALUES (?, ?, ?, ?)", words)
    if form == 3:
        db.execute("INSERT INTO approvals VALUES (?, ?, ?, 'a')", (*us, "ab" * 16))
        rows = [(7, USDC, "60"), (7, USDC, "40"), (7, "trades", "1"), (8, "gas", str(10**30))]
        db.executemany(
            "INSERT INTO spendings (chain_id, address, nonce, at_s, meter, amount) VALUES (1, ?, ?, ?, ?, ?)",
            [(KEY.address, nonce, NOW_S - 60, meter, amount) for nonce, meter, amount in rows],
        )
    db.execute(f"PRAGMA user_version = {form}")
    db.commit()
    db.close()


def asked(intent: str, nonce: int, number: int | None = None, **changes: Any) -> SignRequest:
    """A trade that no attempt of the record is."""
    made = transaction(nonce=nonce, max_fee_per_gas_wei=40 * 10**9, **changes)
    return SignRequest(
        sender=KEY.address, intent_id=intent, kind="trade", transaction=made, epoch=5, attempt=number, approval=sealed()
    )


def reason(signer: LocalSigner, request: SignRequest) -> DenialReason | None:
    try:
        signer.sign_transaction(request)
    except SigningDenied as denied:
        return denied.reason
    return None


def holds(path: Path, form: int, policy: Policy) -> None:
    """Everything that the record of a form knew is known."""
    guard = NonceGuard(path)
    signer = LocalSigner([KEY], [policy], guard, clock_s=lambda: NOW_S)
    made = {(1, TRADE), (2, BUMP)}
    signed = {number: KEY.sign_transaction(one) for number, one in made}
    assert guard.attempts("a") == tuple(Attempt(number, "trade", signed[number].hash) for number in (1, 2))
    assert [(attempt.number, attempt.kind) for attempt in guard.attempts("b")] == [(1, "trade"), (4, "cancel")]
    assert guard.slot_of("a") == Slot(1, KEY.address, 7)
    assert guard.highest_nonce(1, KEY.address) == 8
    latches = guard.latches()
    assert len(latches) == 3
    last = Latch(Level.HALTED, "operator", "fire", 0) if form == 1 else Latch(Level.REDUCING, "bus", "losses", 30)
    assert latches[-1] == guard.latch() == last
    assert reason(signer, asked("c", 9)) is DenialReason.HALTED
    guard.resume("looked into")
    assert reason(signer, asked("c", 7)) is DenialReason.SLOT_TAKEN
    assert reason(signer, asked("a", 9)) is DenialReason.INTENT_HAS_SLOT
    assert reason(signer, asked("b", 8)) is DenialReason.SLOT_CANCELLED
    if form > 1:
        for number, one in signed.items():
            given = signer.sign_transaction(asked("a", 7, number))
            assert given == SignedAttempt.from_raw(one.raw, number=number, kind="trade")
        assert guard.refusal(1, KEY.address, 4, is_entry=False) is not None, "the epoch is known"
        assert guard.refusal(1, KEY.address, 5, is_entry=False) is None
        assert guard.signed_from(Slot(1, KEY.address, 0), 0, 5) == SignedBefore(
            "a", signer.sign_transaction(asked("a", 7, 1))
        )
    else:
        with pytest.raises(GuardUnavailableError, match="without its bytes"):
            guard.signed_from(Slot(1, KEY.address, 0), 0, 0)
    if form == 3:
        assert reason(signer, asked("c", 9)) is DenialReason.APPROVAL_USED
        more = asked("a", 7, data=program(v3(US, 101, 1)))
        assert reason(signer, more) is DenialReason.HOUR_CAP_TOKEN, "what was spent is known"
    assert signer.sign_transaction(asked("a", 7)).number == 3
    guard.close()


@pytest.fixture
def strict(make_policy: Callable[..., Policy]) -> Policy:
    keys = {approver: bytes(SigningKey(bytes([approver]) * 32).verify_key) for approver in Approver}
    limit = TokenLimit(max_allowance=10_000, max_trade=1_000, max_hour=100)
    return make_policy(approvers=keys, tokens={USDC: limit})


@pytest.mark.parametrize("form", FORMS)
def test_a_record_of_an_earlier_form_is_brought_forward_with_all_it_knows(
    tmp_path: Path, strict: Policy, form: int
) -> None:
    path = tmp_path / "guard.db"
    write(path, form)
    holds(path, form, strict)
    guard = NonceGuard(path)
    assert len(guard.attempts("a")) == 3, "and it is opened again as it is"
    guard.close()


OPEN = """
import os, pathlib, sqlite3, sys
from dexlane_signer import NonceGuard

def killed_at(path, count):
    connect, left = sqlite3.connect, iter(range(count))
    def traced(*arguments, **named):
        db = connect(*arguments, **named)
        db.set_trace_callback(lambda _: None if next(left, None) is not None else os._exit(9))
        return db
    sqlite3.connect = traced
    NonceGuard(path)
    os._exit(0)

for count, path in enumerate(sys.argv[1:]):
    child = os.fork()
    if not child:
        killed_at(pathlib.Path(path), count)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""Opens each record in a process of its own, which dies before its first, second, third statement and so on."""


@pytest.mark.parametrize("form", FORMS)
def test_a_signer_that_dies_while_a_record_is_brought_forward_loses_nothing(
    tmp_path: Path, strict: Policy, form: int
) -> None:
    paths = [tmp_path / f"guard-{count}.db" for count in range(45)]
    for path in paths:
        write(path, form)
    command = [sys.executable, "-c", OPEN, *map(str, paths)]
    codes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    died = codes.count("9")
    assert codes == ["9"] * died + ["0"] * (len(paths) - died)
    assert 12 < died < len(paths), "it died at every statement, and was not killed in the end"
    for path in paths[: died + 1]:
        holds(path, form, strict)
