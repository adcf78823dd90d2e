"""A long series in parts: a line of a file for every few worlds, so that it can break off, go on and be added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from simulation.world import Outcome

WORLDS_IN_A_LINE = 20


@dataclass
class Part:
    """Some worlds of a series: which are still to be lived through, and what became of the others."""

    series: str
    seeds: tuple[int, ...]
    open: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    broken: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The series and its first and last seed."""
        return f"{self.series} {self.seeds[0]}..{self.seeds[-1]}"

    def line(self) -> bytes:
        """As one line of JSON."""
        row: dict[str, Any] = {"part": self.name, "worlds": len(self.seeds), **self.counts, "broken": self.broken}
        return orjson.dumps(row) + b"\n"


class SeriesFile:
    """What was lived through of a series, in a file. ``left`` are the seeds that are not in it yet."""

    def __init__(self, path: Path, series: str, seeds: Sequence[int]) -> None:
        self._path = path
        _cut_half_a_line(path)
        known = {row["part"] for row in _rows(path)}
        size = WORLDS_IN_A_LINE
        parts = [Part(series, tuple(seeds[start : start + size])) for start in range(0, len(seeds), size)]
        self._parts = [part for part in parts if part.name not in known]
        for part in self._parts:
            part.open = set(part.seeds)

    @property
    def left(self) -> list[int]:
        """Seeds in their order."""
        return [seed for part in self._parts for seed in part.seeds]

    def note(self, outcome: Outcome) -> None:
        """What became of a world; when it was the last of its part, a line is written."""
        part = next(part for part in self._parts if outcome.seed in part.open)
        part.open.discard(int(outcome.seed))
        part.counts += outcome.counts
        part.counts["violations"] += len(outcome.violations)
        if outcome.violations:
            part.broken[str(outcome.seed)] = outcome.violations
        if not part.open:
            with self._path.open("ab") as file:
                file.write(part.line())


def added_up(paths: Iterable[Path]) -> Counter[str]:
    """The sum of all lines of some files, each part once."""
    rows = {row["part"]: row for path in paths for row in _rows(path)}
    total: Counter[str] = Counter()
    for row in rows.values():
        total += Counter({name: count for name, count in row.items() if isinstance(count, int)})
    return total


def _cut_half_a_line(path: Path) -> None:
    """What a program left that was killed while it wrote."""
    text = path.read_bytes() if path.exists() else b""
    if text and not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from map(orjson.loads, path.read_bytes().splitlines())
