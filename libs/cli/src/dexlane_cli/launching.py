"""How a process comes into being: executed, or forked from a process that has imported what it needs; and to whom it is
made known before it does anything."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dexlane_cli.caretaker import Charge
from dexlane_cli.errors import CommandError
from dexlane_cli.fork_server import READY, Request
from dexlane_cli.probes import Probe

Report = Callable[[str, str], None]
"""Called with a process name and a line worth showing to a person."""

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
IMPORTED_WITHIN_S = 60.0
FORKED_WITHIN_S = 5.0
ROOM_FOR_NAMES = "." * 250
"""A forked process can show no longer command than the fork server's own."""
WHEN_KNOWN = 'read -r go && exec "$@"'
"""A shell's word for: wait for a line, then be the command; end where nobody will say it."""
STOPPED_WITHIN_S = 35.0
"""More than a caretaker takes for three tiers that are all stubborn."""


@dataclass(frozen=True)
class ProcessSpec:
    """A process to keep alive. Processes of one ``tier`` start together, after the tiers below are ready.

    ``niceness`` above zero gives way to the others when processors are short. One that is not ``restartable`` takes
    everything down with it, because the others cannot go on without its state. ``forkable``: its command is a Python
    script of this environment, which the fork server may run.
    """

    name: str
    command: tuple[str, ...]
    ready: Probe
    tier: int
    environment: Mapping[str, str] = field(default_factory=dict)
    restartable: bool = True
    niceness: int = 0
    ready_timeout_s: float = 60.0
    forkable: bool = False


@dataclass(frozen=True)
class Output:
    """The pipe that a process speaks into, by the descriptors of its two ends, and the log that is written of it."""

    reading: int
    writing: int
    log: Path


class Process(Protocol):
    """A child process of this one."""

    @property
    def pid(self) -> int:
        """Its id, also after its end."""

    @property
    def returncode(self) -> int | None:
        """None while it runs, then its exit code, or the number of the signal that ended it, negative."""

    async def wait(self) -> int:
        """Wait for its end; returns the exit code."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless it has ended."""


class Launcher(Protocol):
    """Makes processes."""

    async def start(self, spec: ProcessSpec, output: Output) -> Process:
        """Start it in a process group of its own, so that a Ctrl-C reaches only the supervisor. A session of its own
        would do that, too, but Linux weighs sessions before it looks at niceness (sched(7), autogroups). The
        caretaker, if there is one, knows it before it does anything."""

    def close(self) -> None:
        """Nothing more will be started."""


class Executing:
    """Executes the command."""

    def __init__(self, caretaker: Caretaker | None = None) -> None:
        self._caretaker = caretaker

    async def start(self, spec: ProcessSpec, output: Output) -> Process:
        """``CommandError`` when there is no such program."""
        if shutil.which(spec.command[0]) is None:
            raise CommandError(f"{spec.command[0]} is not installed; run `make setup`")
        waiting, go = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", WHEN_KNOWN, "sh"),
                *(("nice", "-n", str(spec.niceness)) if spec.niceness else ()),
                *spec.command,
                env={**os.environ, **spec.environment},
                stdin=waiting,
                stdout=output.writing,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            if self._caretaker is not None:
                self._caretaker.keep(process.pid, spec, output)
            os.write(go, b"\n")
            return process
        finally:
            os.close(waiting)
            os.close(go)

    def close(self) -> None:
        """Nothing is held."""


class Adopted:
    """A forked process that the kernel made a child of this one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._watched = os.pidfd_open(pid)
        self._loop.add_reader(self._watched, self._reap)

    @property
    def returncode(self) -> int | None:
        """As of ``Process``."""
        return self._ended.result() if self._ended.done() else None

    def _reap(self) -> None:
        self._loop.remove_reader(self._watched)
        os.close(self._watched)
        self._ended.set_result(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))

    async def wait(self) -> int:
        """As of ``Process``."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int, /) -> None:
        """As of ``Process``."""
        if not self._ended.done():
            os.kill(self.pid, number)


class ForkServer:
    """The fork server's process and the line to it. It begins to import at once: the module ``preload``."""

    def __init__(self, preload: str = "dexlane_cli.shared_imports") -> None:
        self.link, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dexlane_cli.fork_server", str(theirs.fileno()), preload, ROOM_FOR_NAMES],
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
        self._hearing = asyncio.Lock()
        self._is_ready = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        return self._process.wait()

    @staticmethod
    def is_possible() -> bool:
        """Whether this system lets a process adopt what another one forked."""
        return sys.platform == "linux" and hasattr(os, "pidfd_open")

    async def ready(self) -> None:
        """Return when it can be asked. ``OSError`` when it ended, or took too long."""
        async with self._hearing:
            if self._is_ready:
                return
            self.link.setblocking(False)
            heard = asyncio.get_running_loop().sock_recv(self.link, len(READY))
            if await asyncio.wait_for(heard, IMPORTED_WITHIN_S) != READY:
                raise ConnectionError("it ended")
            self.link.settimeout(FORKED_WITHIN_S)
            self._is_ready = True

    def fork(self, spec: ProcessSpec, output: Output, caretaker: Caretaker | None) -> Adopted:
        """A new process. ``OSError`` when there is none; then there will be none later, either.

        This blocks for the milliseconds of a fork, so that nothing can come between question and answer.
        """
        waiting, go = os.pipe()
        try:
            request = Request(spec.command, {**os.environ, **spec.environment}, spec.niceness, output.writing, waiting)
            text = request.encoded()
            with _adopting():
                sent = socket.send_fds(self.link, [text], [output.writing, waiting])
                self.link.sendall(text[sent:])
                answer = self.link.recv(4096).decode().split(maxsplit=1)
            if not answer or answer[0] == "0":
                raise ConnectionError(answer[1].strip() if len(answer) > 1 else "it ended")
            pid = int(answer[0])
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # an error unless it is our child
            process = Adopted(pid)
            if caretaker is not None:
                caretaker.keep(pid, spec, output)
            os.write(go, b"!")
            return process
        finally:
            os.close(waiting)
            os.close(go)

    def close(self) -> None:
        """End it. What it forked lives on."""
        self.link.close()
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Orphans below this process become its children; no longer than needed, because each must be waited for."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Forking:
    """Has what can be forked forked, and executes everything else; all of it once the fork server does not answer."""

    def __init__(self, server: ForkServer, report: Report, caretaker: Caretaker | None = None) -> None:
        self._server: ForkServer | None = server
        self._report = report
        self._caretaker = caretaker
        self._executing = Executing(caretaker)

    async def start(self, spec: ProcessSpec, output: Output) -> Process:
        """As of ``Launcher``."""
        server = self._server
        if server is not None and spec.forkable:
            try:
                await server.ready()
                return server.fork(spec, output, self._caretaker)
            except OSError as error:
                if self._server is server:
                    self._report("supervisor", f"the fork server is of no use ({error}); services start without it")
                    self.close()
        return await self._executing.start(spec, output)

    def close(self) -> None:
        """End the fork server."""
        if self._server is not None:
            self._server.close()
            self._server = None


class Caretaker:
    """The caretaker's process and the line to it. The descriptor ``lock`` is one more that it holds until its end."""

    def __init__(self, lock: int, pid_file: Path, report: Report) -> None:
        self._link, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dexlane_cli.caretaker", str(theirs.fileno()), str(pid_file)],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lock),
                process_group=0,
            )
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._link, self._lost)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def _lost(self) -> None:
        self._loop.remove_reader(self._link)
        self._report(
            "supervisor",
            "the caretaker ended: if this process is killed, too, what it started goes on; start anew to have one",
        )

    def keep(self, pid: int, spec: ProcessSpec, output: Output) -> None:
        """Have a process stopped once this one is gone."""
        charge = Charge(pid, spec.tier, output.log)
        with contextlib.suppress(ConnectionError):  # it ended, and that was told
            socket.send_fds(self._link, [charge.encoded()], [output.reading])

    def close(self) -> None:
        """End it, when there is nothing left to take care of; what outlived its own parent is ended, too."""
        self._loop.remove_reader(self._link)
        self._link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOPPED_WITHIN_S)
        self._process.kill()
        self._process.wait()
