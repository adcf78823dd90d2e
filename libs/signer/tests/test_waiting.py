"""Keys that lie elsewhere: an attempt has one signature for ever, and a store that takes its time holds up nothing."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.testing.key_services.curve import ServiceKey
from dexlane_signer import (
    UNSIGNED,
    DenialReason,
    GuardUnavailableError,
    LocalSigner,
    NonceGuard,
    Policy,
    RemoteSigner,
    SignerUnreachableError,
    SigningDenied,
)
from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError
from dexlane_signer.key_stores.stored_key import Message, StoredKey
from dexlane_signer.server import SigningServer
from dexlane_signer.waiting import MAX_ASKED, WaitingSigner

from .conftest import KEY, NOW_S
from .stores import SECRET
from .test_signer import STRANGER, request, signature_of, with_permit

UPPER = "0x" + KEY.address[2:].upper()


@dataclass
class Source:
    """A key service in this process: another signature each time, as soon as it is let."""

    key: ServiceKey = field(default_factory=lambda: ServiceKey(SECRET))
    asked: list[bytes] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)
    delay_s: float = 0.0
    name: str = "a service"

    def sign(self, message: Message) -> tuple[int, int]:
        self.asked.append(message.digest)
        assert self.may_answer.wait(20)
        time.sleep(self.delay_s)
        if self.fails:
            raise self.fails.pop(0)
        return self.key.sign(message.digest)

    async def was_asked(self, times: int) -> None:
        for _ in range(4_000):
            if len(self.asked) >= times:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("nobody asked")


@dataclass
class Clock:
    now_s: int = NOW_S

    def __call__(self) -> int:
        return self.now_s


@pytest.fixture
def source() -> Iterator[Source]:
    one = Source()
    one.may_answer.set()
    yield one
    one.may_answer.set()


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[NonceGuard]:
    opened = NonceGuard(tmp_path / "guard.db")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(source: Source, policy: Policy, guard: NonceGuard, clock: Clock) -> LocalSigner:
    return LocalSigner([StoredKey(KEY.address, source)], [policy], guard, clock_s=clock)


@asynccontextmanager
async def served(signer: LocalSigner, folder: Path) -> AsyncIterator[RemoteSigner]:
    server = SigningServer(signer, uids=[os.getuid()])
    await server.start(folder / "s")
    remote = RemoteSigner(folder / "s")
    try:
        yield remote
    finally:
        await remote.close()
        await server.stop()


def test_a_service_never_signs_the_same_twice(source: Source) -> None:
    """What the tests below stand on."""
    message = Message(b"\2 whatever")
    assert len({source.sign(message) for _ in range(8)}) == 8


def test_the_first_bytes_of_an_attempt_are_given_back_without_asking_again(
    signer: LocalSigner, source: Source, guard: NonceGuard
) -> None:
    first = signer.sign_transaction(request(attempt=1))
    assert signer.sign_transaction(request(attempt=1)) == first
    assert signer.sign_transaction(request(attempt=1, max_fee_per_gas_wei=30 * 10**9)) == first
    assert len(source.asked) == 1
    assert len(guard.attempts("a")) == 1


def test_the_same_transaction_is_signed_once_under_whatever_number(signer: LocalSigner, source: Source) -> None:
    first = signer.sign_transaction(request())
    assert signer.sign_transaction(request()) == first
    assert signer.sign_transaction(request(attempt=7)).raw == first.raw
    assert len(source.asked) == 1


def test_a_bump_is_another_attempt(signer: LocalSigner, source: Source) -> None:
    first = signer.sign_transaction(request(attempt=1))
    second = signer.sign_transaction(request(attempt=2, max_fee_per_gas_wei=30 * 10**9))
    assert second.raw != first.raw
    assert signer.sign_transaction(request(attempt=1)) == first
    assert signer.sign_transaction(request(attempt=2, max_fee_per_gas_wei=40 * 10**9)) == second
    assert Account.recover_transaction(second.raw).lower() == KEY.address


steps = st.lists(st.tuples(st.integers(1, 3), st.integers(20, 22), st.booleans()), min_size=1, max_size=8)


@settings(max_examples=12, deadline=None)
@given(steps=steps)
def test_no_two_byte_strings_ever_leave_for_one_attempt(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    """Whatever numbers and fees are asked for, and wherever the service fails in between."""
    source = Source()
    source.may_answer.set()
    guard = NonceGuard(tmp_path_factory.mktemp("guard") / "guard.db")
    one = LocalSigner([StoredKey(KEY.address, source, retry_within_s=0.0)], [_policy()], guard, clock_s=lambda: NOW_S)
    left: dict[int, bytes] = {}
    payloads: dict[int, bytes] = {}
    for number, fee_gwei, fails in steps:
        source.fails = [KeyStoreUnavailableError("away")] if fails else []
        try:
            given_ = one.sign_transaction(request(attempt=number, max_fee_per_gas_wei=fee_gwei * 10**9))
        except KeyStoreUnavailableError:
            continue
        assert left.setdefault(given_.number, given_.raw) == given_.raw
        assert payloads.setdefault(hash(given_.transaction), given_.raw) == given_.raw
    guard.close()


def _policy() -> Policy:
    from dexlane_signer import EntryCap, TokenLimit

    from .conftest import ROUTER, USDC

    return Policy(
        chain_ids=frozenset({1}),
        own_addresses=frozenset({KEY.address}),
        routers={ROUTER: frozenset({"0x3593564c"})},
        permit_spenders=frozenset({ROUTER}),
        tokens={USDC: TokenLimit(max_allowance=10_000, max_trade=1_000)},
        entry_caps={KEY.address: EntryCap(level=10, lane="fast", token=USDC, capital=10_000)},
        max_fee_per_gas_wei=100 * 10**9,
        max_gas_limit=1_000_000,
    )


def test_the_store_is_not_asked_for_what_is_refused(signer: LocalSigner, source: Source, guard: NonceGuard) -> None:
    signer.sign_transaction(request())
    for refused in (request(to=STRANGER), request(intent_id="b"), request(chain_id=5), request(nonce=9)):
        with pytest.raises(SigningDenied):
            signer.sign_transaction(refused)
    guard.halt("drill")
    with pytest.raises(SigningDenied):
        signer.sign_transaction(request(intent_id="c", nonce=8))
    assert len(source.asked) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (KeyStoreRefusedError("not allowed"), DenialReason.KEY_STORE_REFUSED),
        (KeyStoreRefusedError("garbage", DenialReason.WRONG_SIGNATURE), DenialReason.WRONG_SIGNATURE),
        (KeyStoreRefusedError("no", DenialReason.DECLINED), DenialReason.DECLINED),
    ],
)
def test_a_permanent_fault_is_a_denial_and_leaves_no_record(
    signer: LocalSigner, source: Source, guard: NonceGuard, fault: Exception, reason: DenialReason
) -> None:
    for asked in (request(), request(data=with_permit())):
        source.fails = [fault]
        with pytest.raises(SigningDenied) as caught:
            signer.sign_transaction(asked)
        assert caught.value.reason is reason
    assert guard.slot_of("a") is None
    assert signer.counts.denied == {reason: 2}


def test_a_transient_fault_is_unavailable_and_leaves_no_record(
    signer: LocalSigner, source: Source, guard: NonceGuard
) -> None:
    source.fails = [KeyStoreUnavailableError("busy")] * 2
    with pytest.raises(GuardUnavailableError):
        signer.sign_transaction(request())
    assert guard.slot_of("a") is None
    assert signer.counts.unavailable == 1
    signer.sign_transaction(request())


async def test_an_attempt_that_several_want_is_asked_for_once(signer: LocalSigner, source: Source) -> None:
    waiting = WaitingSigner(signer)
    source.delay_s = 0.1
    answers = await asyncio.gather(*(waiting.sign_transaction(request(attempt=1)) for _ in range(5)))
    assert len({answer.raw for answer in answers}) == 1
    assert len(source.asked) == 1
    waiting.close()


async def test_whoever_joins_is_checked_by_the_record_like_anybody(signer: LocalSigner, source: Source) -> None:
    """An executor that lost its lease gets nothing of what its successor asked for."""
    waiting = WaitingSigner(signer)
    source.delay_s = 0.1
    first = asyncio.create_task(waiting.sign_transaction(request(attempt=1, epoch=7)))
    await asyncio.sleep(0)
    with pytest.raises(SigningDenied) as caught:
        await waiting.sign_transaction(request(attempt=1, epoch=6))
    assert caught.value.reason is DenialReason.STALE_EPOCH
    assert (await first).number == 1
    waiting.close()


async def test_more_questions_than_can_be_open_are_refused_for_now(signer: LocalSigner, source: Source) -> None:
    waiting = WaitingSigner(signer)
    source.may_answer.clear()
    many = [
        asyncio.create_task(waiting.sign_transaction(request(intent_id=f"i{nonce}", nonce=nonce)))
        for nonce in range(MAX_ASKED)
    ]
    await asyncio.sleep(0.01)
    with pytest.raises(GuardUnavailableError, match="open already"):
        await waiting.sign_transaction(request(intent_id="one more", nonce=99))
    source.may_answer.set()
    assert len({answer.raw for answer in await asyncio.gather(*many)}) == MAX_ASKED
    waiting.close()


async def test_a_halt_is_not_held_up_and_holds_for_what_is_being_signed(
    signer: LocalSigner, source: Source, tmp_path: Path
) -> None:
    source.may_answer.clear()
    async with served(signer, tmp_path) as remote:
        asked = asyncio.create_task(remote.sign_transaction(request()))
        other = asyncio.create_task(remote.sign_transaction(request(intent_id="b", nonce=8, data=with_permit())))
        await source.was_asked(2)
        began_s = time.monotonic()
        signer.halt("drill")
        assert time.monotonic() - began_s < 1.0
        source.may_answer.set()
        for one in (asked, other):
            with pytest.raises(SigningDenied) as caught:
                await one
            assert caught.value.reason is DenialReason.HALTED


async def test_a_deadline_that_passes_meanwhile_is_noticed(
    signer: LocalSigner, source: Source, clock: Clock, guard: NonceGuard
) -> None:
    waiting = WaitingSigner(signer)
    source.may_answer.clear()
    asked = asyncio.create_task(waiting.sign_transaction(request()))
    await source.was_asked(1)
    clock.now_s += 61
    source.may_answer.set()
    with pytest.raises(SigningDenied) as caught:
        await asked
    assert caught.value.reason is DenialReason.DEADLINE_PASSED
    assert guard.slot_of("a") is None
    waiting.close()


async def test_what_was_signed_for_an_asker_that_left_is_given_when_asked_again(
    signer: LocalSigner, source: Source, tmp_path: Path
) -> None:
    """A person may take longer than an executor waits."""
    source.may_answer.clear()
    async with served(signer, tmp_path) as remote:
        remote._time_limit_s = 0.1
        for _ in range(3):
            with pytest.raises(SignerUnreachableError):
                await remote.sign_transaction(request(attempt=1))
        await remote.close()
        source.may_answer.set()
        signed = await RemoteSigner(tmp_path / "s").sign_transaction(request(attempt=1))
        assert Account.recover_transaction(signed.raw).lower() == KEY.address
        assert len(source.asked) == 1, "nobody is asked to confirm one thing again and again"


async def test_a_trade_whose_permit_is_signed_with_it_is_asked_for_once(
    signer: LocalSigner, source: Source, tmp_path: Path
) -> None:
    """Two questions to the store, whoever left meanwhile; and none when it is asked for again."""
    source.may_answer.clear()
    async with served(signer, tmp_path) as remote:
        remote._time_limit_s = 0.1
        for _ in range(3):
            with pytest.raises(SignerUnreachableError):
                await remote.sign_transaction(request(attempt=1, data=with_permit()))
        await remote.close()
        source.may_answer.set()
        patient = RemoteSigner(tmp_path / "s")
        first, again = [
            await patient.sign_transaction(request(attempt=1, sender=owner, data=with_permit()))
            for owner in (KEY.address, UPPER)
        ]
        await patient.close()
    assert first == again
    assert len(source.asked) == 2, "nobody is asked to confirm one thing again and again"
    assert signature_of(first.transaction.data) != UNSIGNED


async def test_a_permit_whose_trade_was_not_signed_is_not_handed_out(
    signer: LocalSigner, source: Source, guard: NonceGuard
) -> None:
    waiting = WaitingSigner(signer)
    source.may_answer.clear()
    asked = asyncio.create_task(waiting.sign_transaction(request(data=with_permit())))
    await source.was_asked(1)
    guard.halt("drill")
    source.may_answer.set()
    with pytest.raises(SigningDenied) as caught:
        await asked
    assert caught.value.reason is DenialReason.HALTED
    assert guard.slot_of("a") is None
    waiting.close()


async def test_local_keys_are_answered_while_a_store_takes_its_time(
    source: Source, guard: NonceGuard, make_policy: Callable[..., Policy], tmp_path: Path
) -> None:
    elsewhere = StoredKey(STRANGER, source)
    policy = make_policy(own_addresses=frozenset({KEY.address, STRANGER}))
    policy = replace(policy, entry_caps=dict.fromkeys(policy.own_addresses, policy.entry_caps[KEY.address]))
    signer = LocalSigner([KEY, elsewhere], [policy], guard, clock_s=lambda: NOW_S)
    source.may_answer.clear()
    async with served(signer, tmp_path) as remote:
        slow = asyncio.create_task(remote.sign_transaction(request(intent_id="slow", sender=STRANGER)))
        quick = await asyncio.wait_for(remote.sign_transaction(request(intent_id="quick")), 1.5)
        assert Account.recover_transaction(quick.raw).lower() == KEY.address
        assert not slow.done()
        source.may_answer.set()
        with pytest.raises(SigningDenied) as caught:
            await slow
        assert caught.value.reason is DenialReason.WRONG_SIGNATURE, "the service has another key than it says"


async def test_store_faults_reach_the_asker_with_their_class(
    signer: LocalSigner, source: Source, tmp_path: Path
) -> None:
    async with served(signer, tmp_path) as remote:
        source.fails = [KeyStoreRefusedError("aws-kms: DisabledException; the key is disabled")]
        with pytest.raises(SigningDenied, match="the key is disabled") as caught:
            await remote.sign_transaction(request())
        assert caught.value.reason is DenialReason.KEY_STORE_REFUSED
        source.fails = [KeyStoreUnavailableError("aws-kms: ThrottlingException")] * 2
        with pytest.raises(GuardUnavailableError, match="Throttling") as unavailable:
            await remote.sign_transaction(request(data=with_permit()))
        assert not isinstance(unavailable.value, SignerUnreachableError)


@pytest.mark.parametrize("delay_ms", [50, 200])
async def test_the_latency_of_a_cloud_fits_into_an_executors_patience(
    signer: LocalSigner, source: Source, tmp_path: Path, delay_ms: int
) -> None:
    """By the client's usual limit, for a burst of as many as are asked at once."""
    source.delay_s = delay_ms / 1_000
    requests = [request(intent_id=f"i{nonce}", nonce=nonce, attempt=1, data=with_permit()) for nonce in range(8)]
    async with served(signer, tmp_path) as remote:
        began_s = time.monotonic()
        signed = await asyncio.gather(*(remote.sign_transaction(one) for one in requests))
        assert len({one.raw for one in signed}) == 8
        assert time.monotonic() - began_s < 2.0
