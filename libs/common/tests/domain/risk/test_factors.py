"""Properties of the scores: bounded, monotone, and worst where nothing is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dexlane.domain.risk.evidence import CodeFacts, Flag, Seen, TrialFacts
from dexlane.domain.risk.factors import WEIGHTS_BPS, contract, liquidity, slippage, volatility
from dexlane.domain.risk.scales import score

UNKNOWN = "0x" + "7" * 40
amounts = st.integers(min_value=0, max_value=10**18)
pips = st.integers(min_value=0, max_value=200_000)
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


def _score(factor: Any, case: Any) -> int:
    return int(factor(case.opportunity, case.evidence, case.limits).score)


@shared
@given(first=amounts, second=amounts, more=amounts)
def test_deeper_liquidity_never_raises_risk(case: Any, first: int, second: int, more: int) -> None:
    shallow, deep = case.with_depth(first, second), case.with_depth(first + more, second + more)
    assert _score(liquidity, deep) <= _score(liquidity, shallow)
    assert deep.assess().risk_score <= shallow.assess().risk_score
    assert shallow.assess().approved <= deep.assess().approved


@shared
@given(mean=pips, peak=pips, more=pips)
def test_higher_volatility_never_lowers_risk(case: Any, mean: int, peak: int, more: int) -> None:
    calm, wild = case.with_volatility(mean, peak), case.with_volatility(mean + more, peak + more)
    for factor in (volatility, slippage):
        assert _score(factor, wild) >= _score(factor, calm)
    assert wild.assess().risk_score >= calm.assess().risk_score
    assert wild.assess().approved <= calm.assess().approved


@shared
@given(impact=st.integers(0, 10_000), more=st.integers(0, 10_000))
def test_higher_impact_never_lowers_risk(case: Any, impact: int, more: int) -> None:
    small, large = case.with_impact(impact), case.with_impact(impact + more)
    assert _score(slippage, large) >= _score(slippage, small)
    assert large.assess().risk_score >= small.assess().risk_score


@given(
    points=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 100)), min_size=2, max_size=8),
    quantities=st.tuples(st.integers(-10, 2 * 10**6), st.integers(-10, 2 * 10**6)),
    falling=st.booleans(),
)
def test_scale_is_monotone_and_bounded(
    points: list[tuple[int, int]], quantities: tuple[int, int], falling: bool
) -> None:
    xs = sorted({x for x, _ in points})
    ys = sorted((y for _, y in points[: len(xs)]), reverse=falling)
    scale = tuple(zip(xs, ys, strict=False))
    low, high = sorted(quantities)
    first, second = score(scale, low), score(scale, high)
    assert (first >= second) if falling else (first <= second)
    assert min(ys) <= min(first, second) <= max(first, second) <= max(ys)


def test_atomic_trade_does_not_pay_for_drift(cases: dict[str, Any]) -> None:
    wild = [cases[name].with_volatility(5_000, 5_000) for name in ("cycle", "single")]
    assert _score(slippage, wild[0]) < _score(slippage, wild[1])


@pytest.mark.parametrize(
    "worse",
    [
        {"implementation": "0x" + "1" * 40},
        {"owner": "0x" + "1" * 40},
        {"code_hash": None},
    ],
)
def test_powers_over_a_token_raise_its_score(cases: dict[str, Any], worse: dict[str, Any]) -> None:
    case = cases["unknown_token"].with_facts(UNKNOWN, owner="0x" + "0" * 40)
    assert _score(contract, case.with_facts(UNKNOWN, **worse)) > _score(contract, case)


def test_unknown_issuer_scores_above_a_known_one(cases: dict[str, Any]) -> None:
    assert _score(contract, cases["unknown_token"]) > _score(contract, cases["single"])


def test_a_worse_code_never_lowers_the_contract_score(cases: dict[str, Any]) -> None:
    case = cases["unknown_token"].but(codes={}).with_facts(UNKNOWN, owner="0x" + "0" * 40)
    scores = [
        _score(contract, case.but(codes={UNKNOWN: CodeFacts(score=score, flags=("hidden_mint",), complete=True)}))
        for score in range(0, 101, 5)
    ]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1] <= _score(contract, case)


def test_code_that_nobody_judged_counts_like_the_worst(cases: dict[str, Any]) -> None:
    case = cases["unknown_token"].but(codes={})
    worst = case.but(codes={UNKNOWN: CodeFacts(score=100, complete=False, reasons=("no function is recognised",))})
    assert _score(contract, case) == _score(contract, worst)
    assert not worst.assess().vetoes


def test_changed_token_of_an_unknown_issuer_scores_worst(cases: dict[str, Any]) -> None:
    assert _score(contract, cases["unknown_token"].with_flag(UNKNOWN, Flag.OWNER_CHANGED)) == 100


def test_the_published_weights_are_those_in_force() -> None:
    text = (Path(__file__).parents[5] / "docs" / "RISK.md").read_text()
    for category, weight_bps in WEIGHTS_BPS.items():
        assert f"| {category} | {weight_bps // 100} % |" in text


def test_reasons_are_sentences_that_name_the_measured_quantity(case: Any) -> None:
    factor = volatility(case.opportunity, case.with_volatility(1_234, 5_600).evidence, case.limits)
    assert factor.reasons[0] == "prices moved by 0.12 % a block on average over 32 moves"


def _taxed(case: Any, *taxes: int | None) -> Any:
    buy, sell, transfer = taxes
    facts = {"verdict": "safe", "buy_tax_bps": buy, "sell_tax_bps": sell, "transfer_tax_bps": transfer}
    return case.but(trials={UNKNOWN: Seen(TrialFacts(address=UNKNOWN, **facts), 100, case.evidence.as_of_ms)})


taxes = st.integers(0, 10_000)


@shared
@given(low=st.tuples(taxes, taxes, taxes), which=st.integers(0, 2), more=taxes)
def test_a_higher_tax_is_never_safer(cases: dict[str, Any], low: tuple[int, int, int], which: int, more: int) -> None:
    high = [min(10_000, tax + more * (index == which)) for index, tax in enumerate(low)]
    lower, higher = _taxed(cases["unknown_token"], *low), _taxed(cases["unknown_token"], *high)
    assert _score(contract, higher) >= _score(contract, lower)
    assert higher.assess().risk_score >= lower.assess().risk_score


@shared
@given(known=st.tuples(taxes, taxes), which=st.integers(0, 2))
def test_a_tax_that_was_not_measured_counts_like_the_highest(
    cases: dict[str, Any], known: tuple[int, int], which: int
) -> None:
    taken = list(known)
    taken.insert(which, 10_000)
    unmeasured = [None if index == which else tax for index, tax in enumerate(taken)]
    assert _score(contract, _taxed(cases["unknown_token"], *unmeasured)) >= _score(
        contract, _taxed(cases["unknown_token"], *taken)
    )


NO_EVIDENCE: dict[str, Any] = {
    "depths": {}, "volatilities": {}, "impact": None, "tokens": {}, "codes": {}, "trials": {}, "sanctions": None,
    "lp_shares": {}, "compliance": None,
}  # fmt: skip


@shared
@given(
    name=st.sampled_from(["single", "cycle", "two_pools", "unknown_token"]),
    lost=st.sets(st.sampled_from(sorted(NO_EVIDENCE))),
    more=st.sampled_from(sorted(NO_EVIDENCE)),
)
def test_a_check_that_fails_improves_nothing(cases: dict[str, Any], name: str, lost: set[str], more: str) -> None:
    # The original left failed checks out of the mean, so that a token was safer the less was known about it.
    before = cases[name].but(**{field: NO_EVIDENCE[field] for field in lost}).assess()
    after = cases[name].but(**{field: NO_EVIDENCE[field] for field in {*lost, more}}).assess()
    assert after.risk_score >= before.risk_score
    assert after.confidence_bps <= before.confidence_bps
    assert after.approved <= before.approved
    assert set(after.checks) <= set(before.checks)
    assert all(worse.score >= better.score for worse, better in zip(after.factors, before.factors, strict=True))


@shared
@given(
    name=st.sampled_from(["two_pools", "unknown_token"]),
    field=st.sampled_from(["depths", "volatilities", "tokens", "trials"]),
    age=st.tuples(st.integers(0, 50), st.integers(0, 10_000_000)),
    more=st.tuples(st.integers(0, 50), st.integers(0, 10_000_000)),
)
def test_older_evidence_never_makes_more_confident(
    cases: dict[str, Any], name: str, field: str, age: tuple[int, int], more: tuple[int, int]
) -> None:
    def aged(blocks: int, ms: int) -> Any:
        items = getattr(cases[name].evidence, field).items()
        return cases[name].but(**{field: {key: Seen(s.value, s.block - blocks, s.at_ms - ms) for key, s in items}})

    younger, older = aged(*age).assess(), aged(age[0] + more[0], age[1] + more[1]).assess()
    assert older.confidence_bps <= younger.confidence_bps
    assert older.approved <= younger.approved
    assert set(older.checks) <= set(younger.checks)


@shared
@given(days=st.integers(0, 1_000), more=st.integers(0, 1_000))
def test_an_older_sanctions_list_never_makes_more_confident(case: Any, days: int, more: int) -> None:
    younger, older = (
        case.but(as_of_ms=case.evidence.as_of_ms + age * 86_400_000, **_dated(case, age)).assess()
        for age in (days, days + more)
    )
    assert older.confidence_bps <= younger.confidence_bps
    assert older.risk_score >= younger.risk_score
    assert older.approved <= younger.approved


def _dated(case: Any, days: int) -> dict[str, Any]:
    """All evidence of that many days later, except the list."""
    fields = ("depths", "volatilities", "tokens")
    moved: dict[str, Any] = {
        field: {
            key: Seen(seen.value, seen.block, seen.at_ms + days * 86_400_000)
            for key, seen in getattr(case.evidence, field).items()
        }
        for field in fields
    }
    impact = case.evidence.impact
    return moved | {"impact": Seen(impact.value, impact.block, impact.at_ms + days * 86_400_000)}
