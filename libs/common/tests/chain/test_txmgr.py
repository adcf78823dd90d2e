"""From a verdict to finality on a chain in memory, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dexlane.chain import abi
from dexlane.chain.answers import Header
from dexlane.chain.direct_calls import routers_of
from dexlane.chain.execution import handover, live, submission, txmgr
from dexlane.chain.execution import slots as store
from dexlane.chain.grants import GRANT_TOPICS
from dexlane.chain.permit2 import PERMIT2, allowance, approve
from dexlane.chain.rpc import RpcError, RpcUnavailable
from dexlane.chain.signed_call import SignedCall
from dexlane.events.base import FeeCap
from dexlane.events.control import Status
from dexlane.events.execution import (
    FailureReason,
    FillConfirmed,
    FillIncluded,
    FillReversed,
    IntentCreated,
    IntentFailed,
    Purpose,
    TxState,
)
from dexlane.events.risk import VerdictApproved
from dexlane.runtime.errors import Fatal, Transient
from dexlane.testing.builders import USDC, WETH, a_book, a_book_changed, a_status
from dexlane.testing.fake_chain import FakeLog, Outcome
from dexlane.testing.live_bench import ACCOUNT, BOUGHT, KEY, ROUTER, Bench, Home, live_book, reborn, running
from dexlane.testing.mishaps import ProcessDiedError, accepted_and_dies, dies, foreign_transaction
from dexlane.values.books import Lane, Mode
from dexlane_signer import DynamicFeeTransaction, NonceGuard, PrivateKey, SigningDenied


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def entry_id(verdict: VerdictApproved) -> str:
    return IntentCreated.make_id("live-one", verdict.id, Purpose.ENTRY)


def trade_hashes(bench: Bench) -> list[str]:
    return [tx.hash for tx in bench.chain.pool.values() if tx.to == ROUTER]


async def test_a_live_account_is_opened_and_approved_before_its_first_trade(home: Home) -> None:
    async with running(home, ready=False) as bench:
        await bench.head()
        assert (await bench.names())[:2] == ["account.opened", "intent.created"]
        await bench.executor.on_verdict(bench.verdict())
        refused = await bench.refusals()
        assert [event.outcome for event in refused] == ["no_allowance"]
        assert bench.effects() == 0


async def test_an_allowance_is_a_fill_without_deltas_and_bounded_by_the_capital(home: Home) -> None:
    async with running(home) as bench:
        created = [event for event in await bench.events() if isinstance(event, IntentCreated)]
        assert [event.purpose for event in created] == [Purpose.ALLOWANCE]
        assert created[0].allowance_amount == 20 * live_book().limits[created[0].lane].capital
        fill = (await bench.of_intent(created[0].id, FillConfirmed))[0]
        assert fill.deltas == ()
        assert fill.fee_paid_wei > 0


async def test_a_verdict_becomes_a_confirmed_fill(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict()
        await bench.executor.on_verdict(verdict)
        await bench.head()
        await bench.head()
        assert await bench.names(entry_id(verdict)) == [
            "intent.created", "tx.planned", "tx.signed", "tx.submitted", "tx.mined", "fill.included",
            "tx.confirmed", "fill.confirmed",
        ]  # fmt: skip
        fill = (await bench.of_intent(entry_id(verdict), FillIncluded))[0]
        gained = {delta.token: delta.amount for delta in fill.deltas}
        assert gained == {USDC.address: -1_000 * 10**6, WETH.address: BOUGHT}
        receipt = next(r for b in bench.chain.blocks for r in b.receipts if r.tx_hash == fill.tx_hash)
        assert fill.fee_paid_wei == receipt.gas_used * receipt.effective_gas_price_wei
        assert not bench.reservations.is_held(entry_id(verdict))


async def test_a_verdict_delivered_again_is_traded_once(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=10)
        await bench.executor.on_verdict(verdict)
        await bench.executor.on_verdict(verdict)
        await bench.head()
        again = await reborn(bench)
        await again.head()
        await again.executor.on_verdict(verdict)
        await again.head()
        assert again.effects() == 1
        assert (await again.names(entry_id(verdict))).count("tx.signed") == 1
        await again.die()


async def test_an_executor_stays_ready_while_the_account_of_a_trade_is_read_anew(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[bool | str] = []
    async with running(home) as bench:
        read = live.read_account

        async def looked_at(*arguments: Any) -> Any:
            said.append(bench.executor.why_not_ready())
            return await read(*arguments)

        assert bench.executor.why_not_ready() is True
        monkeypatch.setattr(live, "read_account", looked_at)
        await bench.executor.on_verdict(bench.verdict(blocks=10))
        await bench.head(only=())
    assert said == [True]


Break = Callable[[pytest.MonkeyPatch], None]


BOUNDARIES: dict[str, Break] = {
    "while the intent is being journalled": lambda patch: patch.setattr(store, "add_slot", dies),
    "after the intent, before its signature": lambda patch: patch.setattr(
        "dexlane.chain.execution.payloads.Payloads.sign", dies
    ),
    "after the signature, before the broadcast": lambda patch: patch.setattr(handover, "submit", dies),
    "after the broadcast, before its answer is recorded": lambda patch: patch.setattr(
        handover, "submit", accepted_and_dies
    ),
    "after the broadcast, while the attempt is being stored": lambda patch: patch.setattr(store, "add_attempt", dies),
    "while attempt and answer are being told": lambda patch: patch.setattr(store, "save_slot", dies),
}


@pytest.mark.parametrize("boundary", BOUNDARIES)
async def test_a_crash_at_any_boundary_leaves_exactly_one_effect(
    home: Home, boundary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        with monkeypatch.context() as patch:
            BOUNDARIES[boundary](patch)
            with pytest.raises(ProcessDiedError):
                await bench.executor.on_verdict(verdict)
        again = await reborn(bench)
        await again.head()
        await again.executor.on_verdict(verdict)  # the broker delivers what was not acknowledged
        for _ in range(5):
            await again.head()
        assert again.effects() == 1
        assert (await again.names(entry_id(verdict))).count("fill.confirmed") == 1
        assert (await again.names(entry_id(verdict))).count("intent.created") == 1
        assert again.executor.live.transactions.open_slots == []
        await again.die()


async def test_a_crash_between_live_and_paper_loses_neither_and_doubles_neither(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home, live_book(), a_book(id="paper-one")) as bench:
        verdict = bench.verdict(blocks=20)
        with monkeypatch.context() as patch:
            patch.setattr(handover, "submit", accepted_and_dies)
            with pytest.raises(ProcessDiedError):
                await bench.executor.on_verdict(verdict)
        paper_id = IntentCreated.make_id("paper-one", verdict.id, Purpose.ENTRY)
        assert await bench.names(paper_id) == []
        again = await reborn(bench)
        await again.head()
        for _ in range(2):  # the broker delivers what was not acknowledged, and then once more
            await again.executor.on_verdict(verdict)
        for _ in range(4):
            await again.head()
        assert again.effects() == 1
        for intent_id in (entry_id(verdict), paper_id):
            assert (await again.names(intent_id)).count("intent.created") == 1
        await again.die()


async def test_live_trades_are_at_the_node_before_paper_is_planned(home: Home) -> None:
    async with running(home, a_book(id="paper-one"), live_book()) as bench:
        verdict = bench.verdict(blocks=10)
        await bench.executor.on_verdict(verdict)
        about = {entry_id(verdict), IntentCreated.make_id("paper-one", verdict.id, Purpose.ENTRY)}
        events = [e for e in await bench.events() if getattr(e, "intent_id", e.id) in about]
        names = [(e.NAME, getattr(e, "state", None), getattr(e, "mode", None)) for e in events]
        assert names.index(("tx", TxState.SUBMITTED, Mode.LIVE)) < names.index(("intent.created", None, Mode.PAPER))


async def test_a_crash_between_inclusion_and_record_still_publishes_the_fill(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        with monkeypatch.context() as patch:
            patch.setattr(store, "save_slot", dies)
            with pytest.raises(ProcessDiedError):
                await bench.head()
        again = await reborn(bench)
        await again.head()
        await again.head()
        names = await again.names(entry_id(verdict))
        assert (names.count("fill.included"), names.count("fill.confirmed")) == (1, 1)
        await again.die()


async def test_an_intent_that_expired_unsigned_is_cancelled_in_its_own_slot(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=2)
        with monkeypatch.context() as patch:
            patch.setattr("dexlane.chain.execution.payloads.Payloads.sign", dies)
            with pytest.raises(ProcessDiedError):
                await bench.executor.on_verdict(verdict)
        bench.chain.mine(5)
        again = await reborn(bench)
        for _ in range(4):
            await again.head()
        failures = await again.of_intent(entry_id(verdict), IntentFailed)
        assert [(event.reason, event.final) for event in failures] == [
            (FailureReason.EXPIRED, False),
            (FailureReason.EXPIRED, True),
        ]
        assert failures[-1].fee_paid_wei > 0
        assert again.effects() == 0
        await again.die()


async def test_a_trade_not_included_by_its_deadline_is_cancelled_in_the_same_slot(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=2)
        await bench.executor.on_verdict(verdict)
        for _ in range(2):
            await bench.head(only=())
        for _ in range(3):
            await bench.head()
        names = await bench.names(entry_id(verdict))
        assert names[-4:] == ["tx.mined", "intent.failed", "tx.expired", "intent.failed"]
        assert "tx.replaced" in names
        assert bench.effects() == 0
        assert not bench.reservations.is_held(entry_id(verdict))


async def test_an_original_that_beats_its_cancel_is_reported_as_the_fill_it_is(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=2)
        await bench.executor.on_verdict(verdict)
        original = bench.chain.pool[trade_hashes(bench)[0]]
        for _ in range(2):
            await bench.head(only=())
        bench.chain.pool = {original.hash: original}  # a block producer that never saw the cancel
        await bench.head()
        await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


async def test_a_reorganisation_reverses_the_fill_and_includes_it_again(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        await bench.head()
        bench.chain.reorg(1, reinclude=False, longer=1)
        await bench.follow()
        await bench.head()
        await bench.head()
        outcomes = [
            (event.NAME, event.outcome_version)
            for event in await bench.events()
            if isinstance(event, FillIncluded | FillReversed | FillConfirmed) and event.intent_id == entry_id(verdict)
        ]
        assert outcomes == [
            ("fill.included", 1), ("fill.reversed", 2), ("fill.included", 3), ("fill.confirmed", 4),
        ]  # fmt: skip


async def test_a_transaction_lost_in_a_reorganisation_is_sent_again(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        await bench.head()
        lost = (await bench.of_intent(entry_id(verdict), FillIncluded))[0].tx_hash
        bench.chain.reorg(1, drop=[str(lost)], longer=1)
        await bench.follow()
        await bench.head()
        await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"
        assert bench.effects() == 1


async def test_a_reorganisation_that_moves_the_transaction_dates_the_fill_anew(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        await bench.head()
        bench.chain.reorg(1, longer=0)
        await bench.follow()
        included = await bench.of_intent(entry_id(verdict), FillIncluded)
        assert [event.outcome_version for event in included] == [1, 3]
        assert included[0].block != included[1].block


async def test_a_reorganisation_that_turns_success_into_revert_corrects_the_position(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        await bench.head()
        bench.world.reverts.add(str((await bench.of_intent(entry_id(verdict), FillIncluded))[0].tx_hash))
        bench.chain.reorg(1, longer=0)
        await bench.follow()
        await bench.head()
        names = await bench.names(entry_id(verdict))
        assert names[-6:] == [
            "tx.reorged", "fill.reversed", "tx.mined", "intent.failed", "tx.failed", "intent.failed",
        ]  # fmt: skip


async def test_a_revert_is_final_only_after_its_confirmations_and_pays_its_gas(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict()
        await bench.executor.on_verdict(verdict)
        bench.world.reverts.update(trade_hashes(bench))
        await bench.head()
        await bench.head()
        failures = await bench.of_intent(entry_id(verdict), IntentFailed)
        assert [(event.reason, event.final) for event in failures] == [
            (FailureReason.REVERTED, False),
            (FailureReason.REVERTED, True),
        ]
        assert failures[0].fee_paid_wei == failures[1].fee_paid_wei > 0


async def test_a_lost_answer_means_nothing_until_a_receipt_is_seen(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict()
        bench.rpc.fail_next("send_raw_transaction", RpcUnavailable("timed out"), after=True)
        await bench.executor.on_verdict(verdict)
        await bench.head()
        await bench.head()
        assert bench.effects() == 1
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


async def test_a_send_that_never_arrived_goes_out_again_with_the_same_bytes(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=10)
        bench.rpc.fail_next("send_raw_transaction", RpcUnavailable("connection reset"))
        await bench.executor.on_verdict(verdict)
        await bench.head()
        assert len(trade_hashes(bench)) == 1
        await bench.head()
        await bench.head()
        assert (await bench.names(entry_id(verdict))).count("tx.signed") == 1
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


async def test_a_transaction_the_node_forgot_is_sent_again(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=10)
        await bench.executor.on_verdict(verdict)
        bench.chain.drop(trade_hashes(bench)[0])
        await bench.head()
        assert "tx.dropped" in await bench.names(entry_id(verdict))
        await bench.head()
        assert bench.effects() == 1


async def test_nonce_too_low_after_our_own_inclusion_adopts_the_receipt(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=10)
        with monkeypatch.context() as patch:
            patch.setattr(handover, "submit", accepted_and_dies)
            with pytest.raises(ProcessDiedError):
                await bench.executor.on_verdict(verdict)
        again = await reborn(bench)
        again.chain.mine()
        await again.applied()
        slot_answer, text = await submission.submit(again.rpc, b"".join(_raws(again)))
        assert (slot_answer, "nonce too low" in text) == ("nonce_too_low", True)
        await again.follow()
        await again.head()
        assert again.effects() == 1
        assert (await again.names(entry_id(verdict)))[-1] == "fill.confirmed"
        await again.die()


def _raws(bench: Bench) -> list[bytes]:
    return [tx.raw for block in bench.chain.blocks for tx in block.transactions if tx.to == ROUTER]


async def test_foreign_use_of_the_key_stops_the_process(home: Home) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict(blocks=20))
        nonce = bench.chain.pool[trade_hashes(bench)[0]].nonce
        bench.chain.pool.clear()
        bench.chain.submit(foreign_transaction(nonce))
        for _ in range(2):
            await bench.head()
        with pytest.raises(Fatal, match="somebody else"):
            await bench.head()


async def test_a_key_used_elsewhere_between_two_runs_refuses_the_start(home: Home) -> None:
    async with running(home) as bench:
        next_nonce = await bench.rpc.transaction_count(ACCOUNT)
        bench.chain.submit(foreign_transaction(next_nonce))
        bench.chain.mine()
        again = await reborn(bench)
        with pytest.raises(Fatal, match="somebody else uses its key"):
            await again.head()
        await again.die()


async def test_a_journal_older_than_the_signers_record_refuses_the_start(home: Home) -> None:
    async with running(home) as bench:
        await bench.die()
        bench.home = Home(home.folder, f"sqlite+aiosqlite:///{home.folder}/older.db")
        again = await reborn(bench)
        with pytest.raises(Fatal, match="the signer has signed nonce 0"):
            await again.head()
        await again.die()


async def test_without_funds_for_gas_the_same_bytes_wait_for_funds(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        for block in bench.chain.blocks:
            block.balances[ACCOUNT] = 0
        await bench.executor.on_verdict(verdict)
        assert "tx.dropped" in await bench.names(entry_id(verdict))
        await bench.head()
        bench.chain.fund(ACCOUNT, 10**18)
        await bench.head()
        await bench.head()
        await bench.head()
        names = await bench.names(entry_id(verdict))
        assert names.count("tx.signed") == 1
        assert names[-1] == "fill.confirmed"


async def test_a_transaction_that_waits_is_bumped_by_at_least_an_eighth_within_its_budget(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        first = bench.chain.pool[trade_hashes(bench)[0]]
        for _ in range(9):
            await bench.head(only=())
        last = bench.chain.pool[trade_hashes(bench)[0]]
        assert last.nonce == first.nonce
        assert last.max_fee_per_gas_wei * 8 >= first.max_fee_per_gas_wei * 9
        assert last.max_priority_fee_per_gas_wei * 8 >= first.max_priority_fee_per_gas_wei * 9
        assert last.max_fee_per_gas_wei <= first.max_fee_per_gas_wei * 3 // 2
        assert "tx.bumped" in await bench.names(entry_id(verdict))


async def test_a_second_trade_with_the_same_token_waits_for_the_first_inclusion(home: Home) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict(blocks=10))
        second = bench.verdict(blocks=10, strategy_version=2)
        await bench.executor.on_verdict(second)
        refused = await bench.refusals()
        assert [(event.subject_id, event.outcome) for event in refused] == [(second.id, "in_flight")]
        await bench.head()
        third = bench.verdict(blocks=10, strategy_version=3)
        await bench.executor.on_verdict(third)
        await bench.head()
        assert bench.effects() == 2


async def test_while_halted_open_trades_are_cancelled_and_nothing_new_is_sent(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        bench.side.take_status(a_status(Status.HALTED, status_version=2))
        await bench.head(only=())
        await bench.head()
        await bench.head()
        failures = await bench.of_intent(entry_id(verdict), IntentFailed)
        assert failures[-1].reason is FailureReason.HALTED
        assert failures[-1].final
        assert bench.effects() == 0


async def test_a_denied_signature_gives_the_slot_back_by_a_cancel(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from dexlane_signer import Denial, DenialReason

    async def denied(*_: Any) -> Any:
        raise SigningDenied(Denial(DenialReason.AMOUNT_OVER_CAP, "too much"))

    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        with monkeypatch.context() as patch:
            patch.setattr("dexlane.chain.execution.payloads.Payloads.sign", denied)
            await bench.executor.on_verdict(verdict)
        for _ in range(4):
            await bench.head()
        failures = await bench.of_intent(entry_id(verdict), IntentFailed)
        assert failures[-1].reason is FailureReason.DENIED
        assert bench.effects() == 0


async def test_a_trade_that_only_the_signer_knows_is_cancelled_when_it_is_late(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=2)
        with monkeypatch.context() as patch:
            patch.setattr(handover, "submit", dies)
            with pytest.raises(ProcessDiedError):
                await bench.executor.on_verdict(verdict)
        bench.chain.mine(5)
        again = await reborn(bench)
        await again.head(only=[])
        slot = next(slot for slot in again.executor.live.transactions.open_slots if slot.intent.id == entry_id(verdict))
        assert [(one.number, one.kind.value) for one in slot.state.attempts] == [(1, "trade"), (2, "cancel")]
        await again.head(only=[])
        for _ in range(3):
            await again.head()
        assert (await again.of_intent(entry_id(verdict), IntentFailed))[-1].final
        assert again.effects() == 0
        await again.die()


async def test_after_a_crash_between_signature_and_journal_the_first_signature_holds(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fee it would have now, the bytes of then go out, and the journal keeps them."""
    async with running(home) as bench:
        verdict = bench.verdict(blocks=10)
        with monkeypatch.context() as patch:
            patch.setattr(handover, "submit", dies)
            with pytest.raises(ProcessDiedError):
                await bench.executor.on_verdict(verdict)
        again = await reborn(bench)
        dearer = FeeCap(max_fee_per_gas_wei=77 * 10**9, max_priority_fee_per_gas_wei=7 * 10**9)
        monkeypatch.setattr(txmgr, "_first_fee", lambda slot: dearer)
        await again.head()
        slot = next(slot for slot in again.executor.live.transactions.open_slots if slot.intent.id == entry_id(verdict))
        (attempt,) = slot.state.attempts
        transaction, hash_ = DynamicFeeTransaction.from_signed(slot.raws[1])
        guard = NonceGuard(home.folder / "guard.db")
        assert [one.hash for one in guard.attempts(entry_id(verdict))] == [hash_] == [attempt.tx_hash]
        guard.close()
        assert attempt.fee.max_fee_per_gas_wei == transaction.max_fee_per_gas_wei != dearer.max_fee_per_gas_wei
        assert slot.calldata == transaction.data
        for _ in range(3):
            await again.head()
        assert again.effects() == 1
        await again.die()


async def test_a_node_that_does_not_answer_decides_nothing(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=3)
        await bench.executor.on_verdict(verdict)
        before = await bench.names(entry_id(verdict))
        bench.rpc.fail_next("receipt", RpcUnavailable("timed out"))
        await bench.head()
        assert await bench.names(entry_id(verdict)) == before
        await bench.head()
        assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"


async def test_no_key_is_read_while_all_books_are_paper(home: Home) -> None:
    from dexlane.testing.builders import a_book

    async with running(home, a_book(), ready=False) as bench:
        (home.folder / "keys.json").unlink()
        for _ in range(3):
            await bench.head()
        await bench.executor.on_verdict(bench.verdict())
        assert not bench.executor.live.keys_loaded
        assert bench.rpc.calls == []
        assert not (home.folder / "guard.db").exists()
        assert "intent.created" in await bench.names()


async def test_a_live_book_off_the_devnet_is_refused_without_the_words(home: Home) -> None:
    async with running(home, ready=False) as bench:
        bench.chain.client_version = "Geth/v1.16.0"
        await bench.head()
        await bench.executor.on_verdict(bench.verdict())
        decisions = await bench.refusals()
        assert [event.outcome for event in decisions] == ["live_refused"]
        assert "I accept that real money can be lost" in decisions[0].reasons[0]
        assert not bench.executor.live.keys_loaded


async def test_a_router_that_is_not_there_yet_is_looked_for_again(home: Home) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict(blocks=40))
        code = bench.chain.codes.pop(ROUTER)
        again = await reborn(bench)
        await again.head(only=())
        assert again.executor.live.objection_to_account(again.books[0]) is not None
        bench.chain.codes[ROUTER] = code
        for _ in range(3):
            await again.head()
        assert again.effects() == 1
        assert again.executor.live.objection_to_account(again.books[0]) is None
        await again.die()


async def test_a_node_that_does_not_say_which_further_routers_there_are_is_asked_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        again = await reborn(bench)
        object.__setattr__(again.executor.live.access, "others", routers_of(1)[1:])

        async def busy(address: str, **_block: Any) -> bytes:
            if address != ROUTER:
                raise RpcError(-32005, "limit exceeded")
            return b"\1"

        with monkeypatch.context() as limited:
            limited.setattr(again.rpc, "code", busy)
            with pytest.raises(Transient, match="routers"):
                await again.head()
        for _ in range(2):
            await again.head()
        await again.executor.on_verdict(again.verdict())
        await again.head()
        assert again.effects() == 1
        await again.die()


async def test_an_exit_waits_while_halted_and_sells_afterwards(home: Home) -> None:
    from dexlane.testing.builders import an_exit

    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict(blocks=10))
        for _ in range(6):
            await bench.head()
        exit_ = an_exit(book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT)
        bench.side.take_status(a_status(Status.HALTED, status_version=2))
        for _ in range(2):
            with pytest.raises(Transient, match="halted"):
                await bench.executor.on_exit(exit_)
        bench.side.take_status(a_status(Status.REDUCING, status_version=3))
        await bench.executor.on_exit(exit_)
        await bench.head()
        decisions = [event.outcome for event in await bench.refusals()]
        assert decisions == ["halted"]
        assert bench.effects() == 2


async def test_a_verdict_of_the_block_that_includes_the_last_trade_waits_for_its_receipt(home: Home) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict(blocks=10))
        bench.chain.mine()
        tip = await bench.applied()
        second = bench.verdict(blocks=10, strategy_version=2)
        deciding = asyncio.create_task(bench.executor.on_verdict(second))
        await asyncio.sleep(0.01)
        await bench.executor.step(tip)
        await deciding
        await bench.head()
        assert bench.effects() == 2


async def test_a_router_that_pulls_tokens_is_approved_for_exactly_one_trade_in_the_slot_before(home: Home) -> None:
    async with running(home) as bench:
        direct = routers_of(1)[1]
        live = bench.executor.live
        object.__setattr__(live.payloads, "deployment", direct)
        bench.executor.books_changed()
        verdict = bench.verdict()
        await bench.executor.on_verdict(verdict)
        created = [event for event in await bench.events() if isinstance(event, IntentCreated)][-2:]
        trade = created[1].plan
        assert trade is not None
        assert trade.router == direct.router
        assert [event.purpose for event in created] == [Purpose.ALLOWANCE, Purpose.ENTRY]
        assert (created[0].allowance_spender, created[0].allowance_amount) == (direct.router, trade.amount_in)
        sent = sorted(bench.chain.pool.values(), key=lambda tx: tx.nonce)
        assert [tx.to for tx in sent] == [trade.route.token_in, direct.router]
        assert sent[1].nonce == sent[0].nonce + 1
        assert sent[0].data == approve(direct.router, trade.amount_in)


async def test_a_slot_that_cannot_be_brought_forward_now_holds_up_no_other(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        direct = routers_of(1)[1]
        object.__setattr__(bench.executor.live.payloads, "deployment", direct)
        bench.executor.books_changed()
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        whole = txmgr.whole_receipt

        async def not_for_the_allowance(rpc: Any, chain_id: int, finding: Any, step: Any) -> Any:
            if finding.slot.intent.purpose is Purpose.ALLOWANCE:
                raise Transient("what the rollup charged cannot be read")
            return await whole(rpc, chain_id, finding, step)

        with monkeypatch.context() as unreadable:
            unreadable.setattr(txmgr, "whole_receipt", not_for_the_allowance)
            for _ in range(3):
                with pytest.raises(Transient, match="rollup"):
                    await bench.head()
            assert (await bench.names(entry_id(verdict)))[-1] == "fill.confirmed"
        for _ in range(2):
            await bench.head()
        assert all(slot.nonce > 1 for slot in bench.executor.live.transactions.open_slots)


async def test_a_trade_is_not_tried_out_before_the_allowance_in_the_slot_below_is_in_a_block(home: Home) -> None:
    async with running(home) as bench:
        direct = routers_of(1)[1]
        object.__setattr__(bench.executor.live.payloads, "deployment", direct)
        bench.executor.books_changed()
        await bench.executor.on_verdict(bench.verdict(blocks=20))

        def trial(sender: str, call: SignedCall, header: Header) -> None:
            if call.to == direct.router and not bench.world.included(USDC.address)[-1].data.startswith(
                approve(direct.router, 0)[:36]
            ):
                raise RpcError(3, "execution reverted: TRANSFER_FROM_FAILED", "0x")

        bench.chain.answer_trial = trial
        await bench.head(only=())
        waiting = {tx.to for tx in bench.chain.pool.values()}
        assert {USDC.address, direct.router} <= waiting
        assert ACCOUNT not in waiting, "nothing was cancelled"
        await bench.head()
        assert len(bench.world.included(direct.router)) == 1


STRANGER = "0x" + "5a" * 20


def approval(spender: str, amount: int) -> FakeLog:
    topics = (GRANT_TOPICS[0], "0x" + abi.address(ACCOUNT).hex(), "0x" + abi.address(spender).hex())
    return FakeLog(address=USDC.address, topics=topics, data=abi.uint(amount))


def granting(bench: Bench, spender: str) -> Callable[[], int]:
    """A foreign allowance that stands until it is taken back; returns how often that happened."""
    plain = bench.world.answer

    def taken_back() -> int:
        return len([tx for tx in bench.world.included(USDC.address) if tx.data == approve(spender, 0)])

    def answer(to: str, data: bytes, header: Any) -> bytes:
        if to == USDC.address and data == allowance(ACCOUNT, spender):
            return abi.uint(0 if taken_back() else 5)
        if data[:4].hex() == "dd62ed3e" and data != allowance(ACCOUNT, PERMIT2):
            return abi.uint(0)
        approved = [tx for tx in bench.world.included(to) if tx.data[16:36].hex() == PERMIT2[2:]]
        if data == allowance(ACCOUNT, PERMIT2):
            return approved[-1].data[36:68] if approved else abi.uint(0)
        return plain(to, data, header)

    bench.chain.answer_call = answer
    return taken_back


async def test_an_allowance_that_nobody_planned_is_taken_back_within_two_blocks(home: Home) -> None:
    async with running(home) as bench:
        taken_back = granting(bench, STRANGER)
        await bench.head(logs=[approval(STRANGER, 5)])
        await bench.head()
        assert taken_back() == 1
        for _ in range(4):
            await bench.head()
        assert taken_back() == 1
        await bench.executor.on_verdict(bench.verdict())
        await bench.head()
        assert bench.effects() == 1


async def test_a_past_that_a_provider_gives_in_small_pieces_only_is_caught_up_with(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        await bench.die()
        bench.chain.mine(300, logs=[approval(STRANGER, 5)])
        again = await reborn(bench)
        taken_back, plain = granting(again, STRANGER), again.rpc.logs_between

        async def small_pieces(first: int, last: int, topics: Any) -> Any:
            if last - first >= 100:
                raise RpcError(-32000, "block range is too large")
            return await plain(first, last, topics)

        monkeypatch.setattr(again.rpc, "logs_between", small_pieces)
        for _ in range(16):
            with contextlib.suppress(Transient):
                await again.head()
        assert taken_back() == 1
        await again.die()


async def test_allowances_are_taken_back_while_only_exits_go_on_and_left_alone_while_halted(home: Home) -> None:
    async with running(home) as bench:
        taken_back = granting(bench, STRANGER)
        bench.side.take_status(a_status(Status.HALTED, status_version=2))
        await bench.head(logs=[approval(STRANGER, 5)])
        await bench.head()
        assert taken_back() == 0
        bench.side.take_status(a_status(Status.REDUCING, status_version=3))
        await bench.head()
        await bench.head()
        assert taken_back() == 1


@pytest.mark.parametrize("change", [{"enabled": False}, {"mode": Mode.PAPER}], ids=["switched off", "gone"])
async def test_a_book_that_is_switched_off_or_gone_keeps_no_allowance(home: Home, change: dict[str, Any]) -> None:
    async with running(home) as bench:
        granting(bench, STRANGER)
        before = bench.world.included(USDC.address)
        bench.side.take_book(a_book_changed(live_book(**change), book_version=2))
        bench.executor.books_changed()
        for _ in range(3):
            await bench.head()
        after = bench.world.included(USDC.address)[len(before) :]
        assert [tx.data for tx in after] == [approve(PERMIT2, 0)]


OTHER_KEY = "0x" + "22" * 32
OTHER_ACCOUNT = PrivateKey.from_hex(OTHER_KEY).address


async def test_an_account_that_a_book_gave_up_while_nobody_ran_is_in_nobodys_way(home: Home) -> None:
    home = Home(home.folder, home.database_url, {ACCOUNT: KEY, OTHER_ACCOUNT: OTHER_KEY})
    async with running(home) as bench:
        bench.chain.fund(OTHER_ACCOUNT, 10**18)
        await bench.die()
        bench.books = [live_book(accounts={Lane.FAST: OTHER_ACCOUNT})]
        again = await reborn(bench)
        for _ in range(6):
            await again.head()
        assert again.executor.live.objection_to_token(bench.books[0], USDC.address, 1) is None
        await again.executor.on_verdict(again.verdict())
        await again.head()
        assert again.effects() == 1
        await again.die()


async def test_a_taking_back_that_fails_is_tried_three_times_and_then_left_to_people(home: Home) -> None:
    async with running(home) as bench:
        taken_back = granting(bench, STRANGER)
        plain = bench.chain.execute

        def refusing(tx: Any) -> Outcome:
            return Outcome(success=False) if tx.data == approve(STRANGER, 0) else plain(tx)

        bench.chain.execute = refusing
        await bench.head(logs=[approval(STRANGER, 5)])
        for _ in range(20):
            await bench.head()
        tried = [tx for b in bench.chain.blocks for tx in b.transactions if tx.data == approve(STRANGER, 0)]
        assert len(tried) == 3
        assert taken_back() == 0
