"""Rules of the schedule, the starting pool and the synthetic traders (all pure)."""

from itertools import islice, pairwise
from math import isqrt

import pytest

from dexlane_devnet import Tape, TapeEvent
from dexlane_devnet.profile import net_change, starting_pool
from dexlane_devnet.schedule import Rewind, Step, steps
from dexlane_devnet.synthetic import (
    BASE_TRADERS,
    ETHER,
    ROUND_TRIP_FEE_BPS,
    TRADERS,
    Intention,
    Trader,
    gap_beyond_fees_bps,
    intentions,
    order_for,
    walk,
)
from dexlane_devnet.v3math import Q96

V2_TRADER, V3_TRADER = TRADERS
REFERENCE = 1662995104975155420368771254341874


def reserves_at(sqrt_price: int, weth: int = 15_000 * ETHER) -> tuple[int, int]:
    return weth * Q96 // sqrt_price * Q96 // sqrt_price, weth


def test_the_tape_holds_the_recorded_day(tape: Tape) -> None:
    kinds = [event.kind for event in tape.events]
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    assert counts == {"swap": 6046, "burn": 69, "mint": 54, "collect": 65}


def test_starting_liquidity_equals_the_record_at_the_first_swap(tape: Tape) -> None:
    start, first = starting_pool(tape), tape.events[0]
    active = [item.liquidity for item in (*start.base, *start.withdrawn) if item.lower <= first.tick < item.upper]
    assert sum(active) == first.liquidity


def test_base_ranges_are_disjoint_and_without_holes(tape: Tape) -> None:
    base = starting_pool(tape).base
    assert all(left.upper == right.lower for left, right in pairwise(base))


def test_no_burn_of_the_day_exceeds_what_is_held(tape: Tape) -> None:
    held = {(item.lower, item.upper): item.liquidity for item in starting_pool(tape).withdrawn}
    for count, event in enumerate(tape.events):
        if event.kind == "burn":
            key = (event.tick_lower, event.tick_upper)
            assert held.get(key, 0) + net_change(tape.events[: count + 1])[key] >= 0


def test_steps_come_in_time_order_and_recorded_events_in_recorded_order(tape: Tape) -> None:
    first = list(islice(steps(tape, seed=1), 9_000))
    assert [step.at_ms for step in first] == sorted(step.at_ms for step in first)
    played = tuple(step.action for step in first if isinstance(step.action, TapeEvent))
    assert played[: len(tape.events)] == tape.events


def test_the_day_begins_again_after_a_rewind(tape: Tape) -> None:
    recorded = list(islice(steps(tape, seed=1, synthetic=False), len(tape.events) + 2))
    assert isinstance(recorded[-2].action, Rewind)
    assert recorded[-1] == Step(1000 * tape.duration_s, 1, tape.events[0])


@pytest.mark.parametrize("trader", TRADERS, ids=lambda trader: trader.role)
def test_same_seed_same_synthetic_trades(trader: Trader) -> None:
    def first(seed: int) -> list[Intention]:
        return list(islice(intentions(seed, trader), 500))

    assert first(7) == first(7)
    assert first(7) != first(8)


def test_a_shock_is_held_and_then_reverted_and_never_pushed_again() -> None:
    aimed = [item.kind for item in islice(intentions(5, V2_TRADER), 2_000) if item.kind != "noise"]
    assert {after for kind, after in pairwise(aimed) if kind in ("shock", "hold")} == {"hold", "revert"}
    assert "track" not in {before for before, kind in pairwise(aimed) if kind == "revert"}


@pytest.mark.parametrize(("current_bps", "acts"), [(0, False), (50, False), (-30, False), (80, True)])
def test_holding_a_shock_stops_a_growing_gap_and_never_opens_one(current_bps: int, *, acts: bool) -> None:
    hold = Intention(0, V3_TRADER, "hold", offset_bps=50)
    order = order_for(hold, REFERENCE, (REFERENCE * (20_000 + current_bps) // 20_000, 0))
    assert (order is not None) is acts
    if order is not None:
        assert order.token_in == V3_TRADER.pool.token0


def test_shocks_arrive_every_20_to_60_seconds_at_the_default_speed() -> None:
    day_ms = 86_400_000
    shocks = 0
    for trader in TRADERS:
        for item in intentions(1, trader):
            if item.at_ms >= day_ms:
                break
            shocks += item.kind == "shock"
    assert 20 < day_ms / 1000 / 100 / shocks < 60


@pytest.mark.parametrize("trader", TRADERS, ids=lambda trader: trader.role)
def test_shocks_stay_within_the_gap_the_trader_is_meant_to_open(trader: Trader) -> None:
    least, most = trader.shock_beyond_bps
    shocks = [item for item in islice(intentions(1, trader), 5_000) if item.kind == "shock"]
    assert all(least <= abs(item.offset_bps) - ROUND_TRIP_FEE_BPS <= most for item in shocks)
    assert len({item.offset_bps for item in shocks}) > 5


@pytest.mark.parametrize("offset_bps", [-60, 50])
def test_a_v2_order_moves_the_price_to_where_it_was_meant(offset_bps: int) -> None:
    reserve0, reserve1 = reserves_at(REFERENCE)
    order = order_for(Intention(0, V2_TRADER, "shock", offset_bps), REFERENCE, (reserve0, reserve1))
    assert order is not None
    net = order.amount * 997 // 1000
    if order.token_in == V2_TRADER.pool.token1:
        after = (reserve0 - reserve0 * net // (reserve1 + net), reserve1 + order.amount)
    else:
        after = (reserve0 + order.amount, reserve1 - reserve1 * net // (reserve0 + net))
    price = isqrt(after[1] * Q96 * Q96 // after[0])
    assert abs(gap_beyond_fees_bps(REFERENCE, price) - (abs(offset_bps) - ROUND_TRIP_FEE_BPS)) <= 1


def test_tracking_does_nothing_within_its_dead_band() -> None:
    close = Intention(0, V2_TRADER, "track", offset_bps=5)
    assert order_for(close, REFERENCE, reserves_at(REFERENCE)) is None


def test_noise_sells_its_size_whatever_the_price() -> None:
    noise = Intention(0, V3_TRADER, "noise", size_wei=2 * ETHER, sells_weth=True)
    cheap, dear = (order_for(noise, REFERENCE, (REFERENCE * k // 10, 0)) for k in (9, 11))
    assert cheap == dear
    assert cheap is not None
    assert cheap.amount == 2 * ETHER


@pytest.mark.parametrize("offset_bps", [-60, 50])
def test_a_v2_order_on_base_moves_the_price_to_where_it_was_meant(offset_bps: int) -> None:
    price = Q96 * Q96 // REFERENCE
    weth = 15_000 * ETHER
    reserves = (weth, weth * price // Q96 * price // Q96)
    order = order_for(Intention(0, BASE_TRADERS[0], "shock", offset_bps), price, reserves)
    assert order is not None
    net = order.amount * 997 // 1000
    if order.token_in == BASE_TRADERS[0].pool.token1:
        after = (weth - weth * net // (reserves[1] + net), reserves[1] + order.amount)
    else:
        after = (weth + order.amount, reserves[1] - reserves[1] * net // (weth + net))
    moved = isqrt(after[1] * Q96 * Q96 // after[0])
    assert (moved > price) == (offset_bps > 0)
    assert abs(gap_beyond_fees_bps(price, moved) - (abs(offset_bps) - ROUND_TRIP_FEE_BPS)) <= 1


@pytest.mark.parametrize("sells_weth", [True, False])
def test_noise_on_base_sells_weth_or_its_worth_in_usdc(*, sells_weth: bool) -> None:
    noise = Intention(0, BASE_TRADERS[1], "noise", size_wei=2 * ETHER, sells_weth=sells_weth)
    order = order_for(noise, Q96 * Q96 // REFERENCE, (0, 0))
    assert order is not None
    if sells_weth:
        assert (order.token_in, order.amount) == (BASE_TRADERS[1].pool.token0, 2 * ETHER)
    else:
        assert order.token_in == BASE_TRADERS[1].pool.token1
        assert 4_000 * 10**6 < order.amount < 5_000 * 10**6


def test_the_leader_of_base_walks_and_stays_near_its_start() -> None:
    day = list(islice(walk(1), 20_000))
    assert [item.at_ms for item in day] == sorted(item.at_ms for item in day)
    assert 100 < max(abs(item.offset_bps) for item in day) < 500
    assert day[:50] == list(islice(walk(1), 50))
    assert day[:50] != list(islice(walk(2), 50))
