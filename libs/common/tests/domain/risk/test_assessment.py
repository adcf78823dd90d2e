"""What is approved, what is vetoed, and how sure the assessment is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dexlane.domain.risk.evidence import Flag, Seen
from dexlane.domain.risk.factors import FACTORS, WEIGHTS_BPS
from dexlane.domain.risk.required import tokens_to_gather
from dexlane.domain.risk.sanctions import SanctionsList
from dexlane.events.risk import Category
from dexlane.values.books import Lane

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
UNKNOWN = "0x" + "7" * 40
DAY_MS = 86_400_000

# ``Any`` stands for the Case of conftest.py, which test modules cannot import in importlib mode.


def test_opportunity_with_complete_fresh_evidence_is_approved(case: Any) -> None:
    assessment = case.assess()
    assert assessment.approved
    assert assessment.confidence_bps == 10_000
    assert [factor.category for factor in assessment.factors] == list(Category)


def test_weights_add_up_to_the_whole(case: Any) -> None:
    assert sum(WEIGHTS_BPS.values()) == 10_000
    assert sum(factor.weight_bps for factor in case.assess().factors) == 10_000
    assert len(FACTORS) == len(Category)


@pytest.mark.parametrize("missing", ["depths", "volatilities", "tokens"])
def test_missing_evidence_is_a_veto_and_scores_worst(case: Any, missing: str) -> None:
    assessment = case.but(**{missing: {}}).assess()
    assert any("cannot be checked" in veto for veto in assessment.vetoes)
    assert any(factor.score == 100 and factor.evidence_block is None for factor in assessment.factors)
    assert assessment.confidence_bps < 10_000


@pytest.mark.parametrize("missing", ["impact", "sanctions"])
def test_missing_impact_or_sanctions_check_is_a_veto(case: Any, missing: str) -> None:
    assessment = case.but(**{missing: None}).assess()
    assert any("cannot be checked" in veto for veto in assessment.vetoes)


def test_evidence_stale_in_blocks_is_a_veto(case: Any) -> None:
    stale = replace(case, now_block=case.now_block + case.limits.max_state_age_blocks + 1)
    stale = replace(stale, opportunity=stale.opportunity.model_copy(update={"deadline_block": 999}))
    assert any("blocks and" in veto for veto in stale.assess().vetoes)


def test_evidence_stale_in_milliseconds_is_a_veto(case: Any) -> None:
    late = case.but(as_of_ms=case.evidence.as_of_ms + case.limits.max_state_age_ms + 1)
    assert any("ms old" in veto for veto in late.assess().vetoes)


def test_aging_evidence_lowers_confidence_but_does_not_veto(case: Any) -> None:
    older = case.but(as_of_ms=case.evidence.as_of_ms + case.limits.max_state_age_ms // 2)
    assert older.assess().approved
    assert 5_000 < older.assess().confidence_bps < 10_000


def test_opportunity_of_a_block_not_yet_known_is_vetoed(case: Any) -> None:
    early = replace(case, now_block=case.now_block - 1)
    assert any("newest known block" in veto for veto in early.assess().vetoes)


def test_opportunity_past_its_deadline_is_vetoed(case: Any) -> None:
    late = replace(case, opportunity=case.opportunity.model_copy(update={"deadline_block": case.now_block}))
    assert any("is already there" in veto for veto in late.assess().vetoes)


def test_shallow_pool_is_vetoed(case: Any) -> None:
    least = case.limits.minimum_depth
    assert case.with_depth(least, least).assess().approved
    assert not case.with_depth(least * 9, least - 1).assess().approved


def test_restless_pool_and_large_impact_are_vetoed(case: Any) -> None:
    assert not case.with_volatility(case.limits.max_mean_move_bps * 100 + 1, 20_000).assess().approved
    assert not case.with_impact(case.limits.max_impact_bps + 1).assess().approved


def test_too_few_samples_of_volatility_are_a_veto(case: Any) -> None:
    vetoes = case.with_volatility(1, 1, samples=case.limits.minimum_samples - 1).assess().vetoes
    assert any("moves are known" in veto for veto in vetoes)


def test_chance_that_has_gone_is_vetoed(case: Any, cases: dict[str, Any]) -> None:
    assert any("has gone" in veto for veto in case.with_impact(5, 1_002_000_000 * 98 // 100).assess().vetoes)
    cycle = cases["cycle"]
    size = cycle.opportunity.size_hint
    assert any("no gain left" in veto for veto in cycle.with_impact(5, size).assess().vetoes)


def test_token_without_code_or_decimals_is_vetoed(case: Any) -> None:
    assert not case.with_facts(USDC, code_hash=None).assess().approved
    assert not case.with_facts(USDC, decimals=None).assess().approved


def test_upgrade_is_tolerated_of_known_issuers_only(cases: dict[str, Any]) -> None:
    flagged = cases["unknown_token"].with_flag(UNKNOWN, Flag.IMPLEMENTATION_CHANGED)
    assert any("implementation changed" in veto for veto in flagged.assess().vetoes)
    known = cases["single"].with_flag(USDC, Flag.IMPLEMENTATION_CHANGED)
    assert known.assess().approved
    assert known.assess().risk_score > cases["single"].assess().risk_score
    assert not cases["single"].with_flag(USDC, Flag.CODE_CHANGED).assess().approved


def test_sanctioned_address_is_vetoed_and_names_the_list(case: Any) -> None:
    listed = SanctionsList("2026-06-25", frozenset({USDC})).check(case.evidence.sanctions.checked, "2026-06-25")
    assessment = case.but(sanctions=listed).assess()
    assert any("sanctions list of 2026-06-25" in veto for veto in assessment.vetoes)
    assert assessment.factors[-1].score == 100


def test_address_that_was_not_looked_up_is_a_veto(case: Any) -> None:
    assert not case.but(sanctions=replace(case.evidence.sanctions, checked=frozenset({USDC}))).assess().approved


def test_sanctions_list_ages_into_a_veto(case: Any) -> None:
    def aged(days: int) -> Any:
        late = case.but(as_of_ms=case.evidence.as_of_ms + days * DAY_MS)
        fresh = {
            name: {key: Seen(seen.value, seen.block, late.evidence.as_of_ms) for key, seen in items.items()}
            for name in ("depths", "volatilities", "tokens")
            if (items := getattr(late.evidence, name))
        }
        impact = late.evidence.impact
        return late.but(**fresh, impact=Seen(impact.value, impact.block, late.evidence.as_of_ms))

    scores = [aged(days).assess().factors[-1].score for days in (0, 60, 180, 400, 700)]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]
    assert aged(700).assess().approved
    assert not aged(731).assess().approved


def test_fast_lane_needs_held_evidence_and_an_atomic_or_single_pool_route(cases: dict[str, Any]) -> None:
    assert cases["single"].assess().lane is Lane.FAST
    assert cases["cycle"].assess().lane is Lane.FAST
    assert cases["two_pools"].assess().lane is Lane.SMART
    assert cases["single"].but(held=False).assess().lane is Lane.SMART
    assert cases["single"].but(tokens={}).assess().lane is Lane.SMART


def test_exactly_the_tokens_with_missing_or_stale_facts_are_to_be_gathered(case: Any) -> None:
    arguments = (case.now_block, case.limits)
    assert tokens_to_gather(case.opportunity, case.evidence, *arguments) == ()
    stale = {**case.evidence.tokens, USDC: replace(case.evidence.tokens[USDC], at_ms=0)}
    assert tokens_to_gather(case.opportunity, case.but(tokens=stale).evidence, *arguments) == (USDC,)
    assert tokens_to_gather(case.opportunity, case.but(tokens={}).evidence, *arguments) == (USDC, WETH)


def test_assessment_is_the_same_in_every_process() -> None:
    # The original system scored by salted hashes: another figure in every process.
    script = f"""
import dataclasses, importlib.util, sys
spec = importlib.util.spec_from_file_location("cases", {str(Path(__file__).with_name("conftest.py"))!r})
cases = sys.modules["cases"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)
from dexlane.domain.risk.evidence import Flag
for name in cases.ROUTES:
    case = cases.make_case(name)
    flagged = case.but(flags={{token: frozenset(Flag) for token in case.evidence.tokens}}, depths={{}})
    hit = case.but(sanctions=dataclasses.replace(case.evidence.sanctions, hits=case.evidence.sanctions.checked))
    print(*(each.assess() for each in (case, flagged, hit)), sep="\\n")
"""
    told = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "20261126")
    }
    assert len(told) == 1
    assert next(iter(told)).count("Assessment(") == 12
