"""The connection to NATS JetStream: publish a fact once, read and write the pool bucket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import PubAck
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, NotFoundError
from nats.js.errors import Error as JetStreamError
from nats.js.kv import KeyValue

from dexlane.events.base import Event
from dexlane.events.streams import BUCKETS, DEAD_LETTER_PREFIX, DEAD_LETTERS, POOLS, STREAMS, stream_of
from dexlane.runtime.errors import Fatal, Transient
from dexlane.runtime.giving_way import GivingWay
from dexlane.runtime.observability import Log, trace_headers

PUBLISH_TIMEOUT_S = 2.0
FIRST_CONNECTION_S = 30.0
DECLARED_WITHIN_S = 60
"""A broker that is set up beside us, or lost its store, gets its streams one after the other."""
ASK_AGAIN_S = 1.0
CONNECTION_POLICY: Mapping[str, object] = {
    # With a finite number of attempts the client closes for good and pull loops freeze the process.
    "max_reconnect_attempts": -1,
    "reconnect_time_wait": 0.25,
    # Half-open links are found in ten seconds rather than the default six minutes.
    "ping_interval": 5,
    "max_outstanding_pings": 2,
}


class Bus:
    """Publishing and the pool bucket of one realm."""

    def __init__(self, url: str, realm: str, name: str, log: Log, *, give_way_ms: int = 0) -> None:
        self.giving_way = GivingWay(give_way_ms)
        """Asked before a message is handled, unless a fast trade waits for it."""
        self.url = url
        self.realm = realm
        self._name = name
        self._log = log
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._pools: KeyValue | None = None
        self.links = 0
        """How many times a link to a server came to stand: another one may have another server at its end, or the same
        one without what it stored."""
        self._on_link: list[Callable[[], object]] = []

    def on_link(self, callback: Callable[[], object]) -> None:
        """Call this whenever a link stands anew."""
        self._on_link.append(callback)

    @property
    def js(self) -> JetStreamContext:
        """The JetStream context; ``Fatal`` before ``start``."""
        if self._js is None:
            raise Fatal("the bus was used before it was started")
        return self._js

    @property
    def connected(self) -> bool:
        """Whether the link to the server stands at this moment."""
        return self._client is not None and self._client.is_connected

    async def start(self) -> None:
        """Connect, and refuse to go on unless every declared stream and bucket is there.

        ``Fatal`` when nobody lets us in or one is missing for a minute, ``Transient`` when the server does not say.
        """

        async def on_error(error: Exception) -> None:
            self._log.warning("bus_error", reason=str(error) or type(error).__name__)

        async def on_reconnected() -> None:
            self._linked()

        handlers: dict[str, Any] = {"error_cb": on_error, "reconnected_cb": on_reconnected}
        try:
            # With endless reconnection the first connection would be awaited for ever, too.
            self._client = await asyncio.wait_for(
                nats.connect(self.url, name=self._name, allow_reconnect=True, **handlers, **CONNECTION_POLICY),
                FIRST_CONNECTION_S,
            )
        except (NatsError, OSError, TimeoutError) as error:
            where = self.url.rsplit("@", 1)[-1]
            raise Fatal(f"no NATS server lets us in at {where}; start one or set DEXLANE_NATS_URL") from error
        self._js = self._client.jetstream(timeout=5)
        try:
            await self._require_declared()
        except (NatsError, JetStreamError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise Transient(f"the server does not say which streams it has: {reason}") from error
        self._linked()

    def _linked(self) -> None:
        self.links += 1
        for callback in self._on_link:
            callback()

    async def made_ms(self, stream: str) -> int:
        """When the server made a stream, in Unix milliseconds. ``Transient`` while there is none, or no answer."""
        try:
            made = (await self.js.stream_info(stream)).created
        except (NatsError, JetStreamError, TimeoutError) as error:
            raise Transient(f"stream {stream} does not say when it was made: {error}") from error
        if made is None:
            raise Transient(f"stream {stream} does not say when it was made")
        return int(made.timestamp() * 1_000)

    async def _require_declared(self) -> None:
        waited_s, told = 0.0, ""
        while missing := ", ".join([name async for name in self._missing()]):
            what = f"missing: {missing}; declare the streams with `make streams`"
            if waited_s >= DECLARED_WITHIN_S:
                raise Fatal(what)
            if what != told:
                self._log.warning("streams_missing", reason=what, waits_s=DECLARED_WITHIN_S - waited_s)
            told = what
            await asyncio.sleep(ASK_AGAIN_S)
            waited_s += ASK_AGAIN_S
        self._pools = await self.js.key_value(POOLS.name)

    async def _missing(self) -> AsyncIterator[str]:
        for name in (spec.name_in(self.realm) for spec in STREAMS):
            try:
                await self.js.stream_info(name)
            except NotFoundError:
                yield f"stream {name}"
        for bucket in BUCKETS:
            try:
                await self.js.key_value(bucket.name)
            except (BucketNotFoundError, NotFoundError):
                yield f"bucket {bucket.name}"

    async def subscribe_inbox(self, take: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """A subscription of one's own to an address that nobody else knows."""
        return await self._connection.subscribe(self._connection.new_inbox(), cb=take)

    async def request_next(self, stream: str, durable: str, request: bytes, inbox: str) -> None:
        """Ask a durable consumer for what comes next, to be sent to an inbox."""
        await self._connection.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", request, reply=inbox)

    async def forget_reader(self, stream: str, durable: str) -> None:
        """Let a durable consumer begin anew with everything that is stored; one that is not there is fine."""
        try:
            await self.js.delete_consumer(stream, durable)
        except NotFoundError:
            return
        except (NatsError, JetStreamError, TimeoutError) as error:
            raise Transient(f"the consumer {durable} could not be made anew: {error}") from error

    @property
    def _connection(self) -> Client:
        if self._client is None:
            raise Fatal("the bus was used before it was started")
        return self._client

    async def stop(self) -> None:
        """Flush and close."""
        if self._client is not None and not self._client.is_closed:
            try:
                await asyncio.wait_for(self._client.flush(), 2)
            except (NatsError, TimeoutError):
                self._log.warning("bus_flush_failed")
            await self._client.close()

    async def say_alive(self) -> None:
        """Tell whoever listens that the control plane lives. Kept nowhere: an old sign of life is worth nothing."""
        try:
            await self._connection.publish(f"{self.realm}.control.alive", b"")
        except NatsError as error:
            raise Transient(f"the sign of life was not sent: {error}") from error

    async def publish(self, event: Event) -> PubAck:
        """Store a fact. Storing it again with the same id changes nothing; ``Transient`` when it is unknown whether
        it was stored."""
        stream = stream_of(type(event)).name_in(self.realm)
        return await self.publish_raw(event.subject(self.realm), event.to_wire(), event_id=event.id, stream=stream)

    async def publish_raw(
        self, subject: str, payload: bytes, *, event_id: str, stream: str, headers: Mapping[str, str] | None = None
    ) -> PubAck:
        """Store bytes that were rendered earlier (an outbox row) under their message id."""
        all_headers = {"Nats-Msg-Id": f"{self.realm}:{event_id}", **(headers or trace_headers())}
        try:
            return await self.js.publish(
                subject, payload, timeout=PUBLISH_TIMEOUT_S, stream=stream, headers=all_headers
            )
        except (NatsError, JetStreamError, TimeoutError) as error:
            raise Transient(f"{subject} may not have been stored: {type(error).__name__} {error}") from error

    async def dead_letter(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Put a message that cannot be handled aside, under ``dlq.<subject>``."""
        try:
            await self.js.publish(
                f"{DEAD_LETTER_PREFIX}.{subject}",
                payload,
                timeout=PUBLISH_TIMEOUT_S,
                stream=DEAD_LETTERS.name_in(self.realm),
                headers=dict(headers),
            )
        except (NatsError, JetStreamError, TimeoutError) as error:
            raise Transient(f"the dead letter of {subject} was not stored: {error}") from error

    async def kv_put(self, key: str, value: bytes) -> None:
        """Write an entry of the pool bucket."""
        if self._pools is None:
            raise Fatal("the bus was used before it was started")
        try:
            await self._pools.put(key, value)
        except (NatsError, JetStreamError, TimeoutError) as error:
            raise Transient(f"{key} was not stored: {error}") from error

    async def kv_get(self, key: str) -> bytes | None:
        """Read an entry of the pool bucket; None when there is none."""
        if self._pools is None:
            raise Fatal("the bus was used before it was started")
        try:
            return (await self._pools.get(key)).value
        except KeyNotFoundError:
            return None
        except (NatsError, JetStreamError, TimeoutError) as error:
            raise Transient(f"{key} could not be read: {error}") from error
