"""Each rule of the strict node against a real anvil behind it, and that anvil alone would break it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from eth_account import Account

from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.rpc import RpcClient, RpcError, RpcUnavailable
from dexlane.domain.publish_answers import PublishAnswer, classify_refusal
from dexlane.testing.fake_mempool import decode_transaction
from dexlane.testing.strict_node import SendFaults, StrictNode
from dexlane_devnet import Devnet, DevnetConfig, account, free_port, start_devnet
from dexlane_devnet.rpc import RpcError as DevnetRpcError

pytestmark = pytest.mark.integration
GWEI = 10**9


@pytest_asyncio.fixture
async def devnet() -> AsyncIterator[Devnet]:
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None), lambda _line: None) as devnet:
        # Neither by itself nor in time: a block comes when the test mines one.
        await devnet.rpc("evm_setAutomine", False)
        yield devnet


@pytest_asyncio.fixture
async def node(devnet: Devnet) -> AsyncIterator[StrictNode]:
    async with StrictNode(devnet.ws_url, seed=1, poll_s=0.02) as node:
        yield node


@pytest_asyncio.fixture
async def rpc(node: StrictNode) -> AsyncIterator[NodeRpc]:
    client = RpcClient(
        node.url, name="test", policy=LinkPolicy(jitter=random.random, first_wait_s=0.02, call_timeout_s=1), chain_id=1
    )
    await client.start()
    await client.wait_connected(5)
    yield NodeRpc(client)
    await client.stop()


class Sender:
    """One account that signs transfers of nothing to itself."""

    def __init__(self, devnet: Devnet) -> None:
        self.devnet = devnet
        self.account = account("spare-1")

    @property
    def address(self) -> str:
        return self.account.address.lower()

    async def nonce(self) -> int:
        return int(await self.devnet.rpc("eth_getTransactionCount", self.address, "latest"), 16)

    def signed(self, nonce: int, cap_wei: int = 100 * GWEI, tip_wei: int = 2 * GWEI, gas: int = 21_000) -> Any:
        fields = {
            "type": 2,
            "chainId": 1,
            "nonce": nonce,
            "to": self.account.address,
            "value": 0,
            "gas": gas,
            "maxFeePerGas": cap_wei,
            "maxPriorityFeePerGas": tip_wei,
        }
        return Account.sign_transaction(fields, self.account.private_key)

    def raw(self, *terms: int) -> bytes:
        return bytes(self.signed(*terms).raw_transaction)

    async def mined(self, raw: bytes) -> bool:
        tx_hash = decode_transaction(raw).hash
        return await self.devnet.rpc("eth_getTransactionReceipt", tx_hash) is not None


@pytest.fixture
def sender(devnet: Devnet) -> Sender:
    return Sender(devnet)


async def eventually(condition: Any, timeout_s: float = 5.0) -> None:
    for _ in range(int(timeout_s / 0.02)):
        if await condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"not within {timeout_s} s")


async def refusal(rpc: NodeRpc, raw: bytes) -> PublishAnswer:
    with pytest.raises(RpcError) as caught:
        await rpc.send_raw_transaction(raw)
    return classify_refusal(caught.value.message)


async def test_anvil_alone_takes_a_replacement_that_pays_five_per_cent_more(devnet: Devnet, sender: Sender) -> None:
    nonce = await sender.nonce()
    await devnet.rpc("eth_sendRawTransaction", "0x" + sender.raw(nonce).hex())
    more = sender.raw(nonce, 105 * GWEI, 2_100_000_000)
    assert await devnet.rpc("eth_sendRawTransaction", "0x" + more.hex())


@pytest.mark.parametrize(("cap", "tip"), [(105, 210), (110, 219), (109, 220)])
async def test_a_replacement_below_ten_per_cent_on_either_field_is_underpriced(
    rpc: NodeRpc, sender: Sender, cap: int, tip: int
) -> None:
    nonce = await sender.nonce()
    await rpc.send_raw_transaction(sender.raw(nonce, 100 * GWEI, 2 * GWEI))
    answer = await refusal(rpc, sender.raw(nonce, cap * GWEI, tip * GWEI // 100))
    assert answer is PublishAnswer.REPLACEMENT_UNDERPRICED


async def test_a_replacement_of_ten_per_cent_takes_the_place(devnet: Devnet, rpc: NodeRpc, sender: Sender) -> None:
    nonce = await sender.nonce()
    first, second = sender.raw(nonce), sender.raw(nonce, 110 * GWEI, 2_200_000_000)
    await rpc.send_raw_transaction(first)
    await rpc.send_raw_transaction(second)
    await devnet.mine()
    assert (await sender.mined(first), await sender.mined(second)) == (False, True)


async def test_the_same_bytes_again_are_already_known(rpc: NodeRpc, sender: Sender) -> None:
    raw = sender.raw(await sender.nonce())
    await rpc.send_raw_transaction(raw)
    assert await refusal(rpc, raw) is PublishAnswer.ALREADY_KNOWN


async def test_bytes_of_a_used_nonce_are_too_low(devnet: Devnet, rpc: NodeRpc, sender: Sender) -> None:
    raw = sender.raw(await sender.nonce())
    await rpc.send_raw_transaction(raw)
    await devnet.mine()
    assert await refusal(rpc, raw) is PublishAnswer.NONCE_TOO_LOW


async def test_a_fee_cap_below_the_base_fee_is_kept_until_the_base_fee_has_fallen(
    devnet: Devnet, rpc: NodeRpc, sender: Sender
) -> None:
    raw = sender.raw(await sender.nonce(), 3 * GWEI, GWEI)
    await devnet.rpc("anvil_setNextBlockBaseFeePerGas", hex(50 * GWEI))
    await devnet.mine()
    await asyncio.sleep(0.1)
    with pytest.raises(DevnetRpcError):  # what the correction is for: anvil alone refuses it
        await devnet.rpc("eth_sendRawTransaction", "0x" + raw.hex())
    await rpc.send_raw_transaction(raw)
    for _ in range(3):
        await devnet.mine()
        assert not await sender.mined(raw)
    await devnet.rpc("anvil_setNextBlockBaseFeePerGas", hex(2 * GWEI))
    await devnet.mine()

    async def is_mined() -> bool:
        await devnet.mine()
        return await sender.mined(raw)

    await eventually(is_mined)


async def test_a_nonce_too_high_waits_for_the_one_below_and_is_never_dropped(
    devnet: Devnet, rpc: NodeRpc, sender: Sender
) -> None:
    nonce = await sender.nonce()
    later, first = sender.raw(nonce + 1), sender.raw(nonce)
    await rpc.send_raw_transaction(later)
    await devnet.mine()
    assert not await sender.mined(later)
    await rpc.send_raw_transaction(first)
    await devnet.mine()
    assert await sender.mined(first)
    assert await sender.mined(later)


async def test_a_transaction_that_waits_can_be_asked_for(rpc: NodeRpc, sender: Sender) -> None:
    nonce = await sender.nonce()
    waiting = sender.signed(nonce + 1)
    await rpc.send_raw_transaction(bytes(waiting.raw_transaction))
    found = await rpc.transaction("0x" + waiting.hash.hex())
    assert found is not None
    assert (found.nonce, found.block, found.sender) == (nonce + 1, None, sender.address)


async def test_a_reorganisation_puts_its_transactions_back_into_the_pool(
    devnet: Devnet, rpc: NodeRpc, sender: Sender
) -> None:
    raw = sender.raw(await sender.nonce())
    await rpc.send_raw_transaction(raw)
    await devnet.mine()
    assert await sender.mined(raw)
    await devnet.reorg(1)
    assert not await sender.mined(raw)

    async def is_mined() -> bool:
        await devnet.mine()
        return await sender.mined(raw)

    await eventually(is_mined)


async def test_more_than_the_account_has_is_refused(devnet: Devnet, rpc: NodeRpc, sender: Sender) -> None:
    await devnet.rpc("anvil_setBalance", sender.address, hex(1_000))
    assert await refusal(rpc, sender.raw(await sender.nonce())) is PublishAnswer.INSUFFICIENT_FUNDS


async def test_a_lost_answer_is_no_refusal_and_the_transaction_is_there(
    devnet: Devnet, node: StrictNode, rpc: NodeRpc, sender: Sender
) -> None:
    node.send_faults = SendFaults(answer_lost=1)
    raw = sender.raw(await sender.nonce())
    with pytest.raises(RpcUnavailable):
        await rpc.send_raw_transaction(raw)
    await devnet.mine()
    assert await sender.mined(raw)


async def test_an_answer_that_never_comes_is_no_refusal_either(
    devnet: Devnet, node: StrictNode, rpc: NodeRpc, sender: Sender
) -> None:
    node.send_faults = SendFaults(unanswered=1)
    raw = sender.raw(await sender.nonce())
    with pytest.raises(RpcUnavailable):
        await rpc.send_raw_transaction(raw)
    await devnet.mine()
    assert await sender.mined(raw)


@pytest.mark.parametrize("faults", [SendFaults(refused=1), SendFaults(throttled=1)])
async def test_an_error_before_the_pool_says_nothing_about_the_transaction(
    devnet: Devnet, node: StrictNode, rpc: NodeRpc, sender: Sender, faults: SendFaults
) -> None:
    node.send_faults = faults
    raw = sender.raw(await sender.nonce())
    assert await refusal(rpc, raw) in {PublishAnswer.UNKNOWN, PublishAnswer.RATE_LIMITED}
    await devnet.mine()
    assert not await sender.mined(raw)


async def test_a_private_relay_may_swallow_what_it_accepts(
    devnet: Devnet, node: StrictNode, rpc: NodeRpc, sender: Sender
) -> None:
    node.send_faults = SendFaults(swallow=1)
    raw = sender.raw(await sender.nonce())
    assert await rpc.send_raw_transaction(raw)
    await devnet.mine()
    assert not await sender.mined(raw)
    node.send_faults = SendFaults()
    await rpc.send_raw_transaction(raw)
    await devnet.mine()
    assert await sender.mined(raw)


async def test_delayed_bytes_come_blocks_later(devnet: Devnet, node: StrictNode, rpc: NodeRpc, sender: Sender) -> None:
    node.send_faults = SendFaults(delay=1, delay_heads=2)
    raw = sender.raw(await sender.nonce())
    await rpc.send_raw_transaction(raw)
    await devnet.mine()
    assert not await sender.mined(raw)

    async def is_mined() -> bool:
        await devnet.mine()
        return await sender.mined(raw)

    await eventually(is_mined)


async def test_replaced_bytes_can_come_back_past_the_pool(
    devnet: Devnet, node: StrictNode, rpc: NodeRpc, sender: Sender
) -> None:
    nonce = await sender.nonce()
    node.send_faults = SendFaults(replay=1, replay_heads=1)
    old = sender.raw(nonce)
    await rpc.send_raw_transaction(old)
    await node.forget()
    await devnet.mine()

    async def is_mined() -> bool:
        await devnet.mine()
        return await sender.mined(old)

    await eventually(is_mined)


async def test_what_is_forgotten_is_gone_until_it_is_sent_again(
    devnet: Devnet, node: StrictNode, rpc: NodeRpc, sender: Sender
) -> None:
    raw = sender.raw(await sender.nonce())
    await rpc.send_raw_transaction(raw)
    await node.forget()
    await devnet.mine()
    assert not await sender.mined(raw)
    await rpc.send_raw_transaction(raw)
    await devnet.mine()
    assert await sender.mined(raw)


async def test_a_provider_that_lags_tells_old_nonces_and_no_new_receipts(
    devnet: Devnet, node: StrictNode, rpc: NodeRpc, sender: Sender
) -> None:
    nonce = await sender.nonce()
    signed = sender.signed(nonce)
    await rpc.send_raw_transaction(bytes(signed.raw_transaction))
    node.lag_blocks = 2
    await devnet.mine()

    async def at_tip() -> bool:
        return node.head == int(await devnet.rpc("eth_blockNumber"), 16)

    await eventually(at_tip)
    assert await rpc.transaction_count(sender.address) == nonce
    assert await rpc.receipt("0x" + signed.hash.hex()) is None
    await devnet.mine(2)
    await eventually(at_tip)
    assert await rpc.transaction_count(sender.address) == nonce + 1
    assert await rpc.receipt("0x" + signed.hash.hex()) is not None
