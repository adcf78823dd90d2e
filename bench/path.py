"""The whole path on real parts: log received to signed transaction handed to the node, and what the system costs."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.floor import Spread, spread
from bench.processes import Cost, costs
from dexlane.events.execution import FillIncluded, TxChanged, TxState
from dexlane.testing.stack import Stack

SPEED = "560"
"""The flow's speed at which recorded and synthetic trades add up to about 50 swaps a second."""

EAGER = {
    # Chances in nearly every block, so that a minute gives enough trades to speak of a 99th percentile.
    "DEXLANE_MARKET_FEED_STRATEGIES": (
        '{"price_gap": {"min_profit": "1", "min_edge_bps": 0, "max_size": "2500000000"},'
        ' "momentum": {"size": "20000000", "min_rise_bps": 1, "lookback_blocks": 2, "cooldown_blocks": 1}}'
    ),
}


@dataclass(frozen=True)
class PathResult:
    """What one run showed."""

    ready_s: float
    again_ready_s: float
    handed_over: Spread | None
    live_fills: int
    paper_fills: int
    swaps_per_s: float
    costs: list[Cost]
    cpu_cores: float


def run(seconds: float) -> PathResult:
    """Start the system twice (the second start is the figure), let it trade, and look."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        stack = Stack(Path(folder), 2_000 + os.getpid() % 100 * 100, EAGER)
        first = _start(stack)
        stack.stop()
        (stack.home / "output").unlink()
        again = _start(stack)
        try:
            return asyncio.run(_watch(stack, seconds, (first, again)))
        finally:
            stack.stop()


def _start(stack: Stack) -> float:
    began = time.monotonic()
    stack.start("--speed", SPEED)
    stack.wait_ready()
    return time.monotonic() - began


async def _watch(stack: Stack, seconds: float, ready: tuple[float, float]) -> PathResult:
    root = stack.process.pid if stack.process is not None else 0
    await asyncio.sleep(10)
    before = {item.name: item.cpu_s for item in costs(root)}
    swaps_before = await _swaps(stack)
    await asyncio.sleep(seconds)
    after = costs(root)
    swaps = await _swaps(stack) - swaps_before
    async with stack.bus() as witness:
        changes = await witness.stored(TxChanged)
        fills = await witness.stored(FillIncluded)
    samples = [
        change.elapsed_ms
        for change in changes
        if change.state is TxState.SUBMITTED and change.mode == "live" and change.lane == "fast" and change.elapsed_ms
    ]
    ours = [item for item in after if not item.name.startswith("anvil") and item.name != "dexlane_devnet"]
    return PathResult(
        ready_s=ready[0],
        again_ready_s=ready[1],
        handed_over=spread(samples) if samples else None,
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
