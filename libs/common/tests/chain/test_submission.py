"""What nodes answer to sent bytes, and what it means."""

from __future__ import annotations

import pytest

from dexlane.chain.execution.submission import submit
from dexlane.chain.rpc import RpcError, RpcUnavailable
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
    "exceeds block gas limit": PublishAnswer.UNUSABLE,
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
    "GasLimitExceeded": PublishAnswer.UNUSABLE,
    # nobody's
    "internal error": PublishAnswer.UNKNOWN,
    "": PublishAnswer.UNKNOWN,
}


@pytest.mark.parametrize("text", TEXTS)
def test_every_clients_refusal_is_read_as_what_it_means(text: str) -> None:
    assert classify_refusal(text) is TEXTS[text]


async def test_a_lost_answer_is_unknown_whether_or_not_the_bytes_arrived() -> None:
    rpc = FakeChain(1).rpc()
    rpc.fail_next("send_raw_transaction", RpcUnavailable("timed out"))
    answer, text = await submit(rpc, b"\x02")
    assert (answer, text) == (PublishAnswer.UNKNOWN, "timed out")


async def test_a_refusal_carries_the_nodes_own_words() -> None:
    rpc = FakeChain(1).rpc()
    rpc.fail_next("send_raw_transaction", RpcError(-32000, "nonce too low"))
    assert await submit(rpc, b"\x02") == (PublishAnswer.NONCE_TOO_LOW, "nonce too low")
