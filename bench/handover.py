"""From a verdict's bytes to signed bytes handed over, inside one executor: journal and signer's record on this
disk, its events published to a broker, a chain in memory. What the other services do meanwhile is not in it; ``path``
has that."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.broker import started_bus
from bench.floor import Spread, arithmetic_floor, fsync_floor, reading_floor, spread
from dexlane.chain.execution.keys import SigningRules
from dexlane.events.portfolio import ExposureChanged
from dexlane.events.risk import VerdictApproved
from dexlane.events.seals import Approver
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.collector import keep_for_good, uncollected
from dexlane.runtime.journal import Journal
from dexlane.runtime.sealing import Approving, Sealer
from dexlane.testing.builders import USDC, all_booked, an_exposure
from dexlane.testing.live_bench import Home, TokenWorld, live_book, running
from dexlane.testing.servers import nats_server
from dexlane.values.books import Book, Lane

SERIES = ((0.0, 300), (0.02, 300), (0.3, 120))
"""Seconds between two verdicts, and how many of them: none, so that each finds the processor and the disk as the one
before left them, and so long that others had both meanwhile."""
BLOCKS_OF_A_TRADE = 4
TRADES_AT_ONCE = 10
BOOKKEEPING_S = 0.3
"""After so many trades nothing happens for so long, for the journal to mark what is published and copy its log back: it
does so when nobody is in a hurry, and trades are rarer than here. A trade that is not counted comes after it."""
ROOMY = {"max_open_positions": 10_000, "max_orders_per_minute": 100_000}


@dataclass(frozen=True)
class Found:
    """After one pause: the time of a trade, and in the same run that of one write on disk, of reading a verdict and of
    arithmetic that is the same each time."""

    pause_s: float
    trade: Spread
    write: Spread
    reading: Spread
    arithmetic: Spread


def run() -> list[Found]:
    """The times after each pause."""
    return [_after(pause_s, rounds) for pause_s, rounds in SERIES]


def _after(pause_s: float, rounds: int) -> Found:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        home = Home(Path(folder), f"sqlite+aiosqlite:///{folder}/journal.db")
        with nats_server(Path(folder) / "broker") as url:
            trade, verdict = uvloop.run(_trade(home, url, pause_s, rounds))
    floors = (fsync_floor(rounds, pause_s), reading_floor(verdict, rounds, pause_s), arithmetic_floor(rounds, pause_s))
    return Found(pause_s, trade, *floors)


async def _trade(home: Home, url: str, pause_s: float, rounds: int) -> tuple[Spread, bytes]:
    """With the wire form of a verdict."""
    sealer = Sealer(b"\7" * 32)
    approving = Approving(Approver.RISK_SCORER, sealer)

    handed_ns: list[int] = []

    def furnish(world: TokenWorld) -> None:
        world.signing = SigningRules(approvers={Approver.RISK_SCORER: sealer.public_key})
        world.balances[USDC.address] = 10**18
        submit = world.chain.submit

        def noted(raw: bytes) -> str:
            handed_ns.append(time.perf_counter_ns())
            return submit(raw)

        world.chain.submit = noted  # type: ignore[method-assign]

    samples: list[float] = []
    async with running(home, _roomy_book(), furnish=furnish) as bench, _published(bench.journal, url):
        keep_for_good()
        for number in range(rounds + rounds // TRADES_AT_ONCE):
            is_first = number % (TRADES_AT_ONCE + 1) == 0
            await asyncio.sleep(BOOKKEEPING_S if is_first else pause_s)
            sealed = approving.verdict(bench.verdict(), bench.mirror.tip_event)
            wire = sealed.to_wire()
            handed_ns.clear()
            began = time.perf_counter_ns()
            with uncollected():
                await bench.executor.on_verdict(VerdictApproved.from_wire(wire))
            if not is_first:
                samples.append((handed_ns[0] - began) / 1e6)
            for _ in range(BLOCKS_OF_A_TRADE):
                await bench.head()
            bench.side.take_exposure(_all_sold(number, bench.chain.tip.number))
    return spread(samples), wire


@asynccontextmanager
async def _published(journal: Journal, url: str) -> AsyncIterator[None]:
    """Publish what the journal commits meanwhile."""
    bus = await started_bus(url)
    await journal.recover()
    publishing = asyncio.create_task(journal.relay(bus))
    try:
        yield
    finally:
        await cancelled([publishing])
        await bus.stop()


def _all_sold(number: int, block: int) -> ExposureChanged:
    """What portfolio says after a trade: nothing is at work, so the next one finds the whole capital."""
    return an_exposure(book_id=live_book().id, exposure_version=number + 2, results=all_booked(block))


def _roomy_book() -> Book:
    limits = live_book().limits[Lane.FAST].model_copy(update=ROOMY)
    return live_book(limits={Lane.FAST: limits})


def show(found: list[Found]) -> None:
    """The figures beside their floors."""
    print("verdict received -> signed bytes handed over, one executor, nothing beside it")
    for one in found:
        print(f"  after a rest of {one.pause_s * 1_000:.0f} ms: {one.trade}")
        one_less, two_less = one.trade.p99 - one.write.p99, one.trade.p99 - 2 * one.write.p50
        print(f"    p99 above one write: {one_less:.2f} ms (promised 5)")
        print(f"    p99 above the two writes that are in it, at their median: {two_less:.2f} ms")
        print(f"    a write on disk: {one.write}")
        print(f"    reading a verdict, once in it: p50 {one.reading.p50 * 1_000:.0f} us")
        print(f"    the same arithmetic each time, not in it: {one.arithmetic}")
