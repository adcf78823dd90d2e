"""The only reader of time. Everything else receives time as an argument."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall clock for stamps and monotonic clock for durations."""

    def now_ns(self) -> int:
        """Unix time in nanoseconds."""
        ...

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary moment; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Unix time in nanoseconds."""
        return time.time_ns()

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary moment."""
        return time.monotonic_ns()


class ManualClock:
    """A clock that moves only when told to, for tests and simulations."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._now_ns = start_ms * 1_000_000

    def advance(self, milliseconds: int) -> None:
        """Move forward."""
        self._now_ns += milliseconds * 1_000_000

    def now_ns(self) -> int:
        """Unix time in nanoseconds."""
        return self._now_ns

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return self._now_ns // 1_000_000

    def monotonic_ns(self) -> int:
        """The same clock; it never goes back by itself."""
        return self._now_ns
