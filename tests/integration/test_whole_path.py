"""What a newcomer sees: the recorded flow moves the pools, chances are found, judged and traded in both books. And then
its record: whole, and every decision follows from what it was computed from."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from typing import Any

import httpx
import pytest

from dexlane.chain.execution.thoughts import MADE_UP
from dexlane.events.execution import FillIncluded, IntentCreated, Purpose
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import DecisionRecorded, VerdictApproved, VerdictRejected
from dexlane.testing.stack import Stack

AMOUNT = r'("sqrt_price_x96":"|"reserve0":"?)(\d+)'
NAME = r"[0-9a-f]{64}"
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
    doctor = flowing_stack.command("doctor")
    assert doctor.returncode == 0, doctor.stdout
    second = flowing_stack.command("up")
    assert second.returncode == 1
    assert "already runs here" in second.stderr


async def test_after_a_run_the_record_is_whole_and_every_decision_is_decided_again(flowing_stack: Stack) -> None:
    async with flowing_stack.bus() as witness:
        for mode in ("paper", "live"):
            await witness.until(FillIncluded, lambda event, mode=mode: event.mode == mode, timeout_s=180)
        for service, outcome in (("risk-scorer", "approved"), ("fast-executor", "traded")):
            await witness.until(
                DecisionRecorded,
                lambda one, who=service, what=outcome: (one.service, one.outcome) == (who, what),
                timeout_s=60,
            )
    verified = await asyncio.to_thread(flowing_stack.command, "thoughts", "verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    said = json.loads(verified.stdout)
    assert said["decisions"] >= 2, "an approval and a trade at least"
    assert said["documents"] > said["decisions"]
    again = await asyncio.to_thread(flowing_stack.command, "thoughts", "re-run", "--all", "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    rows = {row["id"]: row["outcome"] for row in json.loads(again.stdout)}
    shown = await asyncio.to_thread(flowing_stack.command, "thoughts", "show", "--json", "--latest", "1000000")
    decisions = {one.id: one for one in map(DecisionRecorded.from_wire, shown.stdout.splitlines())}
    same = {decisions[key].service for key, outcome in rows.items() if outcome == "same"}
    assert same >= {"risk-scorer", "fast-executor"}
    without = [decisions[key] for key, outcome in rows.items() if outcome != "same"]
    assert [one for one in without if one.service != "gateway" and one.reasons != (MADE_UP,)] == []
    assert {rows[one.id] for one in without} <= {"no_inputs"}
    later = await asyncio.to_thread(flowing_stack.command, "thoughts", "verify", "--head", said["heads"]["1"])
    assert later.returncode == 0, later.stdout + later.stderr


def used_by_decisions(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The documents that the decisions name, and those that these name. A document is kept before its decision is
    entered, so that an export may hold some that no decision in it was computed from."""
    texts = {row["document"]: row["text"] for row in rows if "document" in row}
    used: dict[str, str] = {}
    new = [json.dumps(row) for row in rows if "document" not in row]
    while new:
        named = {name for text in new for name in re.findall(NAME, text) if name in texts and name not in used}
        used |= {name: texts[name] for name in named}
        new = [texts[name] for name in named]
    return used


def test_one_wei_in_a_document_of_the_run_is_named(flowing_stack: Stack) -> None:
    out = flowing_stack.home / "thoughts.jsonl"
    assert flowing_stack.command("thoughts", "export", "--format", "jsonl", "--out", str(out)).returncode == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    used = used_by_decisions(rows)
    document = next(row for row in rows if re.search(AMOUNT, used.get(row.get("document"), "")))
    document["text"] = re.sub(AMOUNT, lambda found: f"{found[1]}{int(found[2]) + 1}", document["text"], count=1)
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    verified = flowing_stack.command("thoughts", "verify", "--file", str(out))
    again = flowing_stack.command("thoughts", "re-run", "--all", "--file", str(out))
    for answer in (verified, again):
        assert answer.returncode == 1
        assert f"document {document['document']} was changed" in " ".join(answer.stdout.split())


def test_the_archive_keeps_each_document_once(flowing_stack: Stack) -> None:
    with sqlite3.connect(flowing_stack.home / "session" / "data" / "gateway.db") as db:
        [(rows, names)] = db.execute("SELECT count(*), count(DISTINCT body) FROM thought_documents").fetchall()
    db.close()
    assert rows == names > 0
