"""What happens to the processes, by seed: killed, restarted, stopped for a while, cut off from the node."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

from crash_database import DATABASE, CommitFaults
from crash_stack import CrashStack
from dexlane.runtime.clock import SystemClock
from dexlane.testing.strict_node import SendFaults
from dexlane_cli.stack import EXECUTORS

WEIGHTS = {
    "fast-executor": 6,
    "smart-executor": 6,
    "signer-fast": 4,
    "signer-smart": 4,
    "portfolio": 4,
    "paper-sim": 4,
    "gateway": 2,
    "risk-scorer": 2,
    "market-feed": 3,
    "gas-oracle": 1,
    "nats": 3,
    "cache": 1,
    DATABASE: 4,
}
"""What is hit how often. Where money is decided, sent and booked, it is hit most."""
AT_ONCE = (1, 1, 1, 2, 2, 3, 4)
PAUSES_S = (0.1, 15.0)
CUTS_S = (0.0, 6.0)
PATIENT = 0.7
"""The share of faults that wait until executors can trade."""
KINDS = {"kill": 12, "restart": 2, "pause": 3, "cut": 2, "forget": 1, "reorg": 1, "lag": 1, "base fee": 1}
SEND_FAULTS = SendFaults(
    answer_lost=0.04, unanswered=0.02, refused=0.03, throttled=0.03, swallow=0.04, delay=0.04, replay=0.05
)
COMMIT_FAULTS = CommitFaults(before=0.002, during=0.003, after=0.005)
"""Some ten transactions a second are committed: every few seconds somebody does not hear what became of one."""


@dataclass
class Faults:
    """Injects one fault after the other and keeps their time line."""

    stack: CrashStack
    seed: int
    crashes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    """How often each process was killed or restarted, by its name."""
    timeline: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Chance of its own."""
        self._chance = random.Random(f"faults {self.seed}")
        self._began = time.monotonic()
        self._pauses: set[asyncio.Task[None]] = set()

    def note(self, what: str) -> None:
        """One line of the time line."""
        self.timeline.append(f"{time.monotonic() - self._began:8.2f} s  {what}")

    async def storm(self, crashes: int, *, pace_s: float, patience_s: float = 0.0) -> None:
        """Faults until so many processes were killed, ``pace_s`` apart on average. Most of them wait until both
        executors can trade again, at most ``patience_s``: who dies while still starting loses nothing."""
        goal = self.crashes + crashes
        self.stack.executors_node.send_faults = SEND_FAULTS
        if self.stack.database_line is not None:
            self.stack.database_line.faults = COMMIT_FAULTS
        while self.crashes < goal:
            await asyncio.sleep(self._chance.expovariate(1 / pace_s))
            if self._chance.random() < PATIENT:
                await self._until_trading(patience_s)
            kind = self._chance.choices(list(KINDS), list(KINDS.values()))[0]
            await getattr(self, "_" + kind.replace(" ", "_"))()

    async def _until_trading(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and await self.stack.not_ready(EXECUTORS):  # noqa: ASYNC110
            await asyncio.sleep(0.25)

    async def lose_the_broker(self) -> None:
        """Everything the broker stored is gone."""
        self.counts["broker lost"] += 1
        self.hits["nats"] += 1
        self.crashes += 1
        self.note("kill -9 nats, and all it stored is gone")
        await self.stack.wipe_broker()

    async def calm(self) -> None:
        """No further fault, and the end of those under way."""
        for task in list(self._pauses):
            task.cancel()
        await asyncio.gather(*self._pauses, return_exceptions=True)
        self.stack.resume_all()
        node, feed = self.stack.executors_node, self.stack.feed_node
        node.send_faults, node.lag_blocks = SendFaults(), 0
        node.refuses = feed.refuses = False
        if self.stack.database_line is not None:
            self.stack.database_line.faults = CommitFaults()
        self.note("calm")

    def _some(self) -> list[str]:
        count = self._chance.choice(AT_ONCE)
        weights = [WEIGHTS[name] for name in self.stack.targets]
        chosen = {self._chance.choices(self.stack.targets, weights)[0] for _ in range(count)}
        return sorted(chosen)

    async def _kill(self) -> None:
        self._hit("kill -9", self._some(), signal.SIGKILL)

    async def _restart(self) -> None:
        self._hit("SIGTERM", self._some()[:2], signal.SIGTERM)

    def _hit(self, how: str, names: list[str], number: signal.Signals) -> None:
        hit = [name for name in names if self.stack.signal(name, number)]
        for name in hit:
            # One that was stopped when it is asked to end must hear of it.
            self.stack.signal(name, signal.SIGCONT)
        if hit:
            self.crashes += len(hit)
            self.counts[how] += len(hit)
            self.hits.update(hit)
            self.note(f"{how} {', '.join(hit)}")

    async def _pause(self) -> None:
        low, high = PAUSES_S
        for name in self._some():
            seconds = low * (high / low) ** self._chance.random()
            if self.stack.signal(name, signal.SIGSTOP):
                self.counts["pause"] += 1
                self.note(f"SIGSTOP {name} for {seconds:.1f} s")
                self._later(seconds, lambda name=name: self.stack.signal(name, signal.SIGCONT))

    async def _cut(self) -> None:
        seconds = self._chance.uniform(*CUTS_S)
        line = self._chance.choice((self.stack.executors_node, self.stack.feed_node))
        self.counts["cut"] += 1
        whose = "executors" if line is self.stack.executors_node else "feed"
        self.note(f"node of the {whose} gone for {seconds:.1f} s")
        line.refuses = True
        await line.disconnect()
        self._later(seconds, lambda: setattr(line, "refuses", False))

    async def _forget(self) -> None:
        self.counts["forget"] += 1
        self.note("the node forgets what is not in a block")
        await self.stack.executors_node.forget()

    async def _reorg(self) -> None:
        self.counts["reorg"] += 1
        self.note("the newest block is replaced")
        await self.stack.rpc("anvil_reorg", 1, [])
        # anvil goes back to the time of the block below and stays behind; the signers' clock is that of the wall.
        tip = await self.stack.rpc("eth_getBlockByNumber", "latest", False)
        behind_s = SystemClock().now_ms() // 1_000 - int(tip["timestamp"], 16)
        await self.stack.rpc("evm_increaseTime", max(0, behind_s))

    async def _lag(self) -> None:
        node = self.stack.executors_node
        node.lag_blocks, seconds = self._chance.randrange(1, 4), self._chance.uniform(1, 8)
        self.counts["lag"] += 1
        self.note(f"the executors' node lags {node.lag_blocks} blocks for {seconds:.1f} s")
        self._later(seconds, lambda: setattr(node, "lag_blocks", 0))

    async def _base_fee(self) -> None:
        factor = self._chance.choice((2, 5, 10))
        block = await self.stack.rpc("eth_getBlockByNumber", "latest", False)
        fee = min(int(block["baseFeePerGas"], 16) * factor, 60 * 10**9)
        self.counts["base fee"] += 1
        self.note(f"base fee {fee} wei")
        await self.stack.rpc("anvil_setNextBlockBaseFeePerGas", hex(fee))

    def _later(self, seconds: float, act) -> None:  # type: ignore[no-untyped-def]
        async def wait() -> None:
            try:
                await asyncio.sleep(seconds)
            finally:
                act()

        task = asyncio.create_task(wait())
        self._pauses.add(task)
        task.add_done_callback(self._pauses.discard)
