"""Executors record every decision with its inputs: refusals with their transaction, live trades after their bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dexlane.chain.execution.thoughts import MADE_UP, TradeThoughts
from dexlane.domain.thoughts.recording import decided_again
from dexlane.events.base import Event
from dexlane.events.execution import TxChanged, TxState
from dexlane.events.risk import DecisionRecorded
from dexlane.events.thoughts import DocumentsRecorded
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import outbox
from dexlane.testing.builders import a_book, a_book_changed, an_exit
from dexlane.testing.live_bench import ACCOUNT, BOUGHT, Bench, Home, live_book, reborn, running


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def decisions(events: list[Event]) -> list[DecisionRecorded]:
    return [event for event in events if isinstance(event, DecisionRecorded)]


def texts(events: list[Event]) -> dict[str, str]:
    told = [event.documents for event in events if isinstance(event, DocumentsRecorded)]
    return {name: text for one in told for name, text in one.items()}


async def outbox_pruned(bench: Bench) -> None:
    """What is known of a trade stands elsewhere."""
    async with bench.journal.engine.begin() as conn:
        await conn.execute(outbox.delete())


async def ready(bench: Bench) -> None:
    for _ in range(3):
        await bench.head()


async def test_a_live_trade_is_recorded_after_its_bytes_were_handed_over_and_decided_again(home: Home) -> None:
    async with running(home) as bench:
        await ready(bench)
        verdict = bench.verdict()
        await bench.executor.on_verdict(verdict)
        events = await bench.events()
        [decision] = decisions(events)
        handed = [e for e in events if isinstance(e, TxChanged) and e.state is TxState.SUBMITTED]
        assert events.index(handed[-1]) < events.index(decision)
        assert (decision.outcome, decision.subject_id, decision.book_id) == ("traded", verdict.id, "live-one")
        again = decided_again(decision.inputs_id or "", texts(events).get)
        assert again.to_wire() == decision.to_wire()


async def test_what_a_trade_reserves_is_not_among_what_it_was_decided_from(home: Home) -> None:
    async with running(home) as bench:
        await ready(bench)
        for version in (21, 22):
            await bench.executor.on_verdict(bench.verdict(blocks=10, strategy_version=version))
            await ready(bench)
        events = await bench.events()
        found = decisions(events)
        assert len(found) == 2
        assert [decided_again(one.inputs_id or "", texts(events).get).outcome for one in found] == [
            one.outcome for one in found
        ]


async def test_a_refusal_is_recorded_with_what_it_follows_from(home: Home) -> None:
    async with running(home, live_book(strategies=("price_gap",))) as bench:
        await ready(bench)
        await bench.executor.on_verdict(bench.verdict())
        events = await bench.events()
        [decision] = decisions(events)
        assert decision.outcome == "strategy_off"
        assert decided_again(decision.inputs_id or "", texts(events).get).to_wire() == decision.to_wire()


async def test_a_live_and_a_paper_book_are_recorded_alike_and_share_their_documents(home: Home) -> None:
    async with running(home) as bench:
        bench.side.take_book(a_book_changed(a_book(id="paper-one", level=10)))
        await ready(bench)
        await bench.executor.on_verdict(bench.verdict())
        events = await bench.events()
        found = {one.book_id: one for one in decisions(events)}
        assert found.keys() == {"live-one", "paper-one"}
        assert found["live-one"].factors[:7] == found["paper-one"].factors[:7]
        for one in found.values():
            assert decided_again(one.inputs_id or "", texts(events).get).to_wire() == one.to_wire()
        names = [name for event in events if isinstance(event, DocumentsRecorded) for name in event.documents]
        assert len(names) == len(set(names))


async def dies(*_: object) -> None:
    raise Transient("the process ended here")


async def test_a_trade_whose_record_was_cut_off_is_recorded_when_its_verdict_comes_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as before:
        await ready(before)
        verdict = before.verdict(blocks=10)
        with monkeypatch.context() as patched:
            patched.setattr(TradeThoughts, "follow", dies)
            with pytest.raises(Transient):
                await before.executor.on_verdict(verdict)
        assert decisions(await before.events()) == []
        bench = await reborn(before)
        await bench.head()
        await outbox_pruned(bench)
        for _ in range(2):
            await bench.executor.on_verdict(verdict)
        [decision] = decisions(await bench.events())
        assert (decision.outcome, decision.inputs_id) == ("traded", None)
        assert decision.reasons == (MADE_UP,)


async def test_an_exit_whose_record_was_cut_off_is_recorded_when_it_comes_again_while_it_is_open(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(home) as before:
        await before.executor.on_verdict(before.verdict(blocks=10))
        for _ in range(6):
            await before.head()
        exit_ = an_exit(book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT)
        with monkeypatch.context() as patched:
            patched.setattr(TradeThoughts, "follow", dies)
            with pytest.raises(Transient):
                await before.executor.on_exit(exit_)
        bench = await reborn(before)
        await bench.head()
        for _ in range(2):
            await bench.executor.on_exit(exit_)
        [decision] = [one for one in decisions(await bench.events()) if one.subject_id == exit_.id]
        assert (decision.outcome, decision.inputs_id, decision.reasons) == ("traded", None, (MADE_UP,))


async def test_a_trade_that_was_recorded_is_not_made_up_for_when_its_verdict_comes_again(home: Home) -> None:
    async with running(home) as bench:
        await ready(bench)
        verdict = bench.verdict(blocks=10)
        await bench.executor.on_verdict(verdict)
        assert len(decisions(await bench.events())) == 1
        await outbox_pruned(bench)
        await bench.executor.on_verdict(verdict)
        assert decisions(await bench.events()) == []
