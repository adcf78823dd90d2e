"""Which checks a verdict says were made, and the quantities it tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dexlane.domain.risk.evidence import CodeFacts, PoolDepth, Seen, TrialFacts
from dexlane.domain.risk.lp_shares import LpShares
from dexlane.events.risk import Check, VerdictFacts
from dexlane.values.pools import Protocol

UNKNOWN = "0x" + "7" * 40
POOL_A = "0x" + "a" * 40

# ``Any`` stands for the Case of conftest.py, which test modules cannot import in importlib mode.


def test_complete_evidence_has_every_check_made(case: Any) -> None:
    assert case.assess().checks == tuple(Check)


@pytest.mark.parametrize(
    ("missing", "check"),
    [
        ({"depths": {}}, Check.DEPTH),
        ({"volatilities": {}}, Check.VOLATILITY),
        ({"impact": None}, Check.IMPACT),
        ({"trials": {}}, Check.EXECUTED_CHECK),
        ({"sanctions": None}, Check.SANCTIONS),
        ({"codes": {}}, Check.BYTECODE),
    ],
)
def test_a_check_without_evidence_was_not_made(cases: dict[str, Any], missing: dict[str, Any], check: Check) -> None:
    assert cases["unknown_token"].assess().checks == tuple(Check)
    assert set(Check) - set(cases["unknown_token"].but(**missing).assess().checks) == {check}


def test_code_of_a_token_that_nobody_read_is_not_checked_either(cases: dict[str, Any]) -> None:
    made = cases["unknown_token"].but(tokens={}).assess().checks
    assert set(Check) - set(made) == {Check.TOKEN_FACTS, Check.BYTECODE}


def test_too_few_moves_are_no_check_of_volatility(case: Any) -> None:
    few = case.with_volatility(1, 1, samples=case.limits.minimum_samples - 1)
    assert set(Check) - set(few.assess().checks) == {Check.VOLATILITY}


@pytest.mark.parametrize("field", ["depths", "volatilities", "trials"])
def test_a_check_from_stale_evidence_was_not_made(cases: dict[str, Any], field: str) -> None:
    case = cases["unknown_token"]
    stale = {name: replace(seen, at_ms=0) for name, seen in getattr(case.evidence, field).items()}
    assert len(case.but(**{field: stale}).assess().checks) == len(Check) - 1


def test_a_check_of_one_token_of_two_was_not_made(cases: dict[str, Any]) -> None:
    case = cases["two_pools"]
    one = dict(list(case.evidence.tokens.items())[:1])
    assert Check.TOKEN_FACTS not in case.but(tokens=one).assess().checks


def test_a_sanctions_list_that_is_too_old_is_no_check(case: Any) -> None:
    old = replace(case.evidence.sanctions, list_date="2020-01-01")
    assert Check.SANCTIONS not in case.but(sanctions=old).assess().checks


def test_an_executed_check_that_says_unknown_was_not_made(cases: dict[str, Any]) -> None:
    unknown = Seen(TrialFacts(address=UNKNOWN, verdict="unknown"), 100, cases["unknown_token"].evidence.as_of_ms)
    assert Check.EXECUTED_CHECK not in cases["unknown_token"].but(trials={UNKNOWN: unknown}).assess().checks


def test_code_that_was_read_in_part_was_not_checked(cases: dict[str, Any]) -> None:
    part = CodeFacts(score=50, complete=False)
    assert Check.BYTECODE not in cases["unknown_token"].but(codes={UNKNOWN: part}).assess().checks


def test_lp_shares_are_needed_of_pools_that_have_lp_tokens_only(case: Any) -> None:
    [leg] = case.opportunity.route.legs
    route = case.opportunity.route.model_copy(
        update={"legs": (leg.model_copy(update={"protocol": Protocol.UNISWAP_V2}),)}
    )
    with_lp_tokens = replace(case, opportunity=case.opportunity.model_copy(update={"route": route}))
    assert Check.LP_SHARES not in with_lp_tokens.assess().checks
    shares = Seen(LpShares(pool=POOL_A, total=1, held={}), 100, case.evidence.as_of_ms)
    assert Check.LP_SHARES in with_lp_tokens.but(lp_shares={POOL_A: shares}).assess().checks
    assert with_lp_tokens.assess().approved, "who holds the LP tokens informs, and is no veto"


def test_facts_are_the_worst_of_the_route(cases: dict[str, Any]) -> None:
    case = cases["two_pools"]
    first, second = case.evidence.depths
    taxed = TrialFacts(
        address=UNKNOWN, verdict="safe", buy_tax_bps=10, sell_tax_bps=300, transfer_tax_bps=0,
        age_s=70, lp_locked_bps=9_000, top_holder_bps=400,
    )  # fmt: skip
    facts = (
        case.but(
            depths={
                first: Seen(PoolDepth(8 * 10**12, 9 * 10**12), 100, 1),
                second: Seen(PoolDepth(7 * 10**12, 10**13), 100, 1),
            },
            trials={UNKNOWN: Seen(taxed, 100, case.evidence.as_of_ms)},
        )
        .assess()
        .facts
    )
    assert facts.thinnest_depth == 7 * 10**12
    assert (facts.buy_tax_bps, facts.sell_tax_bps, facts.transfer_tax_bps) == (10, 300, 0)
    assert (facts.price_impact_bps, facts.unlisted_tokens) == (5, 1)
    assert (facts.token_age_s, facts.lp_locked_bps, facts.top_holder_bps) == (70, 9_000, 400)


def test_what_is_not_known_is_none_and_never_nought(cases: dict[str, Any]) -> None:
    case = cases["two_pools"]
    one = dict(list(case.evidence.depths.items())[:1])
    facts = case.but(depths=one, impact=None, trials={}, compliance=None).assess().facts
    assert facts == VerdictFacts(unlisted_tokens=1)


def test_rules_that_nobody_reviewed_for_too_long_are_a_veto(cases: dict[str, Any]) -> None:
    case = cases["two_pools"]
    old = replace(case.evidence.compliance, reviewed="2010-01-01")
    [veto] = case.but(compliance=old).assess().vetoes
    assert veto.startswith("the compliance rules cannot be checked: they were reviewed")
