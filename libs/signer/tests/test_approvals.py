"""Approvals: read strictly, from the right key, for exactly this trade, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from dexlane_signer import (
    Approval,
    Approver,
    CheckContext,
    Denial,
    DenialReason,
    LocalSigner,
    NonceGuard,
    Policy,
    SigningDenied,
    SignRequest,
    TokenLimit,
    read_statement,
)
from dexlane_signer.approvals import MalformedApprovalError, UnknownApprovalError, is_genuine
from dexlane_signer.decisions import decide

from .conftest import ALL, KEY, NOW_S, ROUTER, ROUTER_ITSELF, US, USDC, WETH, Step, program, transaction, v2, v3

R = DenialReason
VECTORS = json.loads((Path(__file__).parent / "golden/approvals.json").read_text())
KEYS = {approver: SigningKey(bytes([approver]) * 32) for approver in Approver}
OPEN = TokenLimit(max_allowance=10**9, max_trade=10**9)
ZERO = "0x" + "0" * 40


def sealed(by: Approver | None = None, **changes: Any) -> Approval:
    fields: dict[str, Any] = {
        "version": 1,
        "approver": 1,
        "kind": 1,
        "id": "ab" * 16,
        "chain": 1,
        "block": 5,
        "time": NOW_S,
        "expires": NOW_S + 60,
        "most": 0,
        "account": ZERO,
        "book": "",
        "tokens": (USDC, WETH),
    }
    fields |= changes
    data = b"".join(
        (
            b"dexlane approval",
            bytes((fields["version"], fields["approver"], fields["kind"])),
            bytes.fromhex(fields["id"]),
            *(fields[name].to_bytes(8, "big") for name in ("chain", "block", "time", "expires")),
            fields["most"].to_bytes(32, "big"),
            bytes.fromhex(fields["account"][2:]),
            bytes((len(fields["book"]),)) + fields["book"].encode(),
            bytes((len(fields["tokens"]),)) + b"".join(bytes.fromhex(token[2:]) for token in fields["tokens"]),
        )
    )
    key = KEYS[by or Approver(min(max(fields["approver"], 1), 3))]
    return Approval(data, key.sign(data).signature)


@pytest.fixture
def strict(make_policy: Callable[..., Policy]) -> Policy:
    keys = {approver: bytes(key.verify_key) for approver, key in KEYS.items()}
    return make_policy(approvers=keys, book_accounts={"ours": frozenset({KEY.address})}, unlisted_token_limit=OPEN)


def reason(policy: Policy, approval: Approval | None, *steps: Step) -> DenialReason | None:
    context = CheckContext(sender=KEY.address, kind="trade", now_s=NOW_S)
    asked = transaction(data=program(*(steps or (v3(US, 100, 1),))))
    found = decide(policy, asked, approval, context)
    return found.reason if isinstance(found, Denial) else None


GAP = (v3(ROUTER_ITSELF, 100, 0), v2(US, ALL, 101, path="sell", user=False))
SALE = v3(US, 100, 1, path="sell")
EXIT = {"approver": 2, "kind": 3, "tokens": (WETH, USDC), "account": KEY.address}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_golden_vectors_are_read_and_their_seals_are_genuine(vector: dict[str, Any]) -> None:
    statement = bytes.fromhex(vector["statement"])
    found = asdict(read_statement(statement))
    expected = {"account": "", "book_id": ""} | vector["fields"]
    assert found == expected | {"tokens": tuple(expected["tokens"]), "max_amount_in": int(expected["max_amount_in"])}
    assert is_genuine(bytes.fromhex(vector["public_key"]), statement, bytes.fromhex(vector["signature"]))


@given(st.sampled_from(VECTORS), st.data())
def test_a_statement_with_one_bit_changed_has_no_seal_any_more(vector: dict[str, Any], data: st.DataObject) -> None:
    statement = bytearray.fromhex(vector["statement"])
    at = data.draw(st.integers(0, len(statement) * 8 - 1))
    statement[at // 8] ^= 1 << at % 8
    key, signature = bytes.fromhex(vector["public_key"]), bytes.fromhex(vector["signature"])
    assert not is_genuine(key, bytes(statement), signature)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_no_statement(data: bytes) -> None:
    with pytest.raises((MalformedApprovalError, UnknownApprovalError)):
        read_statement(b"dexlane approval"[: len(data) % 17] + data)


@given(st.sampled_from(VECTORS), st.integers(0, 400), st.binary(min_size=1, max_size=40))
def test_a_statement_has_one_length(vector: dict[str, Any], cut: int, more: bytes) -> None:
    statement = bytes.fromhex(vector["statement"])
    for wrong in (statement[: cut % len(statement)], statement + more):
        with pytest.raises(MalformedApprovalError):
            read_statement(wrong)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, ()),
        ({"most": 100}, ()),
        ({"tokens": (USDC, "0x" + "77" * 20, WETH)}, ()),
        ({"book": "ours"}, ()),
        ({"account": KEY.address}, ()),
        ({"expires": NOW_S}, ()),
        ({"most": 200}, (v3(US, 100, 1), v2(US, 100, 1))),
        ({"kind": 2, "tokens": (USDC, WETH, USDC), "most": 100}, GAP),
        ({"kind": 2, "tokens": (WETH, USDC, WETH), "most": 1}, GAP),
        (EXIT, (SALE,)),
        (EXIT | {"approver": 3}, (SALE,)),
    ],
)
def test_what_was_approved_is_allowed(strict: Policy, changes: Any, steps: tuple[Step, ...]) -> None:
    assert reason(strict, sealed(**changes), *steps) is None


@pytest.mark.parametrize(
    ("approval", "steps", "expected"),
    [
        (None, (), R.NOT_APPROVED),
        (Approval(b"", b""), (), R.APPROVAL_MALFORMED),
        (sealed(version=2), (), R.APPROVAL_UNKNOWN),
        (sealed(approver=4), (), R.APPROVAL_UNKNOWN),
        (sealed(kind=4), (), R.APPROVAL_UNKNOWN),
        (sealed(approver=2), (), R.APPROVAL_WRONG_KEY),
        (sealed(approver=3), (), R.APPROVAL_WRONG_KEY),
        (sealed(**(EXIT | {"approver": 1})), (SALE,), R.APPROVAL_WRONG_KEY),
        (sealed(by=Approver.PORTFOLIO), (), R.APPROVAL_FORGED),
        (replace(sealed(), signature=b"\1" * 64), (), R.APPROVAL_FORGED),
        (replace(sealed(), signature=b""), (), R.APPROVAL_FORGED),
        (sealed(expires=NOW_S - 1), (), R.APPROVAL_EXPIRED),
        (sealed(expires=NOW_S + 3_601), (), R.APPROVAL_TOO_LONG),
        (sealed(chain=2), (), R.APPROVAL_WRONG_CHAIN),
        (sealed(account=ROUTER), (), R.APPROVAL_WRONG_ACCOUNT),
        (sealed(book="theirs"), (), R.APPROVAL_WRONG_ACCOUNT),
        (sealed(tokens=(WETH, USDC)), (), R.APPROVAL_WRONG_TOKENS),
        (sealed(tokens=(USDC, ROUTER)), (), R.APPROVAL_WRONG_TOKENS),
        (sealed(), GAP, R.APPROVAL_WRONG_TOKENS),
        (sealed(kind=2, tokens=(USDC, ROUTER, USDC)), GAP, R.APPROVAL_WRONG_TOKENS),
        (sealed(kind=2, tokens=(USDC, WETH, ROUTER, USDC)), GAP, R.APPROVAL_WRONG_TOKENS),
        (sealed(kind=2, tokens=(USDC, WETH, USDC)), (v3(US, 1, 1),), R.APPROVAL_WRONG_TOKENS),
        (sealed(most=99), (), R.APPROVAL_AMOUNT),
        (sealed(most=199), (v3(US, 100, 1), v2(US, 100, 1)), R.APPROVAL_AMOUNT),
    ],
)
def test_everything_else_is_denied_with_its_reason(
    strict: Policy, approval: Approval | None, steps: tuple[Step, ...], expected: DenialReason
) -> None:
    assert reason(strict, approval, *steps) is expected


def test_without_approvers_in_the_policy_nothing_needs_an_approval(policy: Policy) -> None:
    assert reason(policy, None) is None


def ask(approval: Approval | None, **changes: Any) -> SignRequest:
    fields: dict[str, Any] = {"intent_id": "one", "kind": "trade", "transaction": transaction()} | changes
    return SignRequest(sender=KEY.address, approval=approval, **fields)


@pytest.fixture
def make_signer(strict: Policy, tmp_path: Path) -> Callable[[], LocalSigner]:
    return lambda: LocalSigner([KEY], [strict], NonceGuard(tmp_path / "guard.db"), clock_s=lambda: NOW_S)


def test_an_approval_is_used_by_one_intent_for_ever(make_signer: Callable[[], LocalSigner]) -> None:
    first = make_signer()
    first.sign_transaction(ask(sealed()))
    first.sign_transaction(ask(sealed(), transaction=transaction(max_fee_per_gas_wei=30 * 10**9), attempt=2))
    for signer in (first, make_signer()):
        with pytest.raises(SigningDenied) as denied:
            signer.sign_transaction(ask(sealed(), intent_id="two", transaction=transaction(nonce=8)))
        assert denied.value.reason is R.APPROVAL_USED
        # Another time of sealing does not make it another approval: the id counts.
        later = sealed(expires=NOW_S + 61)
        with pytest.raises(SigningDenied):
            signer.sign_transaction(ask(later, intent_id="three", transaction=transaction(nonce=9)))
    assert first.counts.denied[R.APPROVAL_USED] == 2, "the signer counts its denials"


def test_a_denied_request_uses_no_approval(make_signer: Callable[[], LocalSigner]) -> None:
    signer = make_signer()
    signer.sign_transaction(ask(sealed(id="01" * 16), intent_id="owner"))
    with pytest.raises(SigningDenied):
        signer.sign_transaction(ask(sealed()))  # the slot is another's
    signer.sign_transaction(ask(sealed(), intent_id="two", transaction=transaction(nonce=8)))


def test_a_cancel_and_an_allowance_need_no_approval(make_signer: Callable[[], LocalSigner]) -> None:
    signer = make_signer()
    signer.sign_transaction(ask(None, kind="cancel", transaction=transaction(to=KEY.address, data=b"")))
    approve = bytes.fromhex("095ea7b3") + bytes(12) + bytes.fromhex("000000000022d473030f116ddee9f6b43ac78ba3")
    allowance = transaction(nonce=8, to=USDC, data=approve + (5).to_bytes(32, "big"))
    signer.sign_transaction(ask(None, intent_id="two", transaction=allowance))


def test_an_exit_in_name_needs_an_approved_exit(make_signer: Callable[[], LocalSigner]) -> None:
    entry = sealed(tokens=(WETH, USDC))
    with pytest.raises(SigningDenied) as denied:
        make_signer().sign_transaction(ask(entry, purpose="exit", transaction=transaction(data=program(SALE))))
    assert denied.value.reason is R.NOT_AN_EXIT
    make_signer().sign_transaction(ask(sealed(**EXIT), purpose="exit", transaction=transaction(data=program(SALE))))


def test_a_repetition_with_another_approval_leaves_that_one_unused(make_signer: Callable[[], LocalSigner]) -> None:
    signer = make_signer()
    first = signer.sign_transaction(ask(sealed()))
    assert signer.sign_transaction(ask(sealed(id="cd" * 16))) == first
    signer.sign_transaction(ask(sealed(id="cd" * 16), intent_id="two", transaction=transaction(nonce=8)))
