"""Candles: opened, raised, lowered, closed, and undone with the chain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import spot_price_ratio
from dexlane.domain.candles import (
    INTERVALS,
    PRICE_SCALE,
    BlockTrade,
    Candle,
    CandleBook,
    ClosedCandle,
    scaled_price,
)
from dexlane.testing.builders import WETH, a_block_ref, a_pool_v2

M = "market"
Block = tuple[int, int, int, int]
"""Number, time, price, base volume."""


def _add(book: CandleBook, block: Block, fork: str = "main", market: str = M) -> list[ClosedCandle]:
    number, timestamp_s, price, volume = block
    return book.add(a_block_ref(number, fork), {market: BlockTrade(timestamp_s, price, volume, 2 * volume)})


def _book(*blocks: Block, undo_depth: int = 128) -> tuple[CandleBook, list[ClosedCandle]]:
    book, closed = CandleBook(undo_depth), []
    for block in blocks:
        closed += _add(book, block)
    return book, closed


def test_a_candle_holds_open_high_low_close_and_both_volumes() -> None:
    book, _ = _book((1, 60, 10, 5), (2, 72, 14, 1), (3, 84, 8, 2), (4, 119, 9, 3))
    assert book.open_candles(M)["1m"] == Candle(60, 10, 14, 8, 9, 11, 22, 4)


def test_every_interval_is_kept_and_starts_at_its_whole_multiple() -> None:
    book, _ = _book((1, 90_061, 10, 1))
    starts = {interval: candle.start_s for interval, candle in book.open_candles(M).items()}
    assert starts == {interval: 90_061 - 90_061 % seconds for interval, seconds in INTERVALS.items()}
    assert list(INTERVALS) == ["1s", "5s", "1m", "5m", "15m", "1h", "4h", "1d"]


def test_block_time_decides_the_candle_and_the_next_one_closes_it() -> None:
    book, closed = _book((1, 59, 10, 1), (2, 60, 11, 1), (3, 300, 12, 1))
    assert [each.candle.start_s for each in closed if each.interval == "1m"] == [0, 60]
    assert [each.candle.start_s for each in closed if each.interval == "5m"] == [0]
    assert book.open_candles(M)["1d"].blocks == 3


def test_two_thousand_dollars_per_whole_token_are_written_so() -> None:
    ratio = spot_price_ratio(a_pool_v2(), WETH.address)
    assert scaled_price(ratio, WETH.decimals) == 2_000 * 10**6 * PRICE_SCALE


def test_a_block_seen_twice_counts_once() -> None:
    book, _ = _book((1, 60, 10, 5))
    assert _add(book, (1, 60, 10, 5)) == []
    assert book.open_candles(M)["1m"].blocks == 1


def test_a_block_that_is_not_newer_is_refused() -> None:
    book, _ = _book((2, 60, 10, 1))
    with pytest.raises(ValueError, match="does not come after"):
        _add(book, (2, 61, 11, 1), fork="b")


def test_a_clock_that_goes_back_stays_in_its_candle() -> None:
    book, closed = _book((1, 120, 10, 1), (2, 110, 11, 1))
    assert closed == []
    assert book.open_candles(M)["1m"].start_s == 120


def test_undo_deeper_than_remembered_is_refused() -> None:
    book, _ = _book(*((number, number, 1, 1) for number in range(1, 8)), undo_depth=3)
    assert book.undo_to(a_block_ref(4))[0] == {M}
    with pytest.raises(ValueError, match="no longer be undone"):
        book.undo_to(a_block_ref(3))


def test_a_market_that_is_forgotten_does_not_come_back_by_an_undo() -> None:
    book, _ = _book((1, 60, 10, 1), (2, 61, 10, 1))
    book.forget(M)
    book.undo_to(a_block_ref(1))
    assert book.open_candles(M) == {}


drawn_blocks = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 1_000), st.integers(1, 100), st.sampled_from("ab")),
    min_size=1,
    max_size=40,
)


def _timed(drawn: list[tuple[int, int, int, str]], number: int = 0, time_s: int = 0) -> list[tuple[Block, str]]:
    blocks = []
    for step_s, price, volume, market in drawn:
        time_s, number = time_s + step_s, number + 1
        blocks.append(((number, time_s, price, volume), market))
    return blocks


class _Stored:
    """What a store of candles holds when it takes in what closes and takes out what is reopened."""

    def __init__(self) -> None:
        self.book = CandleBook()
        self.closed: dict[tuple[str, str, int], Candle] = {}

    def add(self, blocks: list[tuple[Block, str]], fork: str) -> _Stored:
        for block, market in blocks:
            for each in _add(self.book, block, fork, market):
                self.closed[each.market, each.interval, each.candle.start_s] = each.candle
        return self

    def undo(self, number: int) -> None:
        for each in self.book.undo_to(a_block_ref(number))[1]:
            del self.closed[each.market, each.interval, each.candle.start_s]

    @property
    def everything(self) -> object:
        return self.closed, {market: self.book.open_candles(market) for market in "ab"}


@given(drawn_blocks, st.integers(0, 40), drawn_blocks)
def test_candles_depend_on_the_canonical_blocks_alone(
    old: list[tuple[int, int, int, str]], kept: int, new: list[tuple[int, int, int, str]]
) -> None:
    before = _timed(old)
    common = before[:kept]
    number, time_s = (common[-1][0][0], common[-1][0][1]) if common else (0, 0)
    after = _timed(new, number, time_s)
    stored = _Stored().add(before, "main")
    stored.undo(number)
    assert stored.everything == _Stored().add(common, "main").everything
    stored.add(after, "new")
    assert stored.everything == _Stored().add(common, "main").add(after, "new").everything


def _folded(candles: list[Candle], seconds: int) -> list[Candle]:
    """Candles of a longer interval from shorter ones in order of time."""
    longer: list[Candle] = []
    for candle in candles:
        start_s = candle.start_s - candle.start_s % seconds
        if longer and longer[-1].start_s == start_s:
            longer[-1] = _merged(longer[-1], candle)
        else:
            longer.append(candle._replace(start_s=start_s))
    return longer


def _merged(first: Candle, second: Candle) -> Candle:
    return Candle(
        first.start_s,
        first.open,
        max(first.high, second.high),
        min(first.low, second.low),
        second.close,
        first.base_volume + second.base_volume,
        first.quote_volume + second.quote_volume,
        first.blocks + second.blocks,
    )


@given(drawn_blocks)
def test_longer_candles_are_the_shorter_ones_folded(drawn: list[tuple[int, int, int, str]]) -> None:
    book, closed = CandleBook(), []
    for block, _market in _timed(drawn):
        closed += _add(book, block)
    seconds = [each.candle for each in closed if each.interval == "1s"] + [book.open_candles(M)["1s"]]
    for interval, length in INTERVALS.items():
        kept = [each.candle for each in closed if each.interval == interval] + [book.open_candles(M)[interval]]
        assert _folded(seconds, length) == kept
