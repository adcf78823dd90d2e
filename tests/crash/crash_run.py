"""Batches of crashes with a check after each: `make crash ARGS="--crashes 500 --seed 7 --minutes 45"`."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from crash_checks import failures, fatal_ends, seen_in_logs, violations
from crash_evidence import Journals, OurChain, Streams, overdue, settled
from crash_faults import Faults
from crash_flow import Flow, flowing
from crash_signers import SignerRecords
from crash_stack import CrashStack, running

SETTLE_S = 150.0
GRACE_BLOCKS = 60


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is to happen. ``pace_s`` is the mean time between two faults."""

    crashes: int
    seed: int
    minutes: float
    home: Path
    shift: int
    batch: int = 20
    pace_s: float = 3.0
    patience_s: float = 0.0
    """How long most faults wait for executors that can trade."""
    on_postgres: bool = False
    lose_broker_every: int = 4
    """After so many batches the broker loses everything it stored; 0 for never."""


@dataclass
class Result:
    """What happened."""

    crashes: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    live_intents: int = 0
    paper_intents: int = 0
    transactions: int = 0
    signed: int = 0
    checks: int = 0
    violations: list[str] = field(default_factory=list)
    timeline: list[str] = field(default_factory=list)
    ended_by_themselves: list[str] = field(default_factory=list)
    node_faults: dict[str, int] = field(default_factory=dict)
    hits: Counter[str] = field(default_factory=Counter)
    database: list[str] = field(default_factory=list)
    log_lines: dict[str, int] = field(default_factory=dict)

    def line(self, seed: int) -> str:
        """One line for a person."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.counts.items()))
        return (
            f"crash: {self.crashes} crashes in {self.seconds / 60:.1f} min ({kinds}), {self.live_intents} live and "
            f"{self.paper_intents} paper intents, {self.signed} transactions signed, {self.transactions} on the chain, "
            f"{self.checks} checks, {len(self.violations)} violations, seed {seed}"
        )


Progress = Callable[[str, int], None]
"""Told what is being done, and how many crashes there were."""


async def run(plan: Plan, progress: Progress) -> Result:
    """Crash until the plan is done, its time is over, or a promise is broken."""
    result, began = Result(), time.monotonic()
    async with running(plan.home, shift=plan.shift, seed=plan.seed, on_postgres=plan.on_postgres) as stack:
        chain, streams = OurChain(stack), Streams(stack)
        # The accounts exist before the executors send anything: their nonces begin at what the devnet made of them.
        await chain.begin_at_openings()
        flow, faults = Flow(stack, plan.seed), Faults(stack, plan.seed)
        async with flowing(flow) as task:
            while result.crashes < plan.crashes and (time.monotonic() - began) / 60 < plan.minutes:
                progress("crashing", faults.crashes)
                flow.flowing.set()
                if plan.lose_broker_every and result.checks % plan.lose_broker_every == plan.lose_broker_every - 1:
                    await faults.lose_the_broker()
                    streams.start_over()
                await _storm(plan, faults, task)
                flow.flowing.clear()
                await faults.calm()
                progress("settling", faults.crashes)
                result.violations = await _checked(stack, chain, streams, faults)
                result.checks += 1
                await asyncio.to_thread(_count, result, stack, chain, faults)
                if result.violations:
                    break
    result.seconds = time.monotonic() - began
    return result


async def _storm(plan: Plan, faults: Faults, flow: asyncio.Task[None]) -> None:
    crashes = max(1, min(plan.batch, plan.crashes - faults.crashes))
    storm = asyncio.create_task(faults.storm(crashes, pace_s=plan.pace_s, patience_s=plan.patience_s))
    await asyncio.wait({storm, flow}, return_when=asyncio.FIRST_COMPLETED)
    if flow.done():
        flow.result()
    await storm


async def _checked(stack: CrashStack, chain: OurChain, streams: Streams, faults: Faults) -> list[str]:
    left = await settled(stack, SETTLE_S)
    faults.note("settled" if not left else f"not settled: {left}")
    if stack.failed:
        return [f"a process is given up: {stack.failed}"]
    ended = await asyncio.to_thread(fatal_ends, stack)
    if left:
        head = int(await stack.rpc("eth_blockNumber"), 16)
        return [f"not settled after {SETTLE_S:.0f} s: {left}", *ended, *await asyncio.to_thread(_overdue, stack, head)]
    found = ended + await violations(stack, chain, streams)
    faults.note(f"checked, {len(found)} violations")
    return found


def _overdue(stack: CrashStack, head: int) -> list[str]:
    return list(overdue(stack.data, head, GRACE_BLOCKS))


def _count(result: Result, stack: CrashStack, chain: OurChain, faults: Faults) -> None:
    journals = Journals(stack.data)
    result.crashes, result.counts, result.timeline = faults.crashes, faults.counts, faults.timeline
    result.live_intents, result.paper_intents = journals.count("live"), journals.count("paper")
    result.transactions = len(chain.mined)
    result.ended_by_themselves = list(failures(stack))
    result.node_faults = stack.executors_node.count
    result.hits, result.signed = faults.hits, len(SignerRecords.of(stack.options).signed)
    result.log_lines = seen_in_logs(stack)
    if stack.database_line is not None:
        result.database = list(stack.database_line.counted())
