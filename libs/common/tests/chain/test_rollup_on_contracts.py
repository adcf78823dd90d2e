"""Our fee for data against the rollup's own contracts, and against what a node that follows its rules charges."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from eth_abi.abi import encode

from dexlane.chain.execution.rollup_receipts import with_rollup_fee
from dexlane.chain.keccak import keccak256
from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.rollup_terms import GAS_PRICE_ORACLE, L1_BLOCK, read_data_fee_terms
from dexlane.chain.rpc import RpcClient
from dexlane.domain.rollup_fees import DataSize, data_fee_wei, data_size, fastlz_size
from dexlane.events.fees import DataFeeRule
from dexlane.runtime.errors import Transient
from dexlane.testing.random_pools import seeded
from dexlane_devnet import Devnet, DevnetConfig, account, free_port, start_devnet
from dexlane_signer import DynamicFeeTransaction, PrivateKey

pytestmark = pytest.mark.integration
UNSIGNED = 68
"""What the oracle adds for the signature that the transactions it is asked about lack."""
SENDER = account("test-1")
GWEI = 10**9


@pytest.fixture
async def base() -> AsyncIterator[tuple[Devnet, NodeRpc]]:
    async with await start_devnet(DevnetConfig(port=free_port(), chain_id=8453, block_time_s=None)) as devnet:
        client = RpcClient(devnet.ws_url, name="base", policy=LinkPolicy(jitter=random.random), chain_id=8453)
        await client.start()
        await client.wait_connected(5)
        yield devnet, NodeRpc(client)
        await client.stop()


def payloads() -> list[bytes]:
    chance = seeded(7)
    made = [b"", bytes(12), bytes(13), b"\1" * 700, chance.randbytes(1_000)]
    for length in (14, 40, 90, 300, 1_200, 3_000):
        alphabet = bytes(chance.randrange(256) for _ in range(chance.randint(1, 6)))
        made.append(bytes(chance.choice(alphabet) for _ in range(length)))
        made.append(b"".join(chance.randbytes(20).rjust(32, b"\0") for _ in range(length // 32 + 1)))
    return made


async def oracle_says(node: NodeRpc, data: bytes) -> int:
    call = keccak256(b"getL1Fee(bytes)")[:4] + encode(["bytes"], [data])
    return int.from_bytes(await node.eth_call(GAS_PRICE_ORACLE, call), "big")


async def test_fjord_is_what_the_oracle_computes_for_any_data(base: tuple[Devnet, NodeRpc]) -> None:
    _, node = base
    terms = await read_data_fee_terms(node, "latest")
    assert terms.rule is DataFeeRule.FJORD
    for data in payloads():
        size = DataSize(0, 0, fastlz_size(data) + UNSIGNED)
        assert await oracle_says(node, data) == data_fee_wei(terms, size), data.hex()


async def test_ecotone_is_what_the_oracle_computes_for_any_data(base: tuple[Devnet, NodeRpc]) -> None:
    devnet, node = base
    await devnet.rpc("anvil_setStorageAt", GAS_PRICE_ORACLE, "0x" + "0" * 64, f"0x{1:064x}")
    terms = await read_data_fee_terms(node, "latest")
    assert terms.rule is DataFeeRule.ECOTONE
    for data in payloads():
        size = data_size(data)
        signed = DataSize(size.zero_bytes, size.other_bytes + UNSIGNED, 0)
        assert await oracle_says(node, data) == data_fee_wei(terms, signed), data.hex()


async def test_a_node_charges_for_a_signed_transaction_what_we_compute(base: tuple[Devnet, NodeRpc]) -> None:
    devnet, node = base
    key = PrivateKey.from_hex(SENDER.private_key)
    for nonce, data in enumerate(payloads(), await node.transaction_count(SENDER.address)):
        transaction = DynamicFeeTransaction(
            chain_id=8_453,
            nonce=nonce,
            max_priority_fee_per_gas_wei=GWEI,
            max_fee_per_gas_wei=20 * GWEI,
            gas_limit=400_000,
            to="0x" + "11" * 20,
            value_wei=0,
            data=data,
        )
        signed = key.sign_transaction(transaction)
        before = await node.balance(SENDER.address)
        await devnet.rpc("eth_sendRawTransactionSync", "0x" + signed.raw.hex())
        receipt = await node.receipt(signed.hash)
        assert receipt is not None
        assert receipt.rollup_fee_wei is None, "this node says nothing of it; when it does, compare with that instead"
        whole = await with_rollup_fee(node, 8_453, receipt, signed.raw)
        assert whole.rollup_fee_wei
        paid = before - await node.balance(SENDER.address)
        assert paid == receipt.gas_used * receipt.effective_gas_price_wei + whole.rollup_fee_wei, data.hex()


async def test_without_the_predeploys_the_fee_is_unknown_and_nothing_is_made_up(base: tuple[Devnet, NodeRpc]) -> None:
    devnet, node = base
    await devnet.rpc("anvil_setCode", L1_BLOCK, "0x")
    with pytest.raises(Transient, match="could not be read"):
        await read_data_fee_terms(node, "latest")
