"""What stops signing from outside, each way by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dexlane_signer import (
    HALT_FILE,
    Brake,
    ControlServer,
    DeadManLease,
    DenialReason,
    Level,
    LocalSigner,
    NonceGuard,
    Policy,
)
from dexlane_signer.bus import MOST_BREAKERS, BreakerWords

from .conftest import KEY, NOW_S
from .test_signer import denied, request


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[NonceGuard]:
    opened = NonceGuard(tmp_path / "guard.db")
    yield opened
    opened.close()


class HandClock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_the_halt_file_halts_the_next_signature(tmp_path: Path, guard: NonceGuard, policy: Policy) -> None:
    brake = Brake(guard, halt_file=tmp_path / HALT_FILE)
    signer = LocalSigner([KEY], [policy], guard, clock_s=lambda: NOW_S, brake=brake)
    signer.sign_transaction(request())
    (tmp_path / HALT_FILE).touch()
    assert denied(signer.sign_transaction, request(intent_id="b", nonce=8)) is DenialReason.HALTED
    signer.sign_transaction(request(kind="cancel"))


def test_taking_the_halt_file_away_releases_nothing(tmp_path: Path, guard: NonceGuard, policy: Policy) -> None:
    file = tmp_path / HALT_FILE
    signer = LocalSigner([KEY], [policy], guard, clock_s=lambda: NOW_S, brake=Brake(guard, halt_file=file))
    file.touch()
    assert denied(signer.sign_transaction, request()) is DenialReason.HALTED
    file.unlink()
    assert denied(signer.sign_transaction, request()) is DenialReason.HALTED
    assert signer.latch().source == "file"
    signer.resume("looked into")
    signer.sign_transaction(request())


def test_nothing_is_released_while_the_halt_file_is_there(tmp_path: Path, guard: NonceGuard, policy: Policy) -> None:
    (tmp_path / HALT_FILE).touch()
    brake = Brake(guard, halt_file=tmp_path / HALT_FILE)
    signer = LocalSigner([KEY], [policy], guard, clock_s=lambda: NOW_S, brake=brake)
    signer.resume("somebody thinks that it is over")
    assert denied(signer.sign_transaction, request()) is DenialReason.HALTED


def test_a_halt_file_that_cannot_be_looked_at_counts_as_there(tmp_path: Path, guard: NonceGuard) -> None:
    (tmp_path / HALT_FILE).symlink_to(tmp_path / HALT_FILE)
    Brake(guard, halt_file=tmp_path / HALT_FILE).look()
    assert guard.latch().level is Level.HALTED


async def test_the_halt_file_latches_while_nobody_asks(tmp_path: Path, guard: NonceGuard) -> None:
    looking = asyncio.create_task(Brake(guard, halt_file=tmp_path / HALT_FILE).keep_looking())
    await asyncio.sleep(0)
    assert guard.latch().level is Level.ACTIVE
    (tmp_path / HALT_FILE).touch()
    await asyncio.sleep(0.3)
    looking.cancel()
    assert (guard.latch().level, guard.latch().source) == (Level.HALTED, "file")


def test_entries_need_a_sign_of_life_and_exits_and_cancels_do_not(guard: NonceGuard) -> None:
    clock = HandClock()
    lease = DeadManLease(5.0, monotonic_s=clock)
    brake = Brake(guard, lease=lease)

    def entry() -> DenialReason | None:
        said = brake.refusal(is_cancel=False, is_entry=True)
        return None if said is None else said.reason

    assert entry() is DenialReason.NO_SIGN_OF_LIFE, "nothing is taken for granted after a start"
    lease.beat()
    assert entry() is None
    clock.now_s += 5.0
    assert entry() is None
    clock.now_s += 0.1
    assert entry() is DenialReason.NO_SIGN_OF_LIFE
    assert brake.refusal(is_cancel=False, is_entry=False) is None
    assert brake.refusal(is_cancel=True, is_entry=False) is None
    assert guard.latch().level is Level.ACTIVE, "a missing sign of life stops entries, it halts nothing"
    lease.beat()
    assert entry() is None


def test_a_signer_without_signs_of_life_signs_no_entry(guard: NonceGuard, policy: Policy) -> None:
    lease = DeadManLease()
    signer = LocalSigner([KEY], [policy], guard, clock_s=lambda: NOW_S, brake=Brake(guard, lease=lease))
    assert denied(signer.sign_transaction, request()) is DenialReason.NO_SIGN_OF_LIFE
    signer.sign_transaction(request(kind="cancel"))
    lease.beat()
    signer.sign_transaction(request(intent_id="b", nonce=8))


@pytest.mark.parametrize(
    ("reason", "recorded"),
    [("\ud800 fire", "\\ud800 fire"), (" " * 600 + "fire", "fire"), ("fire" + "!" * 900, "fire" + "!" * 496)],
    ids=["no UTF-8", "blank at first", "long"],
)
def test_a_halt_is_recorded_whatever_its_reason_is_written_with(
    guard: NonceGuard, policy: Policy, reason: str, recorded: str
) -> None:
    """Else the halt is refused, every later signature fails, cancels too, and a restart has forgotten it."""
    brake = Brake(guard)
    said = json.dumps({"do": "halt", "reason": reason}).encode()
    assert ControlServer(brake, uids=()).answer(said) == {"done": "halt", "level": "halted"}
    assert (guard.latch().level, guard.latch().reason) == (Level.HALTED, recorded)
    signer = LocalSigner([KEY], [policy], guard, clock_s=lambda: NOW_S, brake=brake)
    signer.sign_transaction(request(kind="cancel"))
    assert denied(signer.sign_transaction, request(intent_id="b", nonce=8)) is DenialReason.HALTED


def test_a_blank_reason_does_not_keep_a_brake_from_being_pulled(guard: NonceGuard) -> None:
    assert Brake(guard).pull(Level.HALTED, "api", " ")
    assert guard.latch().level is Level.HALTED


def test_awaited_words_of_breakers_hold_entries_alone_and_only_until_they_were_read_once(guard: NonceGuard) -> None:
    words = BreakerWords(are_awaited=True)
    brake = Brake(guard, told=words.latch)

    def denials() -> list[bool]:
        kinds = ((False, True), (False, False), (True, False))
        return [brake.refusal(is_cancel=cancel, is_entry=entry) is not None for cancel, entry in kinds]

    assert denials() == [True, False, False]
    words.hear("main.1.trading.status.breaker-a", Level.HALTED, "losses")
    assert denials() == [True, True, False], "what is heard meanwhile holds"
    words.hear("main.1.trading.status.breaker-a", Level.ACTIVE, "over")
    assert denials() == [True, False, False], "one breaker's word says nothing of the others"
    words.all_read()
    assert denials() == [False, False, False]
    assert guard.latch().level is Level.ACTIVE, "nothing is latched"


def test_words_of_breakers_take_no_more_memory_than_there_can_be_breakers() -> None:
    words = BreakerWords()
    for number in range(MOST_BREAKERS):
        words.hear(f"main.1.trading.status.breaker-a{number}", Level.REDUCING, "losses")
        words.hear(f"main.1.trading.status.breaker-b{number}", Level.ACTIVE, "over")
    assert len(words._words) == MOST_BREAKERS
    assert (words.latch().level, words.latch().source) == (Level.REDUCING, "breaker-a0")
    words.hear("main.1.trading.status.breaker-a0", Level.ACTIVE, "over")
    words.hear("main.1.trading.status.breaker-c", Level.REDUCING, "losses")
    assert words.latch().level is Level.REDUCING
    for number in range(3):
        words.hear(f"main.1.trading.status.breaker-d{number}", Level.REDUCING, "losses")
    assert len(words._words) == MOST_BREAKERS + 1
    assert words.latch().level is Level.HALTED, "no word that stops something is left out in silence"
