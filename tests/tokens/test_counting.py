"""Figures of the zoo are counts with intervals."""

from __future__ import annotations

from tokens.zoo_run import wilson


def test_the_interval_of_a_count_is_wilsons() -> None:
    low, high = wilson(20, 20)
    assert (round(low, 4), high) == (0.8389, 1.0)
    assert wilson(0, 0) == (0.0, 1.0)
