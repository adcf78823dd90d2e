"""Which verdicts and exits become trades, at which size, and why the others do not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import quote_route
from dexlane.domain.circumstances import Holdings, Market, Planned, PlanningRules, Refused, Reserved
from dexlane.domain.entry_timing import why_later
from dexlane.domain.fee_bumps import last_exit_fee, second_exit_fee
from dexlane.domain.gas_value import NativePrice
from dexlane.domain.planning import plan
from dexlane.domain.risk.compliance import ComplianceRules
from dexlane.domain.rollup_fees import dearest_rollup_fee_wei, planned_size, routed_size
from dexlane.domain.routing import best_route, rotated_to
from dexlane.domain.trade_quotes import quote_plan
from dexlane.events.base import FeeCap
from dexlane.events.control import Status
from dexlane.events.execution import Purpose
from dexlane.events.fees import DataFeeRule, DataFeeTerms, FeeTier, InclusionTip, SendTiming
from dexlane.events.portfolio import ExitReason
from dexlane.events.risk import Ruling
from dexlane.testing.builders import (
    USDC,
    V2_POOL,
    WETH,
    a_block_ref,
    a_book,
    a_fee_quote,
    a_market,
    a_pool_v2,
    a_pool_v3,
    a_token,
    a_verdict,
    an_account,
    an_entry_opportunity,
    an_exit,
    an_exposure,
    an_opportunity,
    lane_limits,
    verdict_facts,
)
from dexlane.values.books import Book, Lane, Mode, Profile
from dexlane.values.chains import NATIVE
from dexlane.values.controls import Controls
from dexlane.values.pools import Pool
from dexlane.values.routes import Leg, Route

GWEI = 10**9
CAP = FeeCap(max_fee_per_gas_wei=2 * GWEI, max_priority_fee_per_gas_wei=GWEI // 10)
NO_COLLAR = Controls(collar_bps=None)
"""For markets of one pool."""
WIDE = a_pool_v2(reserve0=20_200_000 * 10**6)
"""The V2 pool with USDC one per cent cheaper than in the V3 pool."""


def some_holdings(**fields: Any) -> Holdings:
    exposure = fields.pop("exposure", an_exposure(at_work=0, open_positions=0, realised_today=0))
    return Holdings(exposure=exposure, **fields)


def decide(cause: Any = None, book: Book | None = None, **fields: Any) -> Planned | Refused:
    return plan(
        cause or a_verdict(an_entry_opportunity()),
        book or a_book(),
        fields.pop("holdings", some_holdings()),
        fields.pop("market", a_market()),
        fields.pop("rules", PlanningRules()),
    )


def planned(outcome: Planned | Refused) -> Planned:
    assert isinstance(outcome, Planned), outcome
    return outcome


def limited(**fields: Any) -> Book:
    return a_book(limits={lane: lane_limits(**fields) for lane in Lane})


def test_an_entry_is_planned_with_the_exact_quote_and_a_minimum_out_from_the_tolerance() -> None:
    made = planned(decide())
    trade = made.plan
    exact = quote_route(a_market().pools, trade.route, trade.amount_in)
    assert (made.purpose, trade.amount_in, trade.quoted_out) == (Purpose.ENTRY, 1_000 * 10**6, exact.amount_out)
    assert trade.minimum_out == -(-exact.amount_out * 9_950 // 10_000)
    assert made.reserved == trade.amount_in
    assert (trade.deadline_block, trade.deadline_s) == (102, 1_700_000_000 + 3 * 12)


REFUSALS: dict[str, dict[str, Any]] = {
    "too_risky": {"cause": a_verdict(an_entry_opportunity(), risk_score=80)},
    "too_uncertain": {"cause": a_verdict(an_entry_opportunity(), confidence_bps=5_000)},
    "book_disabled": {"book": a_book(enabled=False)},
    "strategy_off": {"book": a_book(strategies=("price_gap",))},
    "reducing": {"market": a_market(status=Status.REDUCING)},
    "halted": {"market": a_market(status=Status.HALTED)},
    "stale_state": {"market": a_market(age_ms=60_000)},
    "stale_fee_quote": {"market": a_market(fee_quote=a_fee_quote(block=a_block_ref(90)))},
    "deadline_passed": {"market": a_market(block=a_block_ref(102))},
    "no_exposure": {"holdings": some_holdings(exposure=None)},
    "daily_loss": {"holdings": some_holdings(exposure=an_exposure(realised_today=-500 * 10**6))},
    "open_positions": {"holdings": some_holdings(reserved=Reserved(open_entries=5))},
    "order_rate": {"holdings": some_holdings(reserved=Reserved(orders_last_minute=30))},
    "in_flight": {"holdings": some_holdings(reserved=Reserved(tokens_in_flight=frozenset({USDC.address})))},
    "capital": {"holdings": some_holdings(reserved=Reserved(capital=20_000 * 10**6))},
    "gas_reserve": {"holdings": some_holdings(native_balance_wei=10**16)},
    "nothing_free": {"holdings": some_holdings(quote_balance=0)},
    "lane_off": {
        "book": a_book(accounts={Lane.SMART: an_account(lane=Lane.SMART)}, limits={Lane.SMART: lane_limits()})
    },
    "other_quote": {"book": a_book(quote=a_token("DAI"))},
    "unknown_pool": {"market": a_market(a_pool_v3())},
    "price_moved": {"market": a_market(a_pool_v2(reserve0=30_000_000 * 10**6)), "book": a_book(controls=NO_COLLAR)},
    "price_impact": {
        "market": a_market(a_pool_v2(reserve0=8_000 * 10**6, reserve1=10**19)),
        "book": a_book(controls=NO_COLLAR),
    },
    "fee_too_low": {"market": a_market(next_base_fee_wei=3 * GWEI)},
    "no_edge": {"market": a_market(next_base_fee_wei=20 * GWEI, fee_quote=a_fee_quote())},
}


@pytest.mark.parametrize("outcome", REFUSALS)
def test_every_refusal_is_named_and_says_why_in_a_sentence(outcome: str) -> None:
    refused = decide(**REFUSALS[outcome])
    assert isinstance(refused, Refused)
    assert refused.outcome == outcome
    assert all(len(reason.split()) > 4 for reason in refused.reasons)


def test_all_reasons_are_given_not_only_the_first() -> None:
    refused = decide(a_verdict(an_entry_opportunity(), risk_score=90, confidence_bps=1_000), a_book(enabled=False))
    assert isinstance(refused, Refused)
    assert len(refused.reasons) == 3


def test_a_standing_order_of_the_book_is_taken_whatever_strategies_it_listens_to() -> None:
    order = an_entry_opportunity(strategy="dca", addressee="paper-one", edge_bps=0)
    assert planned(decide(a_verdict(order))).strategy == "dca"


def test_a_book_is_refused_what_its_jurisdiction_forbids_or_nobody_judged() -> None:
    rulings = (Ruling(jurisdiction="EU", refused=("token x: no",)), Ruling(jurisdiction="GB"))
    verdict = a_verdict(an_entry_opportunity(), facts=verdict_facts(rulings=rulings))
    outcomes = {code: decide(verdict, a_book(jurisdiction=code)) for code in ("EU", "GB", "US", None)}
    assert isinstance(outcomes["GB"], Planned)
    assert isinstance(outcomes[None], Planned)
    assert outcomes["EU"] == Refused(outcome="forbidden", reasons=("token x: no (EU)",))
    assert isinstance(outcomes["US"], Refused)
    assert "was not judged" in outcomes["US"].reasons[0]


def test_where_only_verified_accounts_trade_others_open_nothing_and_still_close() -> None:
    book = a_book()
    listed = {lane: ComplianceRules.model_validate(
        {"reviewed": "2023-01-01", "allowed_accounts": [{"address": account, "until": "2024-01-01"}]}
    ) for lane, account in book.accounts.items()}  # fmt: skip
    assert isinstance(decide(book=book, rules=PlanningRules(compliance=listed[Lane.FAST])), Planned)
    other = decide(book=book, rules=PlanningRules(compliance=listed[Lane.SMART]))
    assert isinstance(other, Refused)
    assert other.outcome == "account_not_verified"
    late = a_market(timestamp_s=1_704_067_200)
    assert isinstance(decide(book=book, market=late, rules=PlanningRules(compliance=listed[Lane.FAST])), Refused)
    exit_ = an_exit(account=book.accounts[Lane.FAST], lane=Lane.FAST)
    closing = PlanningRules(compliance=listed[Lane.SMART])
    assert isinstance(decide(exit_, book, holdings=some_holdings(held=exit_.quantity), rules=closing), Planned)


def test_a_book_plans_only_within_its_profile() -> None:
    shallow = a_verdict(an_entry_opportunity(), facts=verdict_facts(thinnest_depth=30_000 * 10**6))
    assert isinstance(decide(shallow, a_book(profile=Profile.AGGRESSIVE)), Planned)
    refused = decide(shallow, a_book(profile=Profile.MODERATE))
    assert isinstance(refused, Refused)
    assert refused.outcome == "beyond_profile"


def gap_market(**fields: Any) -> Market:
    return a_market(WIDE, a_pool_v3(), **fields)


def gap_verdict(**fields: Any) -> Any:
    from dexlane.testing.builders import a_gap_route

    market = gap_market()
    forward = a_gap_route()
    size = 5_000 * 10**6
    best = max(
        (forward, Route(legs=tuple(_back(leg) for leg in reversed(forward.legs)))),
        key=lambda route: quote_route(market.pools, route, size).amount_out,
    )
    return a_verdict(an_opportunity(route=best, size_hint=size, expected_out=size + 1), **fields)


def _back(leg: Any) -> Any:
    return leg.model_copy(update={"token_in": leg.token_out, "token_out": leg.token_in})


def test_a_gap_reverts_rather_than_losing_its_gas() -> None:
    made = planned(decide(gap_verdict(), market=gap_market()))
    trade = made.plan
    gas = quote_route(gap_market().pools, trade.route, trade.amount_in).gas + PlanningRules().permit_gas
    cost = NativePrice(gap_market().pools, 1, USDC.address).of_wei(gas * trade.fee_cap.max_fee_per_gas_wei)
    assert made.purpose is Purpose.GAP
    assert cost is not None
    assert trade.minimum_out >= trade.amount_in + cost + 1
    assert made.max_fee_per_gas_budget_wei == trade.fee_cap.max_fee_per_gas_wei, "a bump would eat the profit"


def test_a_gap_that_does_not_pay_its_gas_is_refused() -> None:
    dear = FeeCap(max_fee_per_gas_wei=600 * GWEI, max_priority_fee_per_gas_wei=500 * GWEI)
    market = gap_market(fee_quote=a_fee_quote(tiers=dict.fromkeys(FeeTier, dear)))
    refused = decide(gap_verdict(), market=market)
    assert isinstance(refused, Refused)
    assert refused.outcome == "no_edge"


def test_a_gap_is_refused_when_the_gas_has_no_price() -> None:
    assert NativePrice({}, 1, USDC.address).of_wei(10**18) is None


def test_a_cycle_that_starts_in_another_token_is_turned_to_the_quote_token() -> None:
    cycle = gap_verdict().opportunity.route
    turned = rotated_to(cycle, WETH.address)
    assert turned is not None
    made = decide(a_verdict(an_opportunity(route=turned, size_hint=10**18)), market=gap_market())
    assert planned(made).plan.route == cycle


def test_the_smart_lane_takes_the_better_pool() -> None:
    market = gap_market()
    opportunity = an_entry_opportunity(expected_out=1)
    kept = planned(decide(a_verdict(opportunity), market=market))
    searched = planned(decide(a_verdict(opportunity), market=market, rules=PlanningRules(max_legs=2)))
    assert kept.plan.route == opportunity.route
    assert searched.plan.quoted_out > kept.plan.quoted_out


def test_two_pools_are_used_when_no_single_pool_trades_the_pair() -> None:
    middle = a_token("MID")
    pools = {}
    for pool in (_pair(USDC, middle, 1), _pair(WETH, middle, 2)):
        pools[pool.key.address] = pool
    assert best_route(pools, USDC.address, WETH.address, 10**6) is None
    found = best_route(pools, USDC.address, WETH.address, 10**6, max_legs=2)
    assert found is not None
    assert len(found.route.legs) == 2


def _pair(one: Any, other: Any, number: int) -> Pool:
    token0, token1 = sorted((one, other), key=lambda token: int(token.address, 16))
    return a_pool_v2(address=f"0x{number:040x}", token0=token0, token1=token1, reserve0=10**24, reserve1=10**24)


def exit_of(**fields: Any) -> Any:
    return an_exit(quantity=10**18, **fields)


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.REDUCING])
def test_an_exit_sells_the_whole_quantity_where_it_brings_most_even_while_reducing(status: Status) -> None:
    market = a_market(status=status)
    made = planned(decide(exit_of(), market=market))
    best = best_route(market.pools, WETH.address, USDC.address, 10**18)
    assert best is not None
    assert (made.purpose, made.plan.amount_in, made.plan.route) == (Purpose.EXIT, 10**18, best.route)
    assert made.reserved == 0


def test_an_exit_waits_while_trading_is_halted() -> None:
    refused = decide(exit_of(), market=a_market(status=Status.HALTED))
    assert isinstance(refused, Refused)
    assert (refused.outcome, refused.passing) == ("halted", True)


def test_an_exit_asks_neither_limits_nor_the_age_of_the_fee_quote() -> None:
    holdings = some_holdings(
        exposure=an_exposure(realised_today=-(10**12)),
        reserved=Reserved(capital=10**15, orders_last_minute=999),
        native_balance_wei=1,
    )
    old = a_fee_quote(block=a_block_ref(1), tiers=dict.fromkeys(FeeTier, CAP))
    made = planned(decide(exit_of(), holdings=holdings, market=a_market(fee_quote=old, next_base_fee_wei=50 * GWEI)))
    assert made.plan.fee_cap.max_fee_per_gas_wei > 100 * GWEI


def test_an_exit_never_sells_more_than_is_held() -> None:
    assert planned(decide(exit_of(), holdings=some_holdings(held=10**17))).plan.amount_in == 10**17
    refused = decide(exit_of(), holdings=some_holdings(held=0))
    assert isinstance(refused, Refused)
    assert refused.outcome == "nothing_to_sell"


@pytest.mark.parametrize(("blocks_since", "waits"), [(0, True), (16, True), (17, False)])
def test_an_exit_of_what_is_gone_ends_and_never_sells_what_is_bought_later(blocks_since: int, waits: bool) -> None:
    market = a_market()
    exit_ = exit_of(block=a_block_ref(market.block.number - blocks_since))
    refused = decide(exit_, holdings=some_holdings(held=0), market=market)
    assert isinstance(refused, Refused)
    assert (refused.outcome, refused.passing) == ("nothing_to_sell", waits)


def test_an_urgent_exit_accepts_more_slippage_and_pays_the_emergency_tier() -> None:
    tiers = dict.fromkeys(FeeTier, CAP) | {
        FeeTier.EMERGENCY: FeeCap(max_fee_per_gas_wei=99 * GWEI, max_priority_fee_per_gas_wei=9 * GWEI)
    }
    market = a_market(fee_quote=a_fee_quote(tiers=tiers))
    calm = planned(decide(exit_of(reason=ExitReason.TAKE_PROFIT), market=market))
    urgent = planned(decide(exit_of(reason=ExitReason.STOP_LOSS), market=market))
    assert urgent.plan.minimum_out < calm.plan.minimum_out
    assert urgent.plan.fee_cap.max_fee_per_gas_wei == 99 * GWEI > calm.plan.fee_cap.max_fee_per_gas_wei


@pytest.mark.parametrize("mode", Mode)
def test_an_exit_of_a_flagged_token_expects_what_its_tax_leaves(mode: Mode) -> None:
    book = a_book(mode=mode)
    free = planned(decide(exit_of(reason=ExitReason.TOKEN_FLAGGED), book))
    taxed = planned(decide(exit_of(reason=ExitReason.TOKEN_FLAGGED, sell_tax_bps=3_000), book))
    assert taxed.plan.quoted_out < free.plan.minimum_out
    assert taxed.plan.quoted_out == pytest.approx(free.plan.quoted_out * 7_000 / 10_000, rel=0.02)
    assert [(tax.token, tax.bps) for tax in taxed.plan.taxes] == [(WETH.address, 3_000)]
    assert free.plan.taxes == ()


def test_paper_sells_nothing_of_a_token_that_nobody_can_sell_and_a_live_book_tries() -> None:
    trapped = exit_of(reason=ExitReason.TOKEN_FLAGGED, sell_tax_bps=10_000)
    refused = decide(trapped, a_book(mode=Mode.PAPER))
    assert isinstance(refused, Refused)
    assert refused.outcome == "no_route"
    assert planned(decide(trapped, a_book(mode=Mode.LIVE))).plan.taxes == ()


amounts = st.integers(1, 40_000 * 10**6)


@settings(max_examples=120, deadline=None)
@given(
    level=st.integers(1, 9), profile=st.sampled_from(Profile), risk=st.integers(0, 100), gap=st.booleans(),
    confidence=st.integers(0, 10_000), hint=amounts, tip=st.integers(0, 300 * GWEI),
)  # fmt: skip
def test_what_a_level_approves_the_next_approves_with_at_least_the_size(
    *, level: int, profile: Profile, risk: int, gap: bool, confidence: int, hint: int, tip: int
) -> None:
    route = gap_verdict().opportunity.route if gap else an_entry_opportunity().route
    found = an_opportunity(route=route, size_hint=hint, expected_out=1)
    verdict = a_verdict(found, risk_score=risk, confidence_bps=confidence)
    cap = FeeCap(max_fee_per_gas_wei=GWEI + tip, max_priority_fee_per_gas_wei=tip)
    market = gap_market(fee_quote=a_fee_quote(tiers=dict.fromkeys(FeeTier, cap)))
    lower = decide(verdict, a_book(level=level, profile=profile), market=market)
    higher = decide(verdict, a_book(level=level + 1, profile=profile), market=market)
    if isinstance(lower, Planned):
        assert planned(higher).plan.amount_in >= lower.plan.amount_in


@settings(max_examples=120, deadline=None)
@given(
    level=st.integers(1, 10), hint=amounts, capital=amounts, share=st.integers(1, 100), at_work=st.integers(0, 10**10),
    reserved=st.integers(0, 10**10), balance=st.none() | st.integers(0, 10**11),
)  # fmt: skip
def test_no_amount_passes_any_limit_and_a_minimum_is_always_demanded(
    *, level: int, hint: int, capital: int, share: int, at_work: int, reserved: int, balance: int | None
) -> None:
    max_trade = max(1, capital * share // 100)
    book = a_book(level=level, limits={lane: lane_limits(capital=capital, max_trade=max_trade) for lane in Lane})
    holdings = some_holdings(
        exposure=an_exposure(at_work=at_work, open_positions=0, realised_today=0),
        reserved=Reserved(capital=reserved),
        quote_balance=balance,
    )
    opportunity = an_opportunity(route=an_entry_opportunity().route, size_hint=hint, edge_bps=0, expected_out=1)
    made = decide(a_verdict(opportunity), book, holdings=holdings)
    if isinstance(made, Refused):
        return
    amount = made.plan.amount_in
    assert made.plan.minimum_out > 0
    assert 0 < amount <= min(hint, max_trade, capital * level // 100)
    assert at_work + reserved + amount <= capital
    assert balance is None or amount + reserved <= balance
    assert V2_POOL in {leg.pool for leg in made.plan.route.legs}


SPLITTING = PlanningRules(max_legs=2, max_paths=3)


def large_book() -> Book:
    """It trades two per cent of a pool, so much that no price of another pool tells what is fair."""
    limits = lane_limits(max_trade=400_000 * 10**6, capital=2_000_000 * 10**6)
    return a_book(limits=dict.fromkeys(Lane, limits), controls=NO_COLLAR)


def twins(**fields: Any) -> Market:
    """Two pairs with the same reserves: half in each moves the price half as far."""
    return a_market(a_pool_v2(), a_pool_v2(address="0x" + "7b" * 20), **fields)


def a_large_entry() -> Any:
    found = an_entry_opportunity(route=route_in(a_pool_v2()), size_hint=400_000 * 10**6, expected_out=1, edge_bps=0)
    return a_verdict(found, lane=Lane.SMART)


def test_a_large_entry_is_split_when_that_brings_more_after_gas() -> None:
    book = large_book()
    whole = planned(
        decide(a_large_entry(), book, market=twins(), rules=PlanningRules(max_legs=2, max_price_impact_bps=10_000))
    )
    rules = PlanningRules(max_legs=2, max_paths=3, max_price_impact_bps=10_000)
    made = planned(decide(a_large_entry(), book, market=twins(), rules=rules)).plan
    assert len(made.split) > 1
    assert made.amount_in == whole.plan.amount_in == sum(path.amount_in for path in made.split)
    assert made.quoted_out > whole.plan.quoted_out
    assert made.minimum_out == sum(path.minimum_out for path in made.split)
    assert all(path.minimum_out > 0 for path in made.split)
    assert made.minimum_out >= -(-made.quoted_out * 9_950 // 10_000)
    assert made.quoted_out == quote_plan(twins().pools, made).amount_out
    assert made.pool_digest == twins().pool_book.state_digest(leg.pool for p in made.split for leg in p.route.legs)


def test_nothing_is_split_while_gas_costs_more_than_splitting_brings() -> None:
    cap = FeeCap(max_fee_per_gas_wei=10**5 * GWEI, max_priority_fee_per_gas_wei=GWEI)
    dear = twins(
        next_base_fee_wei=10**5 * GWEI // 2,
        fee_quote=a_fee_quote(next_base_fee_per_gas_wei=GWEI, tiers=dict.fromkeys(FeeTier, cap)),
    )
    rules = PlanningRules(
        max_legs=2, max_paths=3, max_price_impact_bps=10_000, most_fee_per_gas_wei=cap.max_fee_per_gas_wei
    )
    assert planned(decide(a_large_entry(), large_book(), market=dear, rules=rules)).plan.split == ()


def test_the_fast_lane_keeps_one_path() -> None:
    rules = PlanningRules(max_price_impact_bps=10_000)
    assert planned(decide(a_large_entry(), large_book(), market=twins(), rules=rules)).plan.split == ()


def test_an_exit_is_split_as_well() -> None:
    book = a_book(level=10)
    exit_ = an_exit(quantity=150 * 10**18)
    whole = planned(
        decide(exit_, book, holdings=some_holdings(held=150 * 10**18), market=twins(), rules=PlanningRules(max_legs=2))
    )
    made = planned(decide(exit_, book, holdings=some_holdings(held=150 * 10**18), market=twins(), rules=SPLITTING))
    assert len(made.plan.split) > 1
    assert made.plan.quoted_out > whole.plan.quoted_out


NATIVE_QUOTE = a_token(address=NATIVE, symbol="ETH", decimals=18)


def test_a_book_in_native_coin_pays_by_value_and_is_paid_unwrapped() -> None:
    found = an_entry_opportunity(
        route=Route(legs=(reversed_leg(an_entry_opportunity().route.legs[0]),)),
        size_hint=10**18,
        expected_out=1,
    )
    limits = {"capital": 10**19, "max_trade": 10**18, "max_daily_loss": 10**18}
    book = limited(**limits).model_copy(update={"quote": NATIVE_QUOTE})
    bought = planned(decide(a_verdict(found), book)).plan
    assert (bought.native_in, bought.native_out, bought.paid_token) == (True, False, NATIVE)
    sold = planned(decide(an_exit(token=USDC, quantity=10**9), book, holdings=some_holdings(held=10**9))).plan
    assert (sold.native_in, sold.native_out, sold.bought_token) == (False, True, NATIVE)


def reversed_leg(leg: Leg) -> Leg:
    return leg.model_copy(update={"token_in": leg.token_out, "token_out": leg.token_in})


def test_the_minimum_of_a_taxed_token_is_computed_from_what_arrives() -> None:
    pair, book = a_pool_v2(), a_book(controls=NO_COLLAR)
    found = an_entry_opportunity(route=route_in(pair), expected_out=1)
    fair = planned(decide(a_verdict(found), book, market=a_market(pair))).plan
    taxed = planned(decide(a_verdict(found), book, market=a_market(pair, taxes={WETH.address: 500}))).plan
    assert taxed.quoted_out == fair.quoted_out - fair.quoted_out * 500 // 10_000
    assert [(tax.token, tax.bps) for tax in taxed.taxes] == [(WETH.address, 500)]
    assert taxed.minimum_out == -(-taxed.quoted_out * 9_950 // 10_000)


def test_a_taxed_token_is_refused_where_the_pool_does_not_measure_what_arrives() -> None:
    pool = a_pool_v3()
    outcome = decide(
        a_verdict(an_entry_opportunity(route=route_in(pool), expected_out=1)),
        a_book(controls=NO_COLLAR),
        market=a_market(pool, taxes={WETH.address: 500}),
    )
    assert isinstance(outcome, Refused)
    assert outcome.outcome == "no_liquidity"


def route_in(pool: Pool) -> Route:
    key = pool.key
    leg = Leg(
        pool=key.address, protocol=key.protocol, fee_pips=key.fee_pips, token_in=USDC.address, token_out=WETH.address
    )
    return Route(legs=(leg,))


CALM_TIERS = dict.fromkeys(FeeTier, FeeCap(max_fee_per_gas_wei=30 * GWEI, max_priority_fee_per_gas_wei=GWEI))
FJORD = DataFeeTerms(
    rule=DataFeeRule.FJORD,
    l1_base_fee_wei=10**9,
    l1_blob_base_fee_wei=10**7,
    base_fee_scalar=2_269,
    blob_base_fee_scalar=1_055_762,
)


def test_at_the_ceiling_no_entry_is_made_and_exits_go_on() -> None:
    quote = a_fee_quote(next_base_fee_per_gas_wei=9 * GWEI, tiers=CALM_TIERS, entry_ceiling_wei=10 * GWEI)
    assert isinstance(decide(market=a_market(fee_quote=quote, next_base_fee_wei=9 * GWEI - 1)), Planned)
    dear = a_market(fee_quote=quote, next_base_fee_wei=9 * GWEI)
    refused = decide(market=dear)
    assert isinstance(refused, Refused)
    assert refused.outcome == "gas_ceiling"
    assert refused.reasons == ("gas costs 10 gwei, and from 10 gwei on no entry is made",)
    assert planned(decide(exit_of(), market=dear)).purpose is Purpose.EXIT


def test_an_entry_on_a_rollup_needs_the_terms_of_its_fee_for_data_and_an_exit_does_not() -> None:
    quote = a_fee_quote(tiers=CALM_TIERS)
    refused = decide(market=a_market(chain_id=8_453, fee_quote=quote))
    assert isinstance(refused, Refused)
    assert refused.outcome == "data_fee_unknown"
    assert planned(decide(exit_of(), market=a_market(chain_id=8_453, fee_quote=quote))).purpose is Purpose.EXIT


def test_a_gap_returns_the_fee_for_data_as_well_or_is_not_made() -> None:
    quote = a_fee_quote(tiers=dict.fromkeys(FeeTier, CAP), next_base_fee_per_gas_wei=GWEI)

    def charged(l1_base_fee_wei: int) -> Any:
        terms = FJORD.model_copy(update={"l1_base_fee_wei": l1_base_fee_wei})
        market = gap_market(fee_quote=quote.model_copy(update={"data_fee": terms}))
        return decide(gap_verdict(), market=market), terms

    made, terms = charged(10**14)
    trade = planned(made).plan
    fee = dearest_rollup_fee_wei(terms, routed_size([trade.route]), 0)
    cost = NativePrice(gap_market().pools, 1, USDC.address).of_wei(fee)
    assert cost is not None
    assert trade.minimum_out > trade.amount_in + cost > planned(charged(0)[0]).plan.minimum_out
    refused, _ = charged(10**15)
    assert isinstance(refused, Refused)
    assert refused.outcome == "no_edge"


def test_an_exit_may_pay_a_share_of_what_it_brings_and_an_urgent_one_more() -> None:
    market = a_market(fee_quote=a_fee_quote(tiers=CALM_TIERS))
    small = {"quantity": 10**17}
    for reason, share in ((ExitReason.TAKE_PROFIT, 500), (ExitReason.STOP_LOSS, 2_000)):
        made = planned(decide(an_exit(reason=reason, **small), market=market))
        worth = NativePrice(market.pools, 1, USDC.address).in_wei(made.plan.quoted_out)
        assert worth is not None
        budget = made.max_fee_per_gas_budget_wei * made.plan.gas_limit
        assert worth * share // 10_000 - made.plan.gas_limit < budget <= worth * share // 10_000
        assert made.plan.fee_cap.max_fee_per_gas_wei <= made.max_fee_per_gas_budget_wei


def test_an_exits_budget_ends_at_a_multiple_of_its_first_fee_and_at_what_signers_sign() -> None:
    market = a_market(fee_quote=a_fee_quote(tiers=CALM_TIERS))
    large = an_exit(quantity=50 * 10**18, reason=ExitReason.STOP_LOSS)
    made = planned(decide(large, market=market))
    assert made.max_fee_per_gas_budget_wei == 4 * made.plan.fee_cap.max_fee_per_gas_wei
    bounded = planned(decide(large, market=market, rules=PlanningRules(most_fee_per_gas_wei=40 * GWEI)))
    assert bounded.max_fee_per_gas_budget_wei == 40 * GWEI
    assert bounded.plan.fee_cap.max_fee_per_gas_wei <= 40 * GWEI


def test_an_exit_that_would_burn_what_it_brings_waits_for_cheaper_gas() -> None:
    dust = an_exit(quantity=10**14)
    refused = decide(dust, market=a_market(fee_quote=a_fee_quote(tiers=CALM_TIERS), next_base_fee_wei=20 * GWEI))
    assert isinstance(refused, Refused)
    assert (refused.outcome, refused.passing) == ("over_exit_budget", True)


@pytest.mark.parametrize(("later", "passing"), [(64, True), (65, False)])
@pytest.mark.parametrize("outcome", ["over_exit_budget", "no_route"])
def test_an_exit_that_cannot_be_made_comes_again_for_a_while_and_then_ends(
    outcome: str, later: int, passing: bool
) -> None:
    began = a_block_ref(number=a_market().block.number - later)
    if outcome == "no_route":
        refused = decide(an_exit(token=a_token("NOPE", address="0x" + "7" * 40), block=began))
    else:
        calm = a_fee_quote(tiers=CALM_TIERS)
        refused = decide(
            an_exit(quantity=10**14, block=began), market=a_market(fee_quote=calm, next_base_fee_wei=20 * GWEI)
        )
    assert isinstance(refused, Refused)
    assert (refused.outcome, refused.passing) == (outcome, passing)


def test_an_entry_never_offers_or_is_raised_to_more_than_signers_sign() -> None:
    made = planned(decide(rules=PlanningRules(most_fee_per_gas_wei=12 * GWEI)))
    assert made.plan.fee_cap.max_fee_per_gas_wei <= 12 * GWEI
    assert made.max_fee_per_gas_budget_wei <= 12 * GWEI


@pytest.mark.parametrize("bump_percent", [13, 28, 50, 100])
def test_an_exits_first_fee_leaves_room_for_two_replacements_of_the_usual_size(bump_percent: int) -> None:
    market = a_market(fee_quote=a_fee_quote(tiers=CALM_TIERS), next_base_fee_wei=GWEI)
    small = an_exit(quantity=10**17, reason=ExitReason.STOP_LOSS)
    made = planned(decide(small, market=market, rules=PlanningRules(bump_percent=bump_percent)))
    first, budget = made.plan.fee_cap, made.max_fee_per_gas_budget_wei
    second = second_exit_fee(first, GWEI, bump_percent, budget)
    assert second is not None
    assert last_exit_fee(second, bump_percent, budget) is not None


def test_an_exit_pays_the_fee_for_data_out_of_its_budget() -> None:
    quote = a_fee_quote(tiers=CALM_TIERS)
    dear = quote.model_copy(update={"data_fee": FJORD.model_copy(update={"l1_base_fee_wei": 10**15})})
    small = an_exit(quantity=10**17)
    without = planned(decide(small, market=a_market(fee_quote=quote)))
    with_fee = planned(decide(small, market=a_market(fee_quote=dear)))
    spent = (without.max_fee_per_gas_budget_wei - with_fee.max_fee_per_gas_budget_wei) * without.plan.gas_limit
    fee = dearest_rollup_fee_wei(dear.data_fee, planned_size(without.plan), without.plan.gas_limit)
    assert spent == pytest.approx(fee, abs=2 * without.plan.gas_limit)


def timing(blocks_left: int, *, waits: bool) -> SendTiming:
    reason = "base_fee_not_low" if waits else "low_base_fee"
    return SendTiming(blocks_left=blocks_left, waits=waits, reason=reason, price_now_wei=11 * GWEI)


PATIENT = PlanningRules(waits_for_cheaper_blocks=True)
TIMED = a_fee_quote(timing=(timing(1, waits=False), timing(3, waits=True), timing(5, waits=False)))


@pytest.mark.parametrize(
    ("blocks_left", "waits"),
    [(1, False), (2, False), (3, False), (4, True), (5, True), (6, False), (50, False)],
)
def test_a_patient_trade_waits_by_the_longest_deadline_it_keeps_with_a_block_in_hand(
    blocks_left: int, waits: bool
) -> None:
    market = a_market(fee_quote=TIMED)
    verdict = a_verdict(an_entry_opportunity(deadline_block=market.block.number + blocks_left))
    why = why_later(verdict, market, PATIENT)
    assert why == ("gas costs 11 gwei now and should be cheaper once in the next 3 blocks" if waits else None)


def test_the_fast_lane_a_cycle_and_a_market_without_a_quote_never_wait() -> None:
    market = a_market(fee_quote=TIMED)
    verdict = a_verdict(an_entry_opportunity(deadline_block=market.block.number + 4))
    assert why_later(verdict, market, PATIENT)
    assert why_later(verdict, market, PlanningRules()) is None
    assert why_later(verdict, a_market(fee_quote=None), PATIENT) is None
    cycle = gap_verdict()
    late = cycle.opportunity.model_copy(update={"deadline_block": market.block.number + 4})
    assert why_later(cycle.model_copy(update={"opportunity": late}), market, PATIENT) is None


def test_who_has_time_pays_the_tip_of_his_deadline() -> None:
    known = (
        InclusionTip(within_blocks=1, probability_bps=9_500, tip_per_gas_wei=GWEI // 20),
        InclusionTip(within_blocks=5, probability_bps=9_500, tip_per_gas_wei=7),
    )
    market = a_market(fee_quote=a_fee_quote(tiers=dict.fromkeys(FeeTier, CAP), inclusion=known))
    deadline = market.block.number + 6
    verdict = a_verdict(an_entry_opportunity(deadline_block=deadline))
    assert planned(decide(verdict, market=market)).plan.fee_cap == CAP
    patient = planned(decide(verdict, market=market, rules=PATIENT)).plan.fee_cap
    assert (patient.max_fee_per_gas_wei, patient.max_priority_fee_per_gas_wei) == (CAP.max_fee_per_gas_wei, 7)


def test_replacements_of_an_entry_never_cost_more_than_its_edge_brings() -> None:
    market = a_market(fee_quote=a_fee_quote(tiers=CALM_TIERS), next_base_fee_wei=GWEI)
    found = an_entry_opportunity(edge_bps=100)
    made = planned(decide(a_verdict(found), market=market))
    gain = NativePrice(market.pools, 1, USDC.address).in_wei(made.plan.amount_in // 100)
    assert gain is not None
    cap = made.plan.fee_cap.max_fee_per_gas_wei
    most = max(cap, min(cap * 3 // 2, gain // made.plan.gas_limit))
    assert made.max_fee_per_gas_budget_wei == most
