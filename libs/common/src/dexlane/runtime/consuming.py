"""How messages are consumed: one policy for everything.

Decisions (``Routes.decide``) are durable, pulled one at a time, and acknowledged only after their handler finished:
through FastStream, or with ``direct`` by a reader of our own where a trade waits for every tenth of a millisecond
(``dexlane.runtime.reading``). Market data and last values (``Routes.follow``) are read in order by an ephemeral
consumer. FastStream's defaults would terminate a message on the first exception, so its acknowledgement is switched
off and ours applies: see ``ConsumerPolicy``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig
from opentelemetry import trace
from prometheus_client import Counter, Histogram
from pydantic import ValidationError

from dexlane.events.base import Event
from dexlane.events.streams import stream_of
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import Clock
from dexlane.runtime.collector import uncollected
from dexlane.runtime.errors import Fatal, InvalidEvent, Postponed, Transient
from dexlane.runtime.observability import Log, Metrics, trace_context
from dexlane.runtime.reading import Gate, Start

ACK_WAIT_S = 6.0
"""How long the server waits before it gives a message of a killed process to the next one. A handler that takes longer
says so every third of this time."""
BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
MAX_DELIVERIES = 8
"""After this many deliveries that ended in an unforeseen error the message is set aside."""
MAX_TRANSIENT_DELIVERIES = 2_000
"""About 16 hours at the longest back-off; only a dependency that is down that long loses the message to the
dead-letter subject."""
SERVER_MAX_DELIVER = MAX_TRANSIENT_DELIVERIES + 10
"""Above our own limits: the server would skip the message silently, so our dead letter must come first."""

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message. ``deliveries`` counts from 1."""

    message_id: str
    subject: str
    deliveries: int
    stream_sequence: int


Later = Callable[[], Awaitable[None]]
"""What a handler leaves for later: of a direct route the next message may come meanwhile; settled when it is done."""
Handler = Callable[[Any, Delivery], Awaitable[Later | None]]


@dataclass(frozen=True)
class DecisionRoute:
    """A durable consumer: its event type, the closed ending of its subject, its name, its handler, whether it is read
    without FastStream, and for each chain the gate that says whether it is read at all."""

    event_type: type[Event]
    tail: str
    durable: str
    handler: Handler
    direct: bool = False
    gate: Callable[[int], Gate] | None = None


@dataclass(frozen=True)
class FollowRoute:
    """An ordered reader of one event type."""

    event_type: type[Event]
    start: Start
    handler: Handler


def _with_delivery(handler: Callable[..., Awaitable[Later | None]]) -> Handler:
    if len(inspect.signature(handler).parameters) >= 2:
        return handler

    async def ignoring_delivery(event: Event, _delivery: Delivery) -> Later | None:
        return await handler(event)

    return ignoring_delivery


@dataclass
class Routes:
    """What a service consumes; ``handlers.routes(deps)`` returns one of these."""

    decisions: list[DecisionRoute] = field(default_factory=list)
    followers: list[FollowRoute] = field(default_factory=list)

    def decide(
        self,
        event_type: type[E],
        *,
        durable: str,
        tail: str = "",
        direct: bool = False,
        gate: Callable[[int], Gate] | None = None,
    ) -> Callable[[Callable[..., Awaitable[Later | None]]], Callable[..., Awaitable[Later | None]]]:
        """Consume durably, one at a time, acknowledged after the handler and what it leaves for later. The handler
        takes ``(event)`` or ``(event, delivery)``. ``direct`` is for the hops that a fast trade waits for, and for what
        is consumed only while the ``gate`` of its chain is open."""
        if tail and tail not in event_type.tails():
            raise ValueError(f"{event_type.__name__} has no subject ending in {tail!r}")

        def register(handler: Callable[..., Awaitable[Later | None]]) -> Callable[..., Awaitable[Later | None]]:
            is_direct = direct or gate is not None
            self.decisions.append(DecisionRoute(event_type, tail, durable, _with_delivery(handler), is_direct, gate))
            return handler

        return register

    def follow(
        self, *event_types: type[Event], from_: Start = "new"
    ) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
        """Read in order without acknowledgement: side values and projections. ``last`` begins with the last value
        of every subject, ``all`` with everything stored, ``new`` with what comes."""

        def register(handler: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
            for event_type in event_types:
                self.followers.append(FollowRoute(event_type, from_, _with_delivery(handler)))
            return handler

        return register


class ConsumingMetrics:
    """Counts of what became of messages, and how long handlers took."""

    def __init__(self, metrics: Metrics) -> None:
        self.outcomes: Counter = metrics.counter(
            "messages_total", "Messages by event and outcome", ("event", "outcome")
        )
        self.seconds: Histogram = metrics.histogram("handler_seconds", "Time spent in handlers", ("event",))


class ConsumerPolicy:
    """What becomes of a message, by the class of error that its handler ended in.

    ==================  =======================================================================
    no error            acknowledge
    contract broken     dead letter with the reason, terminate
    ``InvalidEvent``    dead letter with the reason, terminate
    ``Transient``       redeliver later with back-off; ``Postponed`` says itself how much later
    ``Fatal``           redeliver later, and stop the process through ``on_fatal``
    anything else       redeliver with back-off; dead letter after ``MAX_DELIVERIES``
    ==================  =======================================================================
    """

    def __init__(
        self, bus: Bus, log: Log, metrics: ConsumingMetrics, *, clock: Clock, on_fatal: Callable[[Fatal], None]
    ) -> None:
        self._bus = bus
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._on_fatal = on_fatal
        self._tracer = trace.get_tracer("dexlane")
        self._later: set[asyncio.Task[Later | None]] = set()

    def use_tracer(self, tracer: trace.Tracer) -> None:
        """Continue the traces of messages with this tracer."""
        self._tracer = tracer

    async def decide(self, route: DecisionRoute, message: Msg) -> None:
        """Handle one durable delivery and settle it, or begin what its handler leaves for later."""
        delivery = delivery_of(message)
        with uncollected() if route.direct else nullcontext():
            rest = await self._settle(
                route, message, delivery, lambda: self._run(route.event_type, route.handler, message, delivery)
            )
        if rest is None:
            return
        settling = self._settle(route, message, delivery, rest)
        if not route.direct:
            await settling  # FastStream closes its link when its subscribers have ended, without asking for more
            return
        task = asyncio.create_task(settling)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def settled(self) -> None:
        """Return when nothing is left for later. What could not be settled, because the link closed, comes again."""
        await asyncio.gather(*self._later, return_exceptions=True)

    async def _settle(
        self, route: DecisionRoute, message: Msg, delivery: Delivery, work: Callable[[], Awaitable[Later | None]]
    ) -> Later | None:
        """Do it and tell the server how it ended; what is left for later is returned, and then nothing is told yet."""
        name = route.event_type.NAME
        outcome = "acked"
        try:
            with _said_to_be_alive(message):
                rest = await work()
            if rest is not None:
                return rest
            await message.ack()
        except (InvalidEvent, ValidationError) as error:
            outcome = await self._set_aside(message, delivery, error)
        except Transient as error:
            outcome = await self._retry(message, delivery, error, limit=MAX_TRANSIENT_DELIVERIES)
        except Fatal as error:
            outcome = "fatal"
            await message.nak(delay=BACKOFF_S[-1])
            self._on_fatal(error)
        except Exception as error:  # noqa: BLE001  the one place where an unforeseen error is given its class
            self._log.error("handler_failed", cause=error, nats_subject=delivery.subject, handled_event=name)
            outcome = await self._retry(message, delivery, error, limit=MAX_DELIVERIES)
        self._metrics.outcomes.labels(name, outcome).inc()
        return None

    async def follow(self, route: FollowRoute, message: Msg) -> None:
        """Handle one message of an ordered reader. Errors are recorded and the reader goes on."""
        name = route.event_type.NAME
        delivery = delivery_of(message)
        outcome = "read"
        try:
            await self._run(route.event_type, route.handler, message, delivery)
        except (InvalidEvent, ValidationError) as error:
            outcome = "dead_letter"
            try:
                await self._dead_letter(message, delivery, error)
            except Transient as lost:  # it stays in its stream, and what comes after it is wanted more
                self._log.warning("dead_letter_lost", nats_subject=delivery.subject, reason=str(lost))
        except Transient as error:
            outcome = "skipped"
            self._log.warning("follower_skipped", handled_event=name, reason=str(error))
        except Fatal as error:
            outcome = "fatal"
            self._on_fatal(error)
        except Exception as error:  # noqa: BLE001  the one place where an unforeseen error is given its class
            outcome = "failed"
            self._log.error("follower_failed", cause=error, handled_event=name)
        self._metrics.outcomes.labels(name, outcome).inc()

    async def _run(self, event_type: type[Event], handler: Handler, message: Msg, delivery: Delivery) -> Later | None:
        event = event_type.from_wire(message.data)
        if not delivery.subject.endswith(event.subject("")):
            raise InvalidEvent(f"the event says {event.subject('')[1:]} but was sent to {delivery.subject}")
        began = self._clock.monotonic_ns()
        with self._tracer.start_as_current_span(f"{event_type.NAME} process", context=trace_context(message.headers)):
            rest = await handler(event, delivery)
        self._metrics.seconds.labels(event_type.NAME).observe((self._clock.monotonic_ns() - began) / 1e9)
        return rest

    async def _retry(self, message: Msg, delivery: Delivery, error: Exception, *, limit: int) -> str:
        if delivery.deliveries >= limit:
            return await self._set_aside(message, delivery, error)
        delay = BACKOFF_S[min(delivery.deliveries, len(BACKOFF_S)) - 1]
        if isinstance(error, Postponed):
            delay = error.after_s
        else:
            self._log.warning("redelivery", nats_subject=delivery.subject, delay_s=delay, reason=str(error))
        await message.nak(delay=delay)
        return "retried"

    async def _set_aside(self, message: Msg, delivery: Delivery, error: Exception) -> str:
        try:
            await self._dead_letter(message, delivery, error)
        except Transient:
            await message.nak(delay=BACKOFF_S[-1])
            return "retried"
        await message.term()
        return "dead_letter"

    async def _dead_letter(self, message: Msg, delivery: Delivery, error: Exception) -> None:
        reason = " ".join(str(error).split())[:500]
        self._log.error("dead_letter", nats_subject=delivery.subject, reason=reason)
        headers = {
            "Dexlane-Error": f"{type(error).__name__}: {reason}",
            "Dexlane-Sequence": str(delivery.stream_sequence),
            "Dexlane-Deliveries": str(delivery.deliveries),
        }
        await self._bus.dead_letter(delivery.subject, message.data, headers)


def delivery_of(message: Msg) -> Delivery:
    """The facts of one delivery, from its JetStream metadata."""
    metadata = message.metadata
    return Delivery(
        message_id=(message.headers or {}).get("Nats-Msg-Id", ""),
        subject=message.subject,
        deliveries=metadata.num_delivered or 1,
        stream_sequence=metadata.sequence.stream if metadata.sequence else 0,
    )


@contextmanager
def _said_to_be_alive(message: Msg) -> Iterator[None]:
    """Tell the server every third of ``ACK_WAIT_S`` that the message is being handled."""
    loop = asyncio.get_running_loop()
    telling: set[asyncio.Task[None]] = set()
    timers: list[asyncio.TimerHandle] = []

    def tell() -> None:
        task = loop.create_task(_tell_progress(message))
        telling.add(task)
        task.add_done_callback(telling.discard)
        timers[:] = [loop.call_later(ACK_WAIT_S / 3, tell)]

    timers.append(loop.call_later(ACK_WAIT_S / 3, tell))
    try:
        yield
    finally:
        timers[0].cancel()


async def _tell_progress(message: Msg) -> None:
    try:
        await message.in_progress()
    except NatsError:  # the link is down: the server will give the message again, and the inbox knows it
        return


def decision_config() -> ConsumerConfig:
    """The server side of a durable consumer of decisions."""
    return ConsumerConfig(ack_wait=ACK_WAIT_S, max_deliver=SERVER_MAX_DELIVER, max_ack_pending=64)


def decision_subjects(route: DecisionRoute, realm: str, chains: tuple[int, ...]) -> list[tuple[str, str, str]]:
    """(stream, subject, durable name) of a route, one for each chain."""
    stream = stream_of(route.event_type).name_in(realm)
    suffix = "" if realm == "main" else f"-{realm}"
    return [
        (stream, route.event_type.pattern(realm, chain, route.tail), f"{route.durable}-{chain}{suffix}")
        for chain in chains
    ]


def raw_message(message: object) -> Msg:
    """The NATS message inside FastStream's."""
    return cast("Msg", message.raw_message)  # type: ignore[attr-defined]
