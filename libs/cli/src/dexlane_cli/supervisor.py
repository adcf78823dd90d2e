"""A small supervisor for one machine: start in order of readiness, restart with back-off, stop in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import orjson

from dexlane_cli.caretaker import GRACE_S, append
from dexlane_cli.errors import CommandError
from dexlane_cli.launching import Executing, Launcher, Output, Process, ProcessSpec, Report

RESTART_BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
STABLE_AFTER_S = 60.0
LINE_LIMIT_BYTES = 4 * 1024 * 1024


def error_reason(line: str) -> str:
    """The reason that a service's JSON log line of an error gives; empty for any other line."""
    if not line.startswith('{"ts"'):
        return ""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return ""
    return str(record.get("reason", "")) if record.get("level") == "error" else ""


class Child:
    """One kept process and its log file."""

    def __init__(self, spec: ProcessSpec, log_dir: Path, report: Report, launcher: Launcher) -> None:
        self.spec = spec
        self._launcher = launcher
        self._log_path = log_dir / f"{spec.name}.log"
        self._report = report
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._stopped = False
        self.restarts = 0
        self.last_words = ""
        """The reason of the last error it logged, else its last line."""
        self._said_why = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start the process and read what it says; nothing once it was stopped."""
        async with self._changing:
            if not self._stopped:
                await self._start()

    async def _start(self) -> None:
        reading, writing = os.pipe()
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, reading)
            try:
                self._process = await self._launcher.start(self.spec, Output(reading, writing, self._log_path))
            finally:
                os.close(writing)
            undo.pop_all()
        self._reader = asyncio.create_task(self._read(os.fdopen(reading, "rb", buffering=0)))

    async def _read(self, output: BinaryIO) -> None:
        """Read to the end, whatever becomes of what was read: a process whose output nobody reads fails with it."""
        lines = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), output
        )
        with contextlib.closing(transport):
            while True:
                try:
                    line = await lines.readline()
                except ValueError:  # the line is too long, and dropped
                    continue
                if not line:
                    return
                append(self._log_path, line)
                text = line.decode(errors="replace").rstrip()
                if text:
                    self._remember(text)
                    self._report(self.spec.name, text)

    def _remember(self, text: str) -> None:
        reason = error_reason(text)
        if reason or not self._said_why:
            self.last_words, self._said_why = reason or text, bool(reason)

    async def wait(self) -> int:
        """Wait for the end of the process and of its output; returns the exit code."""
        if self._process is None:
            return 0
        code = await self._process.wait()
        if self._reader is not None:
            await self._reader
        return code

    async def stop(self) -> None:
        """Ask to end, then insist. What is being started is waited for, and nothing is started after it."""
        async with self._changing:
            self._stopped = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), GRACE_S)
        except TimeoutError:
            self._report(self.spec.name, f"did not end within {GRACE_S:.0f} s and is killed")
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            await process.wait()


class Supervisor:
    """Keeps a set of processes alive until ``stop``. ``backoff_s``: how long the first, second, ... restart waits.

    The launcher is closed by ``stop``; without one every process is executed.
    """

    def __init__(
        self,
        specs: list[ProcessSpec],
        log_dir: Path,
        report: Report,
        *,
        backoff_s: Sequence[float] = RESTART_BACKOFF_S,
        launcher: Launcher | None = None,
    ) -> None:
        self._launcher = launcher or Executing()
        self.children = {spec.name: Child(spec, log_dir, report, self._launcher) for spec in specs}
        self._report = report
        self._backoff_s = backoff_s
        self._stopping = False
        self._watchers: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def start(self, between_tiers: Mapping[int, Callable[[], object]] | None = None) -> None:
        """Start tier by tier. ``between_tiers[n]`` is awaited after tier n is ready."""
        for tier in sorted({child.spec.tier for child in self.children.values()}):
            batch = [child for child in self.children.values() if child.spec.tier == tier]
            for child in batch:
                await child.start()
                self._watchers.append(asyncio.create_task(self._watch(child)))
            await asyncio.gather(*(self._until_ready(child) for child in batch))
            after = (between_tiers or {}).get(tier)
            if after is not None:
                result = after()
                if asyncio.iscoroutine(result):
                    await result

    async def _until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + child.spec.ready_timeout_s
        reason: bool | str = "not started"
        while time.monotonic() < deadline:
            if self.failed.done():
                raise CommandError(self.failed.result())
            reason = await child.spec.ready()
            if reason is True:
                return
            await asyncio.sleep(0.1)
        raise CommandError(
            f"{child.spec.name} was not ready after {child.spec.ready_timeout_s:.0f} s ({reason}); "
            f"its last words were: {child.last_words or 'nothing'}"
        )

    async def _watch(self, child: Child) -> None:
        while True:
            began = time.monotonic()
            code = await child.wait()
            if self._stopping:
                return
            if not child.spec.restartable or code == 2:
                self._fail(f"{child.spec.name} ended with exit code {code}: {child.last_words}")
                return
            if time.monotonic() - began > STABLE_AFTER_S:
                child.restarts = 0
            delay = self._backoff_s[min(child.restarts, len(self._backoff_s) - 1)]
            child.restarts += 1
            self._report("supervisor", f"{child.spec.name} ended with exit code {code}; again in {delay:g} s")
            await asyncio.sleep(delay)
            await self._start_again(child)

    async def _start_again(self, child: Child) -> None:
        """Also where the system has no memory or no descriptor left for a process at the moment."""
        while True:
            try:
                return await child.start()
            except (OSError, CommandError) as error:
                self._report("supervisor", f"{child.spec.name} could not be started: {error}")
                await asyncio.sleep(self._backoff_s[-1])

    def _fail(self, sentence: str) -> None:
        if not self.failed.done():
            self.failed.set_result(sentence)

    async def stop(self) -> None:
        """Stop tier by tier, the last started first."""
        self._stopping = True
        self._launcher.close()
        for tier in sorted({child.spec.tier for child in self.children.values()}, reverse=True):
            await asyncio.gather(*(child.stop() for child in self.children.values() if child.spec.tier == tier))
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
