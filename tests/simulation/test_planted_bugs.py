"""Every planted bug is noticed, by a rule, in a world of the kind that shows it."""

from __future__ import annotations

import pytest

from simulation.planted import BUGS, planted
from simulation.showing import WORLDS, worlds_for
from simulation.world import run_world

pytestmark = pytest.mark.long
ONLY_BY = {
    "an_exit_that_was_left_out_waits": "exits: ",
    "controls_forget_what_is_under_way_with_every_start": "I5: ",
    "every_exposure_is_believed_to_contain_what_was_filled": "I5: ",
    "a_later_last_value_passes_by_the_outbox": "I10: ",
    "a_trade_that_a_crash_cut_off_is_never_explained": "nothing lost: ",
}
"""Bugs that one rule alone is there for, and how its breach begins."""
MISFITS = ("TypeError", "AttributeError", "NameError")
"""What a planted bug raises whose patch no longer fits the code: noticed for nothing."""


def test_there_are_at_least_twenty_of_them() -> None:
    assert len(BUGS) >= 20


@pytest.mark.usefixtures("_worlds")
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_noticed(name: str) -> None:
    with planted(name):
        found = (run_world(seed, shape).violations for seed, shape in worlds_for(name))
        violations = next(filter(None, found), [])
    assert violations, f"not noticed in {WORLDS} worlds of its kind; does it still break what it should?"
    assert all(violation.startswith(ONLY_BY.get(name, "")) for violation in violations)
    assert not any(misfit in violation for misfit in MISFITS for violation in violations)
