"""Last values with their age. A reader states how old a value may be and gets nothing older."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from dexlane.runtime.errors import Transient

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

CLOCK_STEP_MS = 1_000
"""Clocks are put right by less than this without meaning anything."""


class Stale(Transient):
    """A side value is missing or older than its reader accepts."""


class Latest(Generic[T]):
    """The last value of something, and when it was received (Unix milliseconds).

    A value from the future was received before the clock went back; nobody knows how old it is, so it is not fresh.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._value: T | None = None
        self._at_ms = 0

    def set(self, value: T, at_ms: int) -> None:
        """Remember a newer value."""
        self._value, self._at_ms = value, at_ms

    def get(self) -> T | None:
        """The value whatever its age; None when there never was one."""
        return self._value

    def age_ms(self, now_ms: int) -> int | None:
        """How old the value is; None when there is none."""
        return None if self._value is None else max(0, now_ms - self._at_ms)

    def fresh(self, now_ms: int, max_age_ms: int) -> T:
        """The value, or ``Stale`` when there is none of at most that age."""
        if self._value is None:
            raise Stale(f"there is no {self._name} yet")
        age = now_ms - self._at_ms
        if age < -CLOCK_STEP_MS:
            raise Stale(f"the last {self._name} came before the clock went back by {-age} ms or more")
        if age > max_age_ms:
            raise Stale(f"the last {self._name} is {age} ms old, more than {max_age_ms} ms")
        return self._value


class LatestByKey(Generic[K, T]):
    """The last value for each key."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: dict[K, Latest[T]] = {}

    def set(self, key: K, value: T, at_ms: int) -> None:
        """Remember a newer value of one key."""
        self._values.setdefault(key, Latest(f"{self._name} of {key}")).set(value, at_ms)

    def get(self, key: K) -> T | None:
        """The value whatever its age; None when there never was one."""
        latest = self._values.get(key)
        return None if latest is None else latest.get()

    def fresh(self, key: K, now_ms: int, max_age_ms: int) -> T:
        """The value, or ``Stale`` when there is none of at most that age."""
        latest = self._values.get(key)
        if latest is None:
            raise Stale(f"there is no {self._name} of {key} yet")
        return latest.fresh(now_ms, max_age_ms)

    def values(self) -> Iterator[T]:
        """All last values."""
        for latest in self._values.values():
            value = latest.get()
            if value is not None:
                yield value
