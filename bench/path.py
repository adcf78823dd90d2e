"""The whole path on real parts: log received to signed transaction handed to the node, and what the system costs."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.floor import Spread, floor_beside
from bench.processes import Cost, costs
from bench.stages import stages, summary
from dexlane.events.execution import FillIncluded
from dexlane.runtime.books_file import default_books_text
from dexlane.testing.stack import Stack

SPEED = "710"
"""The flow's speed meant to give 50 swaps a second: extrapolated from 39.5 at 560. The bench prints what it was."""

EAGER = {
    # A small breakout every few blocks, so that minutes give enough trades to speak of a distribution, and no trade
    # waits for the one before it (an account has one trade of a token on its way at a time).
    "DEXLANE_MARKET_FEED_STRATEGIES": (
        '{"momentum": {"size": "200000000", "breakout_bps": 1, "lookback_blocks": 2, "cooldown_blocks": 3}}'
    ),
}


ROOMY_LIMITS = {"max_open_positions": 500, "max_orders_per_minute": 600}
"""Limits of the default books that so many trades would run into."""


@dataclass(frozen=True)
class PathResult:
    """What one run showed. ``stages``: milliseconds since the logs were received; ``floor``: of two bare hops and a
    write in the same run, since a block was told."""

    ready_s: float
    again_ready_s: float
    stages: Mapping[str, Spread]
    floor: Spread | None
    live_fills: int
    paper_fills: int
    swaps_per_s: float
    costs: list[Cost]
    cpu_cores: float


def run(seconds: float) -> PathResult:
    """Start the system twice (the second start is the figure), let it trade, and look."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        stack = Stack(Path(folder), 2_000 + os.getpid() % 100 * 100, EAGER)
        (stack.home / "books.toml").write_text(_roomy(default_books_text()))
        try:
            first = _start(stack)
            stack.stop()
            (stack.home / "output").unlink()
            again = _start(stack)
            return asyncio.run(_watch(stack, seconds, (first, again)))
        finally:
            stack.stop()


def _roomy(books: str) -> str:
    for limit, value in ROOMY_LIMITS.items():
        books = re.sub(rf"^{limit} = \d+", f"{limit} = {value}", books, flags=re.MULTILINE)
    return books


def _start(stack: Stack) -> float:
    began = time.monotonic()
    stack.start("--speed", SPEED)
    stack.wait_ready()
    return time.monotonic() - began


async def _watch(stack: Stack, seconds: float, ready: tuple[float, float]) -> PathResult:
    root = stack.process.pid if stack.process is not None else 0
    await asyncio.sleep(10)
    before, since_ns = {item.name: item.cpu_s for item in costs(root)}, time.time_ns()
    swaps_before = await _swaps(stack)
    await asyncio.sleep(seconds)
    after = costs(root)
    swaps = await _swaps(stack) - swaps_before
    async with stack.bus() as witness:
        fills = await witness.stored(FillIncluded)
        found = await stages(witness.js, stack.home / "session" / "logs" / "fast-executor.log", since_ns)
    # Afterwards, so that no trade meets it.
    floor = await floor_beside(stack.nats_url, stack.home, seconds / 2)
    ours = [item for item in after if not item.is_surroundings]
    return PathResult(
        ready_s=ready[0],
        again_ready_s=ready[1],
        stages=summary(found),
        floor=floor,
        live_fills=sum(fill.mode == "live" for fill in fills),
        paper_fills=sum(fill.mode == "paper" for fill in fills),
        swaps_per_s=swaps / seconds,
        costs=after,
        cpu_cores=sum(item.cpu_s - before.get(item.name, 0) for item in ours) / seconds,
    )


async def _swaps(stack: Stack) -> int:
    """Swap events of the watched pools so far, counted by the node's own logs of the recent blocks."""
    tip = int(await stack.rpc("eth_blockNumber"), 16)
    topics = [
        [
            "0xc42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67",
            "0xd78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822",
        ]
    ]
    wanted = {"fromBlock": hex(max(1, tip - 5_000)), "toBlock": hex(tip), "topics": topics}
    return len(await stack.rpc("eth_getLogs", wanted))
