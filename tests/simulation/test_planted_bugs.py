"""Every planted bug is noticed, by a rule and within a few seeds."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from simulation.planted import BUGS, planted
from simulation.processes import remove_home, simulated_surroundings
from simulation.world import run_world

WITHIN_SEEDS = 40


@pytest.fixture(scope="module")
def _surroundings() -> Iterator[None]:
    with simulated_surroundings():
        yield
    remove_home()
    gc.collect()


def test_there_are_at_least_twenty_of_them() -> None:
    assert len(BUGS) >= 20


@pytest.mark.usefixtures("_surroundings")
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_noticed(name: str) -> None:
    for seed in range(1, WITHIN_SEEDS + 1):
        with planted(name):
            if run_world(seed).violations:
                return
    pytest.fail(f"{name} was not noticed within {WITHIN_SEEDS} seeds")
