"""Verdicts in, fills out: one suite for both venues, the chain and the simulator, on real parts."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress

import httpx
import pytest
import pytest_asyncio

from dexlane.events.execution import (
    FillConfirmed,
    FillIncluded,
    FillReversed,
    IntentCreated,
    Purpose,
    TxChanged,
)
from dexlane.events.portfolio import ExitTriggered, PositionChanged
from dexlane.events.risk import DecisionRecorded, TokenFlagged
from dexlane.testing.devnet_verdicts import USDC, WETH
from dexlane.testing.stack import Stack, StackError, Witness
from dexlane.values.books import Lane
from verdicts import BOOKS, a_verdict, fills, gained, head

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(300)]


@pytest_asyncio.fixture
async def witness(quiet_stack: Stack) -> AsyncIterator[Witness]:
    async with quiet_stack.bus() as witness:
        yield witness


async def settled_position(witness: Witness, fill: FillIncluded) -> PositionChanged:
    return await witness.until(
        PositionChanged, lambda event: event.account == fill.account and event.token.address == WETH
    )


@pytest.mark.parametrize("lane", [Lane.FAST, Lane.SMART])
async def test_one_verdict_is_filled_in_the_paper_book_and_in_the_live_book(
    quiet_stack: Stack, witness: Witness, lane: Lane
) -> None:
    verdict = await a_verdict(quiet_stack, witness, lane=lane)
    await witness.publish(verdict)
    both = [await witness.until(FillIncluded, fills(verdict, book), timeout_s=40) for book in BOOKS]
    for fill in both:
        assert gained(fill, USDC) == -1_000 * 10**6
        assert gained(fill, WETH) > 0
        assert fill.fee_paid_wei > 0
        assert (await settled_position(witness, fill)).quantity > 0
        await witness.until(FillConfirmed, fills(verdict, fill.book_id))
    paper, live = (gained(fill, WETH) for fill in both)
    assert abs(paper - live) * 10_000 < live * 20, "paper and live differ by more than 20 bps on a quiet chain"


@pytest.mark.parametrize("book", BOOKS)
async def test_both_venues_show_the_same_life_cycle(quiet_stack: Stack, witness: Witness, book: str) -> None:
    verdict = await a_verdict(quiet_stack, witness)
    await witness.publish(verdict)
    fill = await witness.until(FillConfirmed, fills(verdict, book), timeout_s=40)
    await witness.until(TxChanged, lambda event: event.intent_id == fill.intent_id and event.state == "confirmed")
    seen = [event for event in await witness.stored(TxChanged) if event.intent_id == fill.intent_id]
    states = [event.state for event in sorted(seen, key=lambda event: event.sequence)]
    common = [state for state in states if state in {"planned", "submitted", "mined", "confirmed"}]
    assert common == ["planned", "submitted", "mined", "confirmed"]
    assert len({event.sequence for event in seen}) == len(seen)


async def test_a_verdict_delivered_twice_is_traded_once(quiet_stack: Stack, witness: Witness) -> None:
    verdict = await a_verdict(quiet_stack, witness)
    await witness.publish(verdict)
    await witness.js.publish(verdict.subject(), verdict.to_wire(), stream="TRADING")
    for book in BOOKS:
        await witness.until(FillIncluded, fills(verdict, book), timeout_s=40)
    await asyncio.sleep(2)
    intents = [intent for intent in await witness.stored(IntentCreated) if intent.verdict == verdict]
    assert sorted(intent.book_id for intent in intents) == sorted(BOOKS)


async def test_a_verdict_past_its_deadline_is_refused_with_a_recorded_reason(
    quiet_stack: Stack, witness: Witness
) -> None:
    verdict = await a_verdict(quiet_stack, witness, blocks_to_live=0)
    await asyncio.sleep(3)
    await witness.publish(verdict)
    for book in BOOKS:
        refusal = await witness.until(
            DecisionRecorded, lambda event, book=book: event.subject_id == verdict.id and event.book_id == book
        )
        assert refusal.reasons
    assert not [intent for intent in await witness.stored(IntentCreated) if intent.verdict == verdict]


async def test_nonsense_goes_to_the_dead_letters_and_stops_nothing(quiet_stack: Stack, witness: Witness) -> None:
    before = (await witness.js.stream_info("DEAD_LETTERS")).state.messages
    await witness.js.publish("main.1.verdict.approved.fast", b'{"id": "nonsense"}')
    await witness.js.publish("main.1.verdict.approved.fast", b"\xff\xfe")
    verdict = await a_verdict(quiet_stack, witness)
    await witness.publish(verdict)
    await witness.until(FillIncluded, fills(verdict, "live-devnet"), timeout_s=40)
    assert (await witness.js.stream_info("DEAD_LETTERS")).state.messages >= before + 2


async def test_a_reorganisation_reverses_the_live_fill_and_it_is_included_again(
    quiet_stack: Stack, witness: Witness
) -> None:
    verdict = await a_verdict(quiet_stack, witness, blocks_to_live=30)
    await witness.publish(verdict)
    first = await witness.until(FillIncluded, fills(verdict, "live-devnet"), timeout_s=40)
    assert first.block is not None
    tip = int(await quiet_stack.rpc("eth_blockNumber"), 16)
    await quiet_stack.rpc("anvil_reorg", tip - first.block.number + 1, [])
    reversed_fill = await witness.until(FillReversed, fills(verdict, "live-devnet"), timeout_s=40)
    assert reversed_fill.outcome_version > first.outcome_version
    again = await witness.until(
        FillIncluded,
        lambda event: fills(verdict, "live-devnet")(event) and event.outcome_version > reversed_fill.outcome_version,
        timeout_s=60,
    )
    assert gained(again, WETH) > 0
    reconciled = await asyncio.to_thread(quiet_stack.command, "reconcile")
    assert reconciled.returncode == 0, reconciled.stdout + reconciled.stderr


@pytest.mark.parametrize("service", ["fast-executor", "paper-sim", "portfolio"])
async def test_a_killed_service_comes_back_and_nothing_is_lost_or_doubled(
    quiet_stack: Stack, witness: Witness, service: str
) -> None:
    verdict = await a_verdict(quiet_stack, witness, blocks_to_live=60)
    await witness.publish(verdict)
    await asyncio.sleep(0.05)
    os.kill(quiet_stack.pid_of(service), signal.SIGKILL)
    for book in BOOKS:
        await witness.until(FillConfirmed, fills(verdict, book), timeout_s=90)
    intents = [intent for intent in await witness.stored(IntentCreated) if intent.verdict == verdict]
    assert sorted(intent.book_id for intent in intents) == sorted(BOOKS)
    await until_ready(quiet_stack)
    reconciled = await asyncio.to_thread(quiet_stack.command, "reconcile")
    assert reconciled.returncode == 0, reconciled.stdout + reconciled.stderr


async def test_an_older_journal_is_filled_in_and_nothing_is_lost_or_doubled(
    quiet_stack: Stack, witness: Witness
) -> None:
    journal = next(quiet_stack.home.rglob("fast-executor.db"))
    with closing(sqlite3.connect(journal)) as live, closing(sqlite3.connect(journal.with_suffix(".copy"))) as copy:
        live.backup(copy)
    lost = await a_verdict(quiet_stack, witness)
    await witness.publish(lost)
    await witness.until(FillConfirmed, fills(lost, "live-devnet"), timeout_s=60)
    # Frozen first, so that nothing of it is written into the file that takes its journal's place.
    os.kill(quiet_stack.pid_of("fast-executor"), signal.SIGSTOP)
    frozen = quiet_stack.pid_of("fast-executor")
    for file in journal.parent.glob(f"{journal.name}*"):
        file.unlink()
    journal.with_suffix(".copy").rename(journal)
    os.kill(frozen, signal.SIGKILL)
    await traded_again(quiet_stack, witness)
    told = [fill for fill in await witness.stored(FillConfirmed) if fills(lost, "live-devnet")(fill)]
    assert len(told) == 1
    reconciled = await asyncio.to_thread(quiet_stack.command, "reconcile")
    assert reconciled.returncode == 0, reconciled.stdout + reconciled.stderr


async def traded_again(stack: Stack, witness: Witness) -> None:
    """A verdict that comes while the journal is being read is refused, so there are some."""
    for _ in range(10):
        verdict = await a_verdict(stack, witness)
        await witness.publish(verdict)
        with suppress(StackError):
            await witness.until(FillConfirmed, fills(verdict, "live-devnet"), timeout_s=10)
            return
    pytest.fail(f"nothing was traded any more:\n{stack.tails()}")


async def until_ready(stack: Stack, timeout_s: float = 60) -> None:
    for _ in range(int(timeout_s)):
        status = await asyncio.to_thread(stack.command, "status")
        if status.returncode == 0:
            return
        await asyncio.sleep(0.5)
    pytest.fail(f"not ready after {timeout_s} looks:\n{status.stdout}\n{stack.tails()}")


async def test_while_halted_entries_are_refused_and_a_close_still_sells(quiet_stack: Stack, witness: Witness) -> None:
    bought = await a_verdict(quiet_stack, witness)
    await witness.publish(bought)
    fill = await witness.until(FillIncluded, fills(bought, "live-devnet"), timeout_s=40)
    halted = await asyncio.to_thread(quiet_stack.command, "halt", "a test")
    assert halted.returncode == 0, halted.stderr
    try:
        refused = await a_verdict(quiet_stack, witness)
        await witness.publish(refused)
        decision = await witness.until(
            DecisionRecorded, lambda event: event.subject_id == refused.id and event.book_id == "live-devnet"
        )
        assert any("reducing" in reason.lower() for reason in decision.reasons)
        await close_position(quiet_stack, fill)
        sold = await witness.until(
            FillIncluded,
            lambda event: event.account == fill.account and event.purpose == "exit" and gained(event, WETH) < 0,
            timeout_s=60,
        )
        assert gained(sold, USDC) > 0
    finally:
        resumed = await asyncio.to_thread(quiet_stack.command, "resume", "the test is over")
    assert resumed.returncode == 0, resumed.stderr


async def test_a_token_that_is_flagged_while_it_is_held_is_sold_on_paper_and_on_the_chain(
    quiet_stack: Stack, witness: Witness
) -> None:
    bought = await a_verdict(quiet_stack, witness)
    await witness.publish(bought)
    held = [await witness.until(FillIncluded, fills(bought, book), timeout_s=40) for book in BOOKS]
    block = await head(quiet_stack)
    flag = TokenFlagged(
        id=TokenFlagged.make_id(1, WETH, "failed_trial", block.number),
        chain_id=1,
        occurred_at_ms=time.time_ns() // 1_000_000,
        token=WETH,
        flag="failed_trial",
        reason="a test says so",
        block=block,
    )
    await witness.publish(flag)
    for fill in held:
        left = await witness.until(
            ExitTriggered, lambda event, fill=fill: event.account == fill.account and event.reason == "token_flagged"
        )
        assert "a test says so" in left.detail
        intent = IntentCreated.make_id(left.book_id, left.id, Purpose.EXIT)
        sold = await witness.until(FillIncluded, lambda event, intent=intent: event.intent_id == intent, timeout_s=60)
        assert gained(sold, USDC) > 0
        assert -gained(sold, WETH) == left.quantity


async def close_position(stack: Stack, fill: FillIncluded) -> None:
    body = {"book_id": fill.book_id, "account": fill.account, "token": WETH, "reason": "a test"}
    headers = {"Authorization": f"Bearer {stack.token()}"}
    async with httpx.AsyncClient(base_url=stack.gateway, timeout=10, trust_env=False) as client:
        answer = await client.post("/api/v1/positions/close", json=body, headers=headers)
    assert answer.status_code < 300, answer.text
