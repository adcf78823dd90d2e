"""The published levels: ordered in every column, and never a trade lost by going up one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from dexlane.domain.circumstances import Holdings, Market, Objection, Planned, PlanningRules, Refused, Reserved, refusal
from dexlane.domain.entry_timing import why_later
from dexlane.domain.levels import LEVELS, LevelLimits, entry_relays, last_block, limits_of, position_shares
from dexlane.domain.planning import plan, plans
from dexlane.domain.submission_choice import Relays, choose
from dexlane.domain.trade_choice import first_carried
from dexlane.events.base import FeeCap
from dexlane.events.fees import FeeTier, SendTiming
from dexlane.events.risk import Check, VerdictApproved
from dexlane.testing.builders import (
    a_block_ref,
    a_book,
    a_fee_quote,
    a_gap_route,
    a_market,
    a_pool_v2,
    a_pool_v3,
    a_verdict,
    an_entry_opportunity,
    an_exit,
    an_exposure,
    an_opportunity,
    lane_limits,
)
from dexlane.values.books import Book, Lane, Profile, RelayPolicy, RelayRules
from dexlane.values.controls import Controls

GWEI = 10**9
SITUATIONS = int(os.environ.get("LEVEL_SITUATIONS", "40"))
POLICIES, TIERS = list(RelayPolicy), list(FeeTier)

ORDERED: dict[str, Callable[[LevelLimits], Any]] = {
    "risk": lambda row: row.max_risk_score,
    "confidence": lambda row: -row.min_confidence_bps,
    "share of capital": lambda row: row.position_bps,
    "relays": lambda row: -POLICIES.index(row.relay_policy),
    "fast tier": lambda row: TIERS.index(row.entry_tiers[Lane.FAST]),
    "smart tier": lambda row: TIERS.index(row.entry_tiers[Lane.SMART]),
    "age": lambda row: row.max_age_s,
    "stop": lambda row: row.tuning.stop_loss_bps,
    "target": lambda row: row.tuning.take_profit_bps,
    "size": lambda row: row.tuning.size_bps,
}


def test_there_are_ten_levels_and_any_other_is_an_error_that_says_what_to_do() -> None:
    assert list(LEVELS) == list(range(1, 11)) == [row.level for row in LEVELS.values()]
    for level in (-1, 0, 11):
        with pytest.raises(ValueError, match="is not published; give the book one from 1 to 10"):
            limits_of(level)


@pytest.mark.parametrize("column", ORDERED)
def test_no_column_turns_back(column: str) -> None:
    figures = [ORDERED[column](row) for row in LEVELS.values()]
    assert figures == sorted(figures)
    assert figures[0] < figures[-1]


def test_checks_only_fall_away_and_lanes_only_come_to_it() -> None:
    for lower, higher in pairwise(LEVELS.values()):
        assert set(higher.required_checks) <= set(lower.required_checks)
        assert set(lower.lanes) <= set(higher.lanes)
    assert set(LEVELS[1].required_checks) == set(Check)
    assert {Check.SANCTIONS, Check.EXECUTED_CHECK, Check.TOKEN_FACTS} <= set(LEVELS[10].required_checks)
    assert set(LEVELS[10].lanes) == set(Lane)


def test_neighbours_differ_in_two_columns_at_least() -> None:
    for lower, higher in pairwise(LEVELS.values()):
        columns = set(LevelLimits.model_fields) - {"level"}
        assert sum(getattr(lower, column) != getattr(higher, column) for column in columns) >= 2


def test_a_signer_is_given_a_share_for_every_level_and_lane_that_opens_something() -> None:
    shares = position_shares()
    assert shares["1"] == {"fast": 100}
    assert {level: set(lanes) for level, lanes in shares.items()} == {
        str(level): {lane.value for lane in row.lanes} for level, row in LEVELS.items()
    }


def free(**fields: Any) -> Holdings:
    return Holdings(exposure=an_exposure(at_work=fields.pop("at_work", 0)), **fields)


def decided(verdict: VerdictApproved, book: Book, market: Market | None = None) -> Planned | Refused:
    return plan(verdict, book, free(), market or a_market(), PlanningRules())


def entry(**fields: Any) -> VerdictApproved:
    return a_verdict(an_entry_opportunity(deadline_block=200, **fields), risk_score=5)


@pytest.mark.parametrize(
    ("outcome", "verdict", "level", "enough"),
    [
        ("lane_not_allowed", entry().model_copy(update={"lane": Lane.SMART}), 2, 3),
        ("not_checked", entry().model_copy(update={"checks": tuple(set(Check) - {Check.LP_SHARES})}), 2, 3),
        ("not_checked", entry().model_copy(update={"checks": tuple(set(Check) - {Check.BYTECODE})}), 4, 5),
        ("too_old", entry(block=a_block_ref(98)), 2, 3),
        ("too_old", entry(block=a_block_ref(90)), 7, 8),
    ],
)
def test_what_a_level_does_not_allow_is_refused_by_name_and_the_next_one_allows_it(
    outcome: str, verdict: VerdictApproved, level: int, enough: int
) -> None:
    refused = decided(verdict, a_book(level=level))
    assert isinstance(refused, Refused)
    assert refused.outcome == outcome
    assert f"level {level}" in refused.reasons[0]
    assert isinstance(decided(verdict, a_book(level=enough)), Planned)


def test_a_verdict_that_tells_no_checks_is_refused_at_every_level() -> None:
    silent = entry().model_copy(update={"checks": ()})
    for level in LEVELS:
        refused = decided(silent, a_book(level=level))
        assert isinstance(refused, Refused)
        assert refused.outcome == "not_checked"


def test_a_level_that_is_not_published_trades_nothing() -> None:
    for level in (0, 11):
        refused = decided(entry(), a_book().model_copy(update={"level": level}))
        assert isinstance(refused, Refused)
        assert (refused.outcome, "`dexlane levels`" in refused.reasons[0]) == ("unknown_level", True)


def test_an_age_counts_in_whole_blocks_however_long_they_are() -> None:
    found = an_entry_opportunity(block=a_block_ref(100))
    assert [last_block(found, 1, seconds) for seconds in (1, 2, 12, 13, 60)] == [112, 106, 101, 101, 101]


def test_no_trade_waits_for_cheaper_gas_until_its_level_refuses_it() -> None:
    waits = SendTiming(blocks_left=3, waits=True, reason="base_fee_not_low", price_now_wei=11 * GWEI)
    market = a_market(fee_quote=a_fee_quote(timing=(waits,)))
    patient = PlanningRules(waits_for_cheaper_blocks=True)
    assert why_later(entry(), market, patient) is not None
    assert why_later(entry(), market, patient, last_block=103) is not None
    assert why_later(entry(), market, patient, last_block=102) is None


@pytest.mark.parametrize("of_book", RelayPolicy)
@pytest.mark.parametrize("level", LEVELS)
def test_the_stricter_relay_policy_of_book_and_level_holds(level: int, of_book: RelayPolicy) -> None:
    book = a_book(level=level, relays=RelayRules(policy=of_book, sandwich_limit_wei=7))
    rules = entry_relays(book)
    assert POLICIES.index(rules.policy) == max(POLICIES.index(of_book), POLICIES.index(LEVELS[level].relay_policy))
    assert rules.sandwich_limit_wei == 7


def test_an_exit_is_planned_alike_at_every_level() -> None:
    exits = [plan(an_exit(), a_book(level=level), free(), a_market(), PlanningRules()) for level in LEVELS]
    assert isinstance(exits[0], Planned)
    assert all(one == exits[0] for one in exits)


def tiers(fast: int, cheap: int) -> dict[FeeTier, FeeCap]:
    dear = FeeCap(max_fee_per_gas_wei=fast, max_priority_fee_per_gas_wei=fast - GWEI)
    return {tier: FeeCap(max_fee_per_gas_wei=cheap, max_priority_fee_per_gas_wei=1) for tier in FeeTier} | {
        FeeTier.SPEED: dear
    }


def test_an_entry_that_does_not_pay_at_its_levels_tier_is_made_at_a_cheaper_one() -> None:
    market = a_market(fee_quote=a_fee_quote(tiers=tiers(fast=300 * GWEI, cheap=2 * GWEI)))
    made = decided(entry(), a_book(level=6), market)
    assert isinstance(made, Planned)
    assert made.plan.fee_cap.max_fee_per_gas_wei == 2 * GWEI
    assert made.plan.amount_in == 1_000 * 10**6, "a cheaper tier is tried before a smaller size"


def test_a_trade_that_no_relay_takes_is_made_as_small_as_the_public_pool_may_see() -> None:
    limits = lane_limits(capital=3 * 10**12, max_trade=10**12)
    rules = RelayRules(policy=RelayPolicy.PRIVATE_WHEN_WORTH, sandwich_limit_wei=10**15)
    book = a_book(level=5, limits=dict.fromkeys(Lane, limits), relays=rules, slippage_tolerance_bps=20)
    verdict = a_verdict(an_entry_opportunity(size_hint=10**12, expected_out=1, edge_bps=0), risk_score=5)
    wanted = list(plans(verdict, book, free(), a_market(), PlanningRules(max_price_impact_bps=10_000)))
    outcome = first_carried(wanted, carrier(book, a_market(), Relays(configured=0, healthy=0), most=None))
    assert isinstance(outcome, Planned)
    assert isinstance(wanted[0], Planned)
    assert (outcome.plan.amount_in, wanted[0].plan.amount_in) == (60_000 * 10**6, 150_000 * 10**6)
    assert outcome.submission is not None
    assert (outcome.submission.sandwich_value_wei or 0) <= rules.sandwich_limit_wei


def test_what_stands_against_the_account_is_not_asked_again_for_every_size() -> None:
    asked: list[Planned] = []

    def without_key(trade: Planned) -> Refused:
        asked.append(trade)
        return refusal([Objection("no_key", "the signer holds no key of this account")])

    outcome = first_carried(plans(entry(), a_book(), free(), a_market(), PlanningRules()), without_key)
    assert isinstance(outcome, Refused)
    assert (outcome.outcome, len(asked)) == ("no_key", 1)


def carrier(book: Book, market: Market, relays: Relays, most: int | None) -> Callable[[Planned], Planned | Refused]:
    """An executor's last words: an allowance of ``most``, and the way that the trade leaves."""

    def carry(trade: Planned) -> Planned | Refused:
        if most is not None and trade.plan.amount_in > most:
            return refusal([Objection("no_allowance", "the allowance is too small", passing=True)])
        chosen = choose(trade, entry_relays(book), market, relays)
        return refusal([chosen]) if isinstance(chosen, Objection) else replace(trade, submission=chosen)

    return carry


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that a decision about an entry is made from, but the level."""

    verdict: VerdictApproved
    book: Book
    holdings: Holdings
    market: Market
    rules: PlanningRules
    relays: Relays
    allowance: int | None

    def at(self, level: int) -> Planned | Refused:
        """What a book of that level does."""
        book = self.book.model_copy(update={"level": level})
        wanted = plans(self.verdict, book, self.holdings, self.market, self.rules)
        return first_carried(wanted, carrier(book, self.market, self.relays, self.allowance))


def mostly(usual: Any, rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Four times in five the usual value: what has many reasons against it shows little."""
    return st.integers(0, 4).flatmap(lambda chance: rare if chance == 4 else st.just(usual))


AMOUNTS = st.integers(10**8, 60_000 * 10**6)
CAPS = st.builds(
    lambda base, tip: FeeCap(max_fee_per_gas_wei=base + tip, max_priority_fee_per_gas_wei=tip),
    st.integers(GWEI, 4 * GWEI),
    st.sampled_from([0, GWEI // 10, GWEI, 5 * GWEI, 40 * GWEI, 300 * GWEI]),
)


WIDE = st.sampled_from([90, 97, 103, 110])
"""How much USDC the V2 pool holds, as a percentage of what the V3 pool's price asks for."""


@st.composite
def verdicts(draw: st.DrawFn, wide: int) -> VerdictApproved:
    gap, hint, late = draw(st.booleans()), draw(AMOUNTS), draw(mostly(0, st.integers(0, 30)))
    pools = (a_pool_v3(), a_pool_v2()) if wide > 100 else (a_pool_v2(), a_pool_v3())
    found = an_opportunity(
        strategy="price_gap" if gap else "momentum",
        route=a_gap_route(*pools) if gap else an_entry_opportunity().route,
        size_hint=hint,
        edge_bps=draw(st.sampled_from([0, 40, 300, 2_000])),
        expected_out=draw(mostly(1, st.integers(1, hint * 10**12))),
        block=a_block_ref(100 - late),
        deadline_block=140,
    )
    missing = draw(mostly(frozenset(), st.frozensets(st.sampled_from(Check), max_size=3)))
    return a_verdict(
        found,
        lane=draw(mostly(Lane.FAST, st.just(Lane.SMART))),
        risk_score=draw(mostly(10, st.integers(0, 90))),
        confidence_bps=draw(mostly(9_500, st.integers(3_000, 10_000))),
        checks=tuple(check for check in Check if check not in missing),
    )


@st.composite
def books(draw: st.DrawFn, capital: int) -> Book:
    limits = lane_limits(capital=capital, max_trade=draw(mostly(capital, st.integers(1, capital))))
    return a_book(
        profile=draw(st.sampled_from(Profile)),
        limits=dict.fromkeys(Lane, limits),
        slippage_tolerance_bps=draw(st.integers(1, 300)),
        controls=Controls(duplicate_blocks=0, collar_bps=None, budget_by_market=draw(st.booleans())),
        relays=RelayRules(
            policy=draw(st.sampled_from(RelayPolicy)),
            sandwich_limit_wei=draw(st.sampled_from([0, 10**12, 10**15, 10**17])),
        ),
    )


@st.composite
def markets(draw: st.DrawFn, wide: int, bought: str) -> Market:
    depth = draw(st.sampled_from([200_000, 20_000_000]))
    return a_market(
        a_pool_v2(reserve0=depth * wide * 10**4, reserve1=depth * 10**18 // 2_000),
        a_pool_v3(),
        next_base_fee_wei=draw(mostly(GWEI, st.integers(GWEI // 2, 3 * GWEI))),
        block_time_s=draw(st.sampled_from([1, 2, 12, 13])),
        entry_size_bps=draw(mostly(10_000, st.integers(1, 10_000))),
        fee_quote=a_fee_quote(tiers={tier: draw(CAPS) for tier in FeeTier}),
        taxes=draw(mostly({}, st.just({bought: 100}))),
    )


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    wide, capital = draw(WIDE), draw(st.integers(10**9, 10**12))
    verdict, configured = draw(verdicts(wide)), draw(st.integers(0, 1))
    fast = PlanningRules(max_price_impact_bps=draw(st.sampled_from([20, 100, 2_000])))
    searching = PlanningRules(max_legs=2, max_paths=2, waits_for_cheaper_blocks=True)
    return Situation(
        verdict=verdict,
        book=draw(books(capital)),
        holdings=free(
            at_work=draw(mostly(0, st.integers(0, capital))),
            reserved=Reserved(capital=draw(mostly(0, st.integers(0, capital)))),
            quote_balance=draw(mostly(None, AMOUNTS)),
        ),
        market=draw(markets(wide, verdict.opportunity.route.token_out)),
        rules=searching if verdict.lane is Lane.SMART else fast,
        relays=Relays(configured=configured, healthy=draw(st.integers(0, configured))),
        allowance=draw(mostly(None, AMOUNTS)),
    )


@settings(max_examples=SITUATIONS, deadline=None)
@given(situation=situations())
def test_what_a_level_approves_the_next_one_approves_with_at_least_the_size(situation: Situation) -> None:
    outcomes = [situation.at(level) for level in LEVELS]
    sizes = [one.plan.amount_in if isinstance(one, Planned) else 0 for one in outcomes]
    event(f"approved at {sum(size > 0 for size in sizes)} levels")
    assert sizes == sorted(sizes)
    capital = situation.book.limits[situation.verdict.lane].capital
    assert all(size <= capital * row.position_bps // 10_000 for size, row in zip(sizes, LEVELS.values(), strict=True))
