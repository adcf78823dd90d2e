"""One slot serves one intent for life, whatever restarted."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane_signer import (
    Asked,
    Attempt,
    Denial,
    DenialReason,
    GuardUnavailableError,
    Latch,
    Level,
    NonceGuard,
    SignedAttempt,
    Slot,
    guard_log,
)
from dexlane_signer.guard import OPEN_SLOTS_BELOW
from dexlane_signer.guard_file import _VERSION_1
from dexlane_signer.policy import Kind

from .conftest import transaction

ADDRESS = "0x" + "ab" * 20
SLOT = Slot(1, ADDRESS, 7)


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[NonceGuard]:
    opened = NonceGuard(tmp_path / "guard.db")
    yield opened
    opened.close()


def signed(name: str, kind: Kind = "trade") -> SignedAttempt:
    """A transaction of its own for each name; its signature is not looked at here."""
    fee_wei = 10**9 + int.from_bytes(name.encode(), "big")
    raw = transaction(max_fee_per_gas_wei=fee_wei).with_signature(b"\1" * 64 + b"\0").raw
    return SignedAttempt.from_raw(raw, number=1, kind=kind)


def outcome(guard: NonceGuard, slot: Slot, intent: str, kind: Kind, name: str, **asked: Any) -> Denial | SignedAttempt:
    return guard.admit(slot, Asked(intent_id=intent, kind=kind, **asked), signed(name, kind))


def admit(guard: NonceGuard, slot: Slot, intent: str, kind: Kind, name: str, **asked: Any) -> DenialReason | None:
    said = outcome(guard, slot, intent, kind, name, **asked)
    return said.reason if isinstance(said, Denial) else None


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
    assert guard.attempts("a") == (
        Attempt(1, "trade", signed("0x1").hash),
        Attempt(2, "trade", signed("0x2").hash),
    )


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
    assert guard.latch().reason == "drill"
    assert admit(guard, SLOT, "a", "trade", "0x1") is DenialReason.HALTED
    assert admit(guard, Slot(1, ADDRESS, 8), "b", "trade", "0x2") is DenialReason.HALTED
    assert admit(guard, SLOT, "a", "cancel", "0x3") is None
    guard.resume("drill over")
    assert guard.latch().level is Level.ACTIVE
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
    assert again.latch().reason == "power cut"
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
        outcome(guard, SLOT, "a", "trade", "0x1")
    blocker.execute("ROLLBACK")
    blocker.close()
    assert guard.slot_of("a") is None
    assert admit(guard, SLOT, "b", "trade", "0x2") is None
    guard.close()
    with pytest.raises(GuardUnavailableError):
        outcome(guard, SLOT, "b", "trade", "0x2")


def test_guard_file_is_private_and_one_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    NonceGuard(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o666)
    with pytest.raises(PermissionError, match="chmod 600"):
        NonceGuard(path)
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        NonceGuard(path)


def test_a_number_signed_before_gives_what_was_signed_then(guard: NonceGuard) -> None:
    first = outcome(guard, SLOT, "a", "trade", "fee one", number=1)
    assert outcome(guard, SLOT, "a", "trade", "fee two", number=1) == first == signed("fee one")
    assert len(guard.attempts("a")) == 1
    bump = outcome(guard, SLOT, "a", "trade", "fee two", number=2)
    assert isinstance(bump, SignedAttempt)
    assert (bump.number, bump.hash) == (2, signed("fee two").hash)


def test_stored_bytes_outlive_a_restart(tmp_path: Path) -> None:
    first = NonceGuard(tmp_path / "guard.db")
    given = outcome(first, SLOT, "a", "trade", "one", number=1)
    first.close()
    again = NonceGuard(tmp_path / "guard.db")
    assert outcome(again, SLOT, "a", "trade", "another", number=1) == given
    again.close()


def test_a_cancel_is_never_answered_with_a_trade(guard: NonceGuard) -> None:
    outcome(guard, SLOT, "a", "trade", "trade", number=1)
    guard.halt("drill")
    cancel = outcome(guard, SLOT, "a", "cancel", "cancel", number=1)
    assert isinstance(cancel, SignedAttempt)
    assert (cancel.kind, cancel.number, cancel.hash) == ("cancel", 2, signed("cancel").hash)
    assert outcome(guard, SLOT, "a", "cancel", "cheaper cancel", number=2) == cancel


def test_a_stored_trade_is_not_handed_out_while_halted(guard: NonceGuard) -> None:
    outcome(guard, SLOT, "a", "trade", "trade", number=1)
    guard.halt("drill")
    assert admit(guard, SLOT, "a", "trade", "trade", number=1) is DenialReason.HALTED


def test_an_asker_that_lost_count_cannot_overwrite_an_attempt(guard: NonceGuard) -> None:
    for number, name in enumerate(("one", "two", "three"), start=1):
        outcome(guard, SLOT, "a", "trade", name, number=number)
    outcome(guard, SLOT, "a", "trade", "seven", number=7)
    outcome(guard, SLOT, "a", "trade", "eight")
    assert [attempt.number for attempt in guard.attempts("a")] == [1, 2, 3, 7, 8]


def test_a_stale_epoch_is_refused(guard: NonceGuard) -> None:
    assert admit(guard, SLOT, "a", "trade", "1", epoch=4) is None
    assert admit(guard, SLOT, "a", "trade", "2", epoch=5) is None
    assert admit(guard, SLOT, "a", "trade", "3", epoch=4) is DenialReason.STALE_EPOCH
    assert admit(guard, SLOT, "a", "cancel", "4", epoch=0) is DenialReason.STALE_EPOCH
    assert admit(guard, SLOT, "a", "trade", "5", epoch=5) is None


def test_a_stale_epoch_gets_no_stored_bytes_and_no_permit(guard: NonceGuard) -> None:
    outcome(guard, SLOT, "a", "trade", "1", epoch=5, number=1)
    assert admit(guard, SLOT, "a", "trade", "1", epoch=4, number=1) is DenialReason.STALE_EPOCH
    refused = guard.refusal(1, ADDRESS.upper().replace("0X", "0x"), 4, is_entry=False)
    assert refused is not None
    assert refused.reason is DenialReason.STALE_EPOCH
    assert guard.refusal(1, ADDRESS, 5, is_entry=False) is None


def test_epochs_are_counted_for_each_account_of_each_chain_and_kept(tmp_path: Path) -> None:
    first = NonceGuard(tmp_path / "guard.db")
    assert admit(first, SLOT, "a", "trade", "1", epoch=9) is None
    assert admit(first, Slot(8453, ADDRESS, 7), "b", "trade", "1", epoch=1) is None
    assert admit(first, Slot(1, "0x" + "cd" * 20, 7), "c", "trade", "1", epoch=1) is None
    first.close()
    again = NonceGuard(tmp_path / "guard.db")
    assert admit(again, Slot(1, ADDRESS, 8), "d", "trade", "1", epoch=8) is DenialReason.STALE_EPOCH
    again.close()


def test_a_denied_request_raises_no_epoch(guard: NonceGuard) -> None:
    assert admit(guard, SLOT, "a", "trade", "1", epoch=1) is None
    assert admit(guard, SLOT, "b", "trade", "2", epoch=99) is DenialReason.SLOT_TAKEN
    assert admit(guard, SLOT, "a", "trade", "3", epoch=1) is None


def test_reducing_admits_exits_and_cancels_but_no_entries(guard: NonceGuard) -> None:
    guard.halt("too many losses", level=Level.REDUCING, source="bus")
    assert admit(guard, SLOT, "a", "trade", "1") is DenialReason.HALTED
    assert admit(guard, SLOT, "a", "trade", "2", is_entry=False) is None
    assert admit(guard, SLOT, "a", "cancel", "3") is None


def test_a_latch_only_tightens_and_keeps_every_word(guard: NonceGuard) -> None:
    assert guard.halt("losses", level=Level.REDUCING, source="bus")
    assert guard.halt("fire", source="api")
    assert not guard.halt("losses again", level=Level.REDUCING, source="bus")
    assert not guard.halt("fire again", source="file")
    assert (guard.latch().level, guard.latch().source, guard.latch().reason) == (Level.HALTED, "api", "fire")
    guard.resume("put out")
    levels = [(latch.level, latch.reason) for latch in guard.latches()]
    assert levels == [(Level.REDUCING, "losses"), (Level.HALTED, "fire"), (Level.ACTIVE, "put out")]
    assert all(latch.at_s > 1_600_000_000 for latch in guard.latches())


def test_far_below_the_highest_nonce_only_a_cancel_is_signed(guard: NonceGuard) -> None:
    assert admit(guard, Slot(1, ADDRESS, 100), "a", "trade", "1") is None
    low = 100 - OPEN_SLOTS_BELOW
    assert admit(guard, Slot(1, ADDRESS, low), "b", "trade", "2") is None
    assert admit(guard, Slot(1, ADDRESS, low - 1), "c", "trade", "3") is DenialReason.BELOW_HIGH_WATER
    assert admit(guard, Slot(1, ADDRESS, low - 1), "c", "cancel", "4") is None


def test_a_file_of_the_first_form_is_brought_forward(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    path.touch(0o600)
    old = sqlite3.connect(path)
    old.executescript(_VERSION_1 + "PRAGMA user_version = 1;")
    old.execute("INSERT INTO slots VALUES (1, ?, 7, 'a', 0)", (ADDRESS,))
    old.execute("INSERT INTO attempts VALUES ('a', 1, 'trade', '0x1')")
    old.executemany("INSERT INTO halts (halted, reason) VALUES (?, ?)", [(1, "drill"), (0, "over"), (1, "fire")])
    old.commit()
    old.close()
    guard = NonceGuard(path)
    assert guard.latch() == Latch(Level.HALTED, "operator", "fire", 0)
    assert len(guard.latches()) == 3
    guard.resume("put out")
    assert guard.attempts("a") == (Attempt(1, "trade", "0x1"),)
    assert admit(guard, SLOT, "b", "trade", "2") is DenialReason.SLOT_TAKEN
    following = outcome(guard, SLOT, "a", "trade", "2", number=1)
    assert isinstance(following, SignedAttempt)
    assert following.number == 2, "the bytes of number 1 were not kept"
    guard.close()
    NonceGuard(path).close()


def test_no_signature_waits_for_the_log_to_be_copied_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_log, "COPY_AFTER_S", 3_600)
    guard = NonceGuard(tmp_path / "guard.db")
    before = (tmp_path / "guard.db").read_bytes()
    for nonce in range(300):
        assert admit(guard, Slot(1, ADDRESS, nonce), f"intent {nonce}", "trade", "0x1") is None
    assert (tmp_path / "guard.db").read_bytes() == before, "a commit copied the log"
    guard.close()


def test_the_log_is_copied_back_a_moment_later_and_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_log, "COPY_AFTER_S", 0.1)
    guard = NonceGuard(tmp_path / "guard.db")
    log, nonces = tmp_path / "guard.db-wal", itertools.count()
    room = log.stat().st_size

    def commit() -> bytes:
        """The header of the log after one more commit; it is another one in each log."""
        nonce = next(nonces)
        assert admit(guard, Slot(1, ADDRESS, nonce), f"intent {nonce}", "trade", "0x1") is None
        with log.open("rb") as file:
            return file.read(32)

    for _ in range(5):
        began, deadline_s = commit(), time.monotonic() + 20
        while commit() == began:
            assert time.monotonic() < deadline_s
            for _ in range(guard_log.COMMITS_TO_COPY):
                commit()
            time.sleep(0.3)
    assert log.stat().st_size == room
    guard.close()


def test_what_is_recorded_counts_where_no_thread_is_to_be_had(
    guard: NonceGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(guard_log.threading.Timer, "start", refuse)
    for nonce in range(guard_log.COMMITS_TO_COPY + 1):
        assert admit(guard, Slot(1, ADDRESS, nonce), f"intent {nonce}", "trade", "0x1") is None


def test_a_file_of_a_later_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    NonceGuard(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(GuardUnavailableError, match="form 99"):
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
    history_of: dict[str, list[tuple[Kind, str]]] = {}
    for nonce, intent, kind, number in history:
        digest = f"0x{kind}{number}"
        admitted = admit(guard, Slot(1, ADDRESS, nonce), intent, kind, digest) is None
        mine = history_of.get(intent, [])
        free = nonce not in owner and intent not in owner.values()
        known = digest in [h for _, h in mine]
        latched = kind == "trade" and any(k == "cancel" for k, _ in mine)
        assert admitted == (free or (owner.get(nonce) == intent and (known or not latched)))
        if admitted:
            owner[nonce] = intent
            if not known:
                history_of[intent] = [*mine, (kind, digest)]
    for intent, made in history_of.items():
        assert [(a.kind, a.hash) for a in guard.attempts(intent)] == [(k, signed(n, k).hash) for k, n in made]
    guard.close()


moves = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 2),
    st.sampled_from(["trade", "cancel"]),
    st.sampled_from(["0x1", "0x2", "0x3"]),
    st.one_of(st.none(), st.integers(1, 3)),
    st.integers(0, 2),
)


@settings(max_examples=15, deadline=None)
@given(moves=st.lists(moves, max_size=12))
def test_what_is_said_before_a_signature_is_what_holds_after_it(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int, Kind, str, int | None, int]]
) -> None:
    """A key store is asked exactly when what it signs would be recorded as something new."""
    guard = NonceGuard(tmp_path_factory.mktemp("guard") / "guard.db")
    for intent, nonce, kind, name, number, epoch in moves:
        asked = Asked(intent_id=intent, kind=kind, number=number, epoch=epoch)
        slot, attempt = Slot(1, ADDRESS, nonce), signed(name + kind, kind)
        before, known = guard.recorded(slot, asked, attempt.transaction), len(guard.attempts(intent))
        after = guard.admit(slot, asked, attempt)
        assert (before is None) == (len(guard.attempts(intent)) > known)
        assert before is None or before == after
    guard.close()


def test_another_signature_of_what_is_on_record_is_not_recorded(guard: NonceGuard) -> None:
    """Key services sign with another random number each time."""
    first = outcome(guard, SLOT, "a", "trade", "0x1")
    assert isinstance(first, SignedAttempt)
    raw = first.transaction.with_signature(b"\2" * 64 + b"\1").raw
    again = SignedAttempt.from_raw(raw, number=2, kind="trade")
    for number in (None, 1, 2):
        assert guard.admit(SLOT, Asked(intent_id="a", kind="trade", number=number), again) == first
    assert len(guard.attempts("a")) == 1
