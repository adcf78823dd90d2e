"""Connections of strangers: each has little time, and where all places are taken it is not the newcomer who goes.

uvicorn's ``limit_concurrency`` is not used: it refuses whoever comes last, so that idle strangers would lock the owner
out, and nothing in uvicorn ends a connection that sends its request byte by byte or does not read its answer.
"""

from __future__ import annotations

import ipaddress
from asyncio import BaseTransport, Transport
from collections import Counter
from typing import Any, Protocol, cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

MOST_CONNECTIONS = 256
"""Of HTTP at once. The usual limit of descriptors is 1,024, and bus, journal and nodes need some."""
EXCHANGE_S = 15.0
"""So long a client may take to ask, from the first byte or from the answer before, and then to read its answer."""


class HttpConnection(H11Protocol):
    """A connection that knows since when its client could have done something."""

    def __init__(self, *, server_state: Connections, **given: Any) -> None:
        super().__init__(server_state=server_state, **given)
        self._all = server_state
        self.since_s = self.loop.time()

    @property
    def address(self) -> str:
        """Of the peer, which may be a proxy."""
        return self.client[0] if self.client else ""

    @property
    def is_waiting(self) -> bool:
        """Whether it is the client that has something to do: to ask, to finish asking, or to read."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body or self.flow.write_paused

    def is_overdue(self, now_s: float) -> bool:
        """Whether its time is over. While the server works it stands still, and begins anew with the answer."""
        if not self.is_waiting:
            self.since_s = now_s
        return now_s - self.since_s > EXCHANGE_S

    def connection_made(self, transport: BaseTransport) -> None:
        """Come in; somebody else may have to go."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._all.make_room(self)

    def on_response_complete(self) -> None:
        """Begin anew with the next request."""
        self.since_s = self.loop.time()
        super().on_response_complete()


class Timed(Protocol):
    """A connection of either kind."""

    transport: Transport

    def is_overdue(self, now_s: float) -> bool:
        """Whether its time is over."""
        ...


class Connections(ServerState):
    """All connections of one server."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def make_room(self, newcomer: HttpConnection) -> None:
        """Where there are too many, the one goes that has waited longest, of the address that has most: another
        machine's before this machine's own. Only where none waits the newcomer goes."""
        here = [one for one in self.connections if isinstance(one, HttpConnection)]
        if len(here) <= self._most:
            return
        counts = Counter(one.address for one in here)
        waiting = [one for one in here if one.is_waiting and one is not newcomer]
        going = max(
            waiting,
            key=lambda one: (not _is_of_this_machine(one.address), counts[one.address], -one.since_s),
            default=newcomer,
        )
        self.connections.discard(going)  # it is lost a moment later, and counts no longer
        going.transport.abort()

    def end_overdue(self, now_s: float) -> None:
        """End those whose time is over, also where they have not read what was sent."""
        for one in cast("list[Timed]", list(self.connections)):
            if one.is_overdue(now_s):
                one.transport.abort()


def _is_of_this_machine(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
