"""What a service holds of the broker: the real bus on a simulated connection, its readers and its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import PubAck
from nats.js.errors import KeyNotFoundError, NotFoundError

from dexlane.runtime.bus import PUBLISH_TIMEOUT_S, Bus
from dexlane.runtime.errors import Transient
from dexlane.runtime.observability import Log
from dexlane.runtime.reading import Gate
from simulation.broker import Broker, Durable, Stored
from simulation.clockwork import START_NS
from simulation.lives import CURRENT, DiedError, Life, crossing

Handle = Callable[[Any], Awaitable[None]]


def _living() -> Life:
    life = CURRENT.get()
    if life is None or not life.alive:
        raise DiedError("" if life is None else life.name)
    return life


@dataclass(slots=True)
class Message:
    """A delivery, as far as ``ConsumerPolicy`` and ``PoolMirror`` look at a NATS message."""

    broker: Broker
    stored: Stored
    durable: Durable | None = None
    delivered: int = 1

    @property
    def data(self) -> bytes:
        return self.stored.data

    @property
    def subject(self) -> str:
        return self.stored.subject

    @property
    def headers(self) -> dict[str, str]:
        return self.stored.headers

    @property
    def metadata(self) -> Any:
        sequence = SimpleNamespace(stream=self.stored.sequence, consumer=self.stored.sequence)
        return SimpleNamespace(sequence=sequence, num_delivered=self.delivered)

    async def ack(self) -> None:
        """Settle it; the word may be lost on its way."""
        crossing("bus.ack:before")
        life = _living()
        world: Any = life.process.witness
        world.acknowledged(life, self)
        if self.broker.is_up and self.durable is not None and not world.loses(life, "bus.ack"):
            self.broker.settle(self.durable, self.stored.sequence)
        crossing("bus.ack:after")

    async def term(self) -> None:
        """Never deliver it again."""
        _living()
        if self.durable is not None:
            self.broker.settle(self.durable, self.stored.sequence)

    async def nak(self, delay: float | None = None) -> None:
        """Deliver it again later."""
        _living()
        if self.durable is not None:
            self.broker.again_in(self.durable, self.stored.sequence, delay or 0.0)

    async def in_progress(self) -> None:
        """Still at it."""
        _living()
        if self.durable is not None:
            self.broker.again_in(self.durable, self.stored.sequence, 6.0)


class _JetStream:
    """Publishing and looking up."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(
        self, subject: str, payload: bytes, *, timeout: float, stream: str, headers: dict[str, str]
    ) -> PubAck:
        """Store; or time out, with or without having stored."""
        crossing("bus.publish:before")
        life = _living()
        world: Any = life.process.witness
        lost = world.publishing(life, subject, headers)
        await asyncio.sleep(world.latency_s("bus.publish"))
        if not self._broker.is_up or lost == "before":
            await asyncio.sleep(PUBLISH_TIMEOUT_S)
            raise NatsTimeoutError
        _living()
        sequence = self._broker.publish(stream, subject, payload, headers)
        if lost == "after":
            await asyncio.sleep(PUBLISH_TIMEOUT_S)
            raise NatsTimeoutError
        crossing("bus.publish:after")
        return PubAck(stream=stream, seq=sequence)

    async def stream_info(self, stream: str, subjects_filter: str) -> Any:
        """Subjects that a filter covers."""
        self._reach()
        subjects = {message.subject: 1 for message in self._broker.last_of_each(stream, subjects_filter)}
        return SimpleNamespace(state=SimpleNamespace(subjects=subjects))

    async def made_ms(self) -> int:
        """When the streams were made."""
        self._reach()
        return (START_NS + round(self._broker.made_s * 1e9)) // 1_000_000

    async def get_last_msg(self, stream: str, subject: str) -> Stored:
        """The newest message on a subject."""
        self._reach()
        found = self._broker.last(stream, subject)
        if found is None:
            raise NotFoundError
        return found

    def _reach(self) -> None:
        _living()
        if not self._broker.is_up:
            raise NatsTimeoutError


class _Bucket:
    """The key-value bucket of pools."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def get(self, key: str) -> Any:
        _living()
        if not self._broker.is_up:
            raise NatsTimeoutError
        if key not in self._broker.bucket:
            raise KeyNotFoundError
        return SimpleNamespace(value=self._broker.bucket[key])

    async def put(self, key: str, value: bytes) -> None:
        _living()
        self._broker.bucket[key] = value


class SimulatedBus(Bus):
    """The real bus, on a broker in memory."""

    def __init__(self, broker: Broker, name: str, log: Log) -> None:
        super().__init__("simulated", "main", name, log)
        self.broker = broker

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self.broker.is_up

    async def start(self) -> None:
        """Wait for the broker."""
        while not self.broker.is_up:  # noqa: ASYNC110  a client that tries to connect
            await asyncio.sleep(0.25)
        self._js = _JetStream(self.broker)  # type: ignore[assignment]
        self._pools = _Bucket(self.broker)  # type: ignore[assignment]
        life = _living()

        def linked() -> None:
            if life.alive:
                self._linked()
            else:
                self.broker.on_up.remove(linked)

        self.broker.on_up.append(linked)
        self._linked()

    async def made_ms(self, stream: str) -> int:
        """When the server made a stream, in Unix milliseconds."""
        try:
            return await _JetStream(self.broker).made_ms()
        except NatsTimeoutError as error:
            raise Transient(f"stream {stream} does not say when it was made") from error

    async def stop(self) -> None:
        """Nothing to close."""


class SimulatedFollower:
    """``dexlane.runtime.reading.Follower`` on a broker in memory: in order, a little later than stored."""

    def __init__(
        self, bus: SimulatedBus, stream: str, subject: str, *, start: str, start_sequence: int | None = None
    ) -> None:
        self._bus = bus
        self._stream, self._subject, self._start, self._sequence = stream, subject, start, start_sequence

    async def run(self, handle: Handle) -> None:
        """Read for ever."""
        life = _living()
        world: Any = life.process.witness
        loop = asyncio.get_running_loop()
        async for stored in self._bus.broker.follow(self._stream, self._subject, self._start, self._sequence):
            wait_s = stored.at_s + world.delay_s(life, "bus.follow") - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            _living()
            message = Message(self._bus.broker, stored)
            await handle(message)
            if ".trading.status." in stored.subject:
                world.monitor.heard(life, message)


async def pull(bus: SimulatedBus, durable: Durable, handle: Handle, gate: Gate | None = None) -> None:
    """Read a durable consumer for ever, one message at a time, while the gate is open."""
    life = _living()
    world: Any = life.process.witness
    while True:
        if gate is not None and not gate.is_open:
            await gate.until_open()
        stored, number = await bus.broker.next_of(durable, life)
        message = Message(bus.broker, stored, durable, number)
        await asyncio.sleep(world.delay_s(life, "bus.deliver"))
        crossing("bus.deliver:after")
        if gate is not None and not gate.is_open:
            await message.nak()
            continue
        await handle(message)
