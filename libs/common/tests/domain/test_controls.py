"""Rules of the controls before a trade: none raises a size, all are monotone, and what is not known refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import virtual_reserves
from dexlane.domain.circumstances import Holdings, Market, Planned, PlanningRules, Refused, Reserved
from dexlane.domain.controls.budgets import budget_share_bps
from dexlane.domain.controls.collar import PRICE_SCALE_BITS, independent_price
from dexlane.domain.controls.facts import ChainUse, OpenTrade, direction_of
from dexlane.domain.controls.returns import quarter_kelly_bps, value_at_risk_bps, win_rate_lower_bound_bps
from dexlane.domain.controls.stops import loss_at_stop
from dexlane.domain.dollars import Dollars
from dexlane.domain.planning import plan
from dexlane.domain.risk.depth import priced
from dexlane.events.base import FeeCap
from dexlane.events.fees import FeeTier
from dexlane.events.portfolio import ExposureChanged, ExposurePart, TradeResults
from dexlane.testing.builders import (
    NO_CONTROLS,
    USDC,
    V2_POOL,
    WETH,
    a_block_ref,
    a_book,
    a_fee_quote,
    a_gap_route,
    a_market,
    a_one_tick_pool,
    a_pool_v2,
    a_pool_v3,
    a_route,
    a_token,
    a_verdict,
    an_address,
    an_entry_opportunity,
    an_exposure,
    an_exposure_part,
    an_opportunity,
    risk_factors,
)
from dexlane.values.books import Book, Lane, Mode
from dexlane.values.controls import USUAL_LIVE_CONTROLS, USUAL_PAPER_CONTROLS, Controls, WithoutReference, caps_of
from dexlane.values.pools import Pool
from dexlane.values.routes import Route

GWEI = 10**9
USD = 10**6
CAPITAL = 20_000 * USD
"""Of each lane of the built book; its level 5 allows 1,000 of that for an entry."""
CAP = FeeCap(max_fee_per_gas_wei=2 * GWEI, max_priority_fee_per_gas_wei=GWEI // 100)


def cheap_market(*pools: Pool, number: int = 100) -> Market:
    """With gas so cheap that it decides nothing."""
    block, base_fee_wei = a_block_ref(number), GWEI // 10
    quote = a_fee_quote(block, next_base_fee_per_gas_wei=base_fee_wei, tiers=dict.fromkeys(FeeTier, CAP))
    return a_market(*pools, block=block, next_base_fee_wei=base_fee_wei, fee_quote=quote)


def holding(*parts: ExposurePart, **fields: Any) -> Holdings:
    exposure = an_exposure(at_work=sum(part.cost for part in parts), open_positions=0, parts=parts)
    return Holdings(exposure=exposure, **fields)


def a_controlled_book(mode: Mode = Mode.PAPER, **controls: Any) -> Book:
    return a_book(mode=mode, controls=NO_CONTROLS.model_copy(update=controls))


def decide(book: Book, holdings: Holdings | None = None, market: Market | None = None, cause: Any = None) -> Any:
    verdict = cause or a_verdict(an_entry_opportunity())
    return plan(verdict, book, holdings or holding(), market or cheap_market(), PlanningRules())


def size(outcome: Planned | Refused) -> int:
    return outcome.plan.amount_in if isinstance(outcome, Planned) else 0


both_modes = pytest.mark.parametrize("mode", Mode)

EXPOSURES: dict[str, tuple[str, ExposurePart]] = {
    "max_token_bps": ("token_exposure", an_exposure_part(token=WETH.address, cost=1_500 * USD)),
    "max_pool_bps": ("pool_exposure", an_exposure_part(pool=V2_POOL, cost=1_500 * USD)),
    "max_strategy_bps": ("strategy_exposure", an_exposure_part(strategy="momentum", cost=1_500 * USD)),
    "max_book_bps": ("book_exposure", an_exposure_part(strategy="other", cost=1_500 * USD)),
}


@both_modes
@pytest.mark.parametrize("limit", EXPOSURES)
def test_an_exposure_limit_leaves_what_is_not_held_yet_and_then_refuses(limit: str, mode: Mode) -> None:
    outcome, part = EXPOSURES[limit]
    roomy = decide(a_controlled_book(mode, **{limit: 1_000}), holding(part))
    assert size(roomy) == 500 * USD, "2,000 may be held, 1,500 are"
    assert roomy.size.held_by == outcome
    refused = decide(a_controlled_book(mode, **{limit: 750}), holding(part))
    assert (refused.outcome, size(refused)) == (outcome, 0)
    assert "1500 USDC" in refused.reasons[0]


@both_modes
@pytest.mark.parametrize("limit", ["max_token_bps", "max_pool_bps", "max_strategy_bps"])
def test_what_is_under_way_counts_as_if_it_were_held(limit: str, mode: Mode) -> None:
    trade = OpenTrade(strategy="momentum", amount=1_800 * USD, token=WETH.address, pools=frozenset({V2_POOL}))
    reserved = Reserved(capital=1_800 * USD, trades=(trade,))
    assert size(decide(a_controlled_book(mode, **{limit: 1_000}), holding(reserved=reserved))) == 200 * USD


def test_what_other_tokens_pools_and_strategies_hold_is_no_matter() -> None:
    book = a_controlled_book(max_token_bps=1_000, max_pool_bps=1_000, max_strategy_bps=1_000)
    assert size(decide(book, holding(an_exposure_part(strategy="other", cost=5_000 * USD)))) == 1_000 * USD


def test_what_nobody_knows_where_to_sell_counts_for_every_pool() -> None:
    stuck = an_exposure_part(pool=None, worth=None, cost=1_900 * USD)
    assert size(decide(a_controlled_book(max_pool_bps=1_000), holding(stuck))) == 100 * USD


def test_a_gap_is_held_by_neither_token_nor_pool() -> None:
    held = an_exposure_part(token=USDC.address, pool=V2_POOL, cost=5_000 * USD)
    market = cheap_market(a_pool_v2(reserve0=20_200_000 * USD), a_pool_v3())
    found = a_verdict(an_opportunity(route=a_gap_route(), size_hint=5_000 * USD))
    loose, tight = a_controlled_book(), a_controlled_book(max_token_bps=1, max_pool_bps=1)
    assert size(decide(tight, holding(held), market, found)) == size(decide(loose, holding(held), market, found))


@pytest.mark.parametrize("limit", ["max_token_bps", "max_pool_bps", "max_strategy_bps"])
def test_parts_that_nobody_told_refuse_where_a_limit_needs_them(limit: str) -> None:
    silent = Holdings(exposure=an_exposure(parts=None))
    assert decide(a_controlled_book(**{limit: 5_000}), silent).outcome == "parts_unknown"
    assert size(decide(a_controlled_book(), silent)) == 1_000 * USD


@both_modes
def test_the_limit_of_a_chain_counts_all_books_and_refuses_what_it_cannot_count(mode: Mode) -> None:
    book = a_controlled_book(mode, max_chain_bps=1_000)
    used = ChainUse(used=3_700 * USD, capital=2 * CAPITAL)
    assert size(decide(book, holding(chain=used))) == 300 * USD
    assert decide(book, holding(chain=replace(used, used=4_000 * USD))).outcome == "chain_exposure"
    assert decide(book, holding(chain=replace(used, used=None))).outcome == "chain_unknown"
    assert decide(book, holding()).outcome == "chain_unknown"


@both_modes
def test_the_same_trade_is_not_made_again_within_so_many_blocks(mode: Mode) -> None:
    book = a_controlled_book(mode, duplicate_blocks=5)
    recent = {WETH.address: 96}
    assert decide(book, holding(reserved=Reserved(recent=recent))).outcome == "duplicate"
    assert size(decide(book, holding(reserved=Reserved(recent={WETH.address: 95})))) == 1_000 * USD
    assert size(decide(book, holding(reserved=Reserved(recent={an_address("another"): 100})))) == 1_000 * USD


def test_what_the_other_lane_bought_is_a_duplicate_as_soon_as_it_is_in_a_block() -> None:
    bought = an_exposure_part(token=WETH.address, newest_block=98)
    there = an_exposure(lane=Lane.SMART, at_work=bought.cost, parts=(bought,))
    assert decide(a_controlled_book(duplicate_blocks=5), holding(elsewhere=(there, None))).outcome == "duplicate"


def test_a_cycle_is_the_same_whichever_token_it_starts_from() -> None:
    route = a_gap_route()
    assert direction_of(route) == direction_of(Route(legs=(*route.legs[1:], route.legs[0])))
    assert direction_of(a_route()) == WETH.address


def dearer(bps: int) -> Pool:
    """Another USDC pool, in which WETH costs so much more."""
    return a_pool_v2(address=an_address("another pool"), reserve0=20_000_000 * USD * (10_000 + bps) // 10_000)


@both_modes
@pytest.mark.parametrize("apart_bps", [-500, 500])
def test_a_price_far_from_that_of_the_other_pools_is_refused_on_both_sides(apart_bps: int, mode: Mode) -> None:
    market = cheap_market(a_pool_v2(), dearer(apart_bps))
    assert decide(a_controlled_book(mode, collar_bps=300), market=market).outcome == "price_collar"
    assert size(decide(a_controlled_book(mode, collar_bps=600), market=market)) == 1_000 * USD


def test_the_median_of_the_other_pools_counts_so_one_moved_pool_decides_nothing() -> None:
    moved = a_pool_v2(address=an_address("moved"), reserve0=40_000_000 * USD)
    market = cheap_market(a_pool_v2(), dearer(1), a_pool_v3(), moved)
    assert size(decide(a_controlled_book(collar_bps=300), market=market)) == 1_000 * USD


def test_a_shallow_pool_tells_no_price() -> None:
    shallow = a_pool_v2(address=an_address("shallow"), reserve0=1_000 * USD, reserve1=10**17)
    market = cheap_market(a_pool_v2(), shallow)
    assert decide(a_controlled_book(collar_bps=300), market=market).outcome == "no_reference"


def test_a_narrow_range_with_little_money_is_deep_by_its_price_alone() -> None:
    narrow, wide = a_one_tick_pool(), a_pool_v2()
    assert virtual_reserves(narrow, USDC.address)[0] > virtual_reserves(wide, USDC.address)[0]
    shallow, deep = (priced(pool, USDC.address, WETH.address) for pool in (narrow, wide))
    assert shallow is not None
    assert deep is not None
    assert 400 * USD < shallow.depth < 600 * USD
    assert 190_000 * USD < deep.depth < 200_000 * USD


def test_a_pool_that_somebody_moved_is_not_confirmed_by_a_narrow_range_with_little_money() -> None:
    moved, agreeing = a_pool_v2(reserve0=20_000_000 * USD * 105 // 100), a_one_tick_pool(200_311 - 488)
    book, cause = a_controlled_book(collar_bps=300), a_verdict(an_entry_opportunity(expected_out=1, edge_bps=0))
    assert decide(book, market=cheap_market(moved, agreeing), cause=cause).outcome == "no_reference"
    assert decide(book, market=cheap_market(moved, agreeing, dearer(0)), cause=cause).outcome == "price_collar"


@both_modes
def test_without_a_reference_an_entry_is_refused_or_shrunk_as_the_book_says(mode: Mode) -> None:
    market = cheap_market(a_pool_v2())
    assert decide(a_controlled_book(mode, collar_bps=300), market=market).outcome == "no_reference"
    shrunk = a_controlled_book(mode, collar_bps=300, without_reference=WithoutReference.SHRINK, shrink_bps=1_000)
    outcome = decide(shrunk, market=market)
    assert (size(outcome), outcome.size.held_by) == (100 * USD, "no_reference")


@both_modes
@pytest.mark.parametrize("level", [1, 2, 5])
@pytest.mark.parametrize("score", [0, 40])
def test_an_entry_without_a_reference_is_shrunk_at_every_level_and_under_every_budget(
    level: int, score: int, mode: Mode
) -> None:
    factors = tuple(factor.model_copy(update={"score": score}) for factor in risk_factors())
    cause = a_verdict(an_entry_opportunity(), factors=factors)
    whole = a_controlled_book(mode, budget_by_market=True).model_copy(update={"level": level})
    controls = whole.controls_in_force.model_copy(
        update={"collar_bps": 300, "without_reference": WithoutReference.SHRINK, "shrink_bps": 2_500}
    )
    market = free_gas_market(a_pool_v2())
    before = size(decide(whole, market=market, cause=cause))
    after = decide(whole.model_copy(update={"controls": controls}), market=market, cause=cause)
    assert (size(after), after.size.held_by) == (before // 4, "no_reference")


def test_where_no_other_pool_trades_the_pair_the_way_through_another_token_counts() -> None:
    dai = a_token("DAI")

    def pool(name: str, one: Any, other: Any, amounts: tuple[int, int]) -> Pool:
        first, second = sorted(((one, amounts[0]), (other, amounts[1])), key=lambda side: side[0].address)
        return a_pool_v2(
            address=an_address(name), token0=first[0], token1=second[0], reserve0=first[1], reserve1=second[1]
        )

    stable = pool("usdc-dai", USDC, dai, (30_000_000 * USD, 30_000_000 * 10**18))
    fair = pool("dai-weth", dai, WETH, (20_000_000 * 10**18, 10_000 * 10**18))
    moved = pool("dai-weth", dai, WETH, (30_000_000 * 10**18, 10_000 * 10**18))
    book = a_controlled_book(collar_bps=300)
    assert size(decide(book, market=cheap_market(a_pool_v2(), stable, fair))) == 1_000 * USD
    assert decide(book, market=cheap_market(a_pool_v2(), stable, moved)).outcome == "price_collar"


def test_the_independent_price_is_that_of_the_pools_it_is_taken_from() -> None:
    pools = cheap_market(a_pool_v2(reserve0=20_000_000 * USD, reserve1=10_000 * 10**18), dearer(0)).pool_book.pools
    price = independent_price(pools, USDC.address, WETH.address, frozenset({V2_POOL}), 1_000 * USD)
    assert price is not None
    assert price >> PRICE_SCALE_BITS == 10**18 // (2_000 * USD)


shares = st.none() | st.integers(1, 10_000)
amounts = st.integers(0, 3_000).map(lambda usd: usd * USD)


@st.composite
def controls(draw: st.DrawFn) -> Controls:
    names = ("max_token_bps", "max_pool_bps", "max_strategy_bps", "max_book_bps", "max_chain_bps")
    given_ = {name: draw(shares) for name in names}
    return NO_CONTROLS.model_copy(update=given_ | {"collar_bps": draw(st.none() | st.just(300))})


@st.composite
def some_holdings(draw: st.DrawFn) -> Holdings:
    parts = tuple(
        an_exposure_part(
            token=draw(st.sampled_from([WETH.address, an_address("t")])),
            pool=draw(st.sampled_from([V2_POOL, None, an_address("p")])),
            strategy=draw(st.sampled_from(["momentum", "other"])),
            cost=draw(amounts),
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    trade = OpenTrade(strategy="momentum", amount=draw(amounts), token=WETH.address, pools=frozenset({V2_POOL}))
    chain = ChainUse(used=draw(st.none() | amounts), capital=CAPITAL)
    return holding(*parts, reserved=Reserved(capital=trade.amount, trades=(trade,)), chain=chain)


@given(controls(), some_holdings(), st.sampled_from(Mode))
def test_no_control_raises_a_size_and_share_and_amount_agree(some: Controls, held: Holdings, mode: Mode) -> None:
    free = decide(a_controlled_book(mode), held)
    outcome = decide(a_book(mode=mode, controls=some), held)
    assert size(outcome) <= size(free)
    if isinstance(outcome, Planned):
        assert outcome.size is not None
        assert outcome.size.amount == outcome.plan.amount_in == outcome.reserved
        assert outcome.size.share_bps == outcome.plan.amount_in * 10_000 // CAPITAL
    else:
        assert all(len(reason.split()) > 4 for reason in outcome.reasons)


@given(controls(), some_holdings(), st.data())
def test_a_tighter_control_never_allows_more(some: Controls, held: Holdings, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["max_token_bps", "max_pool_bps", "max_strategy_bps", "max_book_bps"]))
    loose = data.draw(st.integers(1, 10_000))
    tight = data.draw(st.integers(1, loose))
    sizes = [size(decide(a_book(controls=some.model_copy(update={name: bps})), held)) for bps in (tight, loose)]
    assert sizes[0] <= sizes[1]


@given(some_holdings(), amounts)
def test_holding_more_never_allows_more(held: Holdings, more: int) -> None:
    assert held.exposure is not None
    assert held.exposure.parts is not None
    book = a_controlled_book(max_token_bps=1_000, max_pool_bps=1_000, max_strategy_bps=1_000, max_book_bps=1_500)
    further = an_exposure_part(token=WETH.address, pool=V2_POOL, cost=more)
    after = replace(holding(*held.exposure.parts, further), reserved=held.reserved, chain=held.chain)
    assert size(decide(book, after)) <= size(decide(book, held))


LIVE_CAPS = caps_of([(0, 10), (50, 50), (200, 100), (500, 500)])


def proven(good: int, *, realised: int = 0, **fields: Any) -> ExposureChanged:
    return an_exposure(results=TradeResults(trades=good, good=good), realised_total=realised, **fields)


def free_gas_market(*pools: Pool) -> Market:
    """Where trades of ten dollars pay: nobody else wants the block."""
    cap = FeeCap(max_fee_per_gas_wei=10**5, max_priority_fee_per_gas_wei=10**3)
    quote = a_fee_quote(next_base_fee_per_gas_wei=10**4, tiers=dict.fromkeys(FeeTier, cap))
    return replace(cheap_market(*pools), next_base_fee_wei=10**4, fee_quote=quote)


def capped(good: int, other: ExposureChanged | None = None, *, mode: Mode = Mode.LIVE, **fields: Any) -> Any:
    book = a_controlled_book(mode, caps=LIVE_CAPS)
    elsewhere = (other or proven(0, lane=Lane.SMART),)
    return decide(book, Holdings(exposure=proven(good, **fields), elsewhere=elsewhere), free_gas_market())


@both_modes
@pytest.mark.parametrize(
    ("good", "usd"), [(0, 10), (49, 10), (50, 50), (199, 50), (200, 100), (499, 100), (500, 500), (9_999, 500)]
)
def test_caps_grow_with_good_trades_and_count_both_lanes(good: int, usd: int, mode: Mode) -> None:
    for here in {0, good // 2, good}:
        outcome = capped(here, proven(good - here, lane=Lane.SMART), mode=mode)
        assert (size(outcome), outcome.size.held_by) == (usd * USD, "cap")


def test_a_book_that_lost_in_all_or_did_not_earn_its_gas_is_back_at_the_first_cap() -> None:
    assert size(capped(500, realised=-1)) == 10 * USD
    assert size(capped(500, realised=100 * USD, fees_paid_wei=10**18)) == 10 * USD, "an ether of gas is 2,000 dollars"
    assert size(capped(500, realised=2_100 * USD, fees_paid_wei=10**18)) == 500 * USD


def test_results_that_one_lane_did_not_tell_refuse_where_caps_or_a_daily_loss_need_them() -> None:
    known = proven(500)
    for elsewhere in ((None,), (an_exposure(results=None),)):
        held = Holdings(exposure=known, elsewhere=elsewhere)
        assert decide(a_controlled_book(caps=LIVE_CAPS), held).outcome == "results_unknown"
    lonely = Holdings(exposure=known, elsewhere=(None,))
    assert decide(a_controlled_book(max_daily_loss_usd=50), lonely).outcome == "results_unknown"


@both_modes
def test_the_loss_of_the_day_is_counted_over_both_lanes(mode: Mode) -> None:
    book = a_controlled_book(mode, max_daily_loss_usd=50)

    def lost(here: int, there: int) -> Any:
        other = an_exposure(lane=Lane.SMART, realised_today=-there)
        return decide(book, Holdings(exposure=an_exposure(realised_today=-here), elsewhere=(other,)))

    assert lost(30 * USD, 20 * USD).outcome == "book_daily_loss"
    assert size(lost(30 * USD, 20 * USD - 1)) == 1_000 * USD
    assert size(lost(100 * USD, -60 * USD)) == 1_000 * USD, "what one lane gained counts, too"


@both_modes
def test_the_minimum_balance_is_never_traded_with(mode: Mode) -> None:
    book = a_controlled_book(mode, min_quote_balance=1_500 * USD)
    assert size(decide(book, holding(quote_balance=2_100 * USD))) == 600 * USD
    assert decide(book, holding(quote_balance=1_500 * USD)).outcome == "minimum_balance"
    assert decide(book, holding()).outcome == "balance_unknown"


def test_dollars_are_stablecoins_at_par_and_other_tokens_by_a_pool_with_one() -> None:
    pools = cheap_market().pools
    assert Dollars(pools, 1, USDC).amount(10) == 10 * USD
    worth = Dollars(cheap_market(a_pool_v2()).pools, 1, WETH).amount(2_000)
    assert worth == 10**18, "the built pool prices WETH at 2,000 USDC"
    assert Dollars(pools, 1, a_token("PEPE")).amount(10) is None
    assert Dollars(pools, 10, USDC).amount(10) is None, "no list of known issuers for that chain"


def test_a_narrow_range_with_little_money_tells_nothing_about_dollars() -> None:
    cheap = a_one_tick_pool(200_311 + 6_932)
    assert Dollars(cheap_market(cheap).pools, 1, WETH).amount(2_000) is None
    assert Dollars(cheap_market(a_pool_v2(), cheap).pools, 1, WETH).amount(2_000) == 10**18


def test_a_pool_that_gives_less_than_ten_thousand_dollars_tells_nothing_about_dollars() -> None:
    def worth(usd: int) -> int | None:
        pool = a_pool_v2(reserve0=usd * USD, reserve1=usd * 10**18 // 2_000)
        return Dollars(cheap_market(pool).pools, 1, WETH).amount(2_000)

    assert worth(900_000) is None
    assert worth(1_100_000) == 10**18


def test_caps_in_dollars_refuse_where_the_quote_token_has_no_worth() -> None:
    pepe = a_token("PEPE")
    pool = a_pool_v2(**dict(zip(("token0", "token1"), sorted((pepe, WETH), key=lambda t: t.address), strict=True)))
    found = an_entry_opportunity(route=a_route(pool, token_in=pepe.address), size_hint=10**18, expected_out=1)
    book = a_controlled_book(caps=LIVE_CAPS).model_copy(update={"quote": pepe})
    assert decide(book, market=cheap_market(pool), cause=a_verdict(found)).outcome == "worth_unknown"


@given(st.integers(0, 1_000), st.integers(0, 200))
def test_another_good_trade_never_lowers_a_cap(good: int, more: int) -> None:
    assert size(capped(good)) <= size(capped(good + more))


def test_caps_that_do_not_grow_are_refused() -> None:
    for steps in ([(1, 10)], [(0, 10), (50, 10)], [(0, 10), (0, 20)], [(0, 50), (10, 20)]):
        with pytest.raises(ValueError, match="caps"):
            Controls(caps=caps_of(steps))


def with_trades(trades: int, *tokens: str, **fields: Any) -> Holdings:
    there = an_exposure(lane=Lane.SMART, results=TradeResults(trades=trades // 2, good=0, tokens=tokens))
    here = an_exposure(results=TradeResults(trades=trades - trades // 2, good=0))
    return Holdings(exposure=here, elsewhere=(there,), **fields)


@both_modes
def test_the_first_trades_of_a_book_wait_for_a_person(mode: Mode) -> None:
    book = a_controlled_book(mode, confirm_first_trades=10)
    asked = decide(book, with_trades(9))
    assert (asked.outcome, size(asked)) == ("confirmation_needed", 0)
    assert asked.proposal.plan.amount_in == 1_000 * USD
    assert "first 10 trades" in asked.reasons[0]
    assert size(decide(book, with_trades(10))) == 1_000 * USD


@both_modes
def test_trades_above_an_amount_wait_for_a_person(mode: Mode) -> None:
    assert decide(a_controlled_book(mode, confirm_above_usd=999), with_trades(0)).outcome == "confirmation_needed"
    assert size(decide(a_controlled_book(mode, confirm_above_usd=1_000), with_trades(0))) == 1_000 * USD


@both_modes
def test_a_token_that_is_new_to_the_book_waits_for_a_person(mode: Mode) -> None:
    book = a_controlled_book(mode, confirm_new_tokens=True)
    assert decide(book, with_trades(99, an_address("another"))).outcome == "confirmation_needed"
    assert size(decide(book, with_trades(99, WETH.address))) == 1_000 * USD


def test_a_worth_that_nobody_knows_waits_for_a_person() -> None:
    pepe = a_token("PEPE")
    first, second = sorted((pepe, WETH), key=lambda token: token.address)
    pool = a_pool_v2(token0=first, token1=second)
    found = an_entry_opportunity(route=a_route(pool, token_in=pepe.address), size_hint=10**10, expected_out=1)
    book = a_controlled_book(confirm_above_usd=100).model_copy(update={"quote": pepe})
    free = a_verdict(found.model_copy(update={"edge_bps": 0}))
    assert decide(book, with_trades(0), cheap_market(pool), free).outcome == "confirmation_needed"


@both_modes
def test_what_was_confirmed_is_traded_and_never_for_more(mode: Mode) -> None:
    book = a_controlled_book(mode, confirm_first_trades=10, confirm_above_usd=1, confirm_new_tokens=True)
    assert size(decide(book, with_trades(0, confirmed=1_000 * USD))) == 1_000 * USD
    assert size(decide(book, with_trades(0, confirmed=400 * USD))) == 400 * USD
    assert size(decide(book, with_trades(0, confirmed=5_000 * USD))) == 1_000 * USD


@both_modes
def test_a_confirmation_lifts_no_other_control(mode: Mode) -> None:
    book = a_controlled_book(mode, confirm_first_trades=10, max_token_bps=1_000)
    held = an_exposure_part(token=WETH.address, cost=2_000 * USD)
    exposure = an_exposure(at_work=held.cost, parts=(held,), open_positions=0)
    assert decide(book, Holdings(exposure=exposure, confirmed=1_000 * USD)).outcome == "token_exposure"


def test_results_that_nobody_told_are_no_reason_to_go_without_a_person() -> None:
    silent = Holdings(exposure=an_exposure(results=None))
    for controls in ({"confirm_first_trades": 1}, {"confirm_new_tokens": True}):
        assert decide(a_controlled_book(**controls), silent).outcome == "results_unknown"


def traded(*returns_bps: int, **fields: Any) -> Holdings:
    """A book of two lanes whose sales had these returns, the even ones in the other lane."""
    here, there = (TradeResults(trades=0, good=0, returns_bps=returns_bps[start::2]) for start in (0, 1))
    elsewhere = (an_exposure(lane=Lane.SMART, results=there),)
    return Holdings(exposure=an_exposure(results=here, **fields), elsewhere=elsewhere)


@both_modes
def test_heat_is_what_all_stops_would_lose(mode: Mode) -> None:
    """The stop lies at 3 %: 0.25 % of 20,000 allow 1,666 at work."""
    book = a_controlled_book(mode, max_heat_bps=25)
    held = an_exposure_part(cost=1_000 * USD)
    assert size(decide(book, holding(held))) == 20 * 10**6 * 10_000 // 300
    under_way = OpenTrade(strategy="momentum", amount=1_000 * USD, token=WETH.address)
    assert size(decide(book, holding(reserved=Reserved(trades=(under_way,))))) == 20 * 10**6 * 10_000 // 300
    assert decide(book, holding(an_exposure_part(cost=1_700 * USD))).outcome == "heat"


def test_what_lost_more_than_its_stop_or_has_no_price_is_hotter() -> None:
    assert loss_at_stop(an_exposure_part(cost=1_000, worth=1_000), 300) == 30
    assert loss_at_stop(an_exposure_part(cost=1_000, worth=2_000), 300) == 30
    assert loss_at_stop(an_exposure_part(cost=1_000, worth=900), 300) == 100
    assert loss_at_stop(an_exposure_part(cost=1_000, worth=None), 300) == 1_000
    assert loss_at_stop(an_exposure_part(cost=1, worth=1), 1) == 1, "rounded up"


@both_modes
def test_kelly_says_nothing_before_there_are_enough_results(mode: Mode) -> None:
    book = a_controlled_book(mode, kelly_after_results=20)
    assert size(decide(book, traded(*[-100] * 19))) == 1_000 * USD
    assert decide(book, traded(*[-100] * 20)).outcome == "kelly"


def test_kelly_takes_a_quarter_and_the_lower_bound_of_the_win_rate() -> None:
    returns = [200] * 60 + [-100] * 40
    won = win_rate_lower_bound_bps(60, 100)
    assert won == 5_020, "Wilson's lower bound of 60 of 100 is 50.20 %"
    assert quarter_kelly_bps(tuple(returns), 300) == 10_000, "never above the whole"
    assert quarter_kelly_bps(tuple([1_000] * 60 + [-2_000] * 40), 300) == 0
    share = 10_000 * (won * 5_000 - (10_000 - won) * 4_500) // (5_000 * 4_500)
    assert quarter_kelly_bps(tuple([5_000] * 60 + [-4_500] * 40), 300) == share // 4 == 298


def test_where_nothing_was_lost_yet_the_stop_stands_for_the_loss_to_come() -> None:
    assert quarter_kelly_bps((4_000,) * 20, 5_000) < quarter_kelly_bps((4_000,) * 20, 1_000) <= 10_000
    assert quarter_kelly_bps((), 300) == quarter_kelly_bps((0, -5), 300) == 0


@both_modes
def test_kelly_never_gives_more_than_the_level(mode: Mode) -> None:
    assert size(decide(a_controlled_book(mode, kelly_after_results=20), traded(*[300] * 200))) == 1_000 * USD
    small = decide(a_controlled_book(mode, kelly_after_results=20), traded(*([5_000] * 60 + [-4_500] * 40)))
    assert 0 < size(small) < 1_000 * USD
    assert small.size.held_by == "kelly"


@both_modes
def test_value_at_risk_bounds_what_may_be_at_work(mode: Mode) -> None:
    """One sale in twenty lost 10 % or more: 0.25 % of 20,000 at risk are 500 at work."""
    book = a_controlled_book(mode, max_var_bps=25)
    returns = [-1_000] * 5 + [50] * 95
    assert value_at_risk_bps(tuple(returns)) is not None
    assert size(decide(book, traded(*([-1_000] * 6 + [50] * 94)))) == 500 * USD
    assert decide(book, traded(*([-1_000] * 6 + [50] * 94), at_work=500 * USD)).outcome == "value_at_risk"


def test_too_few_results_are_no_data_and_the_other_limits_hold() -> None:
    few = [-9_000] * 59
    assert value_at_risk_bps(tuple(few)) is None
    assert value_at_risk_bps(tuple([-9_000] * 60)) == 9_000
    assert size(decide(a_controlled_book(max_var_bps=25), traded(*few))) == 1_000 * USD
    assert size(decide(a_controlled_book(max_var_bps=25, max_book_bps=200), traded(*few))) == 400 * USD


@both_modes
def test_a_budget_shrinks_with_volatility_and_thin_liquidity(mode: Mode) -> None:
    def budget(**scores: int) -> int:
        factors = tuple(
            factor.model_copy(update={"score": scores.get(factor.category.value, 0)}) for factor in risk_factors()
        )
        verdict = a_verdict(an_entry_opportunity(), factors=factors)
        return size(decide(a_controlled_book(mode, budget_by_market=True), cause=verdict))

    assert budget() == 1_000 * USD
    assert budget(volatility=40) == budget(liquidity=40) == budget(volatility=40, liquidity=10) == 700 * USD
    assert budget(liquidity=44) == 670 * USD
    assert budget(contract=44, slippage=44) == 1_000 * USD


def test_a_category_that_nobody_scored_counts_as_the_worst() -> None:
    verdict = a_verdict(an_entry_opportunity(), factors=())
    assert size(decide(a_controlled_book(budget_by_market=True), cause=verdict)) == 250 * USD


@given(st.integers(0, 99))
def test_budgets_fall_with_the_score_and_are_never_nothing(score: int) -> None:
    assert 10_000 >= budget_share_bps(score) > budget_share_bps(score + 1) >= 2_500


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_lower_bound_lies_below_the_rate_and_grows_with_wins(won: int, lost: int) -> None:
    bound = win_rate_lower_bound_bps(won, won + lost)
    assert 0 <= bound <= (10_000 * won // (won + lost) if won + lost else 0)
    assert bound <= win_rate_lower_bound_bps(won + 1, won + 1 + lost)


@given(st.lists(st.integers(-9_000, 9_000), min_size=60, max_size=120), st.integers(0, 2_000))
def test_worse_results_never_lower_the_value_at_risk_or_raise_kelly(returns: list[int], worse: int) -> None:
    after = [one - worse for one in returns]
    before_risk, after_risk = value_at_risk_bps(tuple(returns)), value_at_risk_bps(tuple(after))
    assert before_risk is not None
    assert after_risk is not None
    assert after_risk >= before_risk
    assert 0 <= quarter_kelly_bps(tuple(returns), 300) <= 10_000


@given(st.lists(st.integers(-3_000, 3_000), max_size=120), st.integers(0, 100))
def test_none_of_these_controls_raises_a_size(returns: list[int], score: int) -> None:
    factors = tuple(factor.model_copy(update={"score": score}) for factor in risk_factors())
    cause = a_verdict(an_entry_opportunity(), factors=factors)
    book = a_controlled_book(max_heat_bps=500, max_var_bps=300, kelly_after_results=20, budget_by_market=True)
    assert size(decide(book, traded(*returns), cause=cause)) <= 1_000 * USD


def test_results_that_nobody_told_refuse_where_kelly_or_value_at_risk_need_them() -> None:
    for controls in ({"kelly_after_results": 20}, {"max_var_bps": 100}):
        silent = Holdings(exposure=an_exposure(results=None))
        assert decide(a_controlled_book(**controls), silent).outcome == "results_unknown"


def test_heat_needs_to_know_what_is_held() -> None:
    silent = Holdings(exposure=an_exposure(parts=None))
    assert decide(a_controlled_book(max_heat_bps=500), silent).outcome == "parts_unknown"


def test_the_published_usual_values_are_those_in_force() -> None:
    text = (Path(__file__).parents[4] / "docs" / "CONTROLS.md").read_text()
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| `")]
    published = {tuple(re.findall(r"`(\w+)`", names)): usual for names, usual in rows}
    assert sorted(name for names in published for name in names) == sorted(Controls.model_fields)
    assert published == {names: usual_value(names) for names in published}


def usual_value(names: tuple[str, ...]) -> str:
    """What docs/CONTROLS.md says a book has without a word about it; in brackets a live one, where it differs."""
    paper, live = (
        ", ".join(dict.fromkeys(told(getattr(usual, name)) for name in names))
        for usual in (USUAL_PAPER_CONTROLS, USUAL_LIVE_CONTROLS)
    )
    return paper if paper == live else f"{paper} ({live})"


def told(value: object) -> str:
    """A value of a control in the table."""
    if isinstance(value, tuple) and value:
        dollars, trades = (", ".join(str(getattr(step, name)) for step in value) for name in ("usd", "good_trades"))
        return f"{dollars} USD after {trades} good trades"
    return "off" if value in (None, ()) else str(value).lower()
