"""The PostgreSQL that the journals lie on: its processes, and the line to it, which can lose the answer of a commit."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import asyncpg

from crash_rows import database_of
from dexlane.testing.servers import LocalPostgres
from dexlane_cli import probes
from dexlane_cli.journals import PACKAGES
from dexlane_cli.launching import ProcessSpec

DATABASE = "postgres"
COMMIT = b"COMMIT;\0"
"""How asyncpg asks for it: one simple query."""
WAY_OF_CUT = ("before the server had it", "while the server had it", "after the server answered")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitFaults:
    """Chances that the link breaks at a commit: before it went on, with it, or in place of its answer."""

    before: float = 0.0
    during: float = 0.0
    after: float = 0.0


def processes(postmaster: int) -> list[int]:
    """The server and all its backends. Each backend has a session of its own, so a process group does not name them."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children")
    with contextlib.suppress(OSError):
        return [postmaster, *map(int, children.read_text().split())]
    return [postmaster]


def database_spec(prepared: LocalPostgres) -> ProcessSpec:
    """The server as a kept process."""
    as_user = () if prepared.user is None else ("setpriv", "--reuid", prepared.user, "--clear-groups")
    return ProcessSpec(
        name=DATABASE, command=(*as_user, *prepared.command), ready=probes.tcp(port_of(prepared)), tier=0
    )


def port_of(prepared: LocalPostgres) -> int:
    """Where the server itself listens."""
    return int(prepared.url.rsplit(":", 1)[1].partition("/")[0])


async def create_databases(prepared: LocalPostgres) -> None:
    """One for each journal."""
    connection = await asyncpg.connect(prepared.url)
    try:
        for name in PACKAGES:
            await connection.execute(f"CREATE DATABASE {database_of(name)}")
    finally:
        await connection.close()


class DatabaseLine:
    """Between the services and the server. Passes everything on, but for commits that chance lets break the link."""

    def __init__(self, server_port: int, *, seed: int) -> None:
        self.faults = CommitFaults()
        self.cuts: Counter[str] = Counter()
        self.commits = 0
        self._server_port = server_port
        self._chance = random.Random(f"database {seed}")
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where services connect."""
        if self._server is None:
            raise RuntimeError("the line is not there yet")
        return int(self._server.sockets[0].getsockname()[1])

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._open.add(task)
        server: asyncio.StreamWriter | None = None
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self._server_port)
            link = _Link(reader, writer, answers, server)
            up = asyncio.create_task(self._pass_up(link))
            down = asyncio.create_task(link.pass_down())
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            for way in (up, down):
                way.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        except OSError:  # the server is dead: the service finds its link broken
            return
        finally:
            self._open.discard(task)
            for end in (writer, server):
                if end is not None:
                    end.transport.abort()

    async def _pass_up(self, link: _Link) -> None:
        while data := await link.reader.read(1 << 16):
            if data[:1] == b"Q" and data[5:] == COMMIT:
                self.commits += 1
                cut = self._cut()
                if cut is not None:
                    self.cuts[cut] += 1
                    await link.break_at(data, cut)
                    return
            link.server.write(data)
            await link.server.drain()

    def _cut(self) -> str | None:
        faults, roll = self.faults, self._chance.random()
        for chance, way in zip((faults.before, faults.during, faults.after), WAY_OF_CUT, strict=True):
            roll -= chance
            if roll < 0:
                return way
        return None

    def counted(self) -> Iterator[str]:
        """What happened, for a person."""
        yield f"{self.commits} commits went to the database"
        yield from (f"{count} cut {way}" for way, count in sorted(self.cuts.items()))


@dataclass
class _Link:
    """One connection of a service, and its other half to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    answers: asyncio.StreamReader
    server: asyncio.StreamWriter
    is_mute: bool = False

    async def pass_down(self) -> None:
        """Answers, until the link is over. A mute link waits for the answer of the commit and keeps it."""
        while data := await self.answers.read(1 << 16):
            if self.is_mute:
                return
            self.writer.write(data)
            await self.writer.drain()

    async def break_at(self, commit: bytes, way: str) -> None:
        """The link ends at this commit."""
        if way == WAY_OF_CUT[0]:
            return
        self.is_mute = True
        self.server.write(commit)
        await self.server.drain()
        if way == WAY_OF_CUT[2]:
            await asyncio.Event().wait()  # until the answer came, and was kept
