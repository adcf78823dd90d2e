"""What tests in simulated worlds need, and nothing of one test's worlds in the next."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from simulation.processes import remove_home, simulated_surroundings


@pytest.fixture(scope="module")
def _surroundings() -> Iterator[None]:
    with simulated_surroundings():
        yield
    remove_home()


@pytest.fixture
def _worlds(_surroundings: None) -> Iterator[None]:
    """The collector looks through what a test's worlds left when they are over, and not at what was there before: in
    their midst it took an eighth of the time."""
    gc.freeze()
    gc.disable()
    yield
    gc.collect()
    gc.enable()
