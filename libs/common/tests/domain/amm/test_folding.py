"""A block's changes folded into one delta against the same changes applied one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dexlane.domain.amm.changes import LiquidityChanged, PoolChange, PoolSwapped, ReservesSynced, after_change
from dexlane.domain.amm.deltas import InconsistentDelta, apply_delta, delta_between
from dexlane.domain.amm.folding import FOLDS
from dexlane.domain.pool_table import PoolTable
from dexlane.testing.builders import a_pool_v2, a_pool_v3
from dexlane.values.pools import ConstantProductState, Pool, PoolDelta, PoolState

POOLS, DELTAS = TypeAdapter(Pool), TypeAdapter[PoolDelta](PoolDelta)

SYNCS = st.builds(ReservesSynced, st.integers(0, 2**112 - 1), st.integers(0, 2**112 - 1))
AMOUNTS = st.integers(-(2**255), 2**255 - 1)
SWAPS = st.builds(
    PoolSwapped,
    AMOUNTS,
    AMOUNTS,
    st.integers(1, 2**160 - 1),
    st.sampled_from((0, 10**15, 6 * 10**18)),
    st.integers(200_250, 200_350),
)
EDGES = st.sampled_from((-887_270, 199_710, 200_200, 200_300, 200_310, 200_320, 200_910, 887_270))
POSITIONS = st.builds(LiquidityChanged, EDGES, EDGES, st.sampled_from((0, 10**15, -(10**15), 5 * 10**17, -(10**18))))
V3_CHANGES = st.lists(SWAPS | POSITIONS, min_size=1, max_size=12)


def fold(pool: Pool, changes: Sequence[PoolChange]) -> tuple[PoolDelta, tuple[int, ...]]:
    return FOLDS[pool.state.kind](pool.key.address, PoolTable([pool]), changes)


def one_by_one(state: PoolState, changes: Sequence[PoolChange]) -> PoolState:
    for change in changes:
        state = after_change(state, change)
    return state


@given(st.lists(SYNCS, min_size=1, max_size=8))
def test_folded_reserves_are_those_of_the_changes_one_by_one(changes: list[ReservesSynced]) -> None:
    pool = a_pool_v2()
    delta, _ = fold(pool, changes)
    after = one_by_one(pool.state, changes)
    assert delta == delta_between(pool.key.address, pool.state, after)
    assert apply_delta(pool, delta).state == after


@given(V3_CHANGES)
def test_folded_ticks_and_prices_are_those_of_the_changes_one_by_one(changes: list[PoolChange]) -> None:
    pool = a_pool_v3()
    try:
        after = one_by_one(pool.state, changes)
    except InconsistentDelta:
        with pytest.raises(InconsistentDelta):
            fold(pool, changes)
        return
    delta, _ = fold(pool, changes)
    assert delta == delta_between(pool.key.address, pool.state, after)
    assert apply_delta(pool, delta) == pool.with_state(after)
    assert POOLS.dump_json(apply_delta(pool, delta)) == POOLS.dump_json(pool.with_state(after))


@given(V3_CHANGES)
def test_what_is_folded_passes_the_checks_that_it_was_built_without(changes: list[PoolChange]) -> None:
    pool = a_pool_v3()
    try:
        delta, _ = fold(pool, changes)
    except InconsistentDelta:
        return
    assert DELTAS.validate_json(DELTAS.dump_json(delta)) == delta
    after = apply_delta(pool, delta)
    assert POOLS.validate_json(POOLS.dump_json(after)) == after


def test_a_position_that_opens_and_closes_in_one_block_leaves_no_tick_in_the_delta() -> None:
    pool = a_pool_v3()
    delta, _ = fold(pool, [LiquidityChanged(0, 600, 5), LiquidityChanged(0, 600, -5)])
    assert delta == delta_between(pool.key.address, pool.state, pool.state)
    assert apply_delta(pool, delta) == pool


def test_only_swaps_count_as_volume() -> None:
    pair = a_pool_v2().with_state(ConstantProductState(reserve0=100, reserve1=200))
    assert fold(pair, [ReservesSynced(110, 190)])[1] == (10, 10)
    assert fold(pair, [ReservesSynced(110, 220)])[1] == (0, 0)
    assert fold(pair, [ReservesSynced(110, 190), ReservesSynced(111, 191), ReservesSynced(109, 194)])[1] == (12, 13)
    assert fold(a_pool_v3(), [LiquidityChanged(0, 10, 5)])[1] == (0, 0)
    assert fold(a_pool_v3(), [PoolSwapped(-3, 4, 1, 1, 1), PoolSwapped(5, -6, 1, 1, 1)])[1] == (8, 10)


@pytest.mark.parametrize(
    ("pool", "change"),
    [
        (a_pool_v2(), PoolSwapped(1, -1, 1, 1, 1)),
        (a_pool_v2(), LiquidityChanged(0, 10, 5)),
        (a_pool_v3(), ReservesSynced(1, 1)),
    ],
)
def test_a_change_of_another_kind_of_pool_is_refused(pool: Pool, change: PoolChange) -> None:
    with pytest.raises(InconsistentDelta, match=pool.key.address):
        fold(pool, [change])
