"""Unix sockets between simulated processes: real protocols on transports that lose, delay and break off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulation.lives import CURRENT, DiedError, Life, crossing

Factory = Callable[[], asyncio.Protocol]


def _living() -> Life:
    life = CURRENT.get()
    if life is None or not life.alive:
        raise DiedError("" if life is None else life.name)
    return life


class Pipe(asyncio.Transport):
    """One end of a connection. What is written arrives later at the other end, in order, or breaks both off."""

    def __init__(self, loop: asyncio.AbstractEventLoop, life: Life, context: Context) -> None:
        super().__init__()
        self._loop = loop
        self._life = life
        self._context = context
        self._protocol: asyncio.Protocol | None = None
        self._peer: Pipe | None = None
        self._is_closing = False
        self._arrives_s = 0.0
        life.pipes[self] = None

    def join(self, peer: Pipe, protocol: asyncio.Protocol) -> None:
        """Serve a protocol; the other end is ``peer``."""
        self._peer, self._protocol = peer, protocol

    def call(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> None:
        """Run something in the process of this end."""
        self._loop.call_later(delay_s, callback, *arguments, context=self._context)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, unless the connection breaks off before or after."""
        if self._is_closing or self._peer is None:
            return
        crossing("socket.write:before")
        world: Any = _living().process.witness
        lost = world.link_breaks(self._life)
        if lost != "before":
            now_s = self._loop.time()
            self._arrives_s = max(self._arrives_s, now_s + world.delay_s(self._life, "socket"))
            self._peer.call(self._arrives_s - now_s, self._peer.arrive, bytes(data))
        if lost is not None:
            self.close()

    def arrive(self, data: bytes) -> None:
        """Data from the other end."""
        if self._life.alive and not self._is_closing and self._protocol is not None:
            self._protocol.data_received(data)

    def close(self) -> None:
        """Break off at both ends: the other one hears of it after everything that was written."""
        if self._is_closing:
            return
        self._is_closing = True
        self._life.pipes.pop(self, None)
        if self._protocol is not None:
            self.call(0.0, self._protocol.connection_lost, None)
        if self._peer is not None:
            self._peer.call(max(0.0, self._arrives_s - self._loop.time()) + 0.001, self._peer.close)

    def abort(self) -> None:
        """The same."""
        self.close()

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing: who the other end is was asked of the kernel."""
        return default

    def pause_reading(self) -> None:
        """Never full."""

    def resume_reading(self) -> None:
        """Never paused."""


@dataclass
class _Listening:
    factory: Factory
    life: Life
    context: Context


class _Server:
    """What ``create_unix_server`` returns."""

    def __init__(self, network: Network, path: str) -> None:
        self._network, self._path = network, path

    def close(self) -> None:
        """Listen no more."""
        self._network.listening.pop(self._path, None)


class Network:
    """The sockets of one machine, by their paths."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.listening: dict[str, _Listening] = {}

    async def serve(self, factory: Factory, *, sock: Path) -> _Server:
        """As ``loop.create_unix_server``, with a path where the real one has a socket."""
        self.listening[str(sock)] = _Listening(factory, _living(), copy_context())
        return _Server(self, str(sock))

    async def connect(self, factory: Factory, path: str) -> tuple[Pipe, asyncio.Protocol]:
        """As ``loop.create_unix_connection``. ``ConnectionRefusedError`` when nobody listens."""
        life = _living()
        world: Any = life.process.witness
        await asyncio.sleep(world.latency_s("socket"))
        there = self.listening.get(path)
        if there is None or not there.life.alive or there.life.held_back is not None:
            raise ConnectionRefusedError(f"nobody listens on {Path(path).name}")
        ours, theirs = Pipe(self._loop, _living(), copy_context()), Pipe(self._loop, there.life, there.context.copy())
        protocol, served = factory(), there.factory()
        ours.join(theirs, protocol)
        theirs.join(ours, served)
        protocol.connection_made(ours)
        theirs.call(0.0, served.connection_made, theirs)
        return ours, protocol
