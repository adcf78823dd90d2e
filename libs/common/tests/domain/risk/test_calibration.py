"""Shares with honest intervals, and the reliability curve."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.risk.calibration import Share, reliability, tally


def test_intervals_are_those_of_wilson() -> None:
    # Computed by hand from the formula with z = 1.959964.
    assert Share(9, 10).interval_bps == (5_958, 9_822)
    assert Share(0, 5).interval_bps == (0, 4_345)
    assert Share(5, 5).interval_bps == (5_655, 10_000)
    assert Share(50, 100).interval_bps == (4_038, 5_962)


def test_a_share_of_nothing_is_no_data() -> None:
    assert Share(0, 0).bps is None
    assert Share(0, 0).interval_bps is None


@given(st.integers(1, 10_000), st.data())
def test_the_share_lies_within_its_interval_and_more_data_narrows_it(total: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, total))
    share, tenfold = Share(hits, total), Share(10 * hits, 10 * total)
    assert share.bps is not None
    assert share.interval_bps is not None
    assert tenfold.interval_bps is not None
    low, high = share.interval_bps
    assert 0 <= low <= share.bps <= high <= 10_000
    assert tenfold.interval_bps[1] - tenfold.interval_bps[0] <= high - low + 2


def test_a_tally_keeps_the_four_cases_apart() -> None:
    counted = tally([(True, True)] * 3 + [(True, False)] + [(False, True)] * 2 + [(False, False)] * 4)
    assert (counted.recall.hits, counted.recall.total) == (3, 4)
    assert (counted.precision.hits, counted.precision.total) == (3, 5)
    assert (counted.false_alarm_rate.hits, counted.false_alarm_rate.total) == (2, 6)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans())))
def test_every_score_is_in_exactly_one_bin(scored: list[tuple[int, bool]]) -> None:
    bins = reliability(scored)
    assert sum(each.bad.total for each in bins) == len(scored)
    assert sum(each.bad.hits for each in bins) == sum(bad for _, bad in scored)
