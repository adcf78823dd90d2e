"""What is recorded says why, and is decided again from its documents to the same bytes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.circumstances import Planned, PlanningRules, Refused
from dexlane.domain.exits import HeldPosition, judge_exit
from dexlane.domain.planning import plan
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.risk.profiles import PROFILES
from dexlane.domain.thoughts.calls import Occasion, Thought, called_again
from dexlane.domain.thoughts.documents import DocumentError
from dexlane.domain.thoughts.recording import decided_again
from dexlane.domain.thoughts.visible import Search, seen_market, seen_pools
from dexlane.domain.thoughts.words import Detail, told
from dexlane.events.control import Status
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Category, DecisionRecorded
from dexlane.events.thoughts import DocumentsRecorded, Stance
from dexlane.testing.builders import (
    CHAIN_ID,
    NOW_MS,
    USDC,
    WETH,
    a_block_ref,
    a_book,
    a_market,
    a_pool_v2,
    a_pool_v3,
    a_verdict,
    an_entry_opportunity,
    an_exit,
    an_opportunity,
    risk_factors,
)
from dexlane.testing.random_pools import MarketShape, numbered_token, random_pools, seeded
from dexlane.testing.thinking import a_thought, planning_arguments, recorded_thoughts
from dexlane.values.books import ExitRules, Lane, Profile
from dexlane.values.pools import Pool
from dexlane.values.routes import Leg, Route

SMART = PlanningRules(max_legs=3, max_paths=3)


def recorded(thought: Thought) -> tuple[DecisionRecorded, dict[str, str]]:
    *documents, decision = recorded_thoughts(thought)
    texts: dict[str, str] = {}
    for one in documents:
        assert isinstance(one, DocumentsRecorded)
        texts.update(one.documents)
    assert isinstance(decision, DecisionRecorded)
    return decision, texts


def an_exit_thought(stop_loss_bps: int = 100) -> Thought:
    held = HeldPosition(token=WETH, quote=USDC, quantity=10**18, cost=2_100 * 10**6, age_s=60)
    pools = {pool.key.address: pool for pool in (a_pool_v2(), a_pool_v3())}
    arguments = {"rules": ExitRules(stop_loss_bps=stop_loss_bps, take_profit_bps=600), "held": held, "pools": pools}
    occasion = Occasion(
        service="portfolio", chain_id=CHAIN_ID, at_ms=NOW_MS, code="c", subject_id="e" * 32, book_id="paper-one"
    )
    return Thought("judge_exit", arguments, judge_exit(**arguments), occasion)


THOUGHTS: dict[str, Thought] = {
    "traded": a_thought(),
    "traded smart": a_thought(rules=SMART),
    "too_risky": a_thought(cause=a_verdict(an_entry_opportunity(), risk_score=45)),
    "halted": a_thought(market=a_market(status=Status.HALTED)),
    "no_edge": a_thought(cause=a_verdict(an_opportunity())),
    "stale_fee_quote": a_thought(market=a_market(fee_quote=None)),
    "unroutable": a_thought(Refused(outcome="unroutable", reasons=("no router trades this",))),
    "exit traded": a_thought(cause=an_exit(), rules=SMART),
    "exit_triggered": an_exit_thought(),
}


@pytest.mark.parametrize("name", THOUGHTS)
def test_a_decision_is_decided_again_to_the_same_bytes(name: str) -> None:
    decision, texts = recorded(THOUGHTS[name])
    assert decision.outcome in name
    assert decided_again(decision.inputs_id or "", texts.get).to_wire() == decision.to_wire()


@pytest.mark.parametrize("name", THOUGHTS)
def test_every_decision_is_told_at_three_levels_each_saying_more(name: str) -> None:
    decision, _ = recorded(THOUGHTS[name])
    short, normal, full = (told(decision, detail) for detail in Detail)
    assert "\n" not in short
    assert normal.startswith(short)
    assert full.startswith(normal)
    assert decision.service in short
    assert decision.content_hash in full
    assert str(decision.inputs_id) in full
    assert all(factor.sentence in normal for factor in decision.factors)


def test_a_trade_says_what_spoke_for_it_what_was_tried_and_from_what_it_was_computed() -> None:
    decision, _ = recorded(THOUGHTS["traded"])
    assert decision.book_id == "paper-one"
    assert decision.lane is Lane.FAST
    assert decision.strategy == "momentum"
    assert set(decision.tokens) == {USDC.address, WETH.address}
    assert [one.outcome for one in decision.alternatives] == ["taken"]
    assert {one.name for one in decision.factors if one.stance is Stance.FOR} >= {"breakout", "edge", "liquidity"}
    assert decision.inputs["block"].startswith("100 0x")
    assert {"pools", "fee_quote", "code", "profile", "status"} <= decision.inputs.keys()
    assert decision.would_if == ()


def test_what_a_trade_costs_speaks_against_it() -> None:
    decision, _ = recorded(THOUGHTS["traded"])
    against = {one.name for one in decision.factors if one.stance is Stance.AGAINST}
    assert against == {"price impact", "gas"}


@pytest.mark.parametrize("profile", Profile)
def test_a_category_speaks_against_a_trade_from_where_the_profile_of_the_book_no_longer_accepts_it(
    profile: Profile,
) -> None:
    most = PROFILES[profile].max_category_score
    for score in {most, min(most + 1, 100)}:
        factors = tuple(one.model_copy(update={"score": score}) for one in risk_factors())
        verdict = a_verdict(an_entry_opportunity(), factors=factors)
        decision, _ = recorded(a_thought(cause=verdict, book=a_book(profile=profile)))
        stances = {one.stance for one in decision.factors if one.name in set(Category)}
        assert stances == {Stance.AGAINST if score > most else Stance.FOR}


def test_a_refused_size_is_an_alternative_with_its_reason() -> None:
    decision, _ = recorded(THOUGHTS["no_edge"])
    sizes = [one.amount_in for one in decision.alternatives]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) > 1
    assert all(one.outcome == "no_edge" and "gas costs" in one.sentence for one in decision.alternatives)


def test_a_risk_that_a_higher_level_accepts_names_the_lowest_such_level() -> None:
    thought = THOUGHTS["too_risky"]
    decision, _ = recorded(thought)
    [clause] = decision.would_if
    level = int(clause.removeprefix("the book had level ").removesuffix(" instead of 5"))
    trades = [
        isinstance(plan(**{**thought.arguments, "book": a_book(level=number)}), Planned) for number in range(1, 11)
    ]
    assert trades == [number >= level for number in range(1, 11)]
    assert f"It would be traded if {clause}." in told(decision)


def test_a_risk_that_no_level_accepts_says_so() -> None:
    decision, _ = recorded(a_thought(cause=a_verdict(an_entry_opportunity(), risk_score=95)))
    assert decision.would_if == ("a moderate book accepted this at any level; none does",)


def test_what_spoke_against_a_plan_afterwards_is_the_decision_and_the_plan_is_what_was_tried() -> None:
    decision, _ = recorded(THOUGHTS["unroutable"])
    assert decision.outcome == "unroutable"
    assert decision.reasons == ("no router trades this",)
    assert [one.outcome for one in decision.alternatives] == ["taken"]


def test_one_wei_in_a_document_is_named_by_the_document() -> None:
    decision, texts = recorded(THOUGHTS["traded"])
    reserve = str(a_pool_v2().state.reserve0)  # type: ignore[union-attr]
    [name] = [name for name, text in texts.items() if reserve in text]
    texts[name] = texts[name].replace(reserve, str(int(reserve) + 1))
    with pytest.raises(DocumentError) as found:
        decided_again(decision.inputs_id or "", texts.get)
    assert found.value.document_id == name


def test_inputs_that_lead_elsewhere_do_not_give_the_recorded_decision() -> None:
    decision, _ = recorded(THOUGHTS["traded"])
    other, texts = recorded(a_thought(market=a_market(a_pool_v2(reserve0=20_000_001 * 10**6), a_pool_v3())))
    assert decided_again(other.inputs_id or "", texts.get).to_wire() != decision.to_wire()


def test_a_function_or_an_argument_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing decides"):
        called_again("guess", {}, {})
    with pytest.raises(ValueError, match="takes no argument mood"):
        called_again("plan", {"mood": 1}, {})


def test_a_book_of_the_moment_does_not_change_with_the_blocks_after_it() -> None:
    book = PoolBook()
    book.put(a_pool_v2(), a_block_ref())
    kept = book.frozen()
    before = dict(kept.pools)
    book.put(a_pool_v2(reserve0=1), a_block_ref(101))
    book.put(a_pool_v3(), a_block_ref(101))
    assert dict(kept.pools) == before


def routed(pools: list[Pool], first: int, last: int) -> Route | None:
    """A route of one pool between two tokens, if there is one."""
    one, other = numbered_token(first).address, numbered_token(last).address
    for pool in pools:
        if pool.key.trades(one, other):
            key = pool.key
            leg = Leg(pool=key.address, protocol=key.protocol, fee_pips=key.fee_pips, token_in=one, token_out=other)
            return Route(legs=(leg,))
    return None


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), legs=st.integers(1, 3), paths=st.integers(1, 3), last=st.integers(1, 5))
def test_planning_on_the_pools_it_could_see_gives_the_same_plan_as_on_all(
    seed: int, legs: int, paths: int, last: int
) -> None:
    pools = random_pools(seeded(seed), MarketShape(tokens=9, pools=22, hubs=2))
    route = routed(pools, 0, last)
    if route is None:
        return
    market = a_market(*pools)
    opportunity = an_entry_opportunity(route=route, size_hint=10**18, expected_out=1, edge_bps=0)
    assert isinstance(opportunity, OpportunityFound)
    book = a_book(quote=numbered_token(0))
    rules = PlanningRules(max_legs=legs, max_paths=paths, max_price_impact_bps=10_000)
    arguments = planning_arguments(cause=a_verdict(opportunity), book=book, market=market, rules=rules)
    seen = seen_market(arguments["cause"], book, market, rules)
    assert len(seen.pools) <= len(pools)
    assert plan(**{**arguments, "market": seen}) == plan(**arguments)


def test_a_pool_that_no_walk_can_pass_is_not_seen() -> None:
    chain = [numbered_token(number) for number in range(6)]
    pools = {}
    for number, (one, other) in enumerate(pairwise(chain)):
        pool = a_pool_v2()
        key = pool.key.model_copy(update={"address": f"0x{number + 16:040x}", "token0": one, "token1": other})
        pools[key.address] = replace(pool, key=key)
    names = list(pools)
    start, goal = chain[0].address, chain[2].address
    assert list(seen_pools(pools, set(), [Search(start, goal, 2)])) == names[:2]
    assert list(seen_pools(pools, set(), [Search(start, goal, 4)])) == names[:3]
    assert list(seen_pools(pools, {chain[4].address, chain[5].address})) == names[4:]
    assert seen_pools(pools, {start}) == {}
