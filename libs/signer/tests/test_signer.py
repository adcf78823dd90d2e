"""Policy, signature and record together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from dexlane_signer import (
    PERMIT2,
    UNSIGNED,
    DenialReason,
    EntryCap,
    GuardUnavailableError,
    Level,
    LocalSigner,
    NonceGuard,
    Policy,
    RecordRequest,
    SignedBefore,
    SigningDenied,
    SignRequest,
    TokenLimit,
)
from dexlane_signer.router_calls import RouterPermit, decode_execute

from .conftest import ALL, KEY, NOW_S, ROUTER_ITSELF, US, USDC, WETH, permit, program, transaction, v3

STRANGER = "0x" + "66" * 20


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[NonceGuard]:
    opened = NonceGuard(tmp_path / "guard.db")
    yield opened
    opened.close()


@pytest.fixture
def signer(policy: Policy, guard: NonceGuard) -> LocalSigner:
    return LocalSigner([KEY], [policy], guard, clock_s=lambda: NOW_S)


def request(*, intent_id: str = "a", kind: Any = "trade", sender: str = KEY.address, **changes: Any) -> SignRequest:
    if kind == "cancel":
        changes = {"to": KEY.address, "data": b"", **changes}
    said = {name: changes.pop(name) for name in ("epoch", "attempt", "purpose") if name in changes}
    return SignRequest(sender=sender, intent_id=intent_id, kind=kind, transaction=transaction(**changes), **said)


def with_permit(*, signature: bytes = UNSIGNED, deadline_s: int = NOW_S + 60, **changes: Any) -> bytes:
    """The calldata of a purchase that its permit comes with."""
    fields = {"signature": signature, "deadline": deadline_s, **changes}
    return program(permit(**fields), v3(US, 100, 1), deadline_s=deadline_s)


def signature_of(data: bytes) -> bytes:
    """The signature of the permit in a call."""
    (found,) = [step for step in decode_execute(data).steps if isinstance(step, RouterPermit)]
    return found.signature


def denied(sign: Callable[[Any], object], asked: object) -> DenialReason:
    with pytest.raises(SigningDenied) as caught:
        sign(asked)
    return caught.value.reason


def test_allowed_transaction_is_signed_by_its_sender_and_recorded(signer: LocalSigner, guard: NonceGuard) -> None:
    signed = signer.sign_transaction(request())
    assert Account.recover_transaction(signed.raw).lower() == KEY.address
    assert [attempt.hash for attempt in guard.attempts("a")] == [signed.hash]


def test_same_request_gives_the_same_bytes_and_one_record(signer: LocalSigner, guard: NonceGuard) -> None:
    assert signer.sign_transaction(request()) == signer.sign_transaction(request())
    assert len(guard.attempts("a")) == 1


def test_denied_transaction_leaves_no_record(signer: LocalSigner, guard: NonceGuard) -> None:
    assert denied(signer.sign_transaction, request(to=STRANGER)) is DenialReason.UNKNOWN_TARGET
    assert guard.slot_of("a") is None


def test_second_intent_is_denied_the_slot(signer: LocalSigner) -> None:
    signer.sign_transaction(request())
    assert denied(signer.sign_transaction, request(intent_id="b")) is DenialReason.SLOT_TAKEN


def test_bump_then_cancel_are_signed_and_a_later_trade_is_not(signer: LocalSigner) -> None:
    signer.sign_transaction(request())
    signer.sign_transaction(request(max_fee_per_gas_wei=23 * 10**9))
    signer.sign_transaction(request(kind="cancel", max_fee_per_gas_wei=26 * 10**9))
    late = request(max_fee_per_gas_wei=30 * 10**9)
    assert denied(signer.sign_transaction, late) is DenialReason.SLOT_CANCELLED


def test_unknown_chain_and_unknown_sender_are_denied(signer: LocalSigner) -> None:
    assert denied(signer.sign_transaction, request(chain_id=5)) is DenialReason.WRONG_CHAIN
    assert denied(signer.sign_transaction, request(sender=STRANGER)) is DenialReason.UNKNOWN_SENDER


def test_two_policies_for_one_chain_are_refused(policy: Policy, guard: NonceGuard) -> None:
    with pytest.raises(ValueError, match="two policies"):
        LocalSigner([KEY], [policy, policy], guard)


def test_halted_signer_signs_cancels_only_until_resumed(signer: LocalSigner) -> None:
    signer.sign_transaction(request())
    signer.halt("drill")
    assert denied(signer.sign_transaction, request(intent_id="b", nonce=8)) is DenialReason.HALTED
    signer.sign_transaction(request(kind="cancel"))
    signer.resume("drill over")
    assert signer.latch().level is Level.ACTIVE
    signer.sign_transaction(request(intent_id="b", nonce=8))


def test_nothing_is_signed_without_the_record(signer: LocalSigner, guard: NonceGuard) -> None:
    guard.close()
    with pytest.raises(GuardUnavailableError):
        signer.sign_transaction(request())


def test_a_permit_is_signed_with_the_call_that_it_is_in(signer: LocalSigner, guard: NonceGuard) -> None:
    signed = signer.sign_transaction(request(data=with_permit()))
    (step, *_) = decode_execute(with_permit()).steps
    assert isinstance(step, RouterPermit)
    signature = KEY.sign_permit(step.permit, chain_id=1)
    assert signed.transaction == transaction(data=with_permit(signature=signature)), "nothing else is changed"
    assert Account.recover_transaction(signed.raw).lower() == KEY.address
    assert signer.sign_transaction(request(data=with_permit())) == signed
    assert signer.sign_transaction(request(data=with_permit(), attempt=1, max_fee_per_gas_wei=30 * 10**9)) == signed
    assert len(guard.attempts("a")) == 1


def test_every_permit_of_a_call_gets_a_signature_of_its_own(signer: LocalSigner) -> None:
    steps = [permit(amount=amount, nonce=nonce, signature=UNSIGNED) for nonce, amount in enumerate((40, 60))]
    signed = signer.sign_transaction(request(data=program(*steps, v3(US, 100, 1))))
    found = [step for step in decode_execute(signed.transaction.data).steps if isinstance(step, RouterPermit)]
    assert [step.signature for step in found] == [KEY.sign_permit(step.permit, chain_id=1) for step in found]
    assert [step.permit.amount for step in found] == [40, 60]


def test_a_permit_that_has_a_signature_keeps_it(signer: LocalSigner) -> None:
    """A replacement has the calldata of what it replaces."""
    data = with_permit(signature=b"\3" * 65)
    assert signer.sign_transaction(request(data=data)).transaction.data == data


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"spender": STRANGER}, DenialReason.UNKNOWN_SPENDER),
        ({"token": STRANGER}, DenialReason.UNKNOWN_TOKEN),
        ({"token": WETH}, DenialReason.UNKNOWN_TOKEN),
        ({"amount": 101}, DenialReason.PERMIT_EXCEEDS_INPUT),
        ({"amount": 1_001}, DenialReason.AMOUNT_OVER_CAP),
        ({"expiration": NOW_S + 601}, DenialReason.PERMIT_TOO_LONG),
        ({"deadline": 2**256 - 1}, DenialReason.PERMIT_TOO_LONG),
    ],
)
def test_with_a_permit_outside_the_policy_nothing_is_signed(
    signer: LocalSigner, guard: NonceGuard, changes: dict[str, Any], expected: DenialReason
) -> None:
    assert denied(signer.sign_transaction, request(data=with_permit(**changes))) is expected
    assert guard.slot_of("a") is None


def test_signer_offers_no_way_to_sign_a_hash_a_message_or_a_bare_permit(signer: LocalSigner) -> None:
    public = {name for name in dir(signer) if not name.startswith("_")}
    steps = {"begin_transaction", "counted", "end_transaction", "is_local"}
    record = {"counts", "highest_nonces", "latch", "signed_before"}
    assert public == {"sign_transaction"} | steps | record | {"addresses", "clock_s", "halt", "resume"}
    assert signer.addresses == (KEY.address,)


def test_a_bump_with_another_fee_than_was_signed_gives_what_was_signed(signer: LocalSigner) -> None:
    first = signer.sign_transaction(request(attempt=1))
    again = signer.sign_transaction(request(attempt=1, max_fee_per_gas_wei=50 * 10**9))
    assert again == first
    assert again.transaction.max_fee_per_gas_wei == 20 * 10**9


def of_record(nonce: int, number: int = 0, **changes: Any) -> RecordRequest:
    return RecordRequest(**{"owner": KEY.address, "chain_id": 1, "nonce": nonce, "number": number, **changes})


def test_the_record_is_read_attempt_by_attempt_in_the_order_of_nonces_and_numbers(signer: LocalSigner) -> None:
    later = signer.sign_transaction(request(intent_id="b", nonce=8))
    first = signer.sign_transaction(request())
    bump = signer.sign_transaction(request(max_fee_per_gas_wei=23 * 10**9))
    assert signer.signed_before(of_record(0)) == SignedBefore("a", first)
    assert signer.signed_before(of_record(7, 2)) == SignedBefore("a", bump)
    assert signer.signed_before(of_record(7, 3)) == SignedBefore("b", later)
    assert signer.signed_before(of_record(8, 2)) is None


def test_the_record_of_a_foreign_account_and_of_a_foreign_chain_is_not_told(signer: LocalSigner) -> None:
    assert denied(signer.signed_before, of_record(0, owner=STRANGER)) is DenialReason.UNKNOWN_SENDER
    assert denied(signer.signed_before, of_record(0, chain_id=5)) is DenialReason.WRONG_CHAIN
    assert denied(signer.signed_before, of_record(-1)) is DenialReason.MALFORMED_REQUEST


@pytest.mark.parametrize("odd", [{"number": 1 << 63}, {"epoch": 1 << 63}, {"epoch": -1}], ids=str)
def test_a_place_in_the_record_that_it_cannot_have_is_denied(signer: LocalSigner, odd: dict[str, int]) -> None:
    assert denied(signer.signed_before, of_record(7, **odd)) is DenialReason.MALFORMED_REQUEST
    assert signer.sign_transaction(request()).number == 1


@pytest.mark.parametrize("level", [Level.REDUCING, Level.HALTED])
def test_bytes_of_the_past_are_not_handed_out_while_entries_are_not_signed(signer: LocalSigner, level: Level) -> None:
    signed = signer.sign_transaction(request())
    signer.halt("looked at", level=level)
    assert signer.signed_before(of_record(0)) == SignedBefore("a", replace(signed, raw=b""))
    assert signer.signed_before(of_record(8)) is None
    signer.resume("all is well")
    assert signer.signed_before(of_record(0)) == SignedBefore("a", signed)


def test_a_stale_epoch_signs_nothing(signer: LocalSigner) -> None:
    signer.sign_transaction(request(epoch=3))
    assert denied(signer.sign_transaction, request(intent_id="b", nonce=8, epoch=2)) is DenialReason.STALE_EPOCH
    assert denied(signer.signed_before, of_record(0, epoch=2)) is DenialReason.STALE_EPOCH


def test_once_an_epoch_was_told_of_the_record_nothing_is_signed_for_an_earlier_one(signer: LocalSigner) -> None:
    signer.sign_transaction(request(epoch=3))
    assert signer.signed_before(of_record(8, epoch=4)) is None
    assert denied(signer.sign_transaction, request(intent_id="b", nonce=8, epoch=3)) is DenialReason.STALE_EPOCH
    assert denied(signer.sign_transaction, request(kind="cancel", epoch=3)) is DenialReason.STALE_EPOCH
    assert signer.sign_transaction(request(intent_id="b", nonce=8, epoch=4)).number == 1


def sale(amount: int = 100) -> bytes:
    return program(v3(US, amount, 1, path="sell"))


def test_reducing_signs_exits_but_no_entries(make_policy: Callable[..., Policy], guard: NonceGuard) -> None:
    rules = make_policy(unlisted_token_limit=TokenLimit(10**30, 10**30))
    signer = LocalSigner([KEY], [rules], guard, clock_s=lambda: NOW_S)
    signer.halt("losses", level=Level.REDUCING, source="bus")
    assert denied(signer.sign_transaction, request()) is DenialReason.HALTED
    paid_with_weth = {KEY.address: EntryCap(level=10, lane="fast", token=WETH, capital=10_000)}
    buying = LocalSigner([KEY], [replace(rules, entry_caps=paid_with_weth)], guard, clock_s=lambda: NOW_S)
    assert denied(buying.sign_transaction, request(data=sale())) is DenialReason.HALTED, "not said to be an exit"
    permitted = program(permit(token=WETH, signature=UNSIGNED), v3(US, 100, 1, path="sell"))
    assert signature_of(signer.sign_transaction(request(data=permitted, purpose="exit")).transaction.data) != UNSIGNED
    signer.sign_transaction(request(intent_id="c", nonce=8, to=USDC, data=approval(0)))
    signer.halt("fire")
    assert denied(signer.sign_transaction, request(intent_id="d", nonce=9, data=sale(), purpose="exit")) is (
        DenialReason.HALTED
    )


def approval(amount: int) -> bytes:
    return bytes.fromhex("095ea7b3") + bytes.fromhex(PERMIT2[2:]).rjust(32, b"\0") + amount.to_bytes(32, "big")


def test_an_entry_is_not_signed_as_an_exit(make_policy: Callable[..., Policy], guard: NonceGuard) -> None:
    rules = make_policy(unlisted_token_limit=TokenLimit(10**30, 10**30))
    signer = LocalSigner([KEY], [rules], guard, clock_s=lambda: NOW_S)
    assert denied(signer.sign_transaction, request(purpose="exit")) is DenialReason.NOT_AN_EXIT
    cycle = program(v3(ROUTER_ITSELF, 100, 0), v3(US, ALL, 100, path="sell", user=False))
    assert denied(signer.sign_transaction, request(data=cycle, purpose="exit")) is DenialReason.NOT_AN_EXIT
    both = program(v3(US, 100, 1, path="sell"), v3(US, 100, 1))
    assert denied(signer.sign_transaction, request(data=both, purpose="exit")) is DenialReason.NOT_AN_EXIT
    wrap = {"to": WETH, "data": bytes.fromhex("d0e30db0"), "value_wei": 5}
    assert denied(signer.sign_transaction, request(purpose="exit", **wrap)) is DenialReason.NOT_AN_EXIT
    assert guard.highest_nonce(1, KEY.address) is None


@pytest.mark.parametrize(
    "changes",
    [{"intent_id": ""}, {"intent_id": "x" * 129}, {"sender": "me"}, {"nonce": 2**63}, {"epoch": -1}, {"attempt": 0}],
    ids=str,
)
def test_what_cannot_be_recorded_is_denied(signer: LocalSigner, guard: NonceGuard, changes: dict[str, Any]) -> None:
    assert denied(signer.sign_transaction, request(**changes)) is DenialReason.MALFORMED_REQUEST
    assert guard.highest_nonce(1, KEY.address) is None
    assert signer.counts.denied == {DenialReason.MALFORMED_REQUEST: 1}


def test_signatures_and_denials_are_counted(signer: LocalSigner) -> None:
    signer.sign_transaction(request())
    signer.sign_transaction(request(intent_id="b", nonce=8, data=with_permit()))
    denied(signer.sign_transaction, request(to=STRANGER))
    denied(signer.sign_transaction, request(intent_id="c", nonce=9, data=with_permit(amount=1_001)))
    assert signer.counts.signed == {"transaction": 2}
    assert signer.counts.denied == {DenialReason.UNKNOWN_TARGET: 1, DenialReason.AMOUNT_OVER_CAP: 1}


def test_who_asks_for_an_exit_is_given_back_no_entry(make_policy: Callable[..., Policy], guard: NonceGuard) -> None:
    """An entry that was signed before the signer was reducing would else leave it afterwards."""
    signer = LocalSigner(
        [KEY], [make_policy(unlisted_token_limit=TokenLimit(10**6, 10**6))], guard, clock_s=lambda: NOW_S
    )
    entry = signer.sign_transaction(request(attempt=1))
    exit_ = program(v3(US, 100, 1, path="sell"))
    signer.halt("losses", level=Level.REDUCING)
    assert denied(signer.sign_transaction, request(attempt=1, purpose="exit", data=exit_)) is DenialReason.NOT_AN_EXIT
    other = signer.sign_transaction(request(attempt=1, purpose="exit", intent_id="b", nonce=8, data=exit_))
    dearer = request(attempt=1, purpose="exit", intent_id="b", nonce=8, data=exit_, max_fee_per_gas_wei=30 * 10**9)
    assert signer.sign_transaction(dearer) == other
    signer.resume("over")
    assert signer.sign_transaction(request(attempt=1, max_fee_per_gas_wei=30 * 10**9)) == entry


def test_what_a_tighter_policy_refuses_is_not_given_back(
    make_policy: Callable[..., Policy], policy: Policy, guard: NonceGuard
) -> None:
    LocalSigner([KEY], [policy], guard, clock_s=lambda: NOW_S).sign_transaction(request(attempt=1))
    tight = make_policy(tokens={USDC: TokenLimit(max_allowance=10_000, max_trade=50)})
    signer = LocalSigner([KEY], [tight], guard, clock_s=lambda: NOW_S)
    asked = request(attempt=1, data=program(v3(US, 50, 1)))
    assert denied(signer.sign_transaction, asked) is DenialReason.AMOUNT_OVER_CAP
