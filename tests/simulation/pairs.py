"""Every boundary of a side effect, times every outcome of a send: one trade dies at each, under each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from dexlane.values.books import Lane
from simulation.lives import DiedError, Life
from simulation.market import BLOCK_S
from simulation.node import ANSWERS
from simulation.shape import Shape
from simulation.world import Outcome, World

EXECUTOR = "fast-executor"
POINTS = (
    "bus.deliver:after",
    "node.read:before",
    "journal.intent:before",
    "journal.intent:after",
    "guard.signature:before",
    "guard.signature:after",
    "journal.attempt:before",
    "journal.attempt:after",
    "node.send:before",
    "node.send:after",
    "journal.progress:before",
    "journal.progress:after",
    "bus.publish:before",
    "bus.publish:after",
    "bus.ack:before",
    "bus.ack:after",
    "journal.mark:before",
    "journal.mark:after",
)
"""Where an executor can die with something done and something left to do."""
Pair = tuple[str, str]
ALL_PAIRS = frozenset((point, answer) for point in POINTS for answer in ANSWERS)
CALM = Shape(
    confirmations=2,
    services=(EXECUTOR, "portfolio"),
    capital=20_000 * 10**6,
    max_open_positions=100,
    price_moves_bps=0,
    crash=0,
    commit_fails=0,
    commit_unheard=0,
    reverts=0,
    late=0,
    spike=0,
    left_out=0,
    max_orders_per_minute=30,
)
"""Nothing happens but what is enumerated: the rates of the draws that a script of its own does not make are left."""
PHASE_BLOCKS = 16


class PairWorld(World):
    """One trade after the other: the first send of each is answered as given, and its executor dies at the next
    point."""

    def __init__(self, answer: str) -> None:
        super().__init__(f"pairs {answer}", CALM)
        self._answer = answer
        self._armed: str | None = None
        self._seen: set[str] = set()
        self._answered = False

    async def script(self) -> None:
        """A trade for each point."""
        for point in POINTS:
            self._armed, self._answered = point, False
            self.market.verdict(Lane.FAST, self.chance.of("verdict"), blocks=12)
            for _ in range(PHASE_BLOCKS):
                await asyncio.sleep(BLOCK_S)
                self.market.block()
                await asyncio.sleep(BLOCK_S / 2)
                if self.monitor.violations:
                    return
                if self._armed is None and self._answered and self.monitor.is_at_rest():
                    self.pairs.add((point, self._answer))
                    break

    def crossing(self, life: Life, point: str) -> None:
        """The executor dies the first time that it is at the point."""
        if self.chance.active and life.name == EXECUTOR and point == self._armed:
            self._armed = None
            self.kill(life, point)
            raise DiedError(life.name)

    def read_fault(self, life: Life, method: str) -> int:
        """The node answers every question."""
        return 0

    def publishing(self, life: Life, subject: str, headers: dict[str, str]) -> str | None:
        """The bus takes everything."""
        self.monitor.publishing(life, subject, headers)
        return None

    def answer_to(self, life: Life, tx_hash: str) -> str:
        """The outcome for the first send of an intent; what is sent again is accepted."""
        intent = self.monitor.intent_of(tx_hash) or tx_hash
        if not self.chance.active or intent in self._seen:
            return "accepted"
        self._seen.add(intent)
        self._answered = True
        return self._answer


def enumerate_pairs(answers: Iterable[str] = tuple(ANSWERS)) -> list[Outcome]:
    """A world for each outcome. ``simulated_surroundings`` must hold."""
    return [PairWorld(answer).run() for answer in answers]


def table(pairs: Iterable[Pair]) -> str:
    """Boundaries by outcomes: a cross for what was hit."""
    hit = set(pairs)
    width = max(map(len, POINTS))
    lines = [f"{number:>2} {answer}" for number, answer in enumerate(ANSWERS, 1)]
    lines.append(" " * width + "".join(f"{number:>3}" for number in range(1, len(ANSWERS) + 1)))
    lines += [
        f"{point:<{width}}" + "".join("  x" if (point, answer) in hit else "  ." for answer in ANSWERS)
        for point in POINTS
    ]
    lines.append(f"{len(hit & ALL_PAIRS)} of {len(ALL_PAIRS)} pairs of boundary and outcome")
    return "\n".join(lines)
