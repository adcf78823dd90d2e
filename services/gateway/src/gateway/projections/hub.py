"""Fan-out to live clients: a bounded queue for each, oldest dropped first, and the client is told of the gap."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import orjson

OVERVIEW = "overview"
FEED = "feed"
GAP = "gap"
ENVELOPE_VERSION = 1


def frame(name: str, data: bytes, at_ms: int) -> bytes:
    """A message to a client: the envelope around data that is JSON already."""
    head = orjson.dumps({"version": ENVELOPE_VERSION, "event": name, "as_of": {"at_ms": at_ms}})
    return head[:-1] + b',"data":' + data + b"}"


class Client:
    """One connected client. Messages under a conflated name replace the one that still waits."""

    def __init__(self, size: int, address: str = "") -> None:
        self.address = address
        self.names: frozenset[str] = frozenset()
        self._size = size
        self._queue: deque[bytes] = deque()
        self._conflated: dict[str, bytes] = {}
        self._dropped = 0
        self._ready = asyncio.Event()

    def put(self, message: bytes) -> bool:
        """Queue a message; False when an older one had to go for it."""
        full = len(self._queue) >= self._size
        if full:
            self._queue.popleft()
            self._dropped += 1
        self._queue.append(message)
        self._ready.set()
        return not full

    def put_latest(self, name: str, message: bytes) -> None:
        """Queue a message of which only the newest counts."""
        self._conflated[name] = message
        self._ready.set()

    async def next(self, now_ms: Callable[[], int]) -> bytes:
        """The next message; a gap is told before what follows it."""
        while True:
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                return frame(GAP, orjson.dumps({"dropped": dropped}), now_ms())
            if self._queue:
                return self._queue.popleft()
            if self._conflated:
                return self._conflated.pop(next(iter(self._conflated)))
            self._ready.clear()
            await self._ready.wait()


class Hub:
    """All connected clients."""

    def __init__(self, *, max_clients: int, queue_size: int, max_per_address: int | None = None) -> None:
        self._max_clients = max_clients
        self._max_per_address = max_per_address or max_clients
        self._queue_size = queue_size
        self._clients: set[Client] = set()
        self.dropped = 0

    @property
    def size(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    def join(self, address: str = "") -> Client | None:
        """A new client; None when there are too many, at all or of its address."""
        of_address = sum(client.address == address for client in self._clients)
        if len(self._clients) >= self._max_clients or of_address >= self._max_per_address:
            return None
        client = Client(self._queue_size, address)
        self._clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        """Forget a client."""
        self._clients.discard(client)

    def wanted(self, name: str) -> bool:
        """Whether anybody subscribed to this name."""
        return any(name in client.names for client in self._clients)

    def send(self, name: str, data: bytes, at_ms: int) -> None:
        """Queue a message for everybody who subscribed to its name."""
        clients = self._subscribers(name)
        message = frame(name, data, at_ms) if clients else b""
        for client in clients:
            if not client.put(message):
                self.dropped += 1

    def send_latest(self, name: str, data: bytes, at_ms: int) -> None:
        """The same for a name of which only the newest message counts."""
        clients = self._subscribers(name)
        message = frame(name, data, at_ms) if clients else b""
        for client in clients:
            client.put_latest(name, message)

    def _subscribers(self, name: str) -> list[Client]:
        return [client for client in self._clients if name in client.names]
