"""Every planted bug is noticed, by a rule, in the world that is known to show it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from simulation.planted import BUGS, NOTICED_IN, planted
from simulation.processes import remove_home, simulated_surroundings
from simulation.world import run_world

MISFITS = ("TypeError", "AttributeError", "NameError")
"""What a planted bug raises whose patch no longer fits the code: noticed for nothing."""


@pytest.fixture(scope="module")
def _surroundings() -> Iterator[None]:
    with simulated_surroundings():
        yield
    remove_home()
    gc.collect()


def test_there_are_at_least_twenty_of_them() -> None:
    assert len(BUGS) >= 20
    assert BUGS.keys() == NOTICED_IN.keys()


@pytest.mark.usefixtures("_surroundings")
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_noticed(name: str) -> None:
    with planted(name):
        violations = run_world(NOTICED_IN[name]).violations
    assert violations, f"not noticed in world {NOTICED_IN[name]}; `make simulate BUG={name}` finds another"
    assert not any(misfit in violation for misfit in MISFITS for violation in violations)
