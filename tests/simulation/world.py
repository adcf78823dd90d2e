"""One simulated world: a seed, a shape, services that die and come back, and a witness who checks every step."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dexlane.testing.builders import CHAIN_ID, USDC
from simulation.broker import Broker, Stored
from simulation.chain import SimulatedChain
from simulation.chance import Chance
from simulation.clockwork import StalledError, VirtualClock, VirtualLoop
from simulation.disturbances import Disturbances
from simulation.endings import Ending
from simulation.exits import ExitWatch
from simulation.invariants import Monitor
from simulation.links import Message
from simulation.lives import CURRENT, DiedError, Life, Process, counted_tasks
from simulation.market import BLOCK_S, Market, Operator
from simulation.node import ANSWERS, SimulatedNode, SimulatedProviders
from simulation.processes import ACCOUNTS, Terms, builders, fresh_disks
from simulation.relays import RelayHouses
from simulation.shape import EXECUTORS, SIGNER, STANDBY, Shape
from simulation.signers import SignerProcess
from simulation.sockets import Network
from simulation.thefts import Thefts

WARM_BLOCKS = 12
REST_BLOCKS = 90
"""So long after the last fault, and the depth of finality twice more, everything may take to come to rest."""


@dataclass
class Outcome:
    """What became of a world."""

    seed: int | str
    digest: str
    violations: list[str]
    fired: list[str]
    counts: Counter[str]
    pairs: set[tuple[str, str]]
    trace: list[str] = field(default_factory=list)


class World:
    """Built, run once, thrown away. ``allowed`` restricts the faults that may happen."""

    def __init__(
        self, seed: int | str, shape: Shape, allowed: frozenset[str] | None = None, *, trace: bool = False
    ) -> None:
        self.shape = shape
        self.chance = Chance(seed, allowed)
        self.loop = VirtualLoop()
        self.loop.set_task_factory(counted_tasks)
        self.loop.set_exception_handler(lambda _loop, _context: None)
        self.loop.network = Network(self.loop)
        self.clock = VirtualClock(self.loop)
        self.folder = fresh_disks()
        self.broker = Broker(self.loop)
        self.chain = SimulatedChain(CHAIN_ID)
        self.counts: Counter[str] = Counter()
        self.pairs: set[tuple[str, str]] = set()
        self.processes: dict[str, Process] = {}
        self.monitor = Monitor(self)
        self._clocks: dict[str, VirtualClock] = {}
        self._contexts: dict[str, Context] = {}
        self._hash = hashlib.blake2b(digest_size=16)
        self._trace: list[str] | None = [] if trace else None
        self._waiting: dict[str, list[str]] = {name: [] for name in EXECUTORS}
        """Boundaries at which an executor died and after which it has not sent anything yet."""
        self.relays = RelayHouses(self)
        self.market = Market(self)
        self.operator = Operator(self)
        self.disturbances = Disturbances(self)
        self.thefts = Thefts(self)
        self.exits = ExitWatch(self)
        self.broker.on_stored.append(self._stored)

    def run(self) -> Outcome:
        """Live through it."""
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._live())
        except StalledError as error:
            self.monitor.violated("liveness", str(error))
        finally:
            for process in self.processes.values():
                if process.life is not None:
                    process.life.end()
            self.loop.run_until_complete(self._nobody_left())
            self.monitor.close()
            self.loop.close()
            asyncio.set_event_loop(None)
        return Outcome(
            seed=self.chance.seed,
            digest=self._hash.hexdigest(),
            violations=self.monitor.violations,
            fired=self.chance.fired,
            counts=self.counts,
            pairs=self.pairs,
            trace=self._trace or [],
        )

    async def _live(self) -> None:
        for account in ACCOUNTS.values():
            self.chain.fund(account, 10 * 10**18)
            self.chain.give(USDC.address, account, 100_000 * 10**6)
        self.chain.mine(3)
        self.market.open()
        has_signer = any(name.endswith(SIGNER) for name in self.shape.services)
        terms = Terms(self.shape.confirmations, has_signer, self.shape.relays, self.shape.usual_breakers)
        build = builders(terms)
        keepers = []
        for name in self.shape.services:
            service = name.removesuffix(STANDBY)
            executor = service.removesuffix(SIGNER)
            makes = build[service] if executor == service else partial(SignerProcess, executor)
            self.processes[name] = Process(name, service, makes, self)
            keepers.append(self.loop.create_task(self._keep_alive(self.processes[name])))
        await self._warm_up()
        self.market.rush()
        self.chance.active = True
        await self.script()
        if not self.monitor.violations:
            await self._come_to_rest()
        for keeper in keepers:
            keeper.cancel()

    @staticmethod
    async def _nobody_left() -> None:
        """Let everything that was cancelled come to its end."""
        for _ in range(10):
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=1)

    async def script(self) -> None:
        """What happens between the warm-up and the rest."""
        for _ in range(self.shape.blocks):
            await self.disturbances.block()
            if self.monitor.violations:
                break

    async def _warm_up(self) -> None:
        """Accounts are opened and allowances set before anything goes wrong."""
        for _ in range(WARM_BLOCKS + self.shape.confirmations):
            await asyncio.sleep(BLOCK_S)
            self.market.block()
            if self.monitor.is_ready():
                return
        self.monitor.violated("liveness", "the executors are not ready although nothing went wrong")

    async def _come_to_rest(self) -> None:
        """No more faults: every slot must become final, every message settled, the books equal to the chain."""
        self.chance.active = False
        self.disturbances.end()
        for _ in range(REST_BLOCKS + 2 * self.shape.confirmations):
            await asyncio.sleep(BLOCK_S)
            await self.operator.resume()
            self.market.block()
            await asyncio.sleep(0)
            if self.monitor.violations or self.monitor.is_at_rest() or self.thefts.is_over:
                break
        Ending(self).check()

    async def _keep_alive(self, process: Process) -> None:
        while True:
            process.lives += 1
            life = process.life = Life(process, process.lives)
            context = copy_context()
            context.run(CURRENT.set, life)
            self._contexts[process.name] = context
            self.effect("start", process.name, life.number)

            async def main() -> int:
                service = process.build()
                return await service.run()

            task = self.loop.create_task(main(), context=context)
            life.tasks[task] = None
            await asyncio.wait({task})
            if life.alive:
                self._note_end(life, task)
                life.end()
            await asyncio.sleep(self.chance.of(f"downtime {process.name}").choice((0.2, 0.2, 1.0, 1.0, 3.0, 15.0)))

    def _note_end(self, life: Life, task: asyncio.Task[Any]) -> None:
        failure = getattr(life.service, "_failure", None)
        error = None if task.cancelled() else task.exception()
        reason = str(failure or error or "it ended")
        self.effect("stopped", life.name, reason)
        self.monitor.stopped(life, reason, failure or error)

    async def inside(self, life: Life | None, run: Callable[[], Awaitable[Any]]) -> None:
        """Run something in a process, as a request to it would; what comes of it is nobody's answer."""
        if life is None or not life.alive:
            return

        async def main() -> None:
            await run()

        task = self.loop.create_task(main(), context=self._contexts[life.process.name])
        life.tasks[task] = None
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is not None:
            self.effect("request failed", life.name, type(task.exception()).__name__)

    def kill(self, life: Life, point: str) -> None:
        """A process is gone, at this instruction."""
        if not life.alive:
            return
        if life.held_back is not None:
            self.loop.thaw(life)  # its tasks have to come to their ends
        self.counts["crashes"] += 1
        self.effect("crash", life.process.name, life.number, point)
        if life.name in EXECUTORS:
            if life.last_answer is not None:
                self.pairs.add((point, life.last_answer))
            self._waiting[life.name].append(point)
        life.end()

    def effect(self, *parts: object) -> None:
        """Something happened: part of the digest that a replay must reproduce."""
        line = f"{self.loop.now_s:.6f} " + " ".join(map(str, parts))
        self._hash.update(line.encode())
        self.counts["effects"] += 1
        if self._trace is not None:
            self._trace.append(line)

    # --- what the parts of simulated processes ask -------------------------------------------------------------

    def crossing(self, life: Life, point: str) -> None:
        """A boundary; the process may die here."""
        site = f"{life.name} {point}"
        if self.shape.frozen and life.name in EXECUTORS:
            stops = self.chance.fault(f"freeze {life.process.name} {point}", self.shape.frozen / 10)
            if stops is not None:
                self.disturbances.freeze(life, stops, point)
        if self.chance.fault(f"crash {site}", self.shape.crash / (1 if life.name in EXECUTORS else 3)) is None:
            return
        self.kill(life, point)
        raise DiedError(life.name)

    def commit_fails(self, life: Life, what: str) -> bool:
        """Whether the database is busy at this commit."""
        return self.chance.fault(f"busy {life.name} {what}", self.shape.commit_fails) is not None

    def commit_unheard(self, life: Life, label: str) -> bool:
        """Whether a commit that holds is answered with an error."""
        return self.chance.fault(f"unheard {life.name} {label}", self.shape.commit_unheard) is not None

    def committed(self, life: Life, database: str, label: str) -> None:
        """A transaction holds from now on."""
        self.effect("commit", life.name, database, label)
        self.monitor.committed(life, database, label)

    def loses(self, life: Life, what: str) -> bool:
        """Whether a word to the broker is lost."""
        return self.chance.fault(f"lost {life.name} {what}", self.shape.ack_lost) is not None

    def acknowledged(self, life: Life, message: Message) -> None:
        """A message is about to be settled."""
        self.effect("ack", life.name, message.subject, message.headers.get("Nats-Msg-Id", "")[:16])
        self.monitor.acknowledged(life, message)

    def publishing(self, life: Life, subject: str, headers: dict[str, str]) -> str | None:
        """A fact is about to be published; whether it, or its answer, is lost."""
        self.monitor.publishing(life, subject, headers)
        lost = self.chance.fault(f"publish {life.name}", self.shape.publish_lost)
        return None if lost is None else lost.choice(("before", "after"))

    def link_breaks(self, life: Life) -> str | None:
        """Whether a connection between processes breaks off before or after what is written now."""
        lost = self.chance.fault(f"link {life.name}", self.shape.link_lost)
        return None if lost is None else lost.choice(("before", "after"))

    def latency_s(self, what: str) -> float:
        """How long a call takes."""
        return 0.001 + 0.02 * self.chance.of(f"latency {what}").random()

    def delay_s(self, life: Life, what: str) -> float:
        """How long a message is on its way."""
        site = f"{what} {life.name}"
        late = self.chance.fault(f"late {site}", self.shape.late)
        if late is not None:
            delay_s = late.random() * (20 if what == "bus.follow" else 45)
            self.exits.went_wrong(f"late {site}", delay_s)
            return delay_s
        return 0.001 + 0.01 * self.chance.of(f"delay {site}").random()

    def read_fault(self, life: Life, method: str) -> int:
        """-1: no answer; else how many blocks the provider is behind."""
        if self.chance.fault(f"unread {life.name}", self.shape.read_fails) is not None:
            return -1
        behind = self.chance.fault(f"behind {life.name} {method}", self.shape.read_behind)
        return 0 if behind is None else behind.randint(1, max(1, self.shape.confirmations - 1))

    def sending(self, life: Life, raw: bytes) -> str:
        """Signed bytes leave; how that is answered."""
        tx = self.chain.decode(raw)
        answer = self.answer_to(life, tx.hash)
        self.effect("send", life.name, tx.hash[:10], tx.nonce, answer)
        self.monitor.sending(life, tx)
        if self.shape.relays:
            self.monitor.check_private(life, tx)
        if self.chance.active:
            for point in self._waiting[life.name]:
                self.pairs.add((point, answer))
            self._waiting[life.name].clear()
            life.last_answer = answer
        return answer

    def answer_to(self, life: Life, tx_hash: str) -> str:
        """Which of the outcomes a send has."""
        fault = self.chance.fault(f"send {life.name}", self.shape.send_fault)
        return "accepted" if fault is None else fault.choice(list(ANSWERS))

    def providers(self, life: Life) -> SimulatedProviders:
        """The providers of one process."""
        last = self.shape.providers - 1
        return SimulatedProviders(
            [
                SimulatedNode(self.chain, life.name, lies=last > 1 and place == last)
                for place in range(self.shape.providers)
            ]
        )

    def lied(self, life: Life, about: str) -> bool:
        """Whether a provider that lies does so now."""
        return self.chance.fault(f"lie {life.name} {about}", self.shape.lies) is not None

    def clock_of(self, process: Process) -> VirtualClock:
        """The clock of the machine that a process runs on."""
        return self._clocks.setdefault(process.name, VirtualClock(self.loop))

    def _stored(self, message: Stored) -> None:
        self.effect("stored", message.subject, message.headers.get("Nats-Msg-Id", "")[:16])
        self.monitor.stored(message)


def run_world(seed: int | str, shape: Shape | None = None, **options: Any) -> Outcome:
    """Live through the world of a seed. ``simulated_surroundings`` must hold."""
    return World(seed, shape or Shape.of(int(seed)), **options).run()
