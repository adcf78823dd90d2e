"""A long series goes on where its file ends, and its lines add up."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from simulation.long_series import WORLDS_IN_A_LINE, SeriesFile, added_up
from simulation.world import Outcome


def an_outcome(seed: int, *violations: str) -> Outcome:
    return Outcome(seed, "", list(violations), [], Counter(crashes=3), set())


def lived_through(path: Path, last: int, stop_after: int) -> SeriesFile:
    series = SeriesFile(path, "crashes", range(1, last + 1))
    for seed in series.left[:stop_after]:
        series.note(an_outcome(seed))
    return series


def test_a_series_goes_on_with_the_parts_that_are_not_in_its_file(tmp_path: Path) -> None:
    path, size = tmp_path / "crashes.jsonl", WORLDS_IN_A_LINE
    lived_through(path, 3 * size, stop_after=size + 5)
    assert SeriesFile(path, "crashes", range(1, 3 * size + 1)).left == list(range(size + 1, 3 * size + 1))
    assert SeriesFile(path, "mixed", range(1, size + 1)).left == list(range(1, size + 1))
    lived_through(path, 3 * size, stop_after=2 * size)
    assert added_up([path]) == {"worlds": 3 * size, "crashes": 9 * size}


def test_half_a_line_of_a_killed_program_is_lived_through_again(tmp_path: Path) -> None:
    path, size = tmp_path / "crashes.jsonl", WORLDS_IN_A_LINE
    lived_through(path, 2 * size, stop_after=2 * size)
    path.write_bytes(path.read_bytes()[:-4])
    assert SeriesFile(path, "crashes", range(1, 2 * size + 1)).left == list(range(size + 1, 2 * size + 1))
    lived_through(path, 2 * size, stop_after=size)
    assert added_up([path])["worlds"] == 2 * size


def test_a_broken_rule_is_kept_with_its_seed(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    series = SeriesFile(path, "mixed", [7])
    series.note(an_outcome(7, "I1: a slot moved"))
    assert added_up([path])["violations"] == 1
    assert b'"broken":{"7":["I1: a slot moved"]}' in path.read_bytes()
