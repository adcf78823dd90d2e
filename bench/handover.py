"""From a verdict's bytes to signed bytes handed over, inside one executor: journal and signer's record on this
disk, a chain in memory. What the other services do meanwhile is not in it; ``path`` has that."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from pathlib import Path

import uvloop

from bench.floor import Spread, fsync_floor, spread
from dexlane.chain.execution.keys import SigningRules
from dexlane.events.risk import VerdictApproved
from dexlane.events.seals import Approver
from dexlane.runtime.sealing import Approving, Sealer
from dexlane.testing.builders import USDC
from dexlane.testing.live_bench import Home, TokenWorld, live_book, running
from dexlane.values.books import Book, Lane

ROUNDS = 300
PAUSE_S = 0.02
"""Between two verdicts, so that none finds everything as the one before left it."""
BLOCKS_OF_A_TRADE = 4
ROOMY = {"max_open_positions": 10_000, "max_orders_per_minute": 100_000}


def run() -> tuple[Spread, Spread]:
    """The time of a trade, and of one write on disk in the same run, after the same pause."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        home = Home(Path(folder), f"sqlite+aiosqlite:///{folder}/journal.db")
        return uvloop.run(_trade(home)), fsync_floor(ROUNDS, PAUSE_S)


async def _trade(home: Home) -> Spread:
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
    async with running(home, _roomy_book(), furnish=furnish) as bench:
        gc.collect()
        gc.freeze()
        for _ in range(ROUNDS):
            sealed = approving.verdict(bench.verdict(), bench.mirror.tip_event)
            wire = sealed.to_wire()
            handed_ns.clear()
            began = time.perf_counter_ns()
            await bench.executor.on_verdict(VerdictApproved.from_wire(wire))
            samples.append((handed_ns[0] - began) / 1e6)
            for _ in range(BLOCKS_OF_A_TRADE):
                await bench.head()
            await asyncio.sleep(PAUSE_S)
    return spread(samples)


def _roomy_book() -> Book:
    limits = live_book().limits[Lane.FAST].model_copy(update=ROOMY)
    return live_book(limits={Lane.FAST: limits})


def show(result: tuple[Spread, Spread]) -> None:
    """The figure beside its floor."""
    found, floor = result
    print(f"verdict received -> signed bytes handed over, one executor, nothing beside it: {found}")
    print(f"  a write on a disk that rested as long, three of which are in it: {floor}")
    print(f"  p99 above one write: {found.p99 - floor.p99:.2f} ms (promised 5)")
