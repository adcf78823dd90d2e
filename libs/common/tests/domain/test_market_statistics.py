"""Volume and volatility of a window."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.candles import Candle
from dexlane.domain.market_statistics import statistics

NOW_S = 1_000 * 60


def _minute(ago: int, close: int, volume: int = 1) -> Candle:
    return Candle(NOW_S - ago * 60, close, close, close, close, volume, 10 * volume, 1)


def test_only_what_lies_in_the_window_counts() -> None:
    minutes = [_minute(60, 100, 1_000), _minute(59, 100, 7), _minute(3, 100, 20), _minute(0, 100, 3)]
    hour = statistics(minutes, NOW_S, 0, 3_600)
    assert (hour.base_volume, hour.quote_volume, hour.covered_s) == (30, 300, 3_600)
    assert statistics(minutes, NOW_S, 0, 300).base_volume == 23


def test_a_window_that_was_seen_in_part_says_so() -> None:
    assert statistics([], NOW_S, NOW_S - 120, 3_600).covered_s == 120
    assert statistics([], NOW_S, NOW_S - 119, 3_600).covered_s == 60
    assert statistics([], NOW_S, NOW_S + 100, 3_600).covered_s == 0


def test_volatility_is_the_root_of_squared_log_returns_per_hour() -> None:
    minutes = [_minute(ago, close) for ago, close in ((30, 10_000), (20, 10_100), (10, 10_000), (0, 10_100))]
    change = math.log(1.01)
    expected = math.sqrt(3 * change * change * 2) * 10_000
    assert statistics(minutes, NOW_S, 0, 3_600).volatility_hour_bps == round(expected)


def test_a_price_that_stands_still_has_no_volatility_and_too_few_prices_say_nothing() -> None:
    still = [_minute(ago, 500) for ago in (9, 6, 3, 0)]
    assert statistics(still, NOW_S, 0, 3_600).volatility_hour_bps == 0
    assert statistics(still[1:], NOW_S, 0, 3_600).volatility_hour_bps is None
    assert statistics([], NOW_S, 0, 3_600).volatility_hour_bps is None


@given(st.lists(st.integers(1, 10**40), min_size=4, max_size=60), st.integers(1, 10**20))
def test_volatility_does_not_depend_on_the_unit_of_the_price(closes: list[int], scale: int) -> None:
    plain, scaled = (
        statistics([_minute(len(closes) - at, close * by) for at, close in enumerate(closes)], NOW_S, 0, 86_400)
        for by in (1, scale)
    )
    assert plain.volatility_hour_bps == pytest.approx(scaled.volatility_hour_bps, abs=1)
