"""An exit that no route takes whole sells as much as one takes, on exactly the states that it was planned on."""

from __future__ import annotations

from typing import Any

import pytest

from dexlane.domain.amm.quoting import quote_exact_in, quote_route
from dexlane.domain.circumstances import Holdings, Planned, PlanningRules, Refused
from dexlane.domain.planning import plan
from dexlane.domain.trade_quotes import quote_plan
from dexlane.events.execution import Plan
from dexlane.events.portfolio import ExitReason
from dexlane.events.risk import DecisionRecorded
from dexlane.testing.builders import (
    WETH,
    a_book,
    a_market,
    a_one_tick_pool,
    a_pool_v2,
    a_token,
    an_address,
    an_exit,
    an_exposure,
)
from dexlane.testing.thinking import a_thought, recorded_thoughts
from dexlane.values.amounts import apply_bps, decimal_text
from dexlane.values.pools import Pool, Protocol

TICK = 200_311
HELD = 10**18
FAST, SMART = PlanningRules(), PlanningRules(max_legs=3, max_paths=4)
TOLERANCE = a_book().slippage_tolerance_bps
OTHER = a_token("OTHER", address="0x" + "d" * 40)


def narrow(name: str, liquidity: int = 5 * 10**17, tick: int = TICK) -> Pool:
    return a_one_tick_pool(tick, liquidity, name)


def takes(pool: Pool) -> int:
    return quote_exact_in(pool, WETH.address, 10**30).amount_in


def fitting(pool: Pool, tolerance: int = TOLERANCE) -> int:
    """As much as a pool takes, less the tolerance."""
    return takes(pool) - apply_bps(takes(pool), tolerance)


def decide(*pools: Pool, rules: PlanningRules = FAST, quantity: int = HELD, **fields: Any) -> Planned | Refused:
    exit_ = an_exit(quantity=quantity, reason=fields.pop("reason", ExitReason.TAKE_PROFIT))
    return plan(exit_, a_book(), Holdings(exposure=an_exposure(), **fields), a_market(*pools), rules)


def planned(*pools: Pool, **fields: Any) -> Plan:
    made = decide(*pools, **fields)
    assert isinstance(made, Planned), made
    assert made.plan.quoted_out == quote_plan({pool.key.address: pool for pool in pools}, made.plan).amount_out
    return made.plan


def after(plan_: Plan, *pools: Pool) -> list[Pool]:
    """The pools as the plan leaves them."""
    states = {pool.key.address: pool for pool in pools}
    for path in plan_.paths:
        quote = quote_route(states, path.route, path.amount_in)
        for leg, step in zip(path.route.legs, quote.legs, strict=True):
            states[leg.pool] = states[leg.pool].with_state(step.next_state)
    return list(states.values())


@pytest.mark.parametrize(("reason", "times"), [(ExitReason.TAKE_PROFIT, 1), (ExitReason.STOP_LOSS, 2)])
def test_one_path_sells_what_its_pool_takes_with_room_for_what_others_sell_before(
    reason: ExitReason, times: int
) -> None:
    pool = narrow("one")
    trade = planned(pool, reason=reason)
    # It is found in pieces, each of which may round by a unit.
    assert trade.amount_in == pytest.approx(fitting(pool, times * TOLERANCE), rel=1e-12)
    exact = quote_exact_in(pool, WETH.address, trade.amount_in)
    assert (exact.partial, trade.quoted_out) == (False, exact.amount_out)
    assert trade.minimum_out == -(-exact.amount_out * (10_000 - times * TOLERANCE) // 10_000)


def test_one_path_takes_the_pool_that_brings_most_for_a_part() -> None:
    small, large = narrow("small", 10**17), narrow("large")
    assert planned(small, large).route.legs[0].pool == large.key.address


def test_several_paths_sell_what_their_pools_take_together() -> None:
    pools = [narrow(f"pool {n}", 10**17 + n * 10**16) for n in range(5)]
    trade = planned(*pools, rules=SMART)
    assert {path.route.legs[0].pool for path in trade.paths} == {pool.key.address for pool in pools[1:]}
    assert trade.amount_in == pytest.approx(sum(map(fitting, pools[1:])), rel=1e-12)
    assert sum(path.minimum_out for path in trade.split) == trade.minimum_out


def test_what_all_pools_together_take_is_sold_whole() -> None:
    pools = [narrow("one"), narrow("two")]
    trade = planned(*pools, rules=SMART, quantity=5 * 10**17)
    assert (trade.amount_in, len(trade.paths)) == (5 * 10**17, 2)


def test_a_route_over_two_pools_is_sold_in_part_where_the_lane_trades_such() -> None:
    to_other = a_pool_v2(address=an_address("to other"), token0=WETH, token1=OTHER, reserve0=10**22, reserve1=10**22)
    back = narrow("back")
    back = Pool(key=back.key.model_copy(update={"token1": OTHER}), state=back.state)
    refused = decide(to_other, back)
    assert isinstance(refused, Refused)
    assert refused.outcome == "no_route"
    trade = planned(to_other, back, rules=PlanningRules(max_legs=2))
    assert [leg.pool for leg in trade.route.legs] == [to_other.key.address, back.key.address]
    assert 0 < trade.amount_in < HELD


def test_the_rest_follows_with_exits_of_its_own_until_nothing_is_left() -> None:
    pools, left, trades = [narrow(name) for name in ("one", "two", "three", "four")], HELD, 0
    while left:
        trade = planned(*pools, quantity=left)
        pools, left, trades = after(trade, *pools), left - trade.amount_in, trades + 1
    assert trades == 4


def test_a_part_goes_before_a_whole_that_brings_less() -> None:
    pool, thin = narrow("one"), a_pool_v2(reserve0=100 * 10**6, reserve1=5 * 10**16)
    assert planned(thin).amount_in == HELD
    assert planned(thin, pool).route.legs[0].pool == pool.key.address
    assert planned(a_pool_v2(), pool).amount_in == HELD
    # Most of it would fit into the narrow pool, and yet all of it brings more.
    wide, most = a_pool_v2(reserve0=20_000 * 10**6, reserve1=10**19), narrow("most", 12 * 10**17)
    assert planned(most).amount_in > HELD // 2
    assert planned(wide, most).amount_in == HELD


def test_a_part_that_is_not_worth_its_gas_waits_for_more() -> None:
    refused = decide(narrow("crumb", 10**12), quantity=HELD)
    assert isinstance(refused, Refused)
    assert (refused.outcome, refused.passing) == ("over_exit_budget", True)


def test_no_more_is_sold_in_parts_than_is_held() -> None:
    pool = narrow("one")
    assert planned(pool, held=takes(pool) // 2).amount_in == takes(pool) // 2
    assert planned(pool, held=2 * takes(pool)).amount_in == pytest.approx(fitting(pool), rel=1e-12)


def test_pools_that_routers_have_no_calls_for_take_no_part() -> None:
    pool = narrow("one")
    foreign = Pool(key=pool.key.model_copy(update={"protocol": Protocol.PANCAKESWAP_V3}), state=pool.state)
    refused = decide(foreign)
    assert isinstance(refused, Refused)
    assert refused.outcome == "no_route"


def test_the_record_says_that_it_is_a_part_and_the_same_part_is_decided_again() -> None:
    pools = (narrow("one"), narrow("two"))
    made = a_thought(cause=an_exit(quantity=HELD), market=a_market(*pools))
    assert isinstance(made.result, Planned)
    assert plan(**made.arguments) == made.result
    sold = decimal_text(made.result.plan.amount_in, 18)
    (decision,) = [one for one in recorded_thoughts(made) if isinstance(one, DecisionRecorded)]
    assert f"nothing speaks against this exit: {sold} WETH of 1 for at least" in decision.reasons[0]
