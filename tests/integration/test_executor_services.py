"""Each running executor: a verdict on the bus becomes a paper intent, or a recorded refusal, on the bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.js import JetStreamContext
from pydantic import ValidationError

import fast_executor.app
import fast_executor.settings
import smart_executor.app
import smart_executor.settings
from dexlane.events.control import Status
from dexlane.events.execution import IntentCreated
from dexlane.events.risk import DecisionRecorded, Ruling, VerdictApproved
from dexlane.runtime.bus import Bus
from dexlane.runtime.service import Service
from dexlane.testing.builders import (
    a_book,
    a_book_changed,
    a_status,
    a_verdict,
    an_entry_opportunity,
    an_exposure,
    verdict_facts,
)
from dexlane.testing.servers import free_port
from dexlane.testing.told_market import eventually, tell_market
from dexlane.values.books import Lane
from dexlane.values.controls import Controls

NO_COLLAR = Controls(collar_bps=None)
"""For a market of one pool."""
EXECUTORS: dict[Lane, tuple[Callable[[Any], Service], type[Any]]] = {
    Lane.FAST: (fast_executor.app.build, fast_executor.settings.Settings),
    Lane.SMART: (smart_executor.app.build, smart_executor.settings.Settings),
}
each_executor = pytest.mark.parametrize("lane", Lane)


def a_verdict_of(lane: Lane) -> VerdictApproved:
    return a_verdict(an_entry_opportunity(edge_bps=0), lane=lane)


async def market(bus: Bus, js: JetStreamContext, lane: Lane) -> None:
    await bus.publish(a_book_changed(a_book(controls=NO_COLLAR)))
    await tell_market(bus, js, an_exposure(lane=lane))


@asynccontextmanager
async def running(lane: Lane, bus: Bus, folder: Path, **settings: Any) -> AsyncIterator[None]:
    build, kind = EXECUTORS[lane]
    service = build(kind(nats_url=bus.url, data_dir=folder, port=free_port(), log_level="ERROR", **settings))
    task = asyncio.create_task(service.run())
    try:
        yield
    finally:
        service.stop()
        code = await task
    assert code == 0


@each_executor
@pytest.mark.integration
async def test_a_verdict_becomes_a_paper_intent_without_any_node_or_key(
    lane: Lane, bus: Bus, js: JetStreamContext, tmp_path: Path
) -> None:
    await market(bus, js, lane)
    async with running(lane, bus, tmp_path):
        verdict = a_verdict_of(lane)
        await bus.publish(verdict)
        intent = await eventually(js, IntentCreated, f"main.1.intent.created.paper.{lane}")
        assert (intent.verdict, intent.book_id, intent.lane) == (verdict, "paper-one", lane)
        assert not list(tmp_path.glob("*guard*"))


@each_executor
@pytest.mark.integration
async def test_a_halt_that_was_stored_before_the_start_is_known_to_the_first_verdict(
    lane: Lane, bus: Bus, js: JetStreamContext, tmp_path: Path
) -> None:
    await market(bus, js, lane)
    await bus.publish(a_status(Status.HALTED))
    await bus.publish(a_verdict_of(lane))
    async with running(lane, bus, tmp_path):
        decision = await eventually(js, DecisionRecorded, "main.1.decision.recorded")
        assert decision.outcome == "halted"


@each_executor
@pytest.mark.integration
async def test_what_a_books_jurisdiction_forbids_becomes_a_recorded_refusal(
    lane: Lane, bus: Bus, js: JetStreamContext, tmp_path: Path
) -> None:
    await market(bus, js, lane)
    await bus.publish(a_book_changed(a_book(jurisdiction="EU"), book_version=2))
    async with running(lane, bus, tmp_path):
        refused = (Ruling(jurisdiction="EU", refused=("token x: a stablecoin without a licence",)),)
        verdict = a_verdict_of(lane)
        await bus.publish(verdict.model_copy(update={"facts": verdict_facts(rulings=refused)}))
        decision = await eventually(js, DecisionRecorded, "main.1.decision.recorded")
        assert (decision.outcome, decision.book_id) == ("forbidden", "paper-one")
        assert decision.reasons == ("token x: a stablecoin without a licence (EU)",)


@each_executor
@pytest.mark.integration
async def test_an_account_that_was_not_verified_opens_nothing(
    lane: Lane, bus: Bus, js: JetStreamContext, tmp_path: Path
) -> None:
    (tmp_path / "rules.toml").write_text("reviewed = 2026-11-26\nallowed_accounts = []\n")
    await market(bus, js, lane)
    async with running(lane, bus, tmp_path, compliance_file=tmp_path / "rules.toml"):
        await bus.publish(a_verdict_of(lane))
        decision = await eventually(js, DecisionRecorded, "main.1.decision.recorded")
        assert decision.outcome == "account_not_verified"


@each_executor
def test_keystores_need_their_password_file(lane: Lane) -> None:
    with pytest.raises(ValidationError, match="keystore_password_file"):
        EXECUTORS[lane][1](keystore_files=(Path("key.json"),))


@each_executor
def test_every_chain_needs_a_node(lane: Lane) -> None:
    with pytest.raises(ValidationError, match="names no node for chain 8453"):
        EXECUTORS[lane][1](chains=(1, 8453))
