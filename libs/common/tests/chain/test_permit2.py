"""Allowance calls agree with eth_abi and with the signatures they are named after."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from dexlane.chain import abi, permit2
from dexlane_signer import keccak256

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
OWNER, SPENDER, TOKEN = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20


def called(signature: str, *values: object) -> bytes:
    types = signature[signature.index("(") + 1 : -1].split(",")
    return keccak256(signature.encode())[:4] + encode(types, values)


def test_calls_equal_those_made_from_their_signatures() -> None:
    assert permit2.approve(SPENDER, 5) == called("approve(address,uint256)", SPENDER, 5)
    assert permit2.allowance(OWNER, SPENDER) == called("allowance(address,address)", OWNER, SPENDER)
    assert permit2.balance_of(OWNER) == called("balanceOf(address)", OWNER)
    expected = called("allowance(address,address,address)", OWNER, TOKEN, SPENDER)
    assert permit2.permit2_allowance(OWNER, TOKEN, SPENDER) == expected


@given(st.integers(0, 2**160 - 1), st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_permit2_allowance_is_read_as_amount_expiration_and_nonce(amount: int, expiration_s: int, nonce: int) -> None:
    returned = encode(["uint160", "uint48", "uint48"], [amount, expiration_s, nonce])
    assert permit2.decode_permit2_allowance(returned) == permit2.Permit2Allowance(amount, expiration_s, nonce)


def test_answer_of_an_address_without_code_is_refused() -> None:
    with pytest.raises(abi.AbiError, match="truncated"):
        permit2.decode_amount(b"")
    with pytest.raises(abi.AbiError, match="truncated"):
        permit2.decode_permit2_allowance(bytes(64))


@given(addresses, addresses, st.integers(0, 2**160 - 1), st.binary(min_size=65, max_size=65))
def test_permit_input_equals_eth_abi(token: str, spender: str, amount: int, signature: bytes) -> None:
    permit = permit2.PermitSingle(
        token=token, amount=amount, expiration_s=3, nonce=4, spender=spender, sig_deadline_s=5
    )
    types = ["((address,uint160,uint48,uint48),address,uint256)", "bytes"]
    expected = encode(types, [((token, amount, 3, 4), spender, 5), signature])
    assert permit2.permit_input(permit2.PermitCommand(permit, signature)) == expected


def test_permit_signature_of_another_length_is_refused() -> None:
    permit = permit2.PermitSingle(token=TOKEN, amount=1, expiration_s=0, nonce=0, spender=SPENDER, sig_deadline_s=1)
    with pytest.raises(abi.AbiError, match="65 bytes"):
        permit2.permit_input(permit2.PermitCommand(permit, bytes(64)))
