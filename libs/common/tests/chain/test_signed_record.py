"""What may be on the chain is on the signer's record first, and a start asks for it before it does anything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dexlane.chain.execution import handover, rollup_receipts
from dexlane.chain.execution import slots as store
from dexlane.chain.execution.keys import SignerHere
from dexlane.chain.execution.tables import attempts
from dexlane.domain.send_values import SendPolicy
from dexlane.events.control import Status
from dexlane.events.execution import FailureReason, FillConfirmed, IntentCreated, IntentFailed, Purpose
from dexlane.runtime.errors import Fatal, Transient
from dexlane.testing.builders import a_status, an_exit
from dexlane.testing.live_bench import ACCOUNT, BOUGHT, ROUTER, Bench, Home, born, reborn, running
from dexlane.testing.mishaps import ProcessDiedError, accepted_and_dies, dies, foreign_transaction, latch_signer
from dexlane_signer import (
    Denial,
    DenialReason,
    GuardUnavailableError,
    Level,
    SigningDenied,
)


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def entry_of(verdict: Any) -> str:
    return IntentCreated.make_id("live-one", verdict.id, Purpose.ENTRY)


def is_shared(home: Home) -> bool:
    return not home.database_url.startswith("sqlite")


def elsewhere(home: Home) -> Home:
    """Another folder, with the same keys and no record yet."""
    other = replace(home, folder=home.folder / "elsewhere")
    other.folder.mkdir()
    return other


@asynccontextmanager
async def dead_before_it_was_answered(
    home: Home, monkeypatch: pytest.MonkeyPatch, submit: Callable[..., Any], blocks: int = 20
) -> AsyncIterator[tuple[Bench, str]]:
    """A process that died when its trade was signed, and perhaps sent; and the id of that intent."""
    async with running(home) as bench:
        verdict = bench.verdict(blocks=blocks)
        with monkeypatch.context() as patch:
            patch.setattr(handover, "submit", submit)
            if submit is dies:
                patch.setattr(store, "add_attempt", dies)
            with pytest.raises(ProcessDiedError):
                await bench.executor.on_verdict(verdict)
        yield bench, entry_of(verdict)


def attempts_of(bench: Bench, intent_id: str) -> list[tuple[int, str]]:
    slot = next(slot for slot in bench.executor.live.transactions.open_slots if slot.intent.id == intent_id)
    return [(one.number, one.kind.value) for one in slot.state.attempts]


@pytest.mark.parametrize("level", [Level.REDUCING, Level.HALTED])
async def test_a_trade_that_is_on_the_chain_is_booked_while_the_signer_keeps_its_bytes(
    home: Home, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dead_before_it_was_answered(home, monkeypatch, accepted_and_dies) as (bench, intent_id):
        bench.chain.mine(1)
        assert bench.effects() == 1
        latch_signer(home, level)
        again = await reborn(bench)
        for _ in range(4):
            await again.head()
        assert len(await again.of_intent(intent_id, FillConfirmed)) == 1
        assert again.executor.live.transactions.open_slots == []
        await again.die()


async def test_a_halted_trade_that_was_not_sent_is_cancelled_in_its_own_slot(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dead_before_it_was_answered(home, monkeypatch, dies, blocks=2) as (bench, intent_id):
        latch_signer(home, Level.HALTED)
        again = await reborn(bench)
        bench.chain.mine(5)
        await again.head(only=())
        assert attempts_of(again, intent_id) == [(1, "trade"), (2, "cancel")]
        for _ in range(4):
            await again.head()
        failed = (await again.of_intent(intent_id, IntentFailed))[-1]
        assert (failed.final, failed.reason) == (True, FailureReason.EXPIRED)
        assert again.effects() == 0
        await again.die()


async def test_bytes_that_the_signer_kept_are_sent_and_stored_when_it_gives_them(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dead_before_it_was_answered(home, monkeypatch, dies) as (bench, intent_id):
        latch_signer(home, Level.REDUCING)
        again = await reborn(bench)
        await again.head()
        assert attempts_of(again, intent_id) == [(1, "trade")]
        assert await stored(again, intent_id) == [b""]
        assert again.effects() == 0
        latch_signer(home, Level.ACTIVE)
        await again.head(only=())
        (waiting,) = again.chain.pool.values()
        kept, sent = await stored(again, intent_id)
        assert (bool(kept), sent) == (True, waiting.raw)
        for _ in range(4):
            await again.head()
        assert again.effects() == 1
        assert len(await again.of_intent(intent_id, FillConfirmed)) == 1
        await again.die()


async def test_a_fee_that_waits_for_bytes_holds_up_no_exit(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rollup_receipts.with_rollup_fee

    async def on_a_silent_rollup(rpc: Any, _: int, receipt: Any, signed: bytes | None) -> Any:
        return await whole(rpc, 1 if signed else 8_453, replace(receipt, rollup_fee_wei=None), signed)

    monkeypatch.setattr(rollup_receipts, "with_rollup_fee", on_a_silent_rollup)
    async with dead_before_it_was_answered(home, monkeypatch, accepted_and_dies) as (bench, intent_id):
        latch_signer(home, Level.REDUCING)
        again = await reborn(bench)
        for _ in range(3):
            await again.head()
        assert len(await again.of_intent(intent_id, FillConfirmed)) == is_shared(home), "a shared journal has the bytes"
        assert again.executor.live.objection_to_account(again.books[0], is_entry=False) is None
        latch_signer(home, Level.ACTIVE)
        await again.head()
        assert len(await again.of_intent(intent_id, FillConfirmed)) == 1
        await again.die()


async def stored(bench: Bench, intent_id: str) -> list[bytes]:
    bytes_of = sa.select(attempts.c.raw).where(attempts.c.intent_id == intent_id).order_by(attempts.c.number)
    async with bench.journal.reading() as conn:
        return [bytes(raw) for raw in (await conn.execute(bytes_of)).scalars()]


async def test_an_exit_that_may_be_signed_is_sent_at_once_while_entries_are_not(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict())
        for _ in range(3):
            await bench.head()
        with monkeypatch.context() as patch:
            patch.setattr(handover, "submit", dies)
            with pytest.raises(ProcessDiedError):
                await bench.executor.on_exit(an_exit(book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT))
        latch_signer(home, Level.REDUCING)
        again = await reborn(bench)
        await again.follow()
        await again.head()
        assert again.effects() == 2
        await again.die()


async def test_a_cancel_that_may_cost_no_more_is_sent_while_the_signer_keeps_bytes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dead_before_it_was_answered(home, monkeypatch, dies, blocks=2) as (bench, intent_id):
        latch_signer(home, Level.HALTED)
        (slot,) = bench.executor.live.transactions.open_slots
        paid = slot.state.attempts[0].fee.max_fee_per_gas_wei
        bench.world.sending = SendPolicy(confirmations=2, cancel_fee_cap_wei=paid * 6 // 5)
        bench.chain.mine(5)
        cancelling = await reborn(bench)
        with monkeypatch.context() as patch:
            patch.setattr(handover, "submit", dies)
            with pytest.raises(ProcessDiedError):
                await cancelling.follow()
        again = await reborn(cancelling)
        await again.follow()
        assert attempts_of(again, intent_id) == [(1, "trade"), (2, "cancel")]
        assert [tx.to for tx in again.chain.pool.values()] == [ACCOUNT]
        await again.die()


async def test_foreign_use_of_a_slot_is_seen_while_the_signer_keeps_its_bytes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dead_before_it_was_answered(home, monkeypatch, dies) as (bench, intent_id):
        latch_signer(home, Level.HALTED)
        again = await reborn(bench)
        await again.follow()
        slot = next(slot for slot in again.executor.live.transactions.open_slots if slot.intent.id == intent_id)
        again.chain.submit(foreign_transaction(slot.nonce))
        for _ in range(2):
            await again.head()
        with pytest.raises(Fatal, match="somebody else"):
            await again.head()
        await again.die()


async def test_nothing_is_done_before_the_signer_has_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: Any) -> Any:
        raise GuardUnavailableError("the record cannot be used")

    async with dead_before_it_was_answered(home, monkeypatch, accepted_and_dies) as (bench, intent_id):
        with monkeypatch.context() as patch:
            patch.setattr(SignerHere, "signed_before", silent)
            again = await reborn(bench)
            for _ in range(3):
                with pytest.raises(Transient, match="does not tell"):
                    await again.head()
            assert again.executor.why_not_ready() is not True
        for _ in range(4):
            await again.head()
        assert len(await again.of_intent(intent_id, FillConfirmed)) == 1
        await again.die()


async def test_of_an_account_that_the_signer_has_no_key_of_the_journal_alone_tells(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: Any) -> Any:
        raise SigningDenied(Denial(DenialReason.UNKNOWN_SENDER, "this signer holds no key of it"))

    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        monkeypatch.setattr(SignerHere, "signed_before", unknown)
        again = await reborn(bench)
        for _ in range(4):
            await again.head()
        assert len(await again.of_intent(entry_of(verdict), FillConfirmed)) == 1
        await again.die()


async def test_an_executor_that_finds_more_on_record_than_it_knows_reads_everything_anew(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: Any) -> Any:
        raise SigningDenied(Denial(DenialReason.UNKNOWN_SENDER, "this signer holds no key of it"))

    async with dead_before_it_was_answered(home, monkeypatch, dies, blocks=2) as (bench, intent_id):
        with monkeypatch.context() as patch:
            patch.setattr(SignerHere, "signed_before", unknown)
            blind = await reborn(bench)
            bench.chain.mine(5)
            with pytest.raises(Transient, match="more is on the signer's record"):
                await blind.head(only=())
            assert not blind.executor._journal.term.runs
            await blind.die()
        again = await reborn(blind)
        await again.head(only=())
        assert attempts_of(again, intent_id)[:2] == [(1, "trade"), (2, "cancel")]
        for _ in range(4):
            await again.head()
        assert again.effects() == 0
        assert (await again.of_intent(intent_id, IntentFailed))[-1].final
        await again.die()


async def test_a_standby_on_another_machine_books_what_the_first_one_sent(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its signer has a record of its own; the journal that both use has the attempt."""
    if not is_shared(home):
        pytest.skip("a file is on one machine")
    async with dead_before_it_was_answered(home, monkeypatch, accepted_and_dies) as (bench, intent_id):
        await bench.die()
        standby = await born(elsewhere(home), bench.chain, bench.world, bench.clock, bench.books)
        for _ in range(4):
            await standby.head()
        assert len(await standby.of_intent(intent_id, FillConfirmed)) == 1
        await standby.die()


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.HALTED])
async def test_what_a_start_with_another_record_cannot_know_is_booked_with_the_right_one(
    home: Home, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other record counts the attempts of a slot anew; there may be a cancel first."""
    if is_shared(home):
        pytest.skip("this journal knows")
    async with dead_before_it_was_answered(home, monkeypatch, accepted_and_dies) as (bench, intent_id):
        await bench.die()
        standby = await born(elsewhere(home), bench.chain, bench.world, bench.clock, bench.books)
        standby.side.take_status(a_status(status, status_version=2))
        if status is Status.HALTED:
            (trade,) = bench.chain.pool.values()
            await standby.follow()
            assert [attempt for attempt, _ in attempts_of(standby, intent_id)] == [1]
            bench.chain.pool.clear()
            bench.chain.submit(trade.raw)
        for _ in range(2):
            await standby.head()
        with pytest.raises(Fatal, match=r"neither this journal nor the signer.*another record"):
            await standby.head()
        await standby.die()
        first = await born(home, bench.chain, bench.world, bench.clock, bench.books)
        await first.head()
        assert len(await first.of_intent(intent_id, FillConfirmed)) == 1
        await first.die()


async def test_once_a_later_term_has_asked_the_executor_before_it_is_signed_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its intent is in the journal, and its request was only late."""
    asked: list[Any] = []
    sign = SignerHere.sign_transaction

    async def late(self: SignerHere, request: Any) -> Any:
        asked.append((self, request))
        raise ProcessDiedError

    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        with monkeypatch.context() as patch:
            patch.setattr(SignerHere, "sign_transaction", late)
            with pytest.raises(ProcessDiedError):
                await bench.executor.on_verdict(verdict)
            again = await reborn(bench)
            patch.setattr(SignerHere, "sign_transaction", _refused)
            await again.head(only=())
        ((_, request),) = asked
        with pytest.raises(SigningDenied) as denied:
            await sign(SignerHere(again.executor.live._source.signer()._local), request)  # type: ignore[attr-defined]
        assert denied.value.reason is DenialReason.STALE_EPOCH
        for _ in range(5):
            await again.head()
        assert again.effects() == 1
        assert [tx.to for tx in again.world.included(ROUTER)] == [ROUTER]
        await again.die()


async def _refused(*_: Any) -> Any:
    raise GuardUnavailableError("not now")
