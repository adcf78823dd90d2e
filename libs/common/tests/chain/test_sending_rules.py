"""Rules of sending that need two slots, several providers, or a chain that says what is final."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from dexlane.chain.answers import Receipt
from dexlane.chain.execution.payloads import Payloads
from dexlane.chain.execution.settings import ExecutorSettings
from dexlane.chain.execution.slots import Slot
from dexlane.chain.execution.tables import slots
from dexlane.chain.rpc import Rpc, RpcUnavailable
from dexlane.domain.send_values import AttemptKind, SendPolicy, Stage
from dexlane.events.execution import FailureReason, IntentCreated, IntentFailed, Purpose, TxChanged, TxState
from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import VerdictApproved
from dexlane.runtime.errors import Fatal, Transient
from dexlane.testing.builders import an_exit
from dexlane.testing.fake_chain import FakeChain
from dexlane.testing.fake_mempool import decode_transaction, refuse
from dexlane.testing.live_bench import ACCOUNT, BOUGHT, ROUTER, Bench, Home, reborn, running
from dexlane.testing.mishaps import foreign_transaction
from dexlane_signer import GuardUnavailableError


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def entry_id(verdict: VerdictApproved) -> str:
    return IntentCreated.make_id("live-one", verdict.id, Purpose.ENTRY)


def slot_of(bench: Bench, intent_id: str) -> Slot:
    return next(slot for slot in bench.executor.live.transactions.open_slots if slot.intent.id == intent_id)


def nonces_in_pool(bench: Bench) -> list[int]:
    return sorted(tx.nonce for tx in bench.chain.pool.values())


def refuses_gaps(chain: FakeChain) -> None:
    """From now on the node takes no transaction above a missing nonce, as erigon and anvil's strict modes do."""
    submit = chain.submit

    def strict(raw: bytes) -> str:
        tx = decode_transaction(raw)
        following = chain.blocks[-1].nonces.get(tx.sender, 0)
        waiting = {one.nonce for one in chain.pool.values() if one.sender == tx.sender}
        while following in waiting:
            following += 1
        if tx.nonce > following:
            raise refuse(f"nonce too high: next nonce {following}, tx nonce {tx.nonce}")
        return submit(raw)

    chain.submit = strict  # type: ignore[method-assign]


async def holding(bench: Bench) -> ExitTriggered:
    """Buy, wait until that is final and the token may be sold; the exit that sells it."""
    await bench.executor.on_verdict(bench.verdict(blocks=10))
    for _ in range(6):
        await bench.head()
    return an_exit(book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT)


async def away(*_: Any, **__: Any) -> Any:
    raise GuardUnavailableError("the signer does not answer")


@pytest.mark.parametrize("node_says", ["that it lost the lower one", "nothing about the lower one"])
async def test_a_nonce_that_is_too_high_has_the_slot_below_it_sent_first_and_within_one_head(
    home: Home, node_says: str
) -> None:
    async with running(home) as bench:
        exit_ = await holding(bench)
        refuses_gaps(bench.chain)
        verdict = bench.verdict(blocks=20, strategy_version=2)
        await bench.executor.on_verdict(verdict)
        lower = slot_of(bench, entry_id(verdict))
        bench.chain.drop(lower.state.attempts[0].tx_hash)  # so soon after its acceptance nobody would send it again
        await bench.executor.on_exit(exit_)
        assert nonces_in_pool(bench) == []
        if node_says.startswith("nothing"):
            for _ in range(2):
                bench.rpc.fail_next("transaction", RpcUnavailable("timed out"))
        await bench.head(only=())
        assert nonces_in_pool(bench) == [lower.nonce, lower.nonce + 1]
        for _ in range(2):
            await bench.head()
        assert bench.effects() == 3


async def test_a_slot_without_attempts_below_a_signed_one_gets_its_trade(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        exit_ = await holding(bench)
        refuses_gaps(bench.chain)
        verdict = bench.verdict(blocks=20, strategy_version=2)
        with monkeypatch.context() as patch:
            patch.setattr(Payloads, "sign", away)
            await bench.executor.on_verdict(verdict)
        lower = slot_of(bench, entry_id(verdict))
        await bench.executor.on_exit(exit_)
        assert (lower.state.attempts, nonces_in_pool(bench)) == ((), [])
        await bench.head(only=())
        assert [attempt.kind for attempt in lower.state.attempts] == [AttemptKind.TRADE]
        assert nonces_in_pool(bench) == [lower.nonce, lower.nonce + 1]


async def test_a_slot_without_attempts_below_a_signed_one_that_expired_gets_its_cancel(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        exit_ = await holding(bench)
        refuses_gaps(bench.chain)
        verdict = bench.verdict(blocks=2, strategy_version=2)
        with monkeypatch.context() as patch:
            patch.setattr(Payloads, "sign", away)
            await bench.executor.on_verdict(verdict)
            lower = slot_of(bench, entry_id(verdict))
            bench.chain.mine(2)
            await bench.applied()
        await bench.executor.on_exit(exit_)
        await bench.head(only=())
        assert [attempt.kind for attempt in lower.state.attempts] == [AttemptKind.CANCEL]
        assert nonces_in_pool(bench) == [lower.nonce, lower.nonce + 1]
        for _ in range(2):
            await bench.head()
        assert (await bench.of_intent(entry_id(verdict), IntentFailed))[-1].reason is FailureReason.EXPIRED
        assert bench.effects() == 2


def lying(rpc: Any, about: str, lie: Callable[[Receipt], Receipt | None]) -> None:
    """From now on a provider gives a false receipt of one transaction."""
    honest = rpc.receipt

    async def receipt(tx_hash: str) -> Receipt | None:
        true = await honest(tx_hash)
        return true if true is None or tx_hash != about else lie(true)

    rpc.receipt = receipt


LIES: dict[str, Callable[[Receipt], Receipt | None]] = {
    "there is no receipt": lambda true: None,
    "the trade reverted": lambda true: dataclasses.replace(true, success=False),
    "the trade brought nothing": lambda true: dataclasses.replace(true, logs=()),
}


def two_more(chain: FakeChain) -> Sequence[Rpc]:
    return [chain.rpc(), chain.rpc()]


@pytest.mark.parametrize("liar", [0, 2])
@pytest.mark.parametrize("lie", LIES)
async def test_a_provider_outvoted_by_two_is_left_out_by_name_and_the_slot_goes_on(
    home: Home, liar: int, lie: str
) -> None:
    async with running(home, others=two_more) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        tx_hash = slot_of(bench, entry_id(verdict)).state.attempts[0].tx_hash
        lying((bench.rpc, *bench.world.others)[liar], tx_hash, LIES[lie])
        for _ in range(2):
            await bench.head()
        assert bench.world.left_out == {
            f"p{liar}": f"contradicts the others about transaction {tx_hash} of intent {entry_id(verdict)}"
        }
        assert (await bench.names(entry_id(verdict)))[-3:] == ["fill.included", "tx.confirmed", "fill.confirmed"]
        await bench.executor.on_verdict(bench.verdict(blocks=20, strategy_version=2))
        await bench.head()
        assert bench.effects() == 2


@pytest.mark.parametrize(
    ("finality", "network", "needs_finalized"),
    [
        ("auto", "devnet", False),
        ("auto", "ethereum", True),
        ("finalized", "devnet", True),
        ("confirmations", "ethereum", False),
    ],
)
def test_finality_by_itself_is_the_chains_own_everywhere_but_on_the_devnet(
    finality: Any, network: Any, needs_finalized: bool
) -> None:
    settings = ExecutorSettings.model_construct(finality=finality, network=network)
    assert settings.send_policy().needs_finalized is needs_finalized


FINALIZED = SendPolicy(confirmations=2, needs_finalized=True)


async def test_where_the_chain_says_what_is_final_a_trade_is_confirmed_when_its_block_is(home: Home) -> None:
    async with running(home, sending=FINALIZED) as bench:
        bench.chain.blocks_to_finality = 5
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        for _ in range(5):
            await bench.head()
            assert (await bench.names(entry_id(verdict)))[-1] == "fill.included"
        await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


async def test_one_provider_alone_does_not_say_what_is_final(home: Home) -> None:
    async with running(home, sending=FINALIZED, others=lambda chain: [chain.rpc()]) as bench:
        first: Any = bench.rpc
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        behind = bench.chain.tip.number - 2
        bench.world.others[0].block = lambda block: first.block(behind if block == "finalized" else block)
        for _ in range(5):
            await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.included"


async def test_a_final_trade_that_a_deeper_reorganisation_moves_is_told_anew_and_stops_trading(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=40)
        await bench.executor.on_verdict(verdict)
        for _ in range(3):
            await bench.head()
        bench.chain.reorg(3, longer=1)
        with pytest.raises(Fatal, match="a reorganisation undid"):
            await bench.follow()
        told = await bench.of_intent(entry_id(verdict), TxChanged)
        assert [event.state for event in told][-3:] == [TxState.CONFIRMED, TxState.REORGED, TxState.MINED]
        again = await reborn(bench)
        for _ in range(2):
            await again.head()
        last = (await again.of_intent(entry_id(verdict), TxChanged))[-1]
        assert last.state is TxState.CONFIRMED
        assert last.block in [block.header.ref for block in again.chain.blocks]
        assert again.effects() == 1
        await again.die()


async def test_a_trade_short_of_funds_waits_at_its_price_however_long(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=40)
        balance = bench.chain.blocks[-1].balances[ACCOUNT]
        bench.chain.fund(ACCOUNT, -balance)
        await bench.executor.on_verdict(verdict)
        bench.clock.advance(60_000)
        for _ in range(8):
            await bench.head()
        (attempt,) = slot_of(bench, entry_id(verdict)).state.attempts
        bench.chain.fund(ACCOUNT, balance)
        await bench.head()  # the wait ends with the shortage, not with the patience
        await bench.head()
        (included,) = bench.world.included(ROUTER)
        assert included.hash == attempt.tx_hash


async def test_a_trade_that_would_revert_is_cancelled_at_its_own_nonce_and_not_tried_again(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        bench.rpc.fail_next("send_raw_transaction", refuse("execution reverted: TRANSFER_FROM_FAILED"))
        await bench.executor.on_verdict(verdict)
        nonce = slot_of(bench, entry_id(verdict)).nonce
        await bench.head(only=())
        (cancel,) = [tx for tx in bench.chain.pool.values() if tx.nonce == nonce]
        assert (cancel.to, cancel.data) == (ACCOUNT, b"")
        for _ in range(2):
            await bench.head()
        failed = (await bench.of_intent(entry_id(verdict), IntentFailed))[-1]
        assert (failed.reason, failed.final) == (FailureReason.WOULD_REVERT, True)
        assert bench.effects() == 0


async def test_a_head_at_which_no_provider_answers_counts_while_a_trade_is_unsigned(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        with monkeypatch.context() as patch:
            patch.setattr(Payloads, "sign", away)
            await bench.executor.on_verdict(verdict)

        def dead(method: str) -> None:
            raise RpcUnavailable("gone")

        transactions = bench.executor.live.transactions
        with monkeypatch.context() as patch:
            patch.setattr(bench.rpc, "_enter", dead)
            for missed in (1, 2, 3):
                with contextlib.suppress(Transient):
                    await bench.head()
                assert transactions.objection(ACCOUNT, is_entry=True) is not None
                assert (transactions.objection(ACCOUNT, is_entry=False) is not None) is (missed == 3)
        for _ in range(4):
            await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


async def test_foreign_use_is_certain_only_when_the_chains_own_finality_has_it(home: Home) -> None:
    async with running(home, sending=FINALIZED) as bench:
        bench.chain.blocks_to_finality = 6
        verdict = bench.verdict(blocks=40)
        await bench.executor.on_verdict(verdict)
        nonce = slot_of(bench, entry_id(verdict)).nonce
        bench.chain.pool.clear()
        bench.chain.submit(foreign_transaction(nonce))
        for _ in range(6):
            await bench.head()
        with pytest.raises(Fatal, match=f"nonce {nonce} .* somebody else"):
            await bench.head()


async def test_a_foreign_use_that_is_reorganised_away_before_it_is_final_stops_nothing(home: Home) -> None:
    async with running(home, sending=FINALIZED) as bench:
        bench.chain.blocks_to_finality = 6
        verdict = bench.verdict(blocks=40)
        await bench.executor.on_verdict(verdict)
        nonce = slot_of(bench, entry_id(verdict)).nonce
        bench.chain.pool.clear()
        theirs = bench.chain.submit(foreign_transaction(nonce))
        for _ in range(5):
            await bench.head()
        bench.chain.reorg(5, drop=[theirs], longer=1)
        await bench.follow()
        for _ in range(8):
            await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


SINCE_ADDED = ("submitted", "dropped")
"""Fields of the send state that the first journals do not have."""


@pytest.mark.parametrize("stage", [Stage.SENT, Stage.INCLUDED, Stage.FINAL])
async def test_a_journal_of_before_these_rules_is_taken_up_and_brought_to_its_end(home: Home, stage: Stage) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=40)
        await bench.executor.on_verdict(verdict)
        for _ in range([Stage.SENT, Stage.INCLUDED, Stage.FINAL].index(stage)):
            await bench.head()
        async with bench.journal.reading() as conn:
            stored = {row.intent_id: orjson.loads(row.record) for row in await conn.execute(sa.select(slots))}
        assert stored[entry_id(verdict)]["state"]["stage"] == stage
        replace = slots.update().where(slots.c.intent_id == sa.bindparam("of")).values(record=sa.bindparam("old"))
        for intent_id, record in stored.items():
            for name in SINCE_ADDED:
                del record["state"][name]
            await bench.journal.write_aside(replace, {"of": intent_id, "old": orjson.dumps(record).decode()})
        again = await reborn(bench)
        for _ in range(3):
            await again.head()
        names = await again.names(entry_id(verdict))
        assert names == [
            "intent.created", "tx.planned", "tx.signed", "tx.submitted", "tx.mined", "fill.included",
            "tx.confirmed", "fill.confirmed",
        ]  # fmt: skip
        assert again.effects() == 1
        await again.die()
