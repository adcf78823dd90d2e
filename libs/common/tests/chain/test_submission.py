"""What nodes answer to sent bytes, and what it means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from dexlane.chain.execution import submission
from dexlane.chain.execution.submission import WEIGHT, Broadcast, submit, weightiest
from dexlane.chain.execution.testimony import Witness
from dexlane.chain.rpc import Rpc, RpcError, RpcUnavailable
from dexlane.domain.publish_answers import PublishAnswer, classify_refusal
from dexlane.testing.fake_chain import FakeChain

TEXTS = {
    # go-ethereum
    "already known": PublishAnswer.ALREADY_KNOWN,
    "nonce too low: next nonce 7, tx nonce 5": PublishAnswer.NONCE_TOO_LOW,
    "nonce too high": PublishAnswer.NONCE_TOO_HIGH,
    "replacement transaction underpriced": PublishAnswer.REPLACEMENT_UNDERPRICED,
    "transaction underpriced: tip needed 1, tip permitted 0": PublishAnswer.FEE_TOO_LOW,
    "max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 9": PublishAnswer.FEE_TOO_LOW,
    "insufficient funds for gas * price + value: balance 1, tx cost 2, overshot 1": PublishAnswer.INSUFFICIENT_FUNDS,
    "txpool is full": PublishAnswer.POOL_FULL,
    "intrinsic gas too low: gas 20000, minimum needed 21000": PublishAnswer.UNUSABLE,
    "exceeds block gas limit": PublishAnswer.OVER_BLOCK_GAS,
    "invalid sender": PublishAnswer.UNUSABLE,
    "max priority fee per gas higher than max fee per gas": PublishAnswer.UNUSABLE,
    "invalid chain id for signer: have 1 want 5": PublishAnswer.UNUSABLE,
    # anvil
    "transaction already imported": PublishAnswer.ALREADY_KNOWN,
    "Insufficient funds for gas * price + value": PublishAnswer.INSUFFICIENT_FUNDS,
    "Max fee per gas less than block base fee": PublishAnswer.FEE_TOO_LOW,
    # erigon
    "ALREADY_EXISTS: already known": PublishAnswer.ALREADY_KNOWN,
    "NONCE_TOO_LOW": PublishAnswer.NONCE_TOO_LOW,
    "could not replace existing tx": PublishAnswer.REPLACEMENT_UNDERPRICED,
    "FEE_TOO_LOW": PublishAnswer.FEE_TOO_LOW,
    "INSUFFICIENT_FUNDS": PublishAnswer.INSUFFICIENT_FUNDS,
    "PENDING_POOL_OVERFLOW": PublishAnswer.POOL_FULL,
    # nethermind
    "AlreadyKnown": PublishAnswer.ALREADY_KNOWN,
    "OldNonce, Current nonce: 7, nonce of rejected tx: 5": PublishAnswer.NONCE_TOO_LOW,
    "ReplacementNotAllowed": PublishAnswer.REPLACEMENT_UNDERPRICED,
    "InsufficientFunds, Account balance: 1": PublishAnswer.INSUFFICIENT_FUNDS,
    "GasLimitExceeded": PublishAnswer.OVER_BLOCK_GAS,
    # those that try a transaction first
    "execution reverted: TRANSFER_FROM_FAILED": PublishAnswer.REVERTED,
    # providers
    "Your app has exceeded its compute units per second capacity": PublishAnswer.RATE_LIMITED,
    "Too Many Requests": PublishAnswer.RATE_LIMITED,
    "daily request quota reached": PublishAnswer.RATE_LIMITED,
    # nobody's
    "internal error": PublishAnswer.UNKNOWN,
    "": PublishAnswer.UNKNOWN,
}


@pytest.mark.parametrize("text", TEXTS)
def test_every_clients_refusal_is_read_as_what_it_means(text: str) -> None:
    assert classify_refusal(text) is TEXTS[text]


def test_a_refusal_for_load_is_told_by_its_code_unless_it_speaks_of_the_transaction() -> None:
    assert classify_refusal("please wait", 429) is PublishAnswer.RATE_LIMITED
    assert classify_refusal("please wait", -32_005) is PublishAnswer.RATE_LIMITED
    assert classify_refusal("nonce too low", -32_005) is PublishAnswer.NONCE_TOO_LOW


async def test_a_lost_answer_is_unknown_whether_or_not_the_bytes_arrived() -> None:
    rpc = FakeChain(1).rpc()
    rpc.fail_next("send_raw_transaction", RpcUnavailable("timed out"))
    answer, text = await submit(rpc, b"\x02")
    assert (answer, text) == (PublishAnswer.UNKNOWN, "timed out")


async def test_a_refusal_carries_the_nodes_own_words() -> None:
    rpc = FakeChain(1).rpc()
    rpc.fail_next("send_raw_transaction", RpcError(-32000, "nonce too low"))
    assert await submit(rpc, b"\x02") == (PublishAnswer.NONCE_TOO_LOW, "nonce too low")


def test_the_answer_that_counts_is_the_one_that_says_most_about_the_transaction() -> None:
    assert set(WEIGHT) == set(PublishAnswer)
    said = [(PublishAnswer.UNKNOWN, ""), (PublishAnswer.POOL_FULL, "full"), (PublishAnswer.ALREADY_KNOWN, "known")]
    assert weightiest(said) == (PublishAnswer.ALREADY_KNOWN, "known")
    assert weightiest(said[:2]) == (PublishAnswer.POOL_FULL, "full")


class Provider:
    """Answers to sent bytes after a while."""

    def __init__(self, after_s: float, error: Exception | None = None) -> None:
        self.after_s, self.error, self.got = after_s, error, 0

    async def send_raw_transaction(self, raw: bytes, *, on_sent: Callable[[], None] | None = None) -> str:
        self.got += 1
        if on_sent is not None:
            on_sent()
        await asyncio.sleep(self.after_s)
        if self.error is not None:
            raise self.error
        return "0x"


async def broadcast(*providers: Provider) -> tuple[PublishAnswer, list[tuple[str, PublishAnswer]], int]:
    witnesses = [Witness(name=str(index), rpc=cast("Rpc", one)) for index, one in enumerate(providers)]
    sender, noted, handed_over = Broadcast(witnesses), [], []
    answer, _ = await sender.send(
        b"\x02", lambda name, said, _text: noted.append((name, said)), lambda: handed_over.append(1)
    )
    await asyncio.sleep(0.03)
    await sender.stop()
    assert all(one.got == 1 for one in providers)
    return answer, sorted(noted), len(handed_over)


async def test_bytes_go_to_every_provider_and_the_first_acceptance_does_not_wait_for_the_others() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer, noted, handed_over = await broadcast(
        Provider(30), Provider(0), Provider(0.01, RpcError(-32000, "known transaction"))
    )
    assert loop.time() - began < 5
    assert answer is PublishAnswer.ACCEPTED
    assert noted == [("1", PublishAnswer.ACCEPTED), ("2", PublishAnswer.ALREADY_KNOWN)]
    assert handed_over == 1


async def test_a_refusal_by_one_is_nothing_when_another_accepts() -> None:
    refusal = RpcError(-32000, "tx fee exceeds the configured cap")
    assert (await broadcast(Provider(0, refusal), Provider(0.01)))[0] is PublishAnswer.ACCEPTED
    silent = Provider(0, RpcUnavailable("gone"))
    assert (await broadcast(Provider(0, refusal), silent))[0] is PublishAnswer.UNUSABLE


async def test_a_provider_that_is_silent_holds_a_refusal_up_only_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "GRACE_S", 0.01)
    answer, _, _ = await broadcast(Provider(0, RpcError(-32000, "txpool is full")), Provider(30))
    assert answer is PublishAnswer.POOL_FULL
