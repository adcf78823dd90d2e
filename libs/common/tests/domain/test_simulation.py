"""What the chain would have done with a paper intent."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.amm.deltas import delta_between
from dexlane.domain.amm.quoting import quote_route
from dexlane.domain.rollup_fees import planned_size, rollup_fee_wei
from dexlane.domain.simulation import (
    OpenIntent,
    PaperWorld,
    Result,
    Scene,
    SimulationModel,
    eligible_from,
    execute,
    required_tip_wei,
    score_fill,
    simulate_block,
    take_back,
    why_not_affordable,
)
from dexlane.events.execution import FailureReason, IntentCreated, Plan, Purpose
from dexlane.events.fees import DataFeeRule, DataFeeTerms
from dexlane.testing.builders import (
    ENTRY_IN,
    ENTRY_OUT,
    USDC,
    V2_POOL,
    WETH,
    a_block,
    a_fee_cap,
    a_gap_route,
    a_hash,
    a_leg,
    a_plan,
    a_pool_v2,
    a_pool_v3,
    a_reserves_delta,
    a_route,
    an_account,
    an_address,
    an_intent,
)
from dexlane.values.chains import NATIVE
from dexlane.values.pools import Pool
from dexlane.values.routes import Leg, PlannedPath, Route

GWEI = 10**9
MODEL = SimulationModel()
POOLS: dict[str, Pool] = {pool.key.address: pool for pool in (a_pool_v2(), a_pool_v3())}


def intent(seed: str = "one", **fields: Any) -> IntentCreated:
    """An entry with an id of its own."""
    plan = fields.pop("plan", None) or a_plan(**{key: fields.pop(key) for key in list(fields) if key in PLAN_FIELDS})
    return an_intent(**({"id": a_hash(seed)[2:34], "plan": plan} | fields))


PLAN_FIELDS = {
    "minimum_out",
    "fee_cap",
    "deadline_block",
    "deadline_s",
    "gas_limit",
    "amount_in",
    "route",
    "quoted_out",
}


def waiting(*intents: IntentCreated, eligible: int = 101) -> list[OpenIntent]:
    """Accepted in this order."""
    return [OpenIntent(entry, ordinal, eligible) for ordinal, entry in enumerate(intents)]


def rich(*accounts: str) -> PaperWorld:
    """20,000 USDC and 1 ETH in every account."""
    world = PaperWorld()
    for account in accounts or (an_account(),):
        world.balances |= {(account, USDC.address): 20_000 * 10**6, (account, NATIVE): 10**18}
    return world


def scene(number: int = 101, pools: dict[str, Pool] | None = None, **block: Any) -> Scene:
    """A block with the default pools after it."""
    return Scene(a_block(number, **block), pools or POOLS)


def test_intent_is_filled_in_the_next_block_at_the_state_of_that_block() -> None:
    moved = {**POOLS, V2_POOL: a_pool_v2(reserve1=10_020 * 10**18)}
    world = rich()
    [(_, outcome)] = simulate_block(scene(pools=moved), waiting(intent()), world, MODEL)
    assert outcome.result is Result.FILLED
    assert outcome.block == a_block(101).block
    assert outcome.amount_out == quote_route(moved, a_route(), ENTRY_IN).amount_out > ENTRY_OUT
    assert world.balance(an_account(), WETH.address) == outcome.amount_out
    assert world.balance(an_account(), USDC.address) == 20_000 * 10**6 - ENTRY_IN


def test_fee_paid_is_gas_times_base_fee_and_effective_tip() -> None:
    world = rich()
    [(_, outcome)] = simulate_block(scene(), waiting(intent()), world, MODEL)
    assert outcome.gas_used == 105_000
    assert outcome.fee_paid_wei == 105_000 * 11 * GWEI
    assert world.balance(an_account(), NATIVE) == 10**18 - outcome.fee_paid_wei


def test_intent_waits_while_the_base_fee_is_above_its_cap_and_expires_at_its_deadline() -> None:
    world, high = rich(), 31 * GWEI
    queue = waiting(intent(deadline_block=102))
    assert simulate_block(scene(101, base_fee_per_gas_wei=high), queue, world, MODEL) == []
    [(_, outcome)] = simulate_block(scene(102, base_fee_per_gas_wei=high), queue, world, MODEL)
    assert outcome.result is Result.EXPIRED
    assert outcome.reason is FailureReason.EXPIRED
    assert outcome.fee_paid_wei == 0
    assert world == rich()


def test_intent_is_included_at_its_deadline_block_but_not_after_it() -> None:
    queue = waiting(intent(deadline_block=102))
    assert simulate_block(scene(102), queue, rich(), MODEL)[0][1].result is Result.FILLED
    assert simulate_block(scene(103), queue, rich(), MODEL)[0][1].result is Result.EXPIRED


def test_intent_is_not_offered_before_the_block_it_is_eligible_from() -> None:
    queue = waiting(intent(), eligible=102)
    assert simulate_block(scene(101), queue, rich(), MODEL) == []
    assert simulate_block(scene(102), queue, rich(), MODEL)[0][1].result is Result.FILLED


def test_full_block_asks_for_the_market_tip() -> None:
    full = a_block(101, gas_used=29_900_000)
    assert required_tip_wei(Scene(full, POOLS, 3 * GWEI), 200_000, MODEL) == 3 * GWEI
    assert required_tip_wei(Scene(full, POOLS), 200_000, MODEL) == MODEL.full_block_tip_wei
    assert required_tip_wei(Scene(full, POOLS, 3 * GWEI), 100_000, MODEL) == MODEL.minimum_tip_wei
    assert simulate_block(Scene(full, POOLS, 3 * GWEI), waiting(intent()), rich(), MODEL) == []
    assert simulate_block(Scene(full, POOLS, 1 * GWEI), waiting(intent()), rich(), MODEL) != []


FJORD = DataFeeTerms(
    rule=DataFeeRule.FJORD,
    l1_base_fee_wei=10**12,
    l1_blob_base_fee_wei=10**7,
    base_fee_scalar=2_269,
    blob_base_fee_scalar=1_055_762,
)


def test_on_a_rollup_a_fill_pays_for_its_data_and_nothing_is_filled_while_that_price_is_unknown() -> None:
    on_base = a_block(101, chain_id=8_453)
    assert simulate_block(Scene(on_base, POOLS), waiting(intent()), rich(), MODEL) == []
    world = rich()
    [(_, outcome)] = simulate_block(Scene(on_base, POOLS, data_fee=FJORD), waiting(intent()), world, MODEL)
    data_fee = rollup_fee_wei(FJORD, planned_size(intent().plan), outcome.gas_used)
    assert data_fee > 10**9
    assert outcome.fee_paid_wei == outcome.gas_used * 11 * GWEI + data_fee
    assert world.balance(intent().account, NATIVE) == rich().balance(intent().account, NATIVE) - outcome.fee_paid_wei


def test_an_account_must_be_able_to_pay_for_its_data_as_well() -> None:
    trade, world = intent(), rich()
    assert trade.plan is not None
    most = trade.plan.gas_limit * trade.plan.fee_cap.max_fee_per_gas_wei
    data_fee = rollup_fee_wei(FJORD, planned_size(trade.plan), trade.plan.gas_limit)
    world.balances[trade.account, NATIVE] = most + data_fee - 1
    assert why_not_affordable(trade, world, [], FJORD) is not None
    assert why_not_affordable(trade, world, []) is None
    world.balances[trade.account, NATIVE] += 1
    assert why_not_affordable(trade, world, [], FJORD) is None


def test_output_below_the_minimum_reverts_and_pays_its_gas() -> None:
    worse = {**POOLS, V2_POOL: a_pool_v2(reserve1=9_900 * 10**18)}
    world = rich()
    [(_, outcome)] = simulate_block(scene(pools=worse), waiting(intent()), world, MODEL)
    assert (outcome.result, outcome.reason) == (Result.REVERTED, FailureReason.MINIMUM_OUT)
    assert re.fullmatch(r"it would give \d\.\d+ WETH, the plan's minimum is \d\.\d+", outcome.detail), outcome.detail
    assert outcome.fee_paid_wei == 105_000 * 11 * GWEI
    assert outcome.deltas == ()
    assert world.balance(an_account(), USDC.address) == 20_000 * 10**6
    assert world.balance(an_account(), NATIVE) == 10**18 - outcome.fee_paid_wei
    assert world.impacts == {}


def test_router_deadline_reverts_cheaply() -> None:
    [(_, outcome)] = simulate_block(scene(timestamp_s=2_000_000_000), waiting(intent()), rich(), MODEL)
    assert (outcome.result, outcome.reason) == (Result.REVERTED, FailureReason.EXPIRED)
    assert outcome.gas_used < 105_000


def test_trade_that_needs_more_gas_than_its_limit_reverts_and_pays_the_limit() -> None:
    [(_, outcome)] = simulate_block(scene(), waiting(intent(gas_limit=90_000)), rich(), MODEL)
    assert (outcome.result, outcome.reason, outcome.gas_used) == (Result.REVERTED, FailureReason.REVERTED, 90_000)


def test_unknown_pool_reverts() -> None:
    [(_, outcome)] = simulate_block(scene(pools={V2_POOL + "0": a_pool_v2()}), waiting(intent()), rich(), MODEL)
    assert outcome.result is Result.REVERTED


def test_account_without_gas_money_is_refused_and_pays_nothing() -> None:
    world = rich()
    world.balances[an_account(), NATIVE] = 200_000 * 30 * GWEI - 1
    [(_, outcome)] = simulate_block(scene(), waiting(intent()), world, MODEL)
    assert (outcome.result, outcome.reason) == (Result.REFUSED, FailureReason.INSUFFICIENT_FUNDS)
    assert outcome.fee_paid_wei == 0
    assert outcome.block is None


def test_payment_that_is_not_there_reverts_and_pays_its_gas() -> None:
    world = rich()
    world.balances[an_account(), USDC.address] = ENTRY_IN - 1
    [(_, outcome)] = simulate_block(scene(), waiting(intent()), world, MODEL)
    assert (outcome.result, outcome.reason) == (Result.REVERTED, FailureReason.INSUFFICIENT_FUNDS)
    assert outcome.fee_paid_wei > 0


def test_second_trade_of_a_book_in_a_block_sees_the_impact_of_the_first() -> None:
    queue = waiting(intent("one", minimum_out=1), intent("two", minimum_out=1))
    first, second = (outcome for _, outcome in simulate_block(scene(), queue, rich(), MODEL))
    assert second.amount_out < first.amount_out
    both = quote_route(POOLS, a_route(), 2 * ENTRY_IN).amount_out
    assert abs(first.amount_out + second.amount_out - both) < both // 10_000


def test_impact_lasts_until_the_next_real_event_on_the_pool() -> None:
    quiet, busy = rich(), rich()
    for world in (quiet, busy):
        simulate_block(scene(101), waiting(intent("one")), world, MODEL)
    queue = waiting(intent("two", deadline_block=110, minimum_out=1))
    [(_, affected)] = simulate_block(scene(102), queue, quiet, MODEL)
    assert affected.amount_out < ENTRY_OUT
    touched = Scene(a_block(102, a_reserves_delta()), POOLS)
    [(_, unaffected)] = simulate_block(touched, queue, busy, MODEL)
    assert unaffected.amount_out == ENTRY_OUT


def test_impact_on_a_state_that_is_gone_is_void() -> None:
    world = rich()
    simulate_block(scene(101), waiting(intent("one")), world, MODEL)
    moved = {**POOLS, V2_POOL: a_pool_v2(reserve0=20_000_001 * 10**6)}
    assert world.pools_seen_by("paper-one", POOLS) is not POOLS
    assert world.pools_seen_by("paper-one", moved) is moved


def test_books_do_not_see_each_other() -> None:
    other = an_address("other")
    world = rich(an_account(), other)
    queue = waiting(intent("one"), intent("two", book_id="paper-two", account=other))
    first, second = (outcome for _, outcome in simulate_block(scene(), queue, world, MODEL))
    assert first.amount_out == second.amount_out == ENTRY_OUT


def test_higher_tip_goes_first_and_one_account_keeps_its_order() -> None:
    other = an_address("other")
    world = rich(an_account(), other)
    eager = a_fee_cap(max_priority_fee_per_gas_wei=5 * GWEI)
    queue = waiting(
        intent("slow", minimum_out=1),
        intent("behind it", fee_cap=eager, minimum_out=1),
        intent("eager", account=other, fee_cap=a_fee_cap(max_priority_fee_per_gas_wei=2 * GWEI), minimum_out=1),
    )
    order = [entry.intent.id for entry, _ in simulate_block(scene(), queue, world, MODEL)]
    assert order == [queue[2].intent.id, queue[0].intent.id, queue[1].intent.id]


def test_intent_behind_one_that_waits_must_wait_too() -> None:
    low = a_fee_cap(max_fee_per_gas_wei=5 * GWEI)
    queue = waiting(intent("stuck", fee_cap=low, deadline_block=102), intent("behind", deadline_block=110))
    assert simulate_block(scene(101), queue, rich(), MODEL) == []
    ended = simulate_block(scene(102), queue, rich(), MODEL)
    assert [(entry.intent.id, outcome.result) for entry, outcome in ended] == [(queue[0].intent.id, Result.EXPIRED)]


def test_cycle_changes_its_token_by_the_difference_alone() -> None:
    cheap = a_pool_v2(reserve1=10_300 * 10**18)
    pools = {**POOLS, V2_POOL: cheap}
    plan = a_plan(route=a_gap_route(cheap, a_pool_v3()), minimum_out=ENTRY_IN, gas_limit=500_000)
    [(_, outcome)] = simulate_block(scene(pools=pools), waiting(intent(plan=plan)), rich(), MODEL)
    assert outcome.result is Result.FILLED
    [delta] = outcome.deltas
    assert (delta.token, delta.amount) == (USDC.address, outcome.amount_out - ENTRY_IN)


def test_pool_used_twice_is_left_in_its_last_state() -> None:
    there_and_back = Route(legs=(a_leg(), a_leg(token_in=WETH.address)))
    plan = a_plan(route=there_and_back, minimum_out=1, gas_limit=500_000)
    world = rich()
    [(_, outcome)] = simulate_block(scene(), waiting(intent(plan=plan)), world, MODEL)
    left = world.pools_seen_by("paper-one", POOLS)[V2_POOL]
    quote = quote_route(POOLS, there_and_back, ENTRY_IN)
    assert left.state == quote.legs[-1].next_state
    assert outcome.amount_out == quote.amount_out


def test_allowance_costs_gas_and_moves_nothing() -> None:
    allowance = an_intent(
        purpose=Purpose.ALLOWANCE, plan=None, verdict=None, allowance_token=USDC.address, allowance_amount=1
    )
    world = rich()
    [(_, outcome)] = simulate_block(scene(), waiting(allowance), world, MODEL)
    assert outcome.result is Result.FILLED
    assert outcome.deltas == ()
    assert world.balance(an_account(), NATIVE) == 10**18 - outcome.fee_paid_wei < 10**18


def test_taking_an_outcome_back_restores_the_balances_and_forgets_the_impact() -> None:
    world = rich()
    [(_, outcome)] = simulate_block(scene(), waiting(intent()), world, MODEL)
    take_back(world, an_account(), outcome)
    assert {key: amount for key, amount in world.balances.items() if amount} == rich().balances
    assert world.impacts == {}


def test_intents_that_wait_count_against_the_balance() -> None:
    world, big = rich(), intent("big", amount_in=15_000 * 10**6)
    assert why_not_affordable(big, world, []) is None
    reason = why_not_affordable(intent("two", amount_in=6_000 * 10**6), world, waiting(big))
    assert reason is not None
    assert USDC.address in reason
    elsewhere = intent("big", amount_in=15_000 * 10**6, account=an_address("other"))
    assert why_not_affordable(intent("two", amount_in=6_000 * 10**6), world, waiting(elsewhere)) is None


def test_intent_cannot_reach_a_block_that_was_made_before_it_arrived() -> None:
    assert eligible_from(intent(), 99, MODEL) == 101
    assert eligible_from(intent(), 104, MODEL) == 105


def test_share_of_late_intents_follows_the_model_and_the_seed_alone() -> None:
    late = SimulationModel(late_bps=3_000, seed=7)
    delayed = [eligible_from(intent(str(number)), 100, late) == 102 for number in range(400)]
    assert delayed == [eligible_from(intent(str(number)), 100, late) == 102 for number in range(400)]
    assert 80 <= sum(delayed) <= 160
    assert delayed != [
        eligible_from(intent(str(n)), 100, late.model_copy(update={"seed": 8})) == 102 for n in range(400)
    ]


def test_score_compares_with_the_real_state_without_us() -> None:
    plan = a_plan()
    assert score_fill(plan, ENTRY_OUT, POOLS) == (ENTRY_OUT, 0)
    worse = {**POOLS, V2_POOL: a_pool_v2(reserve1=9_900 * 10**18)}
    real, difference = score_fill(plan, ENTRY_OUT, worse)
    assert real < ENTRY_OUT
    assert 95 <= difference <= 105
    assert score_fill(plan, ENTRY_OUT, {}) == (0, 10_000)


def test_executing_what_the_block_would_not_include_is_refused() -> None:
    with pytest.raises(ValueError, match="does not include"):
        execute(intent(), scene(base_fee_per_gas_wei=31 * GWEI), rich(), MODEL)


@settings(max_examples=60, deadline=None)
@given(
    amounts=st.lists(st.integers(10**4, 30_000 * 10**6), min_size=1, max_size=6),
    tips=st.lists(st.integers(0, 6), min_size=6, max_size=6),
    base_fee=st.integers(5, 32),
)
def test_balances_never_go_below_zero_and_change_by_outcomes_alone(
    amounts: list[int], tips: list[int], base_fee: int
) -> None:
    queue = waiting(
        *(
            intent(
                str(index), amount_in=amount, minimum_out=1, fee_cap=a_fee_cap(max_priority_fee_per_gas_wei=tip * GWEI)
            )
            for index, (amount, tip) in enumerate(zip(amounts, tips, strict=False))
        )
    )
    world, expected = rich(), rich()
    ended = simulate_block(scene(base_fee_per_gas_wei=base_fee * GWEI), queue, world, MODEL)
    for entry, outcome in ended:
        expected.move(entry.intent.account, outcome.deltas)
        expected.balances[entry.intent.account, NATIVE] -= outcome.fee_paid_wei
    assert all(amount >= 0 for amount in world.balances.values())
    assert {k: v for k, v in world.balances.items() if v} == {k: v for k, v in expected.balances.items() if v}
    assert len({entry.intent.id for entry, _ in ended}) == len(ended)


@settings(max_examples=40, deadline=None)
@given(split=st.integers(1, 99), amount=st.integers(10**6, 5_000 * 10**6))
def test_splitting_a_trade_within_a_block_gains_nothing(split: int, amount: int) -> None:
    first = amount * split // 100 or 1
    whole, parts = rich(), rich()
    simulate_block(scene(), waiting(intent("whole", amount_in=amount, minimum_out=1)), whole, MODEL)
    halves = (intent("a", amount_in=first, minimum_out=1), intent("b", amount_in=amount - first, minimum_out=1))
    simulate_block(scene(), waiting(*halves), parts, MODEL)
    account = an_account()
    assert parts.balance(account, WETH.address) <= whole.balance(account, WETH.address) + amount // 100


def test_impact_survives_its_wire_form() -> None:
    world = rich()
    simulate_block(scene(), waiting(intent()), world, MODEL)
    [impact] = world.impacts.values()
    assert type(impact).model_validate_json(impact.model_dump_json()) == impact
    assert impact.base == delta_between(V2_POOL, a_pool_v2().state, a_pool_v2().state)


TWIN = a_pool_v2(address="0x" + "7b" * 20)
TWO_POOLS: dict[str, Pool] = {pool.key.address: pool for pool in (a_pool_v2(), TWIN)}


def route_in(pool: Pool) -> Route:
    key = pool.key
    leg = Leg(
        pool=key.address, protocol=key.protocol, fee_pips=key.fee_pips, token_in=USDC.address, token_out=WETH.address
    )
    return Route(legs=(leg,))


def a_split_plan(*, last_minimum: int = 1) -> Plan:
    """Three fifths of the amount in one pair, the rest in its twin."""
    amount = 100_000 * 10**6
    paths = (
        PlannedPath(route=route_in(a_pool_v2()), amount_in=amount * 3 // 5, minimum_out=1),
        PlannedPath(route=route_in(TWIN), amount_in=amount * 2 // 5, minimum_out=last_minimum),
    )
    return a_plan(route=paths[0].route, amount_in=amount, minimum_out=1 + last_minimum).model_copy(
        update={"split": paths}
    )


def rich_world(plan: Plan) -> PaperWorld:
    world = PaperWorld()
    world.balances = {(an_account(), NATIVE): 10**21, (an_account(), USDC.address): plan.amount_in}
    return world


def executed(plan: Plan) -> tuple[PaperWorld, Any]:
    trade = intent(plan=plan)
    world = rich_world(plan)
    world.balances = {(trade.account, token): amount for (_, token), amount in world.balances.items()}
    scene = Scene(a_block(number=101), TWO_POOLS)
    return world, execute(trade, scene, world, MODEL)


def test_a_split_is_executed_path_by_path_with_the_exact_quotes() -> None:
    plan = a_split_plan()
    world, outcome = executed(plan)
    assert outcome.result is Result.FILLED, outcome
    expected = sum(quote_route(TWO_POOLS, path.route, path.amount_in).amount_out for path in plan.split)
    assert outcome.amount_out == expected
    assert {delta.token: delta.amount for delta in outcome.deltas} == {
        USDC.address: -plan.amount_in,
        WETH.address: expected,
    }
    assert {pool for _, pool in world.impacts} == set(TWO_POOLS)


def test_a_split_reverts_whole_when_one_path_misses_its_minimum() -> None:
    enough = quote_route(TWO_POOLS, route_in(TWIN), 40_000 * 10**6).amount_out
    assert executed(a_split_plan(last_minimum=enough))[1].result is Result.FILLED
    _, outcome = executed(a_split_plan(last_minimum=enough + 1))
    assert (outcome.result, outcome.reason, outcome.deltas) == (Result.REVERTED, FailureReason.MINIMUM_OUT, ())


def test_a_native_trade_moves_native_coin_and_no_wrapped_one() -> None:
    plan = a_split_plan().model_copy(update={"native_out": True})
    _, outcome = executed(plan)
    assert {delta.token: delta.amount for delta in outcome.deltas} == {
        USDC.address: -plan.amount_in,
        NATIVE: outcome.amount_out,
    }
    back = route_in(TWIN).legs[0]
    paid = a_plan(
        route=Route(legs=(back.model_copy(update={"token_in": WETH.address, "token_out": USDC.address}),)),
        amount_in=10**18,
        minimum_out=1,
    ).model_copy(update={"native_in": True})
    _, outcome = executed(paid)
    assert {delta.token: delta.amount for delta in outcome.deltas} == {
        NATIVE: -(10**18),
        USDC.address: outcome.amount_out,
    }
