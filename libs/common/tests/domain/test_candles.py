"""Candles: opened, raised, lowered, closed, and undone with the chain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import spot_price_ratio
from dexlane.domain.candles import INTERVALS, PRICE_SCALE, BlockTrade, Candle, CandleSeries, scaled_price
from dexlane.testing.builders import WETH, a_block_ref, a_pool_v2


def _trade(number: int, timestamp_s: int, price: int, volume: int = 1, fork: str = "main") -> BlockTrade:
    return BlockTrade(a_block_ref(number, fork), timestamp_s, price, volume)


def _series(*trades: BlockTrade, **limits: int) -> CandleSeries:
    series = CandleSeries(**limits)
    for trade in trades:
        series.add(trade)
    return series


def _all(series: CandleSeries) -> dict[str, tuple[Candle, ...]]:
    return {interval: series.candles(interval) for interval in INTERVALS}


def test_a_candle_holds_open_high_low_close_and_volume() -> None:
    series = _series(_trade(1, 60, 10, 5), _trade(2, 72, 14, 1), _trade(3, 84, 8, 2), _trade(4, 119, 9, 3))
    assert series.candles("1m") == (Candle(start_s=60, open=10, high=14, low=8, close=9, volume=11),)


def test_block_time_decides_the_candle() -> None:
    series = _series(_trade(1, 59, 10), _trade(2, 60, 11), _trade(3, 300, 12))
    assert [candle.start_s for candle in series.candles("1m")] == [0, 60, 300]
    assert [candle.start_s for candle in series.candles("5m")] == [0, 300]
    assert [candle.start_s for candle in series.candles("1d")] == [0]


def test_two_thousand_dollars_per_whole_token_are_written_so() -> None:
    ratio = spot_price_ratio(a_pool_v2(), WETH.address)
    assert scaled_price(ratio, WETH.decimals) == 2_000 * 10**6 * PRICE_SCALE


def test_a_block_seen_twice_counts_once() -> None:
    trade = _trade(1, 60, 10, 5)
    assert _all(_series(trade, trade)) == _all(_series(trade))


def test_a_block_that_is_not_newer_is_refused() -> None:
    with pytest.raises(ValueError, match="does not come after"):
        _series(_trade(2, 60, 10), _trade(2, 61, 11, fork="b"))


def test_memory_is_bounded() -> None:
    series = _series(*(_trade(number, number, 1) for number in range(1, 50)), keep=5)
    assert [candle.start_s for candle in series.candles("1s")] == [45, 46, 47, 48, 49]


def test_undo_deeper_than_remembered_is_refused() -> None:
    series = _series(*(_trade(number, number, 1) for number in range(1, 8)), undo_depth=3)
    assert series.undo_to(a_block_ref(4)) == 3
    with pytest.raises(ValueError, match="no longer be undone"):
        series.undo_to(a_block_ref(3))


def test_an_unknown_interval_is_an_error() -> None:
    with pytest.raises(KeyError):
        CandleSeries().candles("2m")


trades = st.lists(st.tuples(st.integers(0, 90), st.integers(1, 1_000), st.integers(0, 100)), min_size=1, max_size=40)


@given(trades, st.integers(0, 40))
def test_undoing_blocks_leaves_the_candles_of_the_others(drawn: list[tuple[int, int, int]], kept: int) -> None:
    time_s, blocks = 0, []
    for number, (step_s, price, volume) in enumerate(drawn, 1):
        time_s += step_s
        blocks.append(_trade(number, time_s, price, volume))
    series = _series(*blocks)
    assert series.undo_to(a_block_ref(kept)) == max(0, len(blocks) - kept)
    assert _all(series) == _all(_series(*blocks[:kept]))
    for trade in blocks[kept:]:
        series.add(trade)
    assert _all(series) == _all(_series(*blocks))
