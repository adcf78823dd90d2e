"""The real services in simulated surroundings: ``dexlane.runtime.service`` without sockets, signals and threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from dexlane.events.streams import stream_of
from dexlane.runtime.consuming import FollowRoute, decision_subjects
from dexlane.runtime.errors import Fatal
from dexlane.runtime.observability import LATENCY_BUCKETS_S, Log, Metrics
from dexlane.runtime.service import Run, Service
from dexlane.runtime.settings import ServiceSettings
from simulation.links import SimulatedBus, SimulatedFollower, pull
from simulation.lives import CURRENT

QUIET = Log(logging.getLogger("dexlane.simulation"))
logging.getLogger("dexlane.simulation").setLevel(logging.CRITICAL + 1)


class SharedMetrics(Metrics):
    """Collectors that are made once for all lives of a service: making them takes longer than starting it."""

    _known: dict[str, SharedMetrics] = {}  # noqa: RUF012  one for each name, for ever

    def __new__(cls, service: str) -> SharedMetrics:
        """The collectors of that name."""
        return cls._known.setdefault(service, super().__new__(cls))

    def __init__(self, service: str) -> None:
        if not hasattr(self, "_made"):
            super().__init__(service)
            self._made: dict[str, Any] = {}

    def _once(self, name: str, make: Any) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Any:
        """A count that only grows."""
        return self._once(name, lambda: super(SharedMetrics, self).counter(name, meaning, labels))

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Any:
        """A value that goes up and down."""
        return self._once(name, lambda: super(SharedMetrics, self).gauge(name, meaning, labels))

    def histogram(
        self, name: str, meaning: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS_S
    ) -> Any:
        """A distribution."""
        return self._once(name, lambda: super(SharedMetrics, self).histogram(name, meaning, labels, buckets))


def bus_of_world(_url: str, _realm: str, name: str, log: Log, **_: object) -> SimulatedBus:
    """The connection of the running process to its world's broker."""
    life = CURRENT.get()
    assert life is not None
    world: Any = life.process.witness
    return SimulatedBus(world.broker, name, log)


class SimulatedService(Service):
    """A service whose bus, clock and readers belong to a simulated world."""

    def __init__(self, name: str, settings: ServiceSettings, *, clock: Any = None, handles_money: bool = False) -> None:
        life = CURRENT.get()
        assert life is not None, "services are built inside a simulated process"
        world: Any = life.process.witness
        super().__init__(name, settings, clock=clock or world.clock_of(life.process), handles_money=handles_money)
        life.service = self

    async def run(self) -> int:
        """Start in the real order, live until a fatal error, and end as the real one does."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await self.bus.start()
            for hook in self._start_hooks:
                await hook()
            tasks = [self._supervised(name, run) for name, run in self._background]
            tasks += [self._supervised(f"follow {r.event_type.NAME}", self._follow(r, c)) for r, c in self._followed()]
            tasks += self._pull_decisions()
            self._started = True
            await self._stopping.wait()
        except Fatal as error:
            self.fail(error)
        await self._drain(None, tasks)
        self._started = False
        return 0 if self._failure is None else 1

    def _follow(self, route: FollowRoute, chain_id: int) -> Run:
        stream = stream_of(route.event_type).name
        assert isinstance(self.bus, SimulatedBus)
        follower = SimulatedFollower(self.bus, stream, route.event_type.pattern("main", chain_id), start=route.start)
        return lambda: follower.run(lambda message: self._policy.follow(route, message))

    def _pull_decisions(self) -> list[asyncio.Task[None]]:
        tasks, bus = [], self.bus
        assert isinstance(bus, SimulatedBus)
        for route in self._routes.decisions:
            subjects = decision_subjects(route, "main", self.settings.chains)
            for chain_id, (stream, subject, name) in zip(self.settings.chains, subjects, strict=True):
                durable = bus.broker.durable(name, stream, subject)
                gate = None if route.gate is None else route.gate(chain_id)

                async def read(durable: Any = durable, route: Any = route, gate: Any = gate) -> None:
                    await pull(bus, durable, lambda message: self._policy.decide(route, message), gate)

                tasks.append(self._supervised(f"decide {name}", read))
        return tasks
