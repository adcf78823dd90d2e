"""A broker in memory that delivers at least once: streams, last values, durable consumers, a bucket, and faults."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

from dexlane.events.streams import STREAMS
from dexlane.runtime.consuming import ACK_WAIT_S

WINDOWS_S = {spec.name: spec.duplicate_window_s for spec in STREAMS}


@dataclass(slots=True)
class Stored:
    """A message in a stream; sequences count from 1."""

    sequence: int
    subject: str
    data: bytes
    headers: dict[str, str]
    at_s: float


def covers(pattern: str, subject: str) -> bool:
    """Whether a subject is what a pattern asks for; a pattern ends in ``>`` or has no wildcard."""
    return subject.startswith(pattern[:-1]) if pattern.endswith(">") else subject == pattern


@dataclass
class Durable:
    """A reading position that survives: what is next, what is out, what comes again."""

    name: str
    stream: str
    pattern: str
    position: int = 0
    due_s: dict[int, float] = field(default_factory=dict)
    """Sequences that were delivered and not settled, and when they are given out again."""
    deliveries: dict[int, int] = field(default_factory=dict)
    lives: dict[int, object] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Broker:
    """The server's side. ``is_up`` false: nobody gets through; what is stored stays, unless ``lose_store``."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.is_up = True
        self.made_s = 0.0
        """When the streams were made: at the beginning, or after the last loss of the store."""
        self.on_up: list[Callable[[], None]] = []
        self.streams: dict[str, list[Stored]] = {}
        self.bucket: dict[str, bytes] = {}
        self.durables: dict[str, Durable] = {}
        self.dead_letters: list[Stored] = []
        self.on_stored: list[Callable[[Stored], None]] = []
        self._last: dict[str, dict[str, Stored]] = {}
        """By stream and subject the newest message."""
        self._seen: dict[str, OrderedDict[str, float]] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def publish(self, stream: str, subject: str, data: bytes, headers: dict[str, str]) -> int:
        """Store a message, unless its id was stored within the window; its sequence."""
        seen = self._seen.setdefault(stream, OrderedDict())
        key, now_s = headers.get("Nats-Msg-Id", ""), self._loop.time()
        window_s = WINDOWS_S[stream]
        while seen and next(iter(seen.values())) < now_s - window_s:
            seen.popitem(last=False)
        messages = self.streams.setdefault(stream, [])
        if key and key in seen:
            return len(messages)
        seen[key] = now_s
        stored = Stored(len(messages) + 1, subject, data, headers, now_s)
        messages.append(stored)
        self._last.setdefault(stream, {})[subject] = stored
        for told in self.on_stored:
            told(stored)
        if subject.startswith("dlq."):
            self.dead_letters.append(stored)
        self._notify(stream, subject)
        return stored.sequence

    def last(self, stream: str, subject: str) -> Stored | None:
        """The newest message on a subject."""
        return self._last.get(stream, {}).get(subject)

    def last_of_each(self, stream: str, pattern: str) -> list[Stored]:
        """The newest message on every subject that a pattern covers, in the order they were stored."""
        newest = (message for subject, message in self._last.get(stream, {}).items() if covers(pattern, subject))
        return sorted(newest, key=lambda message: message.sequence)

    def durable(self, name: str, stream: str, pattern: str) -> Durable:
        """A durable consumer, made when nobody asked for it before."""
        known = self.durables.get(name)
        if known is None:
            known = self.durables[name] = Durable(name, stream, pattern)
        return known

    async def next_of(self, durable: Durable, life: object) -> tuple[Stored, int]:
        """The next message to handle, and which delivery of it this is."""
        while True:
            found = self._take(durable) if self.is_up else None
            if found is not None:
                number = durable.deliveries.get(found.sequence, 0) + 1
                durable.deliveries[found.sequence] = number
                durable.due_s[found.sequence] = self._loop.time() + ACK_WAIT_S
                durable.lives[found.sequence] = life
                return found, number
            await self._until_something(durable)

    def settle(self, durable: Durable, sequence: int) -> None:
        """It was acknowledged, or terminated."""
        durable.due_s.pop(sequence, None)
        durable.lives.pop(sequence, None)

    def again_in(self, durable: Durable, sequence: int, delay_s: float) -> None:
        """It is to be delivered again."""
        if sequence in durable.due_s:
            durable.due_s[sequence] = self._loop.time() + delay_s
            durable.wake.set()

    def unread(self, durable: Durable) -> int:
        """How many messages were not delivered or not settled yet."""
        ahead = self.streams.get(durable.stream, [])[durable.position :]
        return len(durable.due_s) + sum(covers(durable.pattern, message.subject) for message in ahead)

    async def follow(self, stream: str, pattern: str, start: str, sequence: int | None) -> AsyncIterator[Stored]:
        """Messages in order for ever: from a sequence on, or from ``last``, ``all`` or ``new``. In streams that were
        made anew a sequence means nothing."""
        while True:
            async for message in self._follow_one(stream, pattern, start, sequence):
                yield message
            sequence = None

    async def _follow_one(self, stream: str, pattern: str, start: str, sequence: int | None) -> AsyncIterator[Stored]:
        """Until the store is lost."""
        made_s, position = self.made_s, len(self.streams.get(stream, []))
        if sequence is not None:
            position = max(0, sequence - 1)
        elif start == "all":
            position = 0
        elif start == "last":
            for message in self.last_of_each(stream, pattern):
                yield message
        while True:
            messages = self.streams.get(stream, [])
            while self.is_up and position < len(messages) and made_s == self.made_s:
                position += 1
                message = messages[position - 1]
                if covers(pattern, message.subject):
                    yield message
            if made_s != self.made_s:
                return
            news: asyncio.Future[None] = self._loop.create_future()
            self._waiting.setdefault(stream, []).append(news)
            await news

    def go_down(self) -> None:
        """Nobody gets through any more. What was out comes again when it is due."""
        self.is_up = False

    def come_up(self, *, store_lost: bool) -> None:
        """Serve again; with everything that was stored, or with nothing."""
        self.is_up = True
        if store_lost:
            self.made_s = self._loop.time()
            self.streams, self.bucket, self._seen, self._last = {}, {}, {}, {}
            for durable in self.durables.values():
                durable.position = 0
                durable.due_s, durable.deliveries, durable.lives = {}, {}, {}
        for stream in STREAMS:
            self._notify(stream.name)
        for tell in list(self.on_up):
            tell()

    def _take(self, durable: Durable) -> Stored | None:
        now_s = self._loop.time()
        messages = self.streams.get(durable.stream, [])
        due = [sequence for sequence, at_s in durable.due_s.items() if at_s <= now_s]
        if due:
            return messages[min(due) - 1]
        while durable.position < len(messages):
            message = messages[durable.position]
            durable.position += 1
            if covers(durable.pattern, message.subject):
                return message
        return None

    async def _until_something(self, durable: Durable) -> None:
        soon = min(durable.due_s.values(), default=None)
        timer = None if soon is None or not self.is_up else self._loop.call_at(soon, durable.wake.set)
        durable.wake.clear()
        try:
            await durable.wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _notify(self, stream: str, subject: str | None = None) -> None:
        for news in self._waiting.pop(stream, ()):
            if not news.done():
                news.set_result(None)
        for durable in self.durables.values():
            if durable.stream == stream and (subject is None or covers(durable.pattern, subject)):
                durable.wake.set()

    def everything(self) -> Iterator[tuple[str, Stored]]:
        """Every stored message with its stream."""
        for stream, messages in self.streams.items():
            for message in messages:
                yield stream, message
