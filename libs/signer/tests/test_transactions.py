"""Transactions are byte-equal with eth-account's, and RLP has one spelling."""

from __future__ import annotations

from dataclasses import replace

import pytest
import rlp as reference_rlp  # type: ignore[import-untyped]
from Crypto.Hash import keccak
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane_signer import DynamicFeeTransaction, PrivateKey, checksum_address, keccak256, rlp

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # the first public key of anvil

amounts = st.one_of(st.integers(0, 300), st.integers(0, 2**256 - 1))
fees = st.tuples(amounts, amounts).map(sorted)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
secrets = st.integers(1, 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364140)


@st.composite
def transactions(draw: st.DrawFn) -> DynamicFeeTransaction:
    tip, cap = draw(fees)
    return DynamicFeeTransaction(
        chain_id=draw(st.integers(1, 2**53)),
        nonce=draw(st.integers(0, 2**64 - 2)),
        max_priority_fee_per_gas_wei=tip,
        max_fee_per_gas_wei=cap,
        gas_limit=draw(st.integers(0, 2**63)),
        to=draw(addresses),
        value_wei=draw(amounts),
        data=draw(st.binary(max_size=400)),
    )


@settings(max_examples=60, deadline=None)
@given(transaction=transactions(), secret=secrets)
def test_signed_bytes_and_hash_equal_those_of_eth_account(transaction: DynamicFeeTransaction, secret: int) -> None:
    secret_bytes = secret.to_bytes(32, "big")
    theirs = Account.sign_transaction(
        {
            "type": 2,
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "maxPriorityFeePerGas": transaction.max_priority_fee_per_gas_wei,
            "maxFeePerGas": transaction.max_fee_per_gas_wei,
            "gas": transaction.gas_limit,
            "to": checksum_address(transaction.to),
            "value": transaction.value_wei,
            "data": transaction.data,
        },
        secret_bytes,
    )
    ours = PrivateKey(secret_bytes).sign_transaction(transaction)
    assert ours.raw == bytes(theirs.raw_transaction)
    assert ours.hash == "0x" + bytes(theirs.hash).hex()


@settings(max_examples=60, deadline=None)
@given(transaction=transactions(), secret=secrets)
def test_legacy_bytes_and_hash_equal_those_of_eth_account(transaction: DynamicFeeTransaction, secret: int) -> None:
    secret_bytes = secret.to_bytes(32, "big")
    price = transaction.max_fee_per_gas_wei
    legacy = replace(transaction, max_priority_fee_per_gas_wei=price, envelope="legacy")
    theirs = Account.sign_transaction(
        {
            "chainId": legacy.chain_id,
            "nonce": legacy.nonce,
            "gasPrice": price,
            "gas": legacy.gas_limit,
            "to": checksum_address(legacy.to),
            "value": legacy.value_wei,
            "data": legacy.data,
        },
        secret_bytes,
    )
    ours = PrivateKey(secret_bytes).sign_transaction(legacy)
    assert ours.raw == bytes(theirs.raw_transaction)
    assert ours.hash == "0x" + bytes(theirs.hash).hex()


@given(transaction=transactions(), secret=secrets, legacy=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_was_signed_is_read_back_as_it_was(transaction: DynamicFeeTransaction, secret: int, legacy: bool) -> None:
    if legacy:
        price = transaction.max_fee_per_gas_wei
        transaction = replace(transaction, max_priority_fee_per_gas_wei=price, envelope="legacy")
    signed = PrivateKey(secret.to_bytes(32, "big")).sign_transaction(transaction)
    assert DynamicFeeTransaction.from_signed(signed.raw) == (transaction, signed.hash)


def test_a_legacy_transaction_has_one_price() -> None:
    with pytest.raises(ValueError, match="one gas price"):
        _transaction(envelope="legacy")


def test_a_legacy_transaction_of_no_chain_is_not_read() -> None:
    fields = [b"", b"\1", b"\1", bytes(20), b"", b"", b"\x1b", b"\1", b"\1"]
    with pytest.raises(ValueError, match="chain_id"):
        DynamicFeeTransaction.from_signed(rlp.encode(fields))


@given(transaction=transactions(), other=transactions(), r=secrets, s=secrets, legacy=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_transaction_is_found_in_its_signed_bytes_whatever_the_signature(
    transaction: DynamicFeeTransaction, other: DynamicFeeTransaction, r: int, s: int, legacy: bool
) -> None:
    typed = transaction
    if legacy:
        price = transaction.max_fee_per_gas_wei
        transaction = replace(transaction, max_priority_fee_per_gas_wei=price, envelope="legacy")
        assert not typed.is_signed_in(transaction.with_signature(bytes(64) + b"\0").raw)
        assert not transaction.is_signed_in(typed.with_signature(bytes(64) + b"\0").raw)
        elsewhere = replace(transaction, chain_id=transaction.chain_id + 1)
        assert not elsewhere.is_signed_in(transaction.with_signature(bytes(64) + b"\0").raw)
    raw = transaction.with_signature(r.to_bytes(32, "big") + s.to_bytes(32, "big") + b"\1").raw
    assert transaction.is_signed_in(raw)
    assert other.is_signed_in(raw) == (other == transaction)
    nearly = replace(transaction, data=transaction.data + b"\0")
    assert not nearly.is_signed_in(raw)
    assert not transaction.is_signed_in(nearly.with_signature(bytes(64) + b"\0").raw)


@given(secret=secrets)
@settings(max_examples=30, deadline=None)
def test_address_and_checksum_equal_those_of_eth_account(secret: int) -> None:
    secret_bytes = secret.to_bytes(32, "big")
    assert checksum_address(PrivateKey(secret_bytes).address) == Account.from_key(secret_bytes).address


def test_signing_twice_gives_the_same_bytes() -> None:
    transaction = _transaction()
    key = PrivateKey.from_hex(KEY)
    assert key.sign_transaction(transaction) == key.sign_transaction(transaction)


items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=5), max_leaves=20)


@given(items)
def test_rlp_equals_the_reference_and_decodes_to_what_was_encoded(item: rlp.Item) -> None:
    encoded = rlp.encode(item)
    assert encoded == reference_rlp.encode(item)
    assert rlp.decode(encoded) == item


@given(st.binary(max_size=40))
def test_rlp_that_decodes_is_the_only_spelling(data: bytes) -> None:
    try:
        item = rlp.decode(data)
    except ValueError:
        return
    assert rlp.encode(item) == data


@pytest.mark.parametrize("spelling", ["", "8100", "b80100", "c201", "0000", "b8", "b900ff", "f80101"])
def test_rlp_with_slack_is_refused(spelling: str) -> None:
    with pytest.raises(ValueError, match=r"item|byte|length"):
        rlp.decode(bytes.fromhex(spelling))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain_id", 0),
        ("nonce", -1),
        ("nonce", 2**64 - 1),
        ("gas_limit", 2**64),
        ("max_priority_fee_per_gas_wei", 11),
        ("value_wei", -1),
        ("to", "0x1234"),
        ("to", ""),
    ],
)
def test_transaction_with_a_field_out_of_range_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"address|chain_id|nonce|gas_limit|tip|value_wei"):
        _transaction(**{field: value})


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(64) + b"\x1b"])
def test_signature_of_another_form_is_refused(signature: bytes) -> None:
    with pytest.raises(ValueError, match="65 bytes"):
        _transaction().with_signature(signature)


def test_keccak_is_the_original_padding_and_not_sha3() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


@given(st.binary(max_size=600))
def test_keccak_is_what_another_library_makes_of_the_same_bytes(data: bytes) -> None:
    assert keccak256(data) == keccak.new(data=data, digest_bits=256).digest()


def _transaction(**changes: object) -> DynamicFeeTransaction:
    fields: dict[str, object] = {
        "chain_id": 1,
        "nonce": 0,
        "max_priority_fee_per_gas_wei": 1,
        "max_fee_per_gas_wei": 10,
        "gas_limit": 21_000,
        "to": "0x" + "11" * 20,
        "value_wei": 0,
        "data": b"",
    }
    return DynamicFeeTransaction(**{**fields, **changes})  # type: ignore[arg-type]
