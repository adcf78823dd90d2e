"""Swaps by running totals against the contract's plain walk: every number of the outcome, on pools of every shape."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dexlane.domain.amm import concentrated
from dexlane.domain.amm.concentrated import Order, TickSwap
from dexlane.domain.amm.deltas import apply_burn, apply_mint
from dexlane.domain.amm.tick_math import (
    MAX_SQRT_RATIO,
    MAX_TICK,
    MIN_SQRT_RATIO,
    MIN_TICK,
    sqrt_ratio_at_tick,
    tick_at_sqrt_ratio,
)
from dexlane.domain.amm.tick_tables import TABLES, TickTables
from dexlane.testing.plain_walk import PlainPool, contract_tick, walk
from dexlane.values.pools import ConcentratedState, Tick

FEES = st.sampled_from([0, 1, 100, 500, 3000, 10_000, 999_999])


@st.composite
def markets(draw: st.DrawFn) -> PlainPool:
    """Pools of up to eight positions of any size around any price, prices exactly on ticks and gaps included."""
    spacing = draw(st.sampled_from([1, 10, 60, 200, 4_000]))
    widest = MAX_TICK // spacing
    centre = draw(st.integers(-widest + 1, widest - 2))
    low = sqrt_ratio_at_tick(centre * spacing)
    high = sqrt_ratio_at_tick((centre + 1) * spacing)
    price = draw(st.one_of(st.just(low), st.integers(low, high - 1)))
    tick = tick_at_sqrt_ratio(price)
    if price == low and draw(st.booleans()):
        tick -= 1  # as a swap down leaves a pool that ends exactly on a tick
    state = ConcentratedState(sqrt_price_x96=price, tick=tick, liquidity=0)
    distance = st.one_of(st.integers(-3, 3), st.integers(-700, 700), st.integers(-2 * widest, 2 * widest))
    sizes = st.one_of(st.integers(1, 10**6), st.integers(10**6, 10**24), st.integers(10**24, 10**32))
    for _ in range(draw(st.integers(0, 8))):
        lower, upper = sorted(min(max(centre + draw(distance), -widest), widest) for _ in range(2))
        if lower < upper:
            state = apply_mint(state, lower * spacing, upper * spacing, draw(sizes))
    return PlainPool(state, draw(FEES), spacing)


@st.composite
def orders(draw: st.DrawFn, pool: PlainPool) -> Order:
    """Orders from one unit to the largest, without a price limit, at any price, or exactly at a stop."""
    price, spacing = pool.state.sqrt_price_x96, pool.spacing
    down = draw(st.booleans()) if MIN_SQRT_RATIO + 1 < price < MAX_SQRT_RATIO - 1 else price > 1 << 96
    furthest = MIN_SQRT_RATIO + 1 if down else MAX_SQRT_RATIO - 1
    amount = draw(st.one_of(st.integers(1, 1_000), st.integers(1, 10**30), st.integers(1, (1 << 255) - 1)))
    anywhere = st.integers(min(price, furthest), max(price, furthest))
    near = st.integers(-1_000, 1_000).map(lambda steps: _price((pool.state.tick // spacing + steps) * spacing))
    words = st.integers(-8, 8).map(lambda word: _price((pool.state.tick // spacing // 256 + word) * 256 * spacing))
    limit = draw(st.one_of(st.none(), anywhere, near, words))
    if limit is not None and not (furthest <= limit < price if down else price < limit <= furthest):
        limit = None
    return Order(down, draw(st.booleans()), amount, limit)


def _price(tick: int) -> int:
    return sqrt_ratio_at_tick(min(max(tick, MIN_TICK), MAX_TICK))


def _swap(pool: PlainPool, order: Order) -> TickSwap:
    return concentrated.swap(pool.state, pool.fee_pips, pool.spacing, order)


@given(st.data())
def test_a_swap_equals_the_contracts_walk_in_every_number(data: st.DataObject) -> None:
    pool = data.draw(markets())
    for _ in range(3):
        order = data.draw(orders(pool))
        assert _swap(pool, order) == walk(pool, order)


@given(st.data())
def test_swaps_one_after_the_other_equal_the_contracts_walks(data: st.DataObject) -> None:
    """The price goes to and fro over one tuple of ticks, so tables are met from both sides."""
    pool = data.draw(markets())
    for _ in range(6):
        order = data.draw(orders(pool))
        moved = _swap(pool, order)
        assert moved == walk(pool, order)
        assert moved.state.ticks is pool.state.ticks
        pool = PlainPool(moved.state, pool.fee_pips, pool.spacing)


@given(st.data())
def test_no_result_depends_on_what_the_tables_hold(data: st.DataObject) -> None:
    pool = data.draw(markets())
    order = data.draw(orders(pool))
    warm = [_swap(pool, order) for _ in range(2)][1]
    TABLES.clear()
    assert _swap(pool, order) == warm


def _deep_pool() -> PlainPool:
    state = ConcentratedState(sqrt_price_x96=sqrt_ratio_at_tick(5), tick=5, liquidity=0)
    for step in range(1, 200):
        state = apply_mint(state, -10 * step, 10 * (step + step % 3), 10**18 + step)
    return PlainPool(state, 500, 10)


def test_tables_follow_mints_burns_and_swaps() -> None:
    chance = random.Random(7)  # noqa: S311 - a test's dice
    pool = _deep_pool()
    for turn in range(400):
        state = pool.state
        lower = (state.tick // 10 + chance.randrange(-30, 30)) * 10
        upper = lower + 10 * chance.randrange(1, 60)
        kind = turn % 4
        if kind == 0:
            state = apply_mint(state, lower, upper, chance.randrange(1, 10**19))
        elif kind == 1:
            state = apply_burn(apply_mint(state, lower, upper, 10**18), lower, upper, 10**18)
        pool = PlainPool(state, 500, 10)
        order = Order(bool(chance.randrange(2)), bool(chance.randrange(2)), 10 ** chance.randrange(1, 19))
        moved = _swap(pool, order)
        assert moved == walk(pool, order)
        pool = PlainPool(moved.state, 500, 10)


def test_tables_are_kept_over_swaps_and_grow_only_as_far_as_orders_reach() -> None:
    TABLES.clear()
    pool = _deep_pool()
    small = Order(zero_for_one=True, exact_in=True, amount=1)
    assert _swap(pool, small).ticks_crossed == 0
    assert len(TABLES) == 0
    some = _swap(pool, Order(zero_for_one=True, exact_in=True, amount=10**18))
    grown = TABLES.rows
    assert some.ticks_crossed < grown < 60
    _swap(PlainPool(some.state, 500, 10), small)
    assert (len(TABLES), TABLES.rows) == (1, grown)
    _swap(pool, Order(zero_for_one=True, exact_in=True, amount=10**30))
    assert TABLES.rows > 190


def test_the_oldest_tables_go_when_there_are_too_many_rows() -> None:
    tables = TickTables(most_rows=100)
    pools = [_deep_pool() for _ in range(3)]
    for pool in pools:
        lane = (pool.state.ticks, 500, 10, True)
        table, rows, row = tables.at(lane, (0, pool.state.liquidity - pool.nets.get(0, 0), 198))
        assert row == 0
        rows = tables.rows_until((table, rows), 1 << 250, MIN_SQRT_RATIO + 1, exact_in=True)
        assert len(tables) == 1
        assert tables.rows == len(rows.stops) > 100


def test_threads_that_share_tables_get_the_same_numbers() -> None:
    pool = _deep_pool()
    chance = random.Random(9)  # noqa: S311 - a test's dice
    asked = [Order(bool(turn % 2), bool(turn % 3), 10 ** chance.randrange(1, 22)) for turn in range(400)]
    expected = [walk(pool, order) for order in asked]
    TABLES.clear()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda turn: _swap(pool, asked[turn % 400]), range(3_200)))
    assert found == expected * 8


def test_rows_are_published_whole_and_never_changed() -> None:
    pool = _deep_pool()
    lane = (pool.state.ticks, 500, 10, False)
    tables = TickTables()
    table, before, _ = tables.at(lane, (10, 1, 199))
    copy = [list(column) for column in before[:5]]
    after = tables.rows_until((table, before), 1 << 250, MAX_SQRT_RATIO - 1, exact_in=True)
    assert [list(column) for column in before[:5]] == copy
    assert [list(column)[: len(copy[0])] for column in after[:5]] == copy
    assert len(after.stops) > len(before.stops)


def test_totals_never_fall_along_a_table() -> None:
    pool = _deep_pool()
    for down in (True, False):
        lane, place = (pool.state.ticks, 500, 10, down), (0 if down else 10, 10**20, 198 if down else 200)
        table, rows, _ = TABLES.at(lane, place)
        limit = MIN_SQRT_RATIO + 1 if down else MAX_SQRT_RATIO - 1
        rows = TABLES.rows_until((table, rows), 1 << 250, limit, exact_in=True)
        for column in (rows.stops, rows.paid, rows.received):
            assert all(one <= other for one, other in pairwise(column))


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize(
    "ticks",
    [
        (Tick(-100, 20, 20), Tick(100, 20, -20)),
        (Tick(-200, 1, 1), Tick(-100, 9, 9), Tick(100, 9, -9), Tick(200, 1, -1)),
    ],
)
def test_ticks_that_take_more_liquidity_than_there_is_are_refused_when_met(down: bool, ticks: tuple[Tick, ...]) -> None:
    state = ConcentratedState(sqrt_price_x96=sqrt_ratio_at_tick(5), tick=5, liquidity=9, ticks=ticks)
    assert concentrated.swap(state, 500, 100, Order(down, exact_in=True, amount=1)).remaining == 0
    with pytest.raises(ValueError, match="contradicts"):
        concentrated.swap(state, 500, 100, Order(down, exact_in=True, amount=10**30))


def test_ticks_that_are_not_all_known_do_not_disturb_the_others() -> None:
    """A recording of one day knows only the ticks it crossed: the liquidity of the others is a constant on top."""
    pool = _deep_pool()
    known = tuple(tick for tick in pool.state.ticks if abs(tick.tick) < 500)
    some = PlainPool(replace(pool.state, ticks=known), 500, 10)
    for amount in (1, 10**15, 10**17, 10**18):
        for down in (True, False):
            order = Order(down, exact_in=True, amount=amount)
            assert _swap(some, order) == walk(some, order)


@given(st.integers(MIN_SQRT_RATIO, MAX_SQRT_RATIO - 1))
@example(MIN_SQRT_RATIO)
@example(MIN_SQRT_RATIO + 1)
@example(MAX_SQRT_RATIO - 1)
def test_the_tick_of_a_price_is_the_contracts(price: int) -> None:
    assert tick_at_sqrt_ratio(price) == contract_tick(price)
