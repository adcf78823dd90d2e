"""The only place of this package that reads a clock."""

import time


def monotonic_s() -> float:
    """Seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()


def wall_s() -> int:
    """Unix time in whole seconds; used once per start, to bring the loaded chain to the present."""
    return int(time.time())
