"""One slot serves one intent for life, whatever restarted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane_signer import Attempt, DenialReason, GuardUnavailableError, NonceGuard, Slot
from dexlane_signer.policy import Kind

ADDRESS = "0x" + "ab" * 20
SLOT = Slot(1, ADDRESS, 7)


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[NonceGuard]:
    opened = NonceGuard(tmp_path / "guard.db")
    yield opened
    opened.close()


def admit(guard: NonceGuard, slot: Slot, intent: str, kind: Kind, digest: str) -> DenialReason | None:
    denial = guard.admit(slot, intent, kind, signed_hash=digest)
    return denial.reason if denial else None


def test_slot_is_refused_to_another_intent(guard: NonceGuard) -> None:
    assert admit(guard, SLOT, "a", "trade", "0x1") is None
    assert admit(guard, SLOT, "b", "trade", "0x2") is DenialReason.SLOT_TAKEN
    assert admit(guard, SLOT, "b", "cancel", "0x3") is DenialReason.SLOT_TAKEN
    assert guard.slot_of("b") is None


def test_intent_is_refused_a_second_slot(guard: NonceGuard) -> None:
    assert admit(guard, SLOT, "a", "trade", "0x1") is None
    assert admit(guard, Slot(1, ADDRESS, 8), "a", "trade", "0x2") is DenialReason.INTENT_HAS_SLOT
    assert admit(guard, Slot(2, ADDRESS, 7), "a", "cancel", "0x3") is DenialReason.INTENT_HAS_SLOT


def test_same_nonce_of_another_chain_or_account_is_another_slot(guard: NonceGuard) -> None:
    assert admit(guard, SLOT, "a", "trade", "0x1") is None
    assert admit(guard, Slot(8453, ADDRESS, 7), "b", "trade", "0x2") is None
    assert admit(guard, Slot(1, "0x" + "cd" * 20, 7), "c", "trade", "0x3") is None


def test_same_intent_may_replace_and_repeat(guard: NonceGuard) -> None:
    for digest in ("0x1", "0x2", "0x1"):
        assert admit(guard, SLOT, "a", "trade", digest) is None
    assert guard.attempts("a") == (Attempt(1, "trade", "0x1"), Attempt(2, "trade", "0x2"))


def test_after_a_cancel_only_cancels_and_known_hashes_are_admitted(guard: NonceGuard) -> None:
    assert admit(guard, SLOT, "a", "trade", "0x1") is None
    assert admit(guard, SLOT, "a", "cancel", "0x2") is None
    assert admit(guard, SLOT, "a", "trade", "0x3") is DenialReason.SLOT_CANCELLED
    assert admit(guard, SLOT, "a", "cancel", "0x4") is None
    assert admit(guard, SLOT, "a", "trade", "0x1") is None


def test_slot_opened_by_a_cancel_never_trades(guard: NonceGuard) -> None:
    assert admit(guard, SLOT, "a", "cancel", "0x1") is None
    assert admit(guard, SLOT, "a", "trade", "0x2") is DenialReason.SLOT_CANCELLED


def test_halted_guard_admits_cancels_only_until_resumed(guard: NonceGuard) -> None:
    assert admit(guard, SLOT, "a", "trade", "0x1") is None
    guard.halt("drill")
    assert guard.halt_reason() == "drill"
    assert admit(guard, SLOT, "a", "trade", "0x1") is DenialReason.HALTED
    assert admit(guard, Slot(1, ADDRESS, 8), "b", "trade", "0x2") is DenialReason.HALTED
    assert admit(guard, SLOT, "a", "cancel", "0x3") is None
    guard.resume("drill over")
    assert guard.halt_reason() is None
    assert admit(guard, Slot(1, ADDRESS, 8), "b", "trade", "0x2") is None


def test_halting_and_resuming_need_a_reason(guard: NonceGuard) -> None:
    with pytest.raises(ValueError, match="need a reason"):
        guard.halt(" ")
    with pytest.raises(ValueError, match="need a reason"):
        guard.resume("")


def test_record_and_halt_outlive_a_restart(tmp_path: Path) -> None:
    first = NonceGuard(tmp_path / "guard.db")
    assert admit(first, SLOT, "a", "trade", "0x1") is None
    assert admit(first, SLOT, "a", "cancel", "0x2") is None
    first.halt("power cut")
    first.close()
    again = NonceGuard(tmp_path / "guard.db")
    assert again.slot_of("a") == SLOT
    assert again.highest_nonce(1, ADDRESS.upper().replace("0X", "0x")) == 7
    assert again.highest_nonce(2, ADDRESS) is None
    assert again.halt_reason() == "power cut"
    assert admit(again, SLOT, "a", "cancel", "0x3") is None
    again.resume("back")
    assert admit(again, SLOT, "a", "trade", "0x4") is DenialReason.SLOT_CANCELLED
    assert admit(again, SLOT, "b", "trade", "0x5") is DenialReason.SLOT_TAKEN
    again.close()


def test_record_is_in_the_file_before_admit_returns(tmp_path: Path, guard: NonceGuard) -> None:
    assert admit(guard, SLOT, "a", "trade", "0x1") is None
    other = sqlite3.connect(tmp_path / "guard.db")
    assert other.execute("SELECT intent_id FROM slots").fetchall() == [("a",)]
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    assert guard._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_exactly_one_of_many_racing_guards_gets_the_slot(tmp_path: Path) -> None:
    guards = [NonceGuard(tmp_path / "guard.db") for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda number: admit(guards[number % 4], SLOT, f"i{number}", "trade", f"0x{number}"), range(16))
        )
    assert answers.count(None) == 1
    assert answers.count(DenialReason.SLOT_TAKEN) == 15
    for guard in guards:
        guard.close()


def test_nothing_is_admitted_when_the_record_cannot_be_written(tmp_path: Path) -> None:
    guard = NonceGuard(tmp_path / "guard.db", busy_timeout_s=0.05)
    blocker = sqlite3.connect(tmp_path / "guard.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(GuardUnavailableError):
        guard.admit(SLOT, "a", "trade", signed_hash="0x1")
    blocker.execute("ROLLBACK")
    blocker.close()
    assert guard.slot_of("a") is None
    assert admit(guard, SLOT, "b", "trade", "0x2") is None
    guard.close()
    with pytest.raises(GuardUnavailableError):
        guard.admit(SLOT, "b", "trade", signed_hash="0x2")


def test_guard_file_is_private_and_one_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    NonceGuard(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o666)
    with pytest.raises(PermissionError, match="chmod 600"):
        NonceGuard(path)


@pytest.mark.parametrize(("chain_id", "nonce"), [(0, 0), (1, -1), (1, 2**63), (2**63, 0)])
def test_slot_out_of_range_is_refused(chain_id: int, nonce: int) -> None:
    with pytest.raises(ValueError, match="63 bits"):
        Slot(chain_id, ADDRESS, nonce)


asked = st.tuples(st.integers(0, 3), st.sampled_from("abcd"), st.sampled_from(["trade", "cancel"]), st.integers(0, 9))


@settings(max_examples=40, deadline=None)
@given(st.lists(asked, max_size=40))
def test_any_history_keeps_slots_and_intents_one_to_one(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[int, str, Kind, int]]
) -> None:
    guard = NonceGuard(tmp_path_factory.mktemp("history") / "guard.db")
    owner: dict[int, str] = {}
    signed: dict[str, list[tuple[str, str]]] = {}
    for nonce, intent, kind, number in history:
        digest = f"0x{kind}{number}"
        admitted = guard.admit(Slot(1, ADDRESS, nonce), intent, kind, signed_hash=digest) is None
        mine = signed.get(intent, [])
        free = nonce not in owner and intent not in owner.values()
        known = digest in [h for _, h in mine]
        latched = kind == "trade" and any(k == "cancel" for k, _ in mine)
        assert admitted == (free or (owner.get(nonce) == intent and (known or not latched)))
        if admitted:
            owner[nonce] = intent
            if not known:
                signed[intent] = [*mine, (kind, digest)]
    for intent, made in signed.items():
        assert [(a.kind, a.hash) for a in guard.attempts(intent)] == made
    guard.close()
