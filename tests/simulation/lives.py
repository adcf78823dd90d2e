"""Simulated processes: a life is what dies in a crash; its disk is what stays."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol


class DiedError(BaseException):
    """This process is gone at this instruction. Nothing may catch it."""


class Witness(Protocol):
    """Who is told of every boundary that is crossed, and may let the process die there."""

    def crossing(self, life: Life, point: str) -> None:
        """``life`` is at ``point``; raises ``DiedError`` when it ends there."""
        ...


@dataclass
class Life:
    """One life of a process, from its start to its crash. ``number`` counts from 1."""

    process: Process
    number: int
    alive: bool = True
    tasks: dict[asyncio.Task[Any], None] = field(default_factory=dict)
    connections: list[sqlite3.Connection] = field(default_factory=list)
    pipes: dict[asyncio.Transport, None] = field(default_factory=dict)
    service: Any = None
    """What it runs: a ``Service``, or a signer."""
    held_back: list[asyncio.Handle] | None = None
    """What it does when it goes on, in order, while it is frozen; None while it is not."""
    last_answer: str | None = None
    """How its last transaction was answered, for the table of pairs."""

    @property
    def name(self) -> str:
        """The service that it runs: several instances share its name and its disk."""
        return self.process.service

    def end(self) -> None:
        """Nothing of it acts any more: its tasks end where they wait, open transactions are rolled back."""
        if not self.alive:
            return
        self.alive = False
        for connection in self.connections:
            connection.close()
        for pipe in list(self.pipes):
            pipe.close()
        for task in list(self.tasks):
            task.cancel()


CURRENT: ContextVar[Life | None] = ContextVar("life", default=None)
"""The life whose code runs at this moment; None for the world itself."""


@dataclass
class Process:
    """An instance of a service that is started again whenever it ended. ``build`` makes its service anew."""

    name: str
    service: str
    build: Callable[[], Any]
    witness: Witness
    life: Life | None = None
    lives: int = 0

    @property
    def is_up(self) -> bool:
        """Whether it runs and has started."""
        return self.life is not None and self.life.alive and bool(getattr(self.life.service, "_started", False))


def crossing(point: str) -> None:
    """The running process is at a boundary of a side effect. Raises ``DiedError`` when it is, or gets, dead."""
    life = CURRENT.get()
    if life is None:
        return
    if not life.alive:
        raise DiedError(life.name)
    life.process.witness.crossing(life, point)


def counted_tasks(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    """A task factory: every task belongs to the life that made it."""
    task = asyncio.Task(coro, loop=loop, **options)
    life = CURRENT.get()
    if life is not None:
        life.tasks[task] = None
        task.add_done_callback(lambda done: life.tasks.pop(done, None))
        if not life.alive:
            task.cancel()
    return task
