"""Each check of the signers' records notices the breach that it is there for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crash_evidence import Journals, MinedTransaction, OurChain
from crash_signatures import signatures
from crash_signers import SignerRecords
from dexlane_signer import Asked, DynamicFeeTransaction, NonceGuard, PrivateKey, SignedAttempt, Slot

KEY = PrivateKey.from_hex("11" * 32)
ROUTER = "0x" + "cc" * 20
TRADE = DynamicFeeTransaction(
    chain_id=1,
    nonce=4,
    max_priority_fee_per_gas_wei=100,
    max_fee_per_gas_wei=1_000,
    gas_limit=200_000,
    to=ROUTER,
    value_wei=0,
    data=b"a trade",
)
BUMPED = replace(TRADE, max_priority_fee_per_gas_wei=113, max_fee_per_gas_wei=1_130)
CANCEL = replace(
    BUMPED, max_priority_fee_per_gas_wei=128, max_fee_per_gas_wei=1_277, gas_limit=21_000, to=KEY.address, data=b""
)


@dataclass
class World:
    """A trade, its replacement and its cancel, as the signer's record, the journal and the chain have them."""

    path: Path
    guard: NonceGuard

    def __post_init__(self) -> None:
        """All agree."""
        self.attempts: list[dict[str, Any]] = []
        self.slots = [{"intent_id": "live", "account": KEY.address, "nonce": 4}]
        self.mined: list[MinedTransaction] = []
        for number, transaction in enumerate((TRADE, BUMPED, CANCEL), 1):
            signed = KEY.sign_transaction(transaction)
            kind = "cancel" if transaction is CANCEL else "trade"
            attempt = SignedAttempt(raw=signed.raw, hash=signed.hash, number=number, kind=kind, transaction=transaction)
            asked = Asked(intent_id="live", kind=kind, number=number)
            assert self.guard.admit(Slot(1, KEY.address, 4), asked, attempt) == attempt
            journalled = {"number": number, "kind": kind, "tx_hash": signed.hash, "raw": signed.raw}
            self.attempts.append({"intent_id": "live", **journalled})
        self.mined.append(MinedTransaction(self.attempts[1]["tx_hash"], KEY.address, 4, 7, succeeded=True))

    def violations(self) -> list[str]:
        journals = cast("Journals", SimpleNamespace(slots=self.slots, attempts=self.attempts))
        chain = OurChain(None, mined=self.mined)  # type: ignore[arg-type]
        return list(signatures(SignerRecords.read([self.path]), journals, chain))

    def damage(self, statement: str, *values: Any) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(statement, values)
        connection.close()

    def sign_instead(self, number: int, transaction: DynamicFeeTransaction) -> None:
        """Journal and record have another payload."""
        signed = KEY.sign_transaction(transaction)
        self.damage("UPDATE attempts SET hash = ?, raw = ? WHERE number = ?", signed.hash, signed.raw, number)
        self.attempts[number - 1] |= {"tx_hash": signed.hash, "raw": signed.raw}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    guard = NonceGuard(tmp_path / "guard.db")
    yield World(tmp_path / "guard.db", guard)
    guard.close()


def test_records_that_agree_have_no_violation(world: World) -> None:
    assert world.violations() == []


def test_what_was_signed_and_never_journalled_is_no_breach(world: World) -> None:
    del world.attempts[2]
    assert world.violations() == []


def test_an_attempt_whose_bytes_the_signer_kept_is_no_breach(world: World) -> None:
    world.attempts[1]["raw"] = b""
    assert world.violations() == []


@pytest.mark.parametrize(
    ("breach", "sentence"),
    [
        (lambda world: world.damage("DELETE FROM attempts WHERE number = 3"), "not on record with its signer"),
        (lambda world: world.slots.clear(), "the journal says nothing"),
        (lambda world: world.slots[0].update(nonce=5), "signed for intent live"),
        (lambda world: world.attempts[0].update(raw=b"other bytes"), "not on record with its signer"),
        (lambda world: world.attempts[0].update(raw=b"", tx_hash="0x99"), "not on record with its signer"),
        (lambda world: world.sign_instead(2, replace(BUMPED, data=b"another trade")), "different trades"),
        (lambda world: world.sign_instead(2, replace(BUMPED, max_fee_per_gas_wei=1_099)), "too little more"),
        (lambda world: world.sign_instead(2, replace(BUMPED, max_priority_fee_per_gas_wei=109)), "too little more"),
        (lambda world: world.sign_instead(3, replace(CANCEL, nonce=5)), "not what their record says"),
        (lambda world: world.sign_instead(3, replace(CANCEL, data=b"!")), "more than cancel"),
        (lambda world: world.sign_instead(3, replace(CANCEL, to=ROUTER)), "more than cancel"),
        (lambda world: world.mined.append(MinedTransaction("0x99", KEY.address, 5, 8, succeeded=True)), "is signed"),
        (lambda world: world.guard.halt("nobody said so"), "a signer is held"),
    ],
)
def test_each_breach_is_noticed(world: World, breach: Callable[[World], object], sentence: str) -> None:
    breach(world)
    assert any(sentence in found for found in world.violations())


def test_a_trade_after_the_cancel_is_noticed(world: World) -> None:
    world.damage("UPDATE attempts SET number = 9 WHERE number = 2")
    world.attempts[1] |= {"number": 9}
    assert any("after the cancel 3" in found for found in world.violations())


def test_one_slot_that_two_signers_gave_to_two_intents_is_noticed(world: World, tmp_path: Path) -> None:
    other = NonceGuard(tmp_path / "other.db")
    signed = KEY.sign_transaction(TRADE)
    attempt = SignedAttempt(raw=signed.raw, hash=signed.hash, number=1, kind="trade", transaction=TRADE)
    other.admit(Slot(1, KEY.address, 4), Asked(intent_id="twin", kind="trade", number=1), attempt)
    other.close()
    records = SignerRecords.read([world.path, tmp_path / "other.db"])
    journals = cast("Journals", SimpleNamespace(slots=world.slots, attempts=world.attempts))
    found = list(signatures(records, journals, OurChain(None)))  # type: ignore[arg-type]
    assert any("was signed for ['live', 'twin']" in sentence for sentence in found)
