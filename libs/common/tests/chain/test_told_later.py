"""What nobody waits for is told when the bytes have left; whatever ends before that, it is told, and once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dexlane.chain.execution import handover
from dexlane.chain.execution import slots as store
from dexlane.chain.execution.signed_bytes import signed_call
from dexlane.chain.execution.slots import SlotRecord
from dexlane.chain.execution.tables import attempts, slots
from dexlane.events.execution import IntentCreated, Purpose, TxChanged, TxState
from dexlane.runtime.errors import Transient
from dexlane.testing.live_bench import ROUTER, Bench, Home, reborn, running
from dexlane.testing.mishaps import ProcessDiedError, accepted_and_dies, dies
from dexlane_signer import GuardUnavailableError


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def entry_of(verdict: Any) -> str:
    return IntentCreated.make_id("live-one", verdict.id, Purpose.ENTRY)


async def named_and_stored(bench: Bench, intent_id: str) -> tuple[list[int], list[int]]:
    """The attempts that a slot's record names, and those whose bytes are stored."""
    record, stored = sa.select(slots.c.record), sa.select(attempts.c.number).order_by(attempts.c.number)
    async with bench.journal.reading() as conn:
        text = (await conn.execute(record.where(slots.c.intent_id == intent_id))).scalar_one()
        rows = await conn.execute(stored.where(attempts.c.intent_id == intent_id))
        return [one.number for one in SlotRecord.model_validate_json(text).state.attempts], [row[0] for row in rows]


async def told(bench: Bench, intent_id: str) -> list[TxChanged]:
    """Every change that was told, none of which is missing or told twice."""
    events = await bench.of_intent(intent_id, TxChanged)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return events


async def told_to_the_end(bench: Bench, intent_id: str) -> list[TxChanged]:
    """The same after some blocks, in which the trade has exactly one effect."""
    for _ in range(4):
        await bench.head()
    assert bench.effects() == 1
    events = await told(bench, intent_id)
    assert events[-1].state is TxState.CONFIRMED
    return events


async def nothing_is_included(bench: Bench, blocks: int) -> None:
    for _ in range(blocks):
        await bench.head(only=())


@pytest.mark.parametrize("submit", [accepted_and_dies, dies], ids=["they left", "they did not"])
async def test_bytes_that_only_the_signer_has_on_record_are_found_by_the_next_process(
    home: Home, submit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        planned_ms = bench.clock.now_ms()
        with monkeypatch.context() as patch:
            patch.setattr(handover, "submit", submit)
            with pytest.raises(ProcessDiedError):
                await bench.executor.on_verdict(verdict)
        known = [1] if bench.journal.is_shared else []
        assert await named_and_stored(bench, entry_of(verdict)) == (known, known)
        assert bool(await told(bench, entry_of(verdict))) is bench.journal.is_shared
        bench.clock.advance(30_000)
        again = await reborn(bench)
        events = await told_to_the_end(again, entry_of(verdict))
        assert [event.state for event in events[:2]] == [TxState.PLANNED, TxState.SIGNED]
        assert events[0].occurred_at_ms == planned_ms
        assert (events[1].occurred_at_ms >= planned_ms + 30_000) is not bench.journal.is_shared
        assert await named_and_stored(again, entry_of(verdict)) == ([1], [1])
        await again.die()


async def test_so_are_the_bytes_of_a_replacement(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        await bench.executor.on_verdict(verdict)
        really, first = handover.submit, next(tx for tx in bench.chain.pool.values() if tx.to == ROUTER)

        async def submit(rpc: Any, raw: bytes, **how: Any) -> Any:
            is_replacement = raw != first.raw and signed_call(raw).to == ROUTER
            return await (accepted_and_dies if is_replacement else really)(rpc, raw, **how)

        with monkeypatch.context() as patch:
            patch.setattr(handover, "submit", submit)
            with pytest.raises(ProcessDiedError):
                await nothing_is_included(bench, 9)
        known = [1, 2] if bench.journal.is_shared else [1]
        assert await named_and_stored(bench, entry_of(verdict)) == (known, known)
        again = await reborn(bench)
        events = await told_to_the_end(again, entry_of(verdict))
        assert [event.attempt for event in events if event.state is TxState.BUMPED] == [2]
        assert await named_and_stored(again, entry_of(verdict)) == ([1, 2], [1, 2])
        await again.die()


async def test_a_journal_that_fails_when_bytes_have_left_is_told_at_the_next_block(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_gone(*_: Any) -> None:
        raise Transient("the journal did not commit")

    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        with monkeypatch.context() as patch:
            patch.setattr(store, "save_slot", is_gone)
            with pytest.raises(Transient):
                await bench.executor.on_verdict(verdict)
        assert await told(bench, entry_of(verdict)) == []
        events = await told_to_the_end(bench, entry_of(verdict))
        assert [event.state for event in events[:2]] == [TxState.PLANNED, TxState.SIGNED]


async def test_a_slot_whose_signer_does_not_answer_is_told_as_planned(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: Any) -> Any:
        raise GuardUnavailableError("the signer does not answer")

    async with running(home) as bench:
        verdict = bench.verdict(blocks=20)
        monkeypatch.setattr("dexlane.chain.execution.payloads.Payloads.sign", silent)
        await bench.executor.on_verdict(verdict)
        await bench.head()
        assert [event.state for event in await told(bench, entry_of(verdict))] == [TxState.PLANNED]
