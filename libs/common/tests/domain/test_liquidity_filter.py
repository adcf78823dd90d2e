"""Who is watched: hysteresis and a bound, as rules and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.liquidity_filter import Judgement, LiquidityFilter, Thresholds


def _filter(enter: int = 100, leave: int = 50, capacity: int = 3) -> LiquidityFilter:
    return LiquidityFilter(Thresholds(enter, leave, capacity))


def test_a_pool_enters_at_one_depth_and_leaves_at_a_lower_one() -> None:
    pools = _filter()
    verdicts = [pools.measure("a", depth).watched for depth in (99, 100, 60, 50, 49, 99, 100)]
    assert verdicts == [False, True, True, True, False, False, True]


def test_a_pool_that_falls_below_is_named_as_leaving() -> None:
    pools = _filter()
    pools.measure("a", 100)
    assert pools.measure("a", 10) == Judgement(False, ("a",))
    assert pools.watched == frozenset()


def test_at_the_bound_the_shallowest_makes_room_for_a_clearly_deeper_one() -> None:
    pools = _filter(capacity=2)
    pools.measure("a", 300)
    pools.measure("b", 150)
    assert pools.measure("c", 299) == Judgement(False)
    assert pools.measure("c", 300) == Judgement(True, ("b",))
    assert pools.by_depth() == ["a", "c"]


def test_two_equal_pools_do_not_take_turns() -> None:
    pools = _filter(enter=100, leave=100, capacity=1)
    assert pools.measure("a", 100).watched
    assert not pools.measure("b", 100).watched
    assert pools.watched == {"a"}


def test_nothing_enters_where_there_is_no_room_at_all() -> None:
    assert not _filter(capacity=0).measure("a", 10**30).watched


def test_a_kept_pool_comes_in_and_stays_whatever_its_depth_and_the_bound_say() -> None:
    pools = _filter(capacity=1)
    pools.measure("a", 100)
    assert pools.measure("b", 1, kept={"b"}) == Judgement(True)
    assert (pools.watched, pools.shallow, pools.room) == ({"a", "b"}, {"b"}, 0)
    assert pools.measure("c", 1_000, kept={"a", "b"}) == Judgement(False)
    assert pools.measure("c", 1_000, kept={"b"}) == Judgement(True, ("a",))
    assert pools.measure("b", 1) == Judgement(False, ("b",))


@pytest.mark.parametrize("thresholds", [(50, 100, 1), (0, 0, 1), (10, -1, 1), (10, 5, -1)])
def test_thresholds_that_contradict_each_other_are_refused(thresholds: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="leaves at no more depth"):
        LiquidityFilter(Thresholds(*thresholds))


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 400)), max_size=80))
def test_the_bound_holds_and_no_pool_is_in_below_its_threshold(measured: list[tuple[str, int]]) -> None:
    pools, model, last = _filter(capacity=3), set(), {}
    for pool, depth in measured:
        judgement = pools.measure(pool, depth)
        last[pool] = depth
        model -= set(judgement.leaving)
        if judgement.watched:
            model.add(pool)
        assert judgement.watched == (pool in pools.watched)
        assert pools.measure(pool, depth) == Judgement(judgement.watched)
        assert pools.watched == model
        assert len(model) <= 3
        assert all(last[known] >= 50 for known in model)
