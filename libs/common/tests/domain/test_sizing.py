"""Thresholds and sizes grow with the level and never past a limit."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.levels import LEVELS
from dexlane.domain.sizing import APPETITES, appetite, candidate_sizes
from dexlane.values.books import Profile


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("profile", Profile)
def test_the_stricter_of_profile_and_level_holds(profile: Profile, level: int) -> None:
    accepted, of_profile, of_level = appetite(profile, level), APPETITES[profile], LEVELS[level]
    assert accepted.max_risk_score == min(of_profile.max_risk_score, of_level.max_risk_score)
    assert accepted.min_confidence_bps == max(of_profile.min_confidence_bps, of_level.min_confidence_bps)


def test_each_profile_accepts_more_than_the_more_careful_one() -> None:
    assert list(APPETITES) == list(Profile)
    for careful, bold in pairwise(APPETITES.values()):
        assert bold.max_risk_score > careful.max_risk_score
        assert bold.min_confidence_bps < careful.min_confidence_bps


@pytest.mark.parametrize("level", [0, 11])
def test_there_are_ten_levels(level: int) -> None:
    with pytest.raises(ValueError, match="is not published; give the book one from 1 to 10"):
        appetite(Profile.MODERATE, level)


@given(capital=st.integers(0, 10**30), level=st.integers(1, 10), ceiling=st.integers(-5, 10**30))
def test_sizes_fall_stay_positive_and_never_pass_the_ceiling_or_the_level(
    capital: int, level: int, ceiling: int
) -> None:
    sizes = list(candidate_sizes(capital, level, ceiling))
    assert sizes == sorted(set(sizes), reverse=True)
    assert all(0 < size <= min(ceiling, capital * LEVELS[level].position_bps // 10_000) for size in sizes)


@given(capital=st.integers(0, 10**30), level=st.integers(1, 9), ceiling=st.integers(0, 10**30))
def test_a_higher_level_tries_everything_a_lower_one_tries(capital: int, level: int, ceiling: int) -> None:
    assert set(candidate_sizes(capital, level, ceiling)) <= set(candidate_sizes(capital, level + 1, ceiling))
