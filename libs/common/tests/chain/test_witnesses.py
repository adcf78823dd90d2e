"""Evidence from one or several providers: what is acted on, what is waited for, who is left out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dexlane.chain.answers import BlockId, Header, Receipt
from dexlane.chain.execution.signed_bytes import signed_call
from dexlane.chain.rpc import Rpc, RpcError, RpcUnavailable
from dexlane.chain.signed_call import SignedCall
from dexlane.events.execution import FailureReason, IntentCreated, IntentFailed, Purpose
from dexlane.events.risk import VerdictApproved
from dexlane.runtime.errors import Fatal, Transient
from dexlane.testing.fake_chain import FakeChain
from dexlane.testing.fake_rpc import FakeRpc
from dexlane.testing.live_bench import ACCOUNT, KEY, ROUTER, Bench, Home, reborn, running
from dexlane_signer import DynamicFeeTransaction, PrivateKey


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def entry_id(verdict: VerdictApproved) -> str:
    return IntentCreated.make_id("live-one", verdict.id, Purpose.ENTRY)


async def outcomes(bench: Bench) -> list[str]:
    return [event.outcome for event in await bench.refusals()]


def reverting(error: RpcError) -> Any:
    def trial(sender: str, call: SignedCall, header: Header) -> None:
        assert sender == ACCOUNT
        if call.to == ROUTER and call.gas_limit > 21_000:
            raise error

    return trial


async def test_a_trade_that_would_revert_at_the_tip_is_cancelled_in_its_own_slot(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        bench.chain.answer_trial = reverting(RpcError(3, "execution reverted", "0x"))
        await bench.head(only=())
        await bench.head()
        await bench.head()
        failures = await bench.of_intent(entry_id(verdict), IntentFailed)
        assert failures[-1].reason is FailureReason.WOULD_REVERT
        assert failures[-1].final
        assert bench.effects() == 0


@pytest.mark.parametrize(
    "error", [RpcError(-32000, "header not found"), RpcError(-32000, "missing trie node"), RpcUnavailable("timed out")]
)
async def test_a_trial_that_could_not_be_made_decides_nothing(home: Home, error: Any) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        bench.chain.answer_trial = reverting(error)
        await bench.head(only=())
        await bench.head()
        await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


async def test_a_trade_above_the_blocks_gas_limit_is_cancelled(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        bench.chain.gas_limit = 60_000
        await bench.head()
        await bench.head()
        await bench.head()
        failures = await bench.of_intent(entry_id(verdict), IntentFailed)
        assert failures[-1].reason is FailureReason.OVER_BLOCK_GAS


async def test_while_one_trade_waits_for_gas_funds_its_wallet_begins_nothing_new(home: Home) -> None:
    async with running(home) as bench:
        for block in bench.chain.blocks:
            block.balances[ACCOUNT] = 0
        await bench.executor.on_verdict(bench.verdict(blocks=20))
        objection = bench.executor.live.transactions.objection(ACCOUNT, is_entry=False)
        assert objection is not None
        assert objection.outcome == "no_gas_funds"
        bench.chain.fund(ACCOUNT, 10**18)
        await bench.head()
        assert bench.executor.live.transactions.objection(ACCOUNT, is_entry=True) is None


async def test_a_final_trade_that_a_deeper_reorganisation_undoes_stops_trading_and_is_sent_again(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=40)
        await bench.executor.on_verdict(verdict)
        for _ in range(3):
            await bench.head()
        lost = [tx.hash for block in bench.chain.blocks for tx in block.transactions if tx.to == ROUTER]
        bench.chain.reorg(3, drop=lost, longer=2)
        with pytest.raises(Fatal, match="a reorganisation undid 2 final"):
            await bench.follow()
        assert (await bench.names(entry_id(verdict)))[-2:] == ["tx.reorged", "fill.reversed"]
        again = await reborn(bench)
        for _ in range(4):
            await again.head()
        assert (await again.names(entry_id(verdict)))[-1] == "fill.confirmed"
        assert again.effects() == 1
        await again.die()


async def test_a_provider_that_mislays_a_final_receipt_and_has_its_block_undoes_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_tx_hash: str) -> None:
        return None

    async def unused(_address: str, *, block: BlockId = "latest") -> int:
        return 0

    async with running(home) as bench:
        verdict = bench.verdict(blocks=40)
        await bench.executor.on_verdict(verdict)
        for _ in range(3):
            await bench.head()
        with monkeypatch.context() as lagging:
            lagging.setattr(bench.rpc, "receipt", nothing)
            lagging.setattr(bench.rpc, "transaction_count", unused)
            for _ in range(3):
                await bench.head()
        await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"
        assert bench.effects() == 1


@pytest.mark.parametrize("header", [None, RpcUnavailable("busy"), RpcError(-32005, "limit exceeded")], ids=str)
async def test_a_final_receipt_that_is_gone_undoes_nothing_before_another_block_is_seen_in_its_place(
    home: Home, monkeypatch: pytest.MonkeyPatch, header: Exception | None
) -> None:
    async def nothing(_tx_hash: str) -> None:
        return None

    async def unused(_address: str, *, block: BlockId = "latest") -> int:
        return 0

    async def unknown(_block: BlockId) -> Header | None:
        if header is not None:
            raise header
        return None

    async with running(home) as bench:
        verdict = bench.verdict(blocks=40)
        await bench.executor.on_verdict(verdict)
        for _ in range(3):
            await bench.head()
        with monkeypatch.context() as behind_a_balancer:
            behind_a_balancer.setattr(bench.rpc, "receipt", nothing)
            behind_a_balancer.setattr(bench.rpc, "transaction_count", unused)
            behind_a_balancer.setattr(bench.rpc, "block", unknown)
            for _ in range(3):
                await bench.head()
        await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


class Liar(FakeRpc):
    """A provider whose receipts and head can be falsified."""

    hides_receipts = False
    lag = 0

    async def block_number(self) -> int:
        return await super().block_number() - self.lag

    async def receipt(self, tx_hash: str) -> Receipt | None:
        return None if self.hides_receipts else await super().receipt(tx_hash)


def one_more(chain: FakeChain) -> Sequence[Rpc]:
    return [Liar(chain)]


async def test_with_two_providers_nothing_is_final_on_the_word_of_one(home: Home) -> None:
    second: list[Liar] = []

    def others(chain: FakeChain) -> Sequence[Rpc]:
        second.append(Liar(chain))
        return second

    async with running(home, others=others) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        second[0].hides_receipts = True
        for _ in range(5):
            await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.included"
        second_verdict = bench.verdict(blocks=20, strategy_version=2)
        await bench.executor.on_verdict(second_verdict)
        assert (await outcomes(bench))[-1] == "providers_disagree"
        second[0].hides_receipts = False
        await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


async def test_a_provider_that_lags_by_more_than_two_blocks_is_not_listened_to(home: Home) -> None:
    second: list[Liar] = []

    def others(chain: FakeChain) -> Sequence[Rpc]:
        second.append(Liar(chain))
        return second

    async with running(home, others=others) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        second[0].lag = 3
        for _ in range(3):
            await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.included"
        second[0].lag = 2
        await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


async def test_without_any_provider_entries_stop_at_once_and_exits_after_three_heads(home: Home) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict(blocks=20))
        transactions = bench.executor.live.transactions
        slots = len(transactions.open_slots)
        for missed in (1, 2, 3):
            bench.rpc.fail_next("block_number", RpcUnavailable("gone"))
            await bench.head(only=())
            refused = {is_entry: transactions.objection(ACCOUNT, is_entry=is_entry) for is_entry in (True, False)}
            assert refused[True] is not None
            assert (refused[False] is not None) is (missed == 3)
        assert len(transactions.open_slots) == slots
        await bench.head(only=())
        assert transactions.objection(ACCOUNT, is_entry=True) is None


@pytest.mark.parametrize(
    "method", ["block_number", "transaction_count", "balance", "eth_calls", "code", "logs_between"]
)
async def test_an_answer_that_cannot_be_read_is_none_and_stops_nobody(
    home: Home, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def nonsense(*_args: Any, **_kwargs: Any) -> Any:
        raise ValueError("invalid literal for int() with base 16: 'soon'")

    async with running(home, ready=False) as bench:
        with monkeypatch.context() as babbling:
            babbling.setattr(bench.rpc, method, nonsense)
            for _ in range(3):
                with contextlib.suppress(Transient):
                    await bench.head()
        for _ in range(4):
            await bench.head()
        await bench.executor.on_verdict(bench.verdict())
        with monkeypatch.context() as babbling:
            babbling.setattr(bench.rpc, method, nonsense)
            for _ in range(3):
                with contextlib.suppress(Transient):
                    await bench.head()
        await bench.head()
        assert bench.effects() == 1


async def test_a_node_that_lags_at_a_start_is_not_taken_for_a_chain_that_was_reset(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        first_blocks = bench.chain.blocks[:1]
        await bench.executor.on_verdict(bench.verdict())
        for _ in range(4):
            await bench.head()
        again = await reborn(bench)
        with monkeypatch.context() as lagging:

            async def of_the_past(address: str, *, block: BlockId = "latest") -> int:
                return first_blocks[0].nonces.get(address, 0)

            async def far_behind() -> int:
                return first_blocks[0].header.number

            lagging.setattr(again.rpc, "transaction_count", of_the_past)
            lagging.setattr(again.rpc, "block_number", far_behind)
            with pytest.raises(Transient, match="behind"):
                await again.head()
        for _ in range(2):
            await again.head()
        await again.executor.on_verdict(again.verdict())
        await again.head()
        assert again.effects() == 2
        await again.die()


async def test_a_chain_that_was_reset_stops_trading(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(home) as bench:
        again = await reborn(bench)

        async def unused(_address: str, *, block: BlockId = "latest") -> int:
            return 0

        monkeypatch.setattr(again.rpc, "transaction_count", unused)
        with pytest.raises(Fatal, match="was reset"):
            await again.head()
        await again.die()


async def test_a_nonce_that_too_few_providers_tell_is_not_known(home: Home) -> None:
    async with running(home, others=one_more) as bench:
        witnesses = bench.executor.live.transactions._witnesses
        bench.rpc.fail_next("transaction_count", RpcUnavailable("gone"))
        with pytest.raises(Transient, match="2 providers"):
            await witnesses.nonce(ACCOUNT)
        assert await witnesses.nonce(ACCOUNT) == await bench.rpc.transaction_count(ACCOUNT)


@pytest.mark.parametrize("envelope", ["dynamic_fee", "legacy"])
def test_the_call_of_signed_bytes_is_read_back_on_chains_with_and_without_a_base_fee(envelope: Any) -> None:
    transaction = DynamicFeeTransaction(
        chain_id=61,
        nonce=3,
        max_priority_fee_per_gas_wei=10**9,
        max_fee_per_gas_wei=10**9,
        gas_limit=90_000,
        to=ROUTER,
        value_wei=7,
        data=b"\1\2\3",
        envelope=envelope,
    )
    signed = PrivateKey.from_hex(KEY).sign_transaction(transaction)
    assert signed_call(signed.raw) == SignedCall(ROUTER, 7, b"\1\2\3", 90_000, 10**9)


def test_bytes_that_are_no_transaction_are_refused() -> None:
    for raw in (b"", b"\x01\xc0", b"\x02\xc0", b"\xc0"):
        with pytest.raises(ValueError, match="no signed transaction"):
            signed_call(raw)
