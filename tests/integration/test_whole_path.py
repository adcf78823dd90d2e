"""What a newcomer sees: the recorded flow moves the pools, chances are found, judged and traded in both books."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from dexlane.events.execution import FillIncluded, IntentCreated, Purpose
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import DecisionRecorded, VerdictApproved, VerdictRejected
from dexlane.testing.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(400)]


async def test_a_stranger_sees_both_books_trade_the_same_verdicts_with_exact_books(flowing_stack: Stack) -> None:
    async with flowing_stack.bus() as witness:
        for mode in ("paper", "live"):
            await witness.until(
                FillIncluded, lambda event, mode=mode: event.mode == mode and event.deltas != (), timeout_s=180
            )
        # Causes are read after their effects, because the flow goes on meanwhile.
        entries = [i for i in await witness.stored(IntentCreated) if i.purpose in {Purpose.ENTRY, Purpose.GAP}]
        judged = [*await witness.stored(VerdictApproved), *await witness.stored(VerdictRejected)]
        opportunities = {event.id for event in await witness.stored(OpportunityFound)}
        assert judged
        assert {verdict.opportunity.id for verdict in judged} <= opportunities
        approved = {verdict.id for verdict in judged if isinstance(verdict, VerdictApproved)}
        assert {intent.verdict.id for intent in entries if intent.verdict} <= approved
    reconciled = await asyncio.to_thread(flowing_stack.command, "reconcile")
    assert reconciled.returncode == 0, reconciled.stdout + reconciled.stderr + flowing_stack.tails()
    assert "difference 0" in reconciled.stdout


async def test_every_refusal_of_a_verdict_carries_its_reasons(flowing_stack: Stack) -> None:
    async with flowing_stack.bus() as witness:
        for decision in await witness.stored(DecisionRecorded):
            assert all(reason.strip() for reason in decision.reasons)


async def test_the_status_page_and_the_interface_show_what_happens(flowing_stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=flowing_stack.gateway, timeout=10, trust_env=False) as client:
        page = await client.get("/")
        books = (await client.get("/api/v1/books")).json()
        fills = (await client.get("/api/v1/fills")).json()
        refused = await client.post("/api/v1/halt", json={"scope": "halted", "reason": "no token"})
    assert page.status_code == 200
    assert "prove nothing" in page.text
    assert len(books["data"]) >= 2
    assert fills["data"]
    assert refused.status_code == 401


def test_the_other_commands_answer(flowing_stack: Stack) -> None:
    assert flowing_stack.command("status").returncode == 0
    assert flowing_stack.command("doctor").returncode == 0, flowing_stack.command("doctor").stdout
    second = flowing_stack.command("up")
    assert second.returncode == 1
    assert "already runs here" in second.stderr
