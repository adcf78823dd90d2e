"""Every planted bug is noticed, by a rule: in the world that is known to show it, or in one of the next few."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from simulation.planted import BUGS, NOTICED_IN, planted
from simulation.processes import remove_home, simulated_surroundings
from simulation.world import run_world

WORLDS = 10
"""How many are looked through. The pinned one shows it at once; a change of the draws may move it a little."""
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
    first = NOTICED_IN[name]
    with planted(name):
        found = (run_world(seed).violations for seed in range(first, first + WORLDS))
        violations = next(filter(None, found), [])
    assert violations, f"not noticed in {WORLDS} worlds from {first} on; `make simulate BUG={name}` finds another"
    assert not any(misfit in violation for misfit in MISFITS for violation in violations)
