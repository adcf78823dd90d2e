"""Breakers and the emergency stop on the devnet: the real contracts, the real broker, live and paper books."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from dexlane.events.breakers import BreakerChanged, BreakerPhase
from dexlane.events.control import Status, TradingStatus
from dexlane.events.execution import FillIncluded, IntentCreated, IntentFailed, Purpose
from dexlane.events.portfolio import PositionChanged
from dexlane.events.risk import DecisionRecorded
from dexlane.testing.stack import Stack, Witness
from ports import free_shift
from verdicts import BOOKS, a_verdict, fills

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not os.environ.get("DRILL"), reason="takes minutes: `make drill`"),
]
TRANSACTION = "breaker-transaction-fast"
ROUTER = "0x66a9893cc07d91d95644aedd05d03f95e1dba8af"
REVERTS = "0x60006000fd"
"""PUSH1 0, PUSH1 0, REVERT."""
# Limits that a test can reach in a minute.
LIMITS = {
    "transaction": {"failures": 2, "open_ms": 45_000, "jitter_bps": 0, "probes": 1, "successes": 1},
    "dex": {"failures": 100},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home: Path = tmp_path_factory.mktemp("brakes")
    running = Stack(home, free_shift(), {"DEXLANE_BREAKERS": orjson.dumps(LIMITS).decode()})
    running.start("--no-flow")
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


@pytest_asyncio.fixture
async def witness(stack: Stack) -> AsyncIterator[Witness]:
    async with stack.bus() as witness:
        yield witness


async def bought(stack: Stack, witness: Witness, **options: Any) -> None:
    """Both books hold a little more than before."""
    verdict = await a_verdict(stack, witness, **options)
    await witness.publish(verdict)
    for book in BOOKS:
        await witness.until(FillIncluded, fills(verdict, book), timeout_s=60)


async def breaker(witness: Witness, phase: BreakerPhase) -> BreakerChanged:
    return await witness.until(
        BreakerChanged, lambda one: one.source == TRANSACTION and one.phase is phase, timeout_s=60
    )


async def listed(stack: Stack) -> dict[str, Any]:
    done = await asyncio.to_thread(stack.command, "breakers", "--json")
    assert done.returncode == 0, done.stderr
    return {row["source"]: row for row in orjson.loads(done.stdout)}


async def test_every_service_tells_its_breakers_and_all_are_closed_when_all_is_well(
    stack: Stack, witness: Witness
) -> None:
    await bought(stack, witness)
    rows = await listed(stack)
    hosts = {source: row["service"] for source, row in rows.items()}
    assert (
        hosts.items()
        >= {
            TRANSACTION: "fast-executor",
            "breaker-rpc-smart": "smart-executor",
            "breaker-losses": "portfolio",
            "breaker-drawdown": "portfolio",
            "breaker-drawdown-paper": "portfolio",
            "breaker-volatility": "market-feed",
            "breaker-rpc-read": "market-feed",
            "breaker-gas": "gas-oracle",
        }.items()
    )
    assert {row["status"] for row in rows.values()} == {"active"}, rows


async def test_failed_sends_stop_entries_through_a_restart_and_a_probe_closes_the_breaker(
    stack: Stack, witness: Witness
) -> None:
    code = await stack.rpc("eth_getCode", ROUTER, "latest")
    await stack.rpc("anvil_setCode", ROUTER, REVERTS)
    for _ in range(2):
        verdict = await a_verdict(stack, witness, blocks_to_live=20)
        await witness.publish(verdict)
        intent_id = IntentCreated.make_id("live-devnet", verdict.id, Purpose.ENTRY)
        await witness.until(IntentFailed, lambda one, of=intent_id: one.intent_id == of and one.final, timeout_s=90)
    opened = await breaker(witness, BreakerPhase.OPEN)
    assert "failures 2 reaches the limit of 2" in opened.reason
    await stack.rpc("anvil_setCode", ROUTER, code)
    os.kill(stack.pid_of("fast-executor"), signal.SIGKILL)
    refused = await a_verdict(stack, witness, blocks_to_live=20)
    await witness.publish(refused)
    decision = await witness.until(DecisionRecorded, lambda one: one.subject_id == refused.id, timeout_s=60)
    assert decision.outcome == "reducing"
    assert TRANSACTION in decision.reasons[0]
    await breaker(witness, BreakerPhase.HALF_OPEN)
    probe = await a_verdict(stack, witness, blocks_to_live=20)
    await witness.publish(probe)
    await witness.until(FillIncluded, fills(probe, "live-devnet"), timeout_s=60)
    await breaker(witness, BreakerPhase.CLOSED)


async def test_a_breaker_is_reset_by_a_command_with_its_reason(stack: Stack, witness: Witness) -> None:
    done = await asyncio.to_thread(stack.command, "breakers", "reset", TRANSACTION, "--reason", "a drill")
    assert done.returncode == 0, done.stderr
    await witness.until(
        BreakerChanged, lambda one: one.source == TRANSACTION and one.reason == "reset: a drill", timeout_s=30
    )
    await witness.until(DecisionRecorded, lambda one: one.outcome == "breaker_reset", timeout_s=30)


async def test_the_emergency_stop_closes_live_and_paper_positions_also_when_killed_in_the_middle(
    stack: Stack, witness: Witness
) -> None:
    await bought(stack, witness)
    done = await asyncio.to_thread(
        stack.command, "emergency-stop", "--close-positions", "--reason", "a drill", "--no-wait"
    )
    assert done.returncode == 0, done.stderr
    os.kill(stack.pid_of("gateway"), signal.SIGKILL)
    os.kill(stack.pid_of("fast-executor"), signal.SIGKILL)
    halted = await witness.until(
        TradingStatus,
        lambda one: one.source == "operator" and one.status is Status.HALTED,
        timeout_s=240,
    )
    assert halted.reason == "emergency stop: a drill"
    newest: dict[tuple[str, str, str], PositionChanged] = {}
    for position in await witness.stored(PositionChanged):
        key = (position.book_id, position.account, position.token.address)
        if key not in newest or position.position_version > newest[key].position_version:
            newest[key] = position
    assert {position.book_id for position in newest.values()} >= set(BOOKS)
    assert {position.quantity for position in newest.values()} == {0}
    state = await _stop_is_done(stack)
    assert (state["positions_left"], state["left"]) == (0, [])
    exits = [one for one in await witness.stored(IntentCreated) if one.purpose is Purpose.EXIT]
    assert {one.mode for one in exits} == {"live", "paper"}
    refused = await a_verdict(stack, witness, blocks_to_live=20)
    await witness.publish(refused)
    decision = await witness.until(DecisionRecorded, lambda one: one.subject_id == refused.id, timeout_s=60)
    assert decision.outcome == "halted"


async def _stop_is_done(stack: Stack) -> Any:
    import httpx

    async with httpx.AsyncClient(base_url=stack.gateway, timeout=10, trust_env=False) as client:
        for _ in range(240):
            try:
                state = (await client.get("/api/v1/emergency-stop")).json()["data"]
            except (httpx.HTTPError, KeyError):
                state = None
            if state is not None and state["phase"] == "done":
                return state
            await asyncio.sleep(0.5)
    raise AssertionError("the emergency stop does not end")
