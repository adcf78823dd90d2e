"""Reading the bus with plain nats-py: in order without acknowledgement, or one durable message at a time.

Both hand messages over in the subscription's own task. nats-py's ``next_msg`` makes three tasks for every message,
which is half of the time that a small handler takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Literal, Protocol

import orjson
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from dexlane.runtime.bus import Bus
from dexlane.runtime.cancelling import cancelled

Start = Literal["last", "new", "all"]
Handle = Callable[[Msg], Awaitable[None]]

RETRY_S = 0.25
_NOTHING_NEW = ("404", "408")
"""Statuses that end a request without a fault: no message, and its time is over."""


class Gate(Protocol):
    """Whether this process may be given messages at this moment."""

    @property
    def is_open(self) -> bool:
        """Whether it may."""
        ...

    async def until_open(self) -> None:
        """Return when it may."""
        ...


class Follower:
    """An ordered reader of one subject: an ephemeral push consumer that is recreated where it stopped, after a lost
    link, a restarted server or a gap. Call ``run`` once; ``start_sequence`` overrides ``start``."""

    IDLE_CHECK_S = 5.0

    def __init__(self, bus: Bus, stream: str, subject: str, *, start: Start, start_sequence: int | None = None) -> None:
        self._bus = bus
        self._stream = stream
        self._subject = subject
        self._start = start
        self._next_sequence = start_sequence
        self._made: datetime | None = None
        """When the stream was made that ``_next_sequence`` counts in."""
        self.caught_up = asyncio.Event()
        """Set when everything that was stored when it began was handled; of ``new`` that is nothing."""

    async def _begin_anew_on_a_new_stream(self) -> None:
        """Positions in a stream that the server lost mean nothing in the one that took its place."""
        made = (await self._bus.js.stream_info(self._stream)).created
        if self._made not in {None, made}:
            self._next_sequence = None
        self._made = made

    def _config(self) -> ConsumerConfig:
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            max_deliver=1,
            mem_storage=True,
            inactive_threshold=60.0,
            flow_control=True,
            idle_heartbeat=self.IDLE_CHECK_S,
        )
        if self._next_sequence is not None:
            config.deliver_policy = DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = max(1, self._next_sequence)
        else:
            policies = {
                "last": DeliverPolicy.LAST_PER_SUBJECT,
                "new": DeliverPolicy.NEW,
                "all": DeliverPolicy.ALL,
            }
            config.deliver_policy = policies[self._start]
        return config

    async def run(self, handle: Handle) -> None:
        """Read for ever, one message after the other. What ``handle`` raises ends it."""
        while True:
            # One place: the subscription keeps what comes meanwhile, and its bounds hold.
            arrived: asyncio.Queue[Msg | None] = asyncio.Queue(maxsize=1)
            try:
                await self._begin_anew_on_a_new_stream()
                subscription = await self._bus.js.subscribe(
                    self._subject, stream=self._stream, config=self._config(), manual_ack=True, cb=arrived.put
                )
            except (NatsError, JetStreamError, TimeoutError):
                await asyncio.sleep(RETRY_S)
                continue
            ticking = asyncio.create_task(_tick(arrived, self.IDLE_CHECK_S))
            try:
                await self._read(subscription, arrived, handle)
            finally:
                ticking.cancel()
                await _forget(subscription)

    async def _read(
        self, subscription: JetStreamContext.PushSubscription, arrived: asyncio.Queue[Msg | None], handle: Handle
    ) -> None:
        """Return when the consumer is gone or left something out."""
        expected, seen = 1, 0
        if not self.caught_up.is_set():
            ahead = 0 if self._start == "new" else await _ahead(subscription)
            if ahead is None:
                return
            if ahead == 0:
                self.caught_up.set()
        while True:
            message = await arrived.get()
            if message is None:
                if seen == expected and not await _alive(subscription):
                    return
                seen = expected
                continue
            sequence = message.metadata.sequence
            if sequence is None or sequence.consumer != expected:
                return
            expected += 1
            async with self._bus.giving_way.turn():
                await handle(message)
            self._next_sequence = sequence.stream + 1
            if not message.metadata.num_pending:
                self.caught_up.set()


async def read_or_stopped(followers: Sequence[Follower], stopped: asyncio.Event) -> None:
    """Return when each has read what was stored when it began, or when all is over. Nothing is decided before: a
    warning that is not read yet would be none."""

    async def read() -> None:
        for follower in followers:
            await follower.caught_up.wait()

    waiting = [asyncio.create_task(read()), asyncio.create_task(stopped.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await cancelled(waiting)


async def _tick(arrived: asyncio.Queue[Msg | None], every_s: float) -> None:
    """Put nothing in the place of a message now and then, so that its absence is noticed."""
    while True:
        await asyncio.sleep(every_s)
        if arrived.empty():
            arrived.put_nowait(None)


async def _alive(subscription: JetStreamContext.PushSubscription) -> bool:
    try:
        await subscription.consumer_info()
    except (NatsError, JetStreamError, TimeoutError):
        return False
    return True


async def _ahead(subscription: JetStreamContext.PushSubscription) -> int | None:
    """How many stored messages a new consumer gives in all; None without an answer."""
    try:
        info = await subscription.consumer_info()
    except (NatsError, JetStreamError, TimeoutError):
        return None
    given = 0 if info.delivered is None else info.delivered.consumer_seq
    return (info.num_pending or 0) + given


async def _forget(subscription: Subscription | JetStreamContext.PushSubscription) -> None:
    try:
        await subscription.unsubscribe()
    except (NatsError, JetStreamError, TimeoutError):
        return


class Puller:
    """A durable consumer read one message at a time: the next one is asked for when the last was handled.

    The request stands at the server, so a new message comes without a question. A request that was lost with its link
    is made again after ``REQUEST_S``. While ``gate`` is closed nothing is asked for, and what comes all the same is
    given back at once.
    """

    REQUEST_S = 5.0
    LATE_S = 1.0

    def __init__(self, bus: Bus, stream: str, subject: str, durable: str, config: ConsumerConfig) -> None:
        self._bus = bus
        self._stream = stream
        self._subject = subject
        self._durable = durable
        self._config = config
        self._request = orjson.dumps({"batch": 1, "expires": int(self.REQUEST_S * 1e9)})
        self._answered = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._refused = False
        self._stopping = False
        self.gate: Gate | None = None
        """Set it before ``run``; None is always open."""

    async def run(self, handle: Handle) -> None:
        """Read for ever, or until ``stop``."""
        subscription: Subscription | None = None
        try:
            while subscription is None:
                subscription = await self._open(handle)
            while not self._stopping:
                if self.gate is not None and not self.gate.is_open:
                    await self.gate.until_open()
                await self._ask(subscription)
                await self._idle.wait()
        finally:
            if subscription is not None:
                await _forget(subscription)

    async def stop(self) -> None:
        """Ask for nothing more, and return when what is being handled is done."""
        self._stopping = True
        await self._idle.wait()

    async def _open(self, handle: Handle) -> Subscription | None:
        async def take(message: Msg) -> None:
            status = (message.headers or {}).get("Status")
            if status is not None:
                self._refused = status not in _NOTHING_NEW
                self._answered.set()
            elif self._stopping or not (self.gate is None or self.gate.is_open):
                await message.nak()
                self._answered.set()
            else:
                self._idle.clear()
                self._answered.set()
                try:
                    await handle(message)
                finally:
                    self._idle.set()

        try:
            await self._declare()
            return await self._bus.subscribe_inbox(take)
        except (NatsError, JetStreamError, TimeoutError):
            await asyncio.sleep(RETRY_S)
            return None

    async def _ask(self, subscription: Subscription) -> None:
        """Ask once, and wait for a message, for the end of the request, or for so long that it must be lost."""
        self._answered.clear()
        self._refused = False
        try:
            await self._bus.request_next(self._stream, self._durable, self._request, subscription.subject)
            await asyncio.wait_for(self._answered.wait(), self.REQUEST_S + self.LATE_S)
            if self._refused:
                # Nobody knows the consumer any more: the stream was made anew, or is about to be.
                await asyncio.sleep(RETRY_S)
                await self._declare()
        except (NatsError, JetStreamError, TimeoutError):
            await asyncio.sleep(RETRY_S)

    async def _declare(self) -> None:
        try:
            await self._bus.js.consumer_info(self._stream, self._durable)
        except NotFoundError:
            config = self._config.evolve(name=self._durable, durable_name=self._durable, filter_subject=self._subject)
            await self._bus.js.add_consumer(self._stream, config)
