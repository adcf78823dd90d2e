"""Headers and receipts prove themselves."""

from __future__ import annotations

from typing import Any

import pytest
import rlp as reference
from hypothesis import given
from hypothesis import strategies as st

from dexlane.chain.block_proof import EMPTY_ROOT, HeaderProof, prove_header, receipts_root, rlp

GENESIS = {
    "hash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
    "parentHash": "0x" + "00" * 32,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "00" * 20,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": EMPTY_ROOT,
    "receiptsRoot": EMPTY_ROOT,
    "logsBloom": "0x" + "00" * 256,
    "difficulty": "0x400000000",
    "number": "0x0",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": "0x" + "00" * 32,
    "nonce": "0x0000000000000042",
}
"""Ethereum's first block, as everybody knows it."""


def test_the_first_block_of_ethereum_proves_itself() -> None:
    assert prove_header(GENESIS) is HeaderProof.PROVED
    assert (
        prove_header({**GENESIS, "size": "0x21c", "totalDifficulty": "0x400000000", "uncles": []}) is HeaderProof.PROVED
    )


@pytest.mark.parametrize("name", sorted(set(GENESIS) - {"hash"}))
def test_whatever_is_altered_refutes_a_header(name: str) -> None:
    value = GENESIS[name]
    altered = value[:-1] + ("1" if value[-1] != "1" else "2")
    assert prove_header({**GENESIS, name: altered}) is HeaderProof.REFUTED


def test_a_field_that_is_not_known_here_proves_nothing_either_way() -> None:
    assert prove_header({**GENESIS, "gasUsed": "0x1", "sendRoot": "0x00"}) is HeaderProof.UNPROVABLE
    assert prove_header({**GENESIS, "sendRoot": "0x00"}) is HeaderProof.PROVED


@pytest.mark.parametrize("change", [{"number": "-0x1"}, {"number": None}, {"number": "one"}, {"nonce": "0xz"}])
def test_what_is_no_header_is_an_error_with_a_name(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError, TypeError, OverflowError)):
        prove_header({**GENESIS, **change})


items = st.recursive(st.binary(max_size=80), lambda inner: st.lists(inner, max_size=5), max_leaves=30)


@given(items)
def test_rlp_is_that_of_the_reference(item: Any) -> None:
    assert rlp(item) == reference.encode(item)


def test_no_receipts_have_the_empty_root() -> None:
    assert receipts_root([]) == EMPTY_ROOT


def receipt(index: int, **changes: Any) -> dict[str, Any]:
    log = {"address": "0x" + "11" * 20, "topics": ["0x" + "22" * 32], "data": "0x33"}
    plain = {
        "transactionIndex": hex(index),
        "type": "0x2",
        "status": "0x1",
        "cumulativeGasUsed": hex(21_000 * (index + 1)),
        "logsBloom": "0x" + "00" * 256,
        "logs": [log],
    }
    return {**plain, **changes}


def test_a_single_receipt_is_a_leaf_of_its_own() -> None:
    """By hand: the key is the RLP of index 0 (0x80), its nibbles behind the flag of an even leaf."""
    from dexlane_signer import keccak256

    body = [b"\x01", (21_000).to_bytes(2, "big"), bytes(256), [[b"\x11" * 20, [b"\x22" * 32], b"\x33"]]]
    leaf = reference.encode([b"\x20\x80", b"\x02" + reference.encode(body)])
    assert receipts_root([receipt(0)]) == "0x" + keccak256(leaf).hex()


@given(st.integers(2, 300), st.integers(0, 10**9), st.sampled_from(["status", "cumulativeGasUsed", "type"]))
def test_every_receipt_matters_and_their_order_in_the_answer_does_not(count: int, at: int, field: str) -> None:
    receipts = [receipt(index) for index in range(count)]
    root = receipts_root(receipts)
    assert receipts_root(receipts[::-1]) == root
    altered = {"status": "0x0", "cumulativeGasUsed": "0x7", "type": "0x1"}
    receipts[at % count] = receipt(at % count, **{field: altered[field]})
    assert receipts_root(receipts) != root
