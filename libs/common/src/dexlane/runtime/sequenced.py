"""Publishing a chain of facts of which none may be missing, doubled, or mixed with another writer's.

Every message names the position of the one before it; the server refuses it when another one came between. So even a
writer that lost its lease without noticing cannot disturb the one that follows it.
"""

from __future__ import annotations

from collections.abc import Sequence

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, NotFoundError
from nats.js.errors import Error as JetStreamError

from dexlane.events.base import Event
from dexlane.events.streams import stream_of
from dexlane.runtime.bus import PUBLISH_TIMEOUT_S, Bus
from dexlane.runtime.errors import Transient
from dexlane.runtime.observability import trace_headers

WRONG_LAST_SEQUENCE = 10_071
FETCH_S = 2.0


class Displaced(Exception):  # noqa: N818
    """Another writer published since we last looked: read what is there, then go on from it."""


class SequencedPublisher:
    """Publishes events of the given types of one chain, each behind the last one. Call ``recent`` first."""

    def __init__(self, bus: Bus, chain_id: int, types: Sequence[type[Event]]) -> None:
        self._bus = bus
        self._types = {kind.NAME: kind for kind in types}
        self._stream = stream_of(types[0]).name_in(bus.realm)
        [noun] = {kind.NAME.split(".")[0] for kind in types}
        self._subjects = f"{bus.realm}.{chain_id}.{noun}.*"
        self._prefix = f"{bus.realm}.{chain_id}."
        self._last = 0

    async def recent(self, count: int) -> list[Event]:
        """The last events in order, at least the last one, and of the others as many as lie among the stream's last
        ``count`` messages. What is published next follows the last of them. Raises ``Transient``."""
        try:
            last = await self._last_message()
            if last is None:
                self._last = 0
                return []
            sequence, newest = last
            found = await self._read(max(1, sequence - count), sequence)
        except (NatsError, JetStreamError, TimeoutError) as error:
            raise Transient(f"the last messages of {self._subjects} could not be read: {error}") from error
        self._last = sequence
        return found or [newest]

    async def publish(self, event: Event) -> None:
        """Store a fact behind the last one. Raises ``Transient`` when it may not have been stored (do it again), and
        ``Displaced`` when another writer came between."""
        message_id = f"{self._bus.realm}:{event.id}"
        headers = {
            "Nats-Msg-Id": message_id,
            "Nats-Expected-Last-Subject-Sequence": str(self._last),
            "Nats-Expected-Last-Subject-Sequence-Subject": self._subjects,
            **trace_headers(),
        }
        subject = event.subject(self._bus.realm)
        try:
            ack = await self._bus.js.publish(
                subject, event.to_wire(), timeout=PUBLISH_TIMEOUT_S, stream=self._stream, headers=headers
            )
        except APIError as error:
            if error.err_code != WRONG_LAST_SEQUENCE:
                raise Transient(f"{subject} was not stored: {error}") from error
            await self._check_displaced(event)
        except (NatsError, JetStreamError, TimeoutError) as error:
            raise Transient(f"{subject} may not have been stored: {type(error).__name__} {error}") from error
        else:
            if ack.duplicate and ack.seq <= self._last:
                # It was published before what it now has to follow: the server still takes it for a repetition.
                raise Transient(f"{subject} is still taken for a repetition of message {ack.seq}")
            self._last = ack.seq

    async def _check_displaced(self, event: Event) -> None:
        """After a refusal: fine when the last message is this very event, of which only the answer was lost."""
        try:
            last = await self._last_message()
        except (NatsError, JetStreamError, TimeoutError) as error:
            raise Transient(f"the last message of {self._subjects} could not be read: {error}") from error
        if last is None or last[0] <= self._last or last[1].id != event.id:
            raise Displaced(f"{self._subjects} was written by somebody else")
        self._last = last[0]

    async def _last_message(self) -> tuple[int, Event] | None:
        try:
            message = await self._bus.js.get_last_msg(self._stream, self._subjects)
        except NotFoundError:
            return None
        return int(message.seq or 0), self._event(str(message.subject), message.data or b"")

    async def _read(self, first: int, last: int) -> list[Event]:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=first,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=30.0,
            mem_storage=True,
        )
        reader = await self._bus.js.pull_subscribe(self._subjects, stream=self._stream, config=config)
        found: list[Event] = []
        try:
            while True:
                for message in await reader.fetch(256, timeout=FETCH_S):
                    found.append(self._event(message.subject, message.data))
                    if message.metadata.sequence.stream >= last:
                        return found
        finally:
            await reader.unsubscribe()

    def _event(self, subject: str, data: bytes) -> Event:
        return self._types[subject.removeprefix(self._prefix)].from_wire(data)
