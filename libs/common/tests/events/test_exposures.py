"""Rules of exposures that tell results only when they changed: in whatever order they come, nothing old is believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dexlane.chain.execution.side_values import SideValues
from dexlane.events.portfolio import ExposureChanged, TradeResults
from dexlane.testing.builders import BOOK_ID, an_exposure
from dexlane.values.books import Lane


def exposures(telling: list[bool]) -> list[ExposureChanged]:
    """One for each version from 1 on; those that tell results tell their own version as the number of trades."""
    made, told = list[ExposureChanged](), 0
    for version, tells in enumerate(telling, 1):
        told = version if tells else told
        results = TradeResults(trades=version, good=0) if tells else None
        made.append(an_exposure(exposure_version=version, results=results, results_version=told or None))
    return made


some = st.lists(st.booleans(), min_size=1, max_size=8).map(exposures)


@given(some, st.data())
def test_in_any_order_the_newest_remains_with_the_results_that_hold(
    made: list[ExposureChanged], data: st.DataObject
) -> None:
    side, newest = SideValues(), 0
    for one in data.draw(st.permutations(made + made[:2])):
        side.take_exposure(one)
        newest = max(newest, one.exposure_version)
        known = side.exposure(BOOK_ID, Lane.FAST)
        assert known is not None
        assert known.exposure_version == newest
        assert known.results is None or known.results.trades == known.results_version
    wanted = made[-1].results_version
    known = side.exposure(BOOK_ID, Lane.FAST)
    assert known is not None
    assert (known.results and known.results.trades) == (wanted or None)


@given(some)
def test_a_late_starter_finds_the_newest_and_the_results_in_the_last_values(made: list[ExposureChanged]) -> None:
    last = {one.tail(): one for one in made}
    for stored in (list(last.values()), list(last.values())[::-1]):
        side = SideValues()
        for one in stored:
            side.take_exposure(one)
        known = side.exposure(BOOK_ID, Lane.FAST)
        assert known is not None
        assert known.exposure_version == len(made)
        assert (known.results and known.results.trades) == (made[-1].results_version or None)
