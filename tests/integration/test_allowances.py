"""No allowance outlives its need: what nobody planned is taken back within two blocks, and a book switched off keeps
none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio
from eth_account import Account
from eth_account.messages import encode_typed_data

from dexlane.chain.permit2 import PERMIT2, PermitSingle, allowance, permit2_allowance
from dexlane.events.control import BookChanged
from dexlane.events.execution import FillIncluded, IntentCreated
from dexlane.testing.devnet_verdicts import USDC, WETH
from dexlane.testing.stack import Stack, Witness
from dexlane_devnet import account
from dexlane_devnet.contracts import calldata
from dexlane_signer import PrivateKey
from verdicts import a_verdict, fills

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(300)]
VICTIM, THIEF = account("live-fast"), account("test-9")
ME, STRANGER = VICTIM.address.lower(), THIEF.address.lower()
WITHIN_BLOCKS = 2


@pytest_asyncio.fixture
async def witness(quiet_stack: Stack) -> AsyncIterator[Witness]:
    async with quiet_stack.bus() as witness:
        yield witness


async def amount(stack: Stack, to: str, data: bytes, block: int | None = None) -> int:
    at = "latest" if block is None else hex(block)
    answer: str = await stack.rpc("eth_call", {"to": to, "data": "0x" + data.hex()}, at)
    return int(answer[2:66], 16)


async def sent_by_the_thief(stack: Stack, to: str, data: str) -> int:
    """The block in which a signature that the owner gave away is used."""
    request = {"from": THIEF.address, "to": to, "data": data, "gas": hex(300_000)}
    receipt = await stack.rpc("eth_sendTransactionSync", request)
    assert receipt["status"] == "0x1"
    return int(receipt["blockNumber"], 16)


async def reached(stack: Stack, block: int) -> None:
    for _ in range(600):
        if int(await stack.rpc("eth_blockNumber"), 16) >= block:
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"block {block} does not come")


def token_permit(nonce: int, value: int, deadline_s: int) -> str:
    """EIP-2612: whoever holds the signature can give the allowance, without a transaction of the owner."""
    domain = {"name": "USD Coin", "version": "2", "chainId": 1, "verifyingContract": USDC}
    fields = ("owner", "spender", "value", "nonce", "deadline")
    kinds = ("address", "address", "uint256", "uint256", "uint256")
    types = {"Permit": [{"name": name, "type": kind} for name, kind in zip(fields, kinds, strict=True)]}
    values = dict(zip(fields, (VICTIM.address, THIEF.address, value, nonce, deadline_s), strict=True))
    signed = Account.from_key(VICTIM.private_key).sign_message(encode_typed_data(domain, types, values))
    signature = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"
    r, s = signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")
    return calldata(signature, VICTIM.address, THIEF.address, value, deadline_s, signed.v, r, s)


async def test_an_allowance_that_nobody_planned_is_taken_back_within_two_blocks(quiet_stack: Stack) -> None:
    nonce = await amount(quiet_stack, USDC, bytes.fromhex(calldata("nonces(address)", ME)[2:]))
    data = token_permit(nonce, 77_000 * 10**6, int(time.time()) + 3_600)
    block = await sent_by_the_thief(quiet_stack, USDC, data)
    held = allowance(ME, STRANGER)
    assert await amount(quiet_stack, USDC, held, block) == 77_000 * 10**6
    await reached(quiet_stack, block + WITHIN_BLOCKS)
    assert await amount(quiet_stack, USDC, held, block + WITHIN_BLOCKS) == 0


async def test_an_allowance_inside_permit2_is_taken_back_within_two_blocks(quiet_stack: Stack) -> None:
    nonce = await amount(quiet_stack, PERMIT2, permit2_allowance(ME, WETH, STRANGER))
    soon_s = int(time.time()) + 3_600
    permit = PermitSingle(
        token=WETH, amount=10**18, expiration_s=soon_s, nonce=nonce, spender=STRANGER, sig_deadline_s=soon_s
    )
    signature = PrivateKey.from_hex(VICTIM.private_key[2:]).sign_permit(permit, chain_id=1)
    data = calldata(
        "permit(address,((address,uint160,uint48,uint48),address,uint256),bytes)",
        ME, ((WETH, 10**18, soon_s, nonce), STRANGER, soon_s), signature,
    )  # fmt: skip
    block = await sent_by_the_thief(quiet_stack, PERMIT2, data)
    held = permit2_allowance(ME, WETH, STRANGER)
    assert await amount(quiet_stack, PERMIT2, held, block) == 10**18
    await reached(quiet_stack, block + WITHIN_BLOCKS)
    assert await amount(quiet_stack, PERMIT2, held, block + WITHIN_BLOCKS) == 0


async def test_the_command_lists_what_stands_and_trades_go_on(quiet_stack: Stack, witness: Witness) -> None:
    verdict = await a_verdict(quiet_stack, witness)
    await witness.publish(verdict)
    await witness.until(FillIncluded, fills(verdict, "live-devnet"), timeout_s=40)
    listed = await asyncio.to_thread(quiet_stack.command, "allowances", "--json")
    assert listed.returncode == 0, listed.stdout + listed.stderr
    rows = orjson.loads(listed.stdout)
    assert {row["spender"] for row in rows} == {PERMIT2}
    assert {(row["account"], row["token"]) for row in rows} >= {(ME, USDC)}


async def test_a_book_that_is_switched_off_keeps_no_allowance(quiet_stack: Stack, witness: Witness) -> None:
    changed = [event for event in await witness.stored(BookChanged) if event.book.id == "live-devnet"][-1]
    version = changed.book_version + 1
    off = changed.model_copy(
        update={
            "id": BookChanged.make_id("live-devnet", version),
            "book": changed.book.model_copy(update={"enabled": False}),
            "book_version": version,
        }
    )
    await witness.publish(off)
    held = allowance(ME, PERMIT2)
    for _ in range(300):
        if not await amount(quiet_stack, USDC, held):
            break
        await asyncio.sleep(0.2)
    assert await amount(quiet_stack, USDC, held) == 0
    revoked = [
        intent
        for intent in await witness.stored(IntentCreated)
        if intent.account == ME and intent.allowance_amount == 0
    ]
    assert revoked
