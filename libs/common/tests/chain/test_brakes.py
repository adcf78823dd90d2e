"""Breakers in an executor: failed sends stop entries and no exits, probes try again, a restart forgets nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dexlane.chain.execution.breaker_watch import ExecutionBreakers, used_tolerance_bps
from dexlane.domain.breakers.policy import BreakerPolicy, policies
from dexlane.events.breakers import BreakerChanged, BreakerKind, BreakerPhase, BreakerReset
from dexlane.events.control import Status, TradingStatus
from dexlane.events.execution import FailureReason, FillIncluded, IntentCreated, IntentFailed, Purpose
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.breaker_board import BoardPlace, BreakerBoard, BreakerMoments
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.builders import (
    CHAIN_ID,
    NOW_MS,
    a_block_ref,
    a_book,
    a_breaker,
    a_fill,
    an_exit,
    an_exit_intent,
    an_intent,
    losses_counted,
)
from dexlane.testing.live_bench import ACCOUNT, BOUGHT, Bench, Home, TokenWorld, live_book, reborn, running
from dexlane.values.books import Lane, Mode
from dexlane.values.tokens import TokenDelta

TRANSACTION = "breaker-transaction-fast"
FAST: Mapping[BreakerKind, BreakerPolicy] = policies(
    {
        "transaction": {
            "failures": 2,
            "open_ms": 20_000,
            "jitter_bps": 0,
            "probes": 1,
            "successes": 1,
            "probe_size_bps": 500,
        },
        "dex": {"failures": 50},
        "slippage": {"bad_fills": 50},
    }
)


def _with(limits: Mapping[BreakerKind, BreakerPolicy]) -> Callable[[TokenWorld], None]:
    """Executors of that world host breakers with these limits."""

    def furnish(world: TokenWorld) -> None:
        world.policies = limits

    return furnish


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'journal.db'}")


@pytest.fixture
def any_home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


async def trade(bench: Bench, version: int, *, reverts: bool = False, heads: int = 2) -> str:
    """An entry and the blocks in which it comes through or reverts; its intent's id."""
    verdict = bench.verdict(blocks=10, strategy_version=version)
    await bench.executor.on_verdict(verdict)
    if reverts:
        bench.world.reverts.update(bench.chain.pool)
    for _ in range(heads):
        await bench.head()
    return IntentCreated.make_id("live-one", verdict.id, Purpose.ENTRY)


async def facts(bench: Bench, source: str = TRANSACTION) -> list[BreakerChanged]:
    return [one for one in await bench.events() if isinstance(one, BreakerChanged) and one.source == source]


async def refusals(bench: Bench) -> list[DecisionRecorded]:
    return await bench.refusals()


async def opened(bench: Bench) -> None:
    for version in (11, 12):
        await trade(bench, version, reverts=True)
    assert (await facts(bench))[-1].phase is BreakerPhase.OPEN


async def test_failed_sends_open_the_breaker_entries_stop_with_the_reason_and_exits_go_on(home: Home) -> None:
    async with running(home, furnish=_with(FAST)) as bench:
        await trade(bench, 10)
        await opened(bench)
        words = [one for one in await bench.events() if isinstance(one, TradingStatus) and one.source == TRANSACTION]
        assert [word.status for word in words] == [Status.ACTIVE, Status.REDUCING]
        assert "failures 2 reaches the limit of 2" in words[-1].reason
        bench.world.reverts.clear()
        await trade(bench, 13)
        last = (await refusals(bench))[-1]
        assert last.outcome == "reducing"
        assert f"{TRANSACTION}: failures 2 reaches the limit of 2" in last.reasons[0]
        exit_ = an_exit(book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT)
        before = bench.effects()
        await bench.executor.on_exit(exit_)
        await bench.head()
        assert bench.effects() == before + 1


async def test_half_open_begins_one_small_probe_and_closes_when_it_comes_through(home: Home) -> None:
    async with running(home, furnish=_with(FAST)) as bench:
        whole = await trade(bench, 10)
        await opened(bench)
        bench.world.reverts.clear()
        bench.clock.advance(20_000)
        await bench.head()
        assert (await facts(bench))[-1].phase is BreakerPhase.HALF_OPEN
        first = bench.verdict(blocks=10, strategy_version=14)
        await bench.executor.on_verdict(first)
        second = bench.verdict(blocks=10, strategy_version=15)
        await bench.executor.on_verdict(second)
        assert "its 1 probes are begun" in (await refusals(bench))[-1].reasons[0]
        intents = {one.id: one for one in await bench.events() if isinstance(one, IntentCreated)}
        probe = intents[IntentCreated.make_id("live-one", first.id, Purpose.ENTRY)]
        full = intents[whole].plan
        assert probe.plan is not None
        assert full is not None
        assert probe.plan.amount_in <= live_book().limits[Lane.FAST].max_trade // 20 < full.amount_in
        await bench.head()
        assert (await facts(bench))[-1].phase is BreakerPhase.CLOSED
        assert await trade(bench, 16) in {
            one.intent_id for one in await bench.events() if isinstance(one, FillIncluded)
        }


async def test_an_open_breaker_and_a_probe_that_was_begun_survive_a_restart(any_home: Home) -> None:
    async with running(any_home, furnish=_with(FAST)) as bench:
        await opened(bench)
        again = await reborn(bench)
        assert again.side.status(CHAIN_ID) is Status.REDUCING
        again.world.reverts.clear()
        again.clock.advance(20_000)
        await again.head()
        probe = again.verdict(blocks=10, strategy_version=20)
        await again.executor.on_verdict(probe)
        third = await reborn(again)
        await third.head(only=())
        await third.executor.on_verdict(third.verdict(blocks=10, strategy_version=21))
        assert "its 1 probes are begun" in (await refusals(third))[-1].reasons[0]
        await third.die()


async def test_a_reset_reaches_the_executor_also_when_it_was_said_while_nobody_acted(home: Home) -> None:
    async with running(home, furnish=_with(FAST)) as bench:
        await opened(bench)
        again = await reborn(bench)
        word = BreakerReset(
            id=BreakerReset.make_id(CHAIN_ID, TRANSACTION, 1),
            chain_id=CHAIN_ID,
            occurred_at_ms=NOW_MS,
            source=TRANSACTION,
            reset_version=1,
            reason="the router was repaired",
        )
        again.side.breakers.take_reset(word)
        await again.head()
        last = (await facts(again))[-1]
        assert (last.phase, last.reset_version) == (BreakerPhase.CLOSED, 1)
        assert last.reason == "reset: the router was repaired"
        await again.die()


async def test_an_entry_that_was_planned_before_trading_stopped_is_not_signed(home: Home) -> None:
    async with running(home, furnish=_with(FAST)) as bench:
        parts = bench.executor._parts
        verdict = bench.verdict(blocks=20)
        plan_and_stop = bench.executor._commit

        async def commit(*given: Any) -> Any:
            written = await plan_and_stop(*given)
            bench.side.take_breaker(a_breaker(BreakerPhase.OPEN, source="breaker-gas", service="gas-oracle"))
            return written

        bench.executor._commit = commit  # type: ignore[method-assign]
        await bench.executor.on_verdict(verdict)
        for _ in range(4):
            await bench.head()
        intent_id = IntentCreated.make_id("live-one", verdict.id, Purpose.ENTRY)
        failure = (await bench.of_intent(intent_id, IntentFailed))[-1]
        assert failure.reason is FailureReason.HALTED
        assert bench.effects() == 0
        assert parts.side.status(CHAIN_ID) is Status.REDUCING


async def test_breakers_of_paper_and_of_other_pools_leave_a_live_trade_alone(home: Home) -> None:
    async with running(home, furnish=_with(FAST)) as bench:
        bench.side.take_breaker(a_breaker(BreakerPhase.OPEN, source="breaker-losses-paper", mode=Mode.PAPER))
        bench.side.take_breaker(a_breaker(BreakerPhase.OPEN, source="breaker-dex-smart-curve", venue="curve"))
        await trade(bench, 1)
        assert bench.effects() == 1
        assert bench.side.status(CHAIN_ID) is Status.ACTIVE


async def test_a_breaker_of_the_pools_of_a_trade_holds_it(home: Home) -> None:
    async with running(home, furnish=_with(FAST)) as bench:
        for venue in ("uniswap_v2", "uniswap_v3"):
            source = f"breaker-dex-smart-{venue.replace('_', '-')}"
            bench.side.take_breaker(a_breaker(BreakerPhase.OPEN, source=source, venue=venue))
        await trade(bench, 1)
        assert bench.effects() == 0
        assert "breaker-dex-smart" in (await refusals(bench))[-1].reasons[0]


async def test_reverts_in_the_pools_of_a_protocol_open_a_breaker_of_that_protocol(home: Home) -> None:
    strict = {**FAST, **policies({"transaction": {"failures": 50}, "dex": {"failures": 2}})}
    async with running(home, furnish=_with(strict)) as bench:
        for version in (1, 2):
            await trade(bench, version, reverts=True)
        found = [
            one
            for one in await bench.events()
            if isinstance(one, BreakerChanged) and one.kind is BreakerKind.DEX and one.phase is BreakerPhase.OPEN
        ]
        assert len({one.venue for one in found}) >= 1
        assert all(one.source == f"breaker-dex-fast-{(one.venue or '').replace('_', '-')}" for one in found)


async def test_entries_stop_while_a_breaker_that_must_be_renewed_is_not_heard_of(home: Home) -> None:
    async with running(home, furnish=_with(FAST)) as bench:
        now_ms = bench.clock.now_ms()
        heard = losses_counted(renewed_within_ms=120_000, occurred_at_ms=now_ms, breaker_version=2)
        bench.side.take_breaker(heard)
        await trade(bench, 1)
        assert bench.effects() == 1
        bench.clock.advance(121_000)
        await bench.head()
        await trade(bench, 2)
        assert bench.effects() == 1
        assert "breaker-losses of portfolio was last heard of" in (await refusals(bench))[-1].reasons[0]


async def test_nothing_live_is_begun_while_nobody_was_heard_of_who_counts_losses(home: Home) -> None:
    async with running(home, live_book(), a_book(id="paper-one"), furnish=_with(FAST)) as before:
        await trade(before, 1)
        before.world.losses_counted = False
        bench = await reborn(before)
        for fact in (
            losses_counted(source="breaker-losses-paper", mode=Mode.PAPER),
            losses_counted(renewed_within_ms=0),
        ):
            bench.side.take_breaker(fact)
        await bench.head()
        await trade(bench, 2)
        refused = (await refusals(bench))[-1]
        assert (refused.book_id, refused.outcome) == ("live-one", "reducing")
        assert "no breaker that counts losses was ever heard of" in refused.reasons[0]
        begun = [one.book_id for one in await bench.events() if isinstance(one, IntentCreated) and one.plan is not None]
        assert sorted(begun) == ["live-one", "paper-one", "paper-one"]
        await bench.executor.on_exit(an_exit(book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT))
        await bench.head()
        assert bench.effects() == 2, "what lowers risk goes on"
        bench.side.take_breaker(losses_counted(breaker_version=2))
        await trade(bench, 3)
        assert bench.effects() == 3
        await bench.die()


async def test_two_books_cannot_share_the_last_probe(home: Home) -> None:
    books = [live_book(), live_book(id="live-two")]
    async with running(home, *books, furnish=_with(FAST)) as bench:
        brakes = bench.executor._brakes
        bench.side.take_breaker(a_breaker(BreakerPhase.HALF_OPEN, source="breaker-gas", probes=1, round=3))
        verdict = bench.verdict(blocks=10)
        await bench.executor.on_verdict(verdict)
        assert brakes.probes.begun == {("breaker-gas", 3): 1}
        [refused] = await refusals(bench)
        assert (refused.book_id, refused.outcome) == ("live-two", "reducing")
        assert "its 1 probes are begun" in refused.reasons[0]
        await bench.executor.on_verdict(verdict)
        assert brakes.probes.begun == {("breaker-gas", 3): 1}, "a repeated verdict takes none"


async def test_an_entry_in_pools_whose_breaker_is_half_open_is_a_small_probe(home: Home) -> None:
    async with running(home, furnish=_with(FAST)) as bench:
        for venue, bps in (("uniswap_v2", 800), ("uniswap_v3", 300)):
            source = f"breaker-dex-smart-{venue.replace('_', '-')}"
            half = a_breaker(BreakerPhase.HALF_OPEN, source=source, venue=venue, probe_size_bps=bps, round=2)
            bench.side.take_breaker(half)
        await trade(bench, 1)
        [intent] = [one for one in await bench.events() if isinstance(one, IntentCreated) and one.plan is not None]
        assert intent.plan is not None
        traded = {leg.protocol.value for path in intent.plan.paths for leg in path.route.legs}
        bps = 300 if "uniswap_v3" in traded else 800
        assert intent.plan.amount_in == live_book().limits[Lane.FAST].max_trade * bps // 10_000
        sources = {f"breaker-dex-smart-{venue.replace('_', '-')}" for venue in traded}
        assert bench.executor._brakes.probes.begun == {(source, 2): 1 for source in sources}


def exit_or_entry(purpose: Purpose, lane: Lane, blocks_later: int) -> IntentCreated:
    """A live intent that was planned so many blocks after its cause."""
    planned_at = a_block_ref(100 + blocks_later)
    if purpose is Purpose.EXIT:
        return an_exit_intent(an_exit(mode="live", lane=lane), block=planned_at)
    return an_intent(mode=Mode.LIVE, lane=lane, purpose=purpose, block=planned_at)


@pytest.mark.parametrize(
    ("purpose", "lane", "blocks_later", "phase"),
    [
        (Purpose.EXIT, Lane.FAST, 0, BreakerPhase.CLOSED),
        (Purpose.EXIT, Lane.SMART, 3, BreakerPhase.CLOSED),
        (Purpose.ENTRY, Lane.SMART, 3, BreakerPhase.CLOSED),
        (Purpose.ENTRY, Lane.SMART, 0, BreakerPhase.OPEN),
        (Purpose.ENTRY, Lane.FAST, 3, BreakerPhase.OPEN),
        (Purpose.GAP, Lane.FAST, 0, BreakerPhase.OPEN),
    ],
)
def test_what_waits_on_purpose_is_not_slow(
    log: Log, purpose: Purpose, lane: Lane, blocks_later: int, phase: BreakerPhase
) -> None:
    place = BoardPlace(
        service="an-executor",
        chain_id=CHAIN_ID,
        policies=policies({"latency": {"p95_ms": 500, "min_samples": 2}}),
        clock=ManualClock(NOW_MS),
        moments=BreakerMoments(Metrics("brakes"), log),
    )
    breakers = ExecutionBreakers(BreakerBoard(place), lane)
    for _ in range(2):
        breakers.sent(exit_or_entry(purpose, lane, blocks_later), 30.0)
    said = [event for told in breakers.board.changes() for event in told.events if isinstance(event, BreakerChanged)]
    assert [one.phase for one in said if one.kind is BreakerKind.LATENCY] == [phase]


@pytest.mark.parametrize(("bought", "bps"), [(1_000, 0), (990, 5_000), (980, 10_000), (1_010, -5_000), (970, 15_000)])
def test_slippage_is_what_a_fill_used_of_the_tolerance_it_was_given(bought: int, bps: int) -> None:
    intent = an_intent()
    assert intent.plan is not None
    plan = intent.plan.model_copy(update={"quoted_out": 1_000, "minimum_out": 980, "split": ()})
    token = plan.route.token_out
    fill = a_fill(deltas=(TokenDelta(token=token, amount=bought),))
    assert used_tolerance_bps(intent.model_copy(update={"plan": plan}), fill) == bps
    assert used_tolerance_bps(intent.model_copy(update={"plan": plan}), a_fill(deltas=())) is None
