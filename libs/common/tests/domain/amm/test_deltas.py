"""Events to states, states to deltas, deltas back to states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm.deltas import (
    InconsistentDelta,
    after_liquidity_change,
    after_swap,
    apply_burn,
    apply_delta,
    apply_mint,
    delta_between,
)
from dexlane.domain.amm.quoting import quote_exact_in
from dexlane.testing.builders import V2_POOL, WETH, a_pool_v2, a_pool_v3, a_reserves_delta, an_address
from dexlane.values.pools import BalancesDelta, BalancesState, BalanceTerms, ConcentratedDelta, ConcentratedState, Tick

EMPTY = ConcentratedState(sqrt_price_x96=1 << 96, tick=0, liquidity=0)

positions = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(1, 10), st.integers(1, 10**20)).map(
        lambda drawn: (drawn[0] * 60, (drawn[0] + drawn[1]) * 60, drawn[2])
    ),
    max_size=8,
)


def _minted(drawn: list[tuple[int, int, int]]) -> ConcentratedState:
    state = EMPTY
    for lower, upper, liquidity in drawn:
        state = apply_mint(state, lower, upper, liquidity)
    return state


def _v3_state() -> ConcentratedState:
    state = a_pool_v3().state
    assert isinstance(state, ConcentratedState)
    return state


@given(positions)
def test_burning_every_position_leaves_the_pool_as_it_was(drawn: list[tuple[int, int, int]]) -> None:
    state = _minted(drawn)
    for lower, upper, liquidity in drawn:
        state = apply_burn(state, lower, upper, liquidity)
    assert state == EMPTY


@given(positions)
def test_ticks_stay_sorted_and_complete(drawn: list[tuple[int, int, int]]) -> None:
    state = _minted(drawn)
    assert list(state.ticks) == sorted(state.ticks)
    assert {tick.tick for tick in state.ticks} == {edge for lower, upper, _ in drawn for edge in (lower, upper)}
    assert sum(tick.liquidity_net for tick in state.ticks) == 0
    assert state.liquidity == sum(liquidity for lower, upper, liquidity in drawn if lower <= 0 < upper)


@given(positions, positions)
def test_a_delta_turns_the_first_state_into_the_second(
    first: list[tuple[int, int, int]], second: list[tuple[int, int, int]]
) -> None:
    before, after = _minted(first), _minted(second)
    pool = a_pool_v3().with_state(before)
    delta = delta_between(pool.key.address, before, after)
    assert apply_delta(pool, delta).state == after
    assert apply_delta(apply_delta(pool, delta), delta).state == after


def test_a_tick_whose_positions_cancel_out_in_net_stays_initialised() -> None:
    state = apply_mint(apply_mint(EMPTY, -60, 0, 10**9), 0, 60, 10**9)
    assert Tick(0, 2 * 10**9, 0) in state.ticks


def test_a_position_outside_the_price_leaves_the_active_liquidity_alone() -> None:
    assert after_liquidity_change(EMPTY, 60, 120, 10**9).liquidity == 0
    assert after_liquidity_change(EMPTY, -60, 0, 10**9).liquidity == 0
    assert after_liquidity_change(EMPTY, 0, 60, 10**9).liquidity == 10**9


def test_a_burn_of_nothing_changes_nothing() -> None:
    state = _v3_state()
    assert apply_burn(state, -60, 60, 0) is state


def test_burning_more_than_a_tick_holds_is_refused() -> None:
    state = apply_mint(EMPTY, 60, 120, 10**9)
    with pytest.raises(InconsistentDelta, match="tick 60"):
        apply_burn(state, 60, 120, 10**9 + 1)


def test_burning_more_than_is_active_is_refused() -> None:
    with pytest.raises(InconsistentDelta, match="active"):
        apply_burn(EMPTY, -60, 60, 1)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(InconsistentDelta, match="empty"):
        apply_mint(EMPTY, 60, 60, 1)


def test_a_swap_event_gives_the_state_that_the_quote_foretold() -> None:
    pool = a_pool_v3()
    foretold = quote_exact_in(pool, WETH.address, 10**21).next_state
    assert isinstance(foretold, ConcentratedState)
    assert after_swap(_v3_state(), foretold.sqrt_price_x96, foretold.liquidity, foretold.tick) == foretold


def test_a_swap_delta_names_no_ticks() -> None:
    state = _v3_state()
    delta = delta_between(
        an_address("pool"), state, after_swap(state, state.sqrt_price_x96 + 1, state.liquidity, state.tick)
    )
    assert isinstance(delta, ConcentratedDelta)
    assert delta.ticks == ()


def test_a_reserves_delta_replaces_both_reserves() -> None:
    pool = apply_delta(a_pool_v2(), a_reserves_delta(reserve0=7, reserve1=9))
    assert delta_between(V2_POOL, a_pool_v2().state, pool.state) == a_reserves_delta(reserve0=7, reserve1=9)


def test_a_delta_of_another_pool_is_refused() -> None:
    with pytest.raises(InconsistentDelta, match="given to pool"):
        apply_delta(a_pool_v2(), a_reserves_delta(pool=an_address("other")))


def test_a_delta_of_another_kind_is_refused() -> None:
    pool = a_pool_v3()
    with pytest.raises(InconsistentDelta, match="reserves"):
        apply_delta(pool, a_reserves_delta(pool=pool.key.address))
    with pytest.raises(InconsistentDelta, match="cannot turn"):
        delta_between(V2_POOL, a_pool_v2().state, pool.state)


TERMS = BalanceTerms(fee=4_000_000, scaling=(10**30, 10**18), amplification=100)
BALANCES = BalancesState(balances=(10**12, 10**24), terms=TERMS)


def test_delta_of_balances_names_the_terms_only_when_they_changed() -> None:
    pool = a_pool_v2().with_state(BALANCES)
    swapped = BALANCES.model_copy(update={"balances": (5, 7)})
    delta = delta_between(V2_POOL, BALANCES, swapped)
    assert delta == BalancesDelta(pool=V2_POOL, balances=(5, 7))
    assert apply_delta(pool, delta).state == swapped
    ramped = swapped.model_copy(update={"terms": TERMS.model_copy(update={"amplification": 101})})
    assert apply_delta(pool, delta_between(V2_POOL, BALANCES, ramped)).state == ramped


def test_delta_with_another_number_of_balances_is_refused() -> None:
    pool = a_pool_v2().with_state(BALANCES)
    with pytest.raises(InconsistentDelta, match="has 2 balances"):
        apply_delta(pool, BalancesDelta(pool=V2_POOL, balances=(1, 2, 3)))
