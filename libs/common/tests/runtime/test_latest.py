"""A reader states how old a value may be and gets nothing older."""

from __future__ import annotations

import pytest

from dexlane.runtime.latest import Latest, LatestByKey, Stale


def test_a_missing_value_is_stale() -> None:
    latest: Latest[int] = Latest("fee quote")
    assert latest.get() is None
    assert latest.age_ms(5) is None
    with pytest.raises(Stale, match="there is no fee quote yet"):
        latest.fresh(0, 1_000)


def test_a_value_is_fresh_up_to_its_age_and_stale_beyond() -> None:
    latest: Latest[int] = Latest("fee quote")
    latest.set(7, at_ms=1_000)
    assert latest.fresh(2_000, 1_000) == 7
    assert latest.age_ms(2_000) == 1_000
    with pytest.raises(Stale, match="1001 ms old, more than 1000 ms"):
        latest.fresh(2_001, 1_000)


def test_a_value_from_before_the_clock_went_back_is_stale() -> None:
    latest: Latest[int] = Latest("fee quote")
    latest.set(7, at_ms=3_600_000)
    assert latest.fresh(3_599_500, 1_000) == 7
    with pytest.raises(Stale, match="before the clock went back"):
        latest.fresh(1_000, 1_000)
    latest.set(8, at_ms=1_000)
    assert latest.fresh(1_500, 1_000) == 8


def test_keys_age_by_themselves() -> None:
    latest: LatestByKey[str, int] = LatestByKey("book")
    latest.set("a", 1, at_ms=0)
    latest.set("b", 2, at_ms=900)
    assert sorted(latest.values()) == [1, 2]
    assert latest.fresh("b", 1_000, 500) == 2
    assert latest.get("c") is None
    with pytest.raises(Stale, match="book of a"):
        latest.fresh("a", 1_000, 500)
    with pytest.raises(Stale, match="no book of c"):
        latest.fresh("c", 1_000, 500)
