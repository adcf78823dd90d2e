"""An event loop without a clock, threads or sockets: when nothing is left to do it jumps to the next timer."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable
from contextvars import Context, copy_context
from heapq import heappush
from typing import Any

from simulation.lives import CURRENT, Life

START_NS = 1_700_000_000 * 10**9
"""Unix time at which every simulated world begins."""


class StalledError(RuntimeError):
    """Nothing is ready and nothing is scheduled: whoever waits would wait for ever."""


class _Handle(events.Handle):
    """A callback, made without the questions of a loop that may be closed or used by threads."""

    __slots__ = ()

    def __init__(self, callback: Callable[..., object], args: Any, loop: VirtualLoop, context: Context | None) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None

    def _run(self) -> None:
        life = self._context.get(CURRENT)
        if life is not None and life.held_back is not None:
            life.held_back.append(self)
        else:
            super()._run()


class _TimerHandle(events.TimerHandle):
    __slots__ = ()

    def _run(self) -> None:
        life = self._context.get(CURRENT)  # type: ignore[attr-defined]
        if life is not None and life.held_back is not None:
            life.held_back.append(self)
        else:
            super()._run()


class _Clockwork:
    """Stands where the loop has its selector, and lets time pass instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StalledError("nothing is ready and nothing is scheduled")
        if timeout > 0:
            self._loop.now_s += timeout
        return []

    def close(self) -> None:
        """Nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in their order and jumps over waiting. ``now_s`` counts from zero."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._selector = _Clockwork(self)
        self._clock_resolution = 1e-9
        self.network: Any = None
        """Where ``create_unix_server`` and ``create_unix_connection`` go: ``simulation.sockets.Network``."""

    def time(self) -> float:
        """Seconds since the world began."""
        return self.now_s

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> events.Handle:  # type: ignore[override]
        """Run a callback in its turn, unless its process is frozen then."""
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        """Run a callback when its time has come, unless its process is frozen then."""
        timer = _TimerHandle(when, callback, args, self, context)
        heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True
        return timer

    def thaw(self, life: Life) -> None:
        """Let a frozen process go on with everything that was held back."""
        held, life.held_back = life.held_back or [], None
        self._ready.extend(held)  # type: ignore[attr-defined]

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """There are no threads: the work is done at once."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  handed to whoever waits, as an executor does
            future.set_exception(error)
        return future

    async def create_unix_server(self, factory: Any, path: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Listen in memory."""
        return await self.network.serve(factory, **options)

    async def create_unix_connection(self, factory: Any, path: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Connect in memory."""
        return await self.network.connect(factory, path, **options)

    def _process_events(self, event_list: list[Any]) -> None:
        """No events come from outside."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who must be woken."""


class VirtualClock:
    """``dexlane.runtime.clock.Clock`` on the loop's time. The wall clock can be set off; the monotonic one never is."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.off_by_ns = 0

    def now_ns(self) -> int:
        """Unix time in nanoseconds, as this machine believes."""
        return START_NS + self.monotonic_ns() + self.off_by_ns

    def now_ms(self) -> int:
        """The same in milliseconds."""
        return self.now_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        """Nanoseconds since the world began."""
        return round(self._loop.now_s * 1e9)
