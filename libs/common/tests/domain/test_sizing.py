"""Thresholds and sizes grow with the level and never past a limit."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.sizing import LEVELS, appetite, candidate_sizes
from dexlane.values.books import Profile


@pytest.mark.parametrize("profile", Profile)
def test_each_level_accepts_at_least_what_the_level_below_accepts(profile: Profile) -> None:
    for lower, higher in pairwise(appetite(profile, level) for level in LEVELS):
        assert higher.max_risk_score >= lower.max_risk_score
        assert higher.min_confidence_bps <= lower.min_confidence_bps
        assert higher.position_bps > lower.position_bps


@pytest.mark.parametrize("level", LEVELS)
def test_each_profile_accepts_at_least_what_the_more_careful_one_accepts(level: int) -> None:
    for careful, bold in pairwise(appetite(profile, level) for profile in Profile):
        assert bold.max_risk_score > careful.max_risk_score
        assert bold.min_confidence_bps < careful.min_confidence_bps


@pytest.mark.parametrize("level", [0, 11])
def test_there_are_ten_levels(level: int) -> None:
    with pytest.raises(ValueError, match="is not between 1 and 10"):
        appetite(Profile.MODERATE, level)


@given(capital=st.integers(0, 10**30), level=st.integers(1, 10), ceiling=st.integers(-5, 10**30))
def test_sizes_fall_stay_positive_and_never_pass_the_ceiling_or_the_level(
    capital: int, level: int, ceiling: int
) -> None:
    sizes = list(candidate_sizes(capital, level, ceiling))
    assert sizes == sorted(set(sizes), reverse=True)
    assert all(0 < size <= min(ceiling, capital * level // 100) for size in sizes)


@given(capital=st.integers(0, 10**30), level=st.integers(1, 9), ceiling=st.integers(0, 10**30))
def test_a_higher_level_tries_everything_a_lower_one_tries(capital: int, level: int, ceiling: int) -> None:
    assert set(candidate_sizes(capital, level, ceiling)) <= set(candidate_sizes(capital, level + 1, ceiling))
