"""The life of a service process: start in order, say when it is ready, drain in order.

Start: bus, hooks, background tasks, then consumers. Ready: when every condition holds. Stop: not ready, consumers,
outbox, background tasks, hooks, bus. A process whose event loop stands still for long, or whose consumers make no
progress while messages wait, ends itself so that the supervisor can start it anew.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import uvloop
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from starlette.types import ASGIApp

from dexlane.events.control import Status, TradingStatus
from dexlane.events.streams import stream_of
from dexlane.runtime.bus import CONNECTION_POLICY, Bus
from dexlane.runtime.cancelling import cancelled, done_or_stopped
from dexlane.runtime.clock import Clock, SystemClock
from dexlane.runtime.collector import keep_for_good
from dexlane.runtime.consuming import (
    ConsumerPolicy,
    ConsumingMetrics,
    DecisionRoute,
    FollowRoute,
    Routes,
    decision_config,
    decision_subjects,
    raw_message,
)
from dexlane.runtime.endpoints import HttpServer, endpoints
from dexlane.runtime.errors import DexlaneError, Fatal, Misconfigured, Transient
from dexlane.runtime.observability import Log, Metrics, configure_logging, configure_tracing
from dexlane.runtime.reading import Follower, Gate, Puller, read_or_stopped
from dexlane.runtime.settings import ServiceSettings, load_settings
from dexlane.runtime.settings_help import take_no_arguments
from dexlane.runtime.watchdogs import ProgressWatchdog, watch_loop

S = TypeVar("S", bound=ServiceSettings)
Run = Callable[[], Awaitable[None]]
Probe = Callable[[], bool | str]

DRAIN_S = 10.0


class Service:
    """One service: what it consumes, does in the background, waits for and answers over HTTP."""

    def __init__(
        self, name: str, settings: ServiceSettings, *, clock: Clock | None = None, handles_money: bool = False
    ) -> None:
        self.name = name
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.log: Log = configure_logging(name, settings.log_level)
        self.metrics = Metrics(name)
        self.bus = Bus(settings.nats_url, settings.realm, name, self.log, give_way_ms=settings.give_way_ms)
        self._handles_money = handles_money
        self._policy = ConsumerPolicy(
            self.bus, self.log, ConsumingMetrics(self.metrics), clock=self.clock, on_fatal=self.fail
        )
        self._routes = Routes()
        self._followers: list[Follower] = []
        self._pullers: list[Puller] = []
        self._gates: dict[str, Gate] = {}
        self._background: list[tuple[str, Run]] = []
        self._start_hooks: list[Run] = []
        self._stop_hooks: list[Run] = []
        self._probes: dict[str, Probe] = {}
        self._notes: dict[str, Callable[[], str]] = {}
        self._mounted: ASGIApp | None = None
        self._started = False
        self._broker: NatsBroker | None = None
        self._failure: Fatal | None = None
        self._unavailable: Transient | None = None
        self._stopping = asyncio.Event()

    def include(self, routes: Routes) -> None:
        """Consume these."""
        self._routes.decisions += routes.decisions
        self._routes.followers += routes.followers

    def background(self, name: str, run: Run) -> None:
        """Run this task beside the consumers; if it ends with an error the service stops."""
        self._background.append((name, run))

    def on_start(self, hook: Run) -> None:
        """Run this after the bus is there and before anything is consumed."""
        self._start_hooks.append(hook)

    def on_stop(self, hook: Run) -> None:
        """Run this after the last message was handled; hooks run in reverse order."""
        self._stop_hooks.append(hook)

    def ready_when(self, name: str, probe: Probe) -> None:
        """Not ready until the probe says True; a text is the reason why not."""
        self._probes[name] = probe

    def says(self, name: str, sentence: Callable[[], str]) -> None:
        """Show this on ``/readyz``, ready or not: what this instance is at the moment, in words for people."""
        self._notes[name] = sentence

    def mount(self, app: ASGIApp) -> None:
        """Serve this application beside ``/healthz``, ``/readyz`` and ``/metrics``."""
        self._mounted = app

    def fail(self, error: Fatal) -> None:
        """Stop the process because of a broken invariant."""
        if self._failure is None:
            self._failure = error
        self._stopping.set()

    def stop(self) -> None:
        """Ask the service to drain and end."""
        self._stopping.set()

    def why_not_ready(self) -> dict[str, str]:
        """Every condition that does not hold, with its reason; empty when ready."""
        if not self._started or self._stopping.is_set():
            return {"service": "stopping" if self._stopping.is_set() else "starting"}
        reasons = {} if self.bus.connected else {"bus": "no link to NATS"}
        for name, probe in self._probes.items():
            answer = probe()
            if answer is not True:
                reasons[name] = answer if isinstance(answer, str) else "not yet"
        return reasons

    def notes(self) -> dict[str, str]:
        """What was registered with ``says``, as of now."""
        return {name: sentence() for name, sentence in self._notes.items()}

    async def run(self) -> int:
        """Live until a signal, ``stop`` or a fatal error; returns the exit code (see ``_exit_code``)."""
        self._policy.use_tracer(configure_tracing(self.name, self.settings.otlp_endpoint, self.settings.trace_ratio))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        http = HttpServer(endpoints(self, self.metrics.registry, self._mounted), self.settings.host, self.settings.port)
        serving = self._supervised("http", http.run)
        tasks: list[asyncio.Task[None]] = []
        try:
            if await done_or_stopped(self.bus.start(), self._stopping):
                await self._live(tasks)
        except Fatal as error:
            self.fail(error)
        except Transient as error:
            # What it needs at its start is not there yet: to be started again, and no reason to halt anybody.
            self._unavailable = error
        await self._drain(self._broker, tasks)
        http.stop()
        await asyncio.gather(serving, return_exceptions=True)
        self.log.info("service_stopped")
        return _exit_code(self._failure or self._unavailable)

    async def _live(self, tasks: list[asyncio.Task[None]]) -> None:
        """Start what the service consists of, and wait for its end."""
        for hook in self._start_hooks:
            await hook()
        tasks += [self._supervised(name, run) for name, run in self._background]
        tasks += [self._supervised(f"follow {r.event_type.NAME}", self._follow(r, c)) for r, c in self._followed()]
        await read_or_stopped(self._followers, self._stopping)
        self._broker = await self._start_decisions()
        tasks += self._start_pullers()
        watchdog = ProgressWatchdog(self.bus, self.metrics, self.durables(), decision_config(), self._gates)
        tasks.append(self._supervised("progress", watchdog.run))
        watch_loop(asyncio.get_running_loop(), self.log)
        # What was imported and built so far stays: no need to look at it again in the middle of a trade.
        keep_for_good()
        self._started = True
        self.log.info("service_started", chains=list(self.settings.chains), realm=self.settings.realm)
        await self._stopping.wait()

    async def _drain(self, broker: NatsBroker | None, tasks: list[asyncio.Task[None]]) -> None:
        if self._unavailable is not None:
            reached = "service_interrupted" if self._started else "service_not_started"
            self.log.error(reached, reason=str(self._unavailable))
        if self._failure is not None:
            self.log.error("service_failed", reason=str(self._failure), cause=self._failure.__cause__)
            await self._halt_if_money()
        if broker is not None:
            await broker.stop()
        for puller in self._pullers:
            await asyncio.wait({asyncio.ensure_future(puller.stop())}, timeout=DRAIN_S)
        await asyncio.wait({asyncio.ensure_future(self._policy.settled())}, timeout=DRAIN_S)
        for hook in reversed(self._stop_hooks):
            try:
                await asyncio.wait_for(hook(), DRAIN_S)
            except (DexlaneError, TimeoutError) as error:
                self.log.warning("stop_hook_failed", reason=str(error) or "timed out")
        await cancelled(tasks)
        await self.bus.stop()

    async def _halt_if_money(self) -> None:
        if not self._handles_money or not self.bus.connected:
            return
        for chain_id in self.settings.chains:
            now_ms = self.clock.now_ms()
            halt = TradingStatus(
                id=TradingStatus.make_id(chain_id, self.name, now_ms),
                chain_id=chain_id,
                occurred_at_ms=now_ms,
                source=self.name,
                status=Status.HALTED,
                status_version=now_ms,
                reason=f"{self.name} stopped: {self._failure}"[:500],
            )
            try:
                await self.bus.publish(halt)
            except Transient as error:
                self.log.warning("halt_not_published", reason=str(error))

    def _supervised(self, name: str, run: Run) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await run()
            except asyncio.CancelledError:
                raise
            except Fatal as error:
                self.fail(error)
            except Transient as error:
                # Nothing is broken, only out of reach: to be started again, and no reason to halt anybody.
                self._unavailable = Transient(f"background task {name!r} ended: {error}")
                self._stopping.set()
            except Exception as error:  # noqa: BLE001  a background task that ends must end the service, whatever it was
                fatal = Fatal(f"background task {name!r} ended: {type(error).__name__}: {error}")
                fatal.__cause__ = error
                self.fail(fatal)

        return asyncio.create_task(guarded(), name=name)

    def _followed(self) -> list[tuple[FollowRoute, int]]:
        return [(route, chain) for route in self._routes.followers for chain in self.settings.chains]

    def _follow(self, route: FollowRoute, chain_id: int) -> Run:
        stream = stream_of(route.event_type).name_in(self.settings.realm)
        subject = route.event_type.pattern(self.settings.realm, chain_id)
        follower = Follower(self.bus, stream, subject, start=route.start)
        self._followers.append(follower)
        return lambda: follower.run(lambda message: self._policy.follow(route, message))

    def durables(self) -> list[tuple[str, str, str]]:
        """(stream, subject, name) of every durable consumer."""
        return [
            durable
            for route in self._routes.decisions
            for durable in decision_subjects(route, self.settings.realm, self.settings.chains)
        ]

    async def _start_decisions(self) -> NatsBroker | None:
        routes = [route for route in self._routes.decisions if not route.direct]
        if not routes:
            return None
        options: dict[str, Any] = dict(CONNECTION_POLICY)
        broker = NatsBroker(
            self.settings.nats_url, apply_types=False, ack_policy=AckPolicy.MANUAL, logger=None, **options
        )
        for route in routes:
            self._subscribe(broker, route)
        await broker.start()
        return broker

    def _start_pullers(self) -> list[asyncio.Task[None]]:
        tasks = []
        for route in self._routes.decisions:
            if not route.direct:
                continue
            subjects = decision_subjects(route, self.settings.realm, self.settings.chains)
            for chain_id, (stream, subject, durable) in zip(self.settings.chains, subjects, strict=True):
                puller = Puller(self.bus, stream, subject, durable, decision_config())
                if route.gate is not None:
                    puller.gate = self._gates[durable] = route.gate(chain_id)
                self._pullers.append(puller)
                tasks.append(self._supervised(f"decide {durable}", self._pull(puller, route)))
        return tasks

    def _pull(self, puller: Puller, route: DecisionRoute) -> Run:
        return lambda: puller.run(lambda message: self._policy.decide(route, message))

    def _subscribe(self, broker: NatsBroker, route: DecisionRoute) -> None:
        async def whole_message(message: Any, _default: Any = None) -> Any:
            return message

        async def handle(message: Any) -> None:
            async with self.bus.giving_way.turn():
                await self._policy.decide(route, raw_message(message))

        for stream, subject, durable in decision_subjects(route, self.settings.realm, self.settings.chains):
            subscriber = broker.subscriber(
                subject,
                stream=JStream(stream, declare=False),
                durable=durable,
                pull_sub=PullSub(batch_size=1, timeout=5.0),
                config=decision_config(),
                decoder=whole_message,
            )
            subscriber(handle)


def _exit_code(failure: Fatal | Transient | None) -> int:
    """0 asked to stop; 1 worth starting again; 2 the configuration must change first."""
    if failure is None:
        return 0
    return 2 if isinstance(failure, Misconfigured) else 1


def run(build: Callable[[S], Service], settings_type: type[S]) -> None:
    """``main()`` of a service: read settings, build, run, exit. A fault in the settings is one line and exit code 2."""
    take_no_arguments(settings_type, sys.modules[build.__module__].__doc__ or "", sys.argv[1:])
    try:
        settings = load_settings(settings_type, os.environ)
    except Fatal as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)

    async def live() -> int:
        try:
            service = build(settings)
        except Misconfigured as error:
            sys.stderr.write(f"{error}\n")
            return 2
        return await service.run()

    sys.exit(uvloop.run(live()))
