"""What holds for every store whose keys stay in it: its answer is verified, and its failures have a class."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from eth_keys.datatypes import Signature

from dexlane.testing.key_services.http import Answered
from dexlane_signer import DenialReason, DynamicFeeTransaction, PermitSingle
from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError

from .conftest import NOW_S, ROUTER, USDC, transaction
from .stores import ACCOUNT, OTHER, SECRET, STORES, Played, as_aws_example

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


@pytest.fixture(scope="module", params=STORES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with pytest.MonkeyPatch.context() as patch:
        as_aws_example(patch)
        with STORES[request.param](tmp_path_factory.mktemp("store")) as one:
            yield one


@pytest.fixture
def played(served: Played) -> Played:
    served.service.asked.clear()
    served.service.instead.clear()
    served.service.delay_s = 0.0
    served.signed_by(SECRET)
    return served


def test_transactions_are_signed_by_the_account_whatever_the_service_draws(played: Played) -> None:
    for nonce in range(8):
        asked = transaction(nonce=nonce)
        signed = played.key.sign_transaction(asked)
        assert Account.recover_transaction(signed.raw).lower() == ACCOUNT
        assert DynamicFeeTransaction.from_signed(signed.raw) == (asked, signed.hash)
        s = int.from_bytes(signed.raw[-32:], "big")
        assert s <= HALF_ORDER or signed.raw[-33] != 0xA0, "EIP-2"


def test_permits_are_signed_by_the_account(played: Played) -> None:
    permit = PermitSingle(token=USDC, amount=5, expiration_s=0, nonce=1, spender=ROUTER, sig_deadline_s=NOW_S)
    for chain_id in range(1, 6):
        signature = played.key.sign_permit(permit, chain_id=chain_id)
        assert signature[64] in (27, 28)
        assert int.from_bytes(signature[32:64], "big") <= HALF_ORDER
        found = Signature(signature[:64] + bytes((signature[64] - 27,)))
        assert found.recover_public_key_from_msg_hash(permit.digest(chain_id=chain_id)).to_address() == ACCOUNT


def test_the_signature_of_another_key_does_not_leave(played: Played) -> None:
    played.signed_by(OTHER)
    with pytest.raises(KeyStoreRefusedError, match=ACCOUNT) as caught:
        played.key.sign_transaction(transaction())
    assert caught.value.reason is DenialReason.WRONG_SIGNATURE


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[1]", b"0x", b"<html>", b'{"Signature": "AAAA"}', b"\xff\xfe"])
def test_garbage_does_not_leave(played: Played, body: bytes) -> None:
    played.service.instead = [Answered(200, body, {"Content-Type": "application/json"})] * 2
    with pytest.raises((KeyStoreRefusedError, KeyStoreUnavailableError)):
        played.key.sign_transaction(transaction())


def test_a_throttled_question_is_asked_once_more(played: Played) -> None:
    played.service.instead = [played.busy]
    assert played.key.sign_transaction(transaction()).raw
    assert len(played.service.asked) == 2


def test_throttling_that_lasts_is_transient(played: Played) -> None:
    played.service.instead = [played.busy] * 2
    with pytest.raises(KeyStoreUnavailableError):
        played.key.sign_transaction(transaction())
    assert len(played.service.asked) == 2, "the executor asks again, not the signer for ever"


def test_a_missing_permission_is_permanent_and_its_text_is_not_passed_on(played: Played) -> None:
    played.service.instead = [played.forbidden]
    with pytest.raises(KeyStoreRefusedError) as caught:
        played.key.sign_transaction(transaction())
    assert caught.value.reason is DenialReason.KEY_STORE_REFUSED
    assert SECRET.hex() not in str(caught.value)
    assert caught.value.__cause__ is None
    assert len(played.service.asked) == 1


def test_a_service_that_is_late_is_left_within_the_limit(played: Played) -> None:
    played.service.delay_s = 2.0
    began_s = time.monotonic()
    with pytest.raises(KeyStoreUnavailableError):
        played.key.sign_transaction(transaction())
    assert time.monotonic() - began_s < 1.6


def test_a_key_shows_and_copies_nothing(played: Played) -> None:
    assert repr(played.key).lower() == f"storedkey(<{ACCOUNT}>)"
    assert not hasattr(played.key, "__dict__")
    for send in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pickled or copied"):
            send(played.key)


@pytest.mark.parametrize("name", STORES)
def test_a_service_that_is_gone_is_transient(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_aws_example(monkeypatch)
    with STORES[name](tmp_path) as one:
        key = one.key
    with pytest.raises(KeyStoreUnavailableError):
        key.sign_transaction(transaction())
