"""The chain in memory is as strict as go-ethereum; a lenient double would hide what the executors must handle."""

from __future__ import annotations

from typing import Any

import pytest
from coincurve import PrivateKey

from dexlane.chain.rpc import RpcError, RpcUnavailable
from dexlane.testing.fake_chain import FakeChain, FakeLog, Outcome
from dexlane_signer.keccak import keccak256
from dexlane_signer.transactions import DynamicFeeTransaction

KEY = PrivateKey(b"\x01" * 32)
SENDER = "0x" + keccak256(KEY.public_key.format(compressed=False)[1:])[12:].hex()
GWEI = 10**9


def signed(nonce: int = 0, **fields: Any) -> bytes:
    defaults: dict[str, Any] = {
        "chain_id": 1,
        "max_priority_fee_per_gas_wei": GWEI,
        "max_fee_per_gas_wei": 3 * GWEI,
        "gas_limit": 21_000,
        "to": "0x" + "1" * 40,
        "value_wei": 5,
        "data": b"",
    }
    transaction = DynamicFeeTransaction(nonce=nonce, **(defaults | fields))
    return transaction.with_signature(KEY.sign_recoverable(transaction.signing_hash(), hasher=None)).raw


@pytest.fixture
def chain() -> FakeChain:
    chain = FakeChain(1)
    chain.fund(SENDER, 10**18)
    return chain


async def test_an_included_transaction_pays_base_fee_and_tip(chain: FakeChain) -> None:
    rpc = chain.rpc()
    tx_hash = await rpc.send_raw_transaction(signed())
    [header] = chain.mine()
    receipt = await rpc.receipt(tx_hash)
    assert receipt is not None
    assert receipt.effective_gas_price_wei == header.base_fee_per_gas_wei + GWEI
    assert await rpc.balance(SENDER) == 10**18 - 5 - 21_000 * receipt.effective_gas_price_wei
    assert await rpc.transaction_count(SENDER) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chain_id": 5}, "invalid chain id"),
        ({"gas_limit": 20_999}, "intrinsic gas too low"),
        ({"gas_limit": 30_000_001}, "exceeds block gas limit"),
        ({"value_wei": 10**18}, "insufficient funds"),
    ],
)
async def test_what_geth_refuses_is_refused(chain: FakeChain, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RpcError, match=message):
        await chain.rpc().send_raw_transaction(signed(**fields))


async def test_the_same_bytes_twice_are_already_known_until_included(chain: FakeChain) -> None:
    rpc = chain.rpc()
    await rpc.send_raw_transaction(signed())
    with pytest.raises(RpcError, match="already known"):
        await rpc.send_raw_transaction(signed())
    chain.mine()
    with pytest.raises(RpcError, match="nonce too low"):
        await rpc.send_raw_transaction(signed())


@pytest.mark.parametrize(
    ("cap", "tip", "taken"), [(105, 105, False), (110, 109, False), (109, 110, False), (110, 110, True)]
)
async def test_a_replacement_must_raise_both_fees_by_ten_per_cent(
    chain: FakeChain, cap: int, tip: int, taken: bool
) -> None:
    rpc = chain.rpc()
    first = await rpc.send_raw_transaction(signed())
    bumped = signed(max_fee_per_gas_wei=3 * GWEI * cap // 100, max_priority_fee_per_gas_wei=GWEI * tip // 100)
    if taken:
        second = await rpc.send_raw_transaction(bumped)
        assert await rpc.transaction(first) is None
        assert await rpc.transaction(second) is not None
        return
    with pytest.raises(RpcError, match="underpriced"):
        await rpc.send_raw_transaction(bumped)


async def test_a_gap_of_nonces_waits_and_a_low_cap_waits(chain: FakeChain) -> None:
    rpc = chain.rpc()
    later = await rpc.send_raw_transaction(signed(1))
    chain.mine()
    assert await rpc.receipt(later) is None
    await rpc.send_raw_transaction(signed(0, max_fee_per_gas_wei=GWEI // 2, max_priority_fee_per_gas_wei=0))
    chain.next_base_fee_wei = GWEI
    chain.mine()
    assert await rpc.transaction_count(SENDER) == 0
    assert await rpc.transaction_count(SENDER, block="pending") == 2
    chain.next_base_fee_wei = GWEI // 2
    chain.mine()
    assert await rpc.transaction_count(SENDER) == 2


async def test_a_reorg_takes_effects_back_and_returns_transactions_unless_dropped(chain: FakeChain) -> None:
    rpc = chain.rpc()
    kept, dropped = await rpc.send_raw_transaction(signed(0)), await rpc.send_raw_transaction(signed(1))
    chain.mine()
    before = await rpc.receipt(kept)
    chain.reorg(1, drop=[dropped])
    after = await rpc.receipt(kept)
    assert before is not None
    assert after is not None
    assert before.block.hash != after.block.hash
    assert await rpc.receipt(dropped) is None
    assert await rpc.transaction(dropped) is None
    assert await rpc.transaction_count(SENDER) == 1


async def test_a_reverted_transaction_pays_gas_and_leaves_no_log(chain: FakeChain) -> None:
    rpc = chain.rpc()
    log = FakeLog(address="0x" + "2" * 40, topics=("0x" + "3" * 64,))
    chain.execute = lambda tx: Outcome(success=False, gas_used=21_000, logs=(log,))
    tx_hash = await rpc.send_raw_transaction(signed())
    chain.mine()
    receipt = await rpc.receipt(tx_hash)
    assert receipt is not None
    assert (receipt.success, receipt.logs) == (False, ())
    assert await rpc.balance("0x" + "1" * 40) == 0


async def test_an_answer_can_be_lost_after_the_node_accepted(chain: FakeChain) -> None:
    rpc = chain.rpc()
    rpc.fail_next("send_raw_transaction", RpcUnavailable("lost"), after=True)
    with pytest.raises(RpcUnavailable):
        await rpc.send_raw_transaction(signed())
    assert len(chain.pool) == 1


async def test_tips_are_gas_weighted_percentiles(chain: FakeChain) -> None:
    rpc = chain.rpc()
    await rpc.send_raw_transaction(signed(0))
    chain.mine()
    history = await rpc.fee_history(2, "latest", [10, 95])
    assert history.tips_per_gas_wei == ((0, 0), (GWEI, GWEI))
    assert history.base_fees_per_gas_wei[-1] == chain.mine()[0].base_fee_per_gas_wei
