"""Pools that may be watched one day, in a line of bounded length that is looked at from its front."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dexlane.chain.factories import NewPool


@dataclass(slots=True)
class Candidate:
    """A pool, whether it was watched before, how often it was looked at, and how often in a row the node could not give
    it."""

    new: NewPool
    followed: bool = False
    screened: int = 0
    failed: int = 0


class Candidates:
    """The line. Whoever was looked at goes to its end."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._line: dict[str, Candidate] = {}

    def __len__(self) -> int:
        return len(self._line)

    def __contains__(self, address: str) -> bool:
        return address in self._line

    def __iter__(self) -> Iterator[Candidate]:
        return iter(list(self._line.values()))

    def add(self, new: NewPool, *, followed: bool = False) -> bool:
        """Put a pool at the end. Where there is no room the one at the front goes, unless nobody looked at it yet: then
        the new one is refused."""
        if new.address in self._line:
            return True
        if len(self._line) >= self._capacity:
            front = next(iter(self._line), None)
            if front is None or not self._line[front].screened:
                return False
            del self._line[front]
        self._line[new.address] = Candidate(new, followed)
        return True

    def put_first(self, followed: Iterable[NewPool]) -> None:
        """Put pools at the front, room or not: they were watched a moment ago."""
        first = {new.address: Candidate(new, followed=True) for new in followed}
        self._line = first | {address: each for address, each in self._line.items() if address not in first}

    def looked_at(self, candidate: Candidate) -> None:
        """Send one to the end of the line."""
        if self._line.pop(candidate.new.address, None) is not None:
            candidate.screened += 1
            self._line[candidate.new.address] = candidate

    def remove(self, address: str) -> None:
        """Take one out."""
        self._line.pop(address, None)
