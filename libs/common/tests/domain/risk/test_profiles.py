"""What books of each profile accept: ordered, closed where something is not known, and published as it is."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from dexlane.domain.risk.profiles import DAY_S, PROFILES, ProfileLimits, beyond_profile
from dexlane.domain.sizing import appetite
from dexlane.events.risk import NO_FACTS, VerdictFacts
from dexlane.testing.builders import WETH, a_book, a_verdict, risk_factors, verdict_facts
from dexlane.values.books import Mode, Profile

DOC = Path(__file__).parents[5] / "docs" / "RISK.md"
UNLISTED: dict[str, Any] = {
    "unlisted_tokens": 1,
    "buy_tax_bps": 0,
    "sell_tax_bps": 0,
    "transfer_tax_bps": 0,
    "token_age_s": 100 * 86_400,
    "lp_locked_bps": 10_000,
    "top_holder_bps": 100,
}
"""A token of an unknown issuer that every profile accepts."""
THRESHOLDS: dict[str, tuple[int, ...]] = {
    "thinnest_depth": tuple(limits.min_depth_usd * 10**6 for limits in PROFILES.values()),
    "price_impact_bps": tuple(limits.max_price_impact_bps for limits in PROFILES.values()),
    **dict.fromkeys(
        ("buy_tax_bps", "sell_tax_bps", "transfer_tax_bps"), tuple(limits.max_tax_bps for limits in PROFILES.values())
    ),
    "token_age_s": tuple(limits.min_token_age_s or DAY_S for limits in PROFILES.values()),
    "lp_locked_bps": tuple(limits.min_lp_locked_bps or 1 for limits in PROFILES.values()),
    "top_holder_bps": tuple(limits.max_top_holder_bps or 9_999 for limits in PROFILES.values()),
}
"""Of every measured quantity, profile by profile."""


@st.composite
def near_thresholds(draw: st.DrawFn) -> VerdictFacts:
    """What every profile accepts, but for up to three quantities that are at or beside a threshold, or not known."""
    worse = {}
    for name in draw(st.lists(st.sampled_from(list(THRESHOLDS)), max_size=3)):
        near = [figure + step for figure in THRESHOLDS[name] for step in (-1, 0, 1)]
        worse[name] = draw(st.sampled_from([*near, None]))
    return verdict_facts(**UNLISTED | worse)


def against(profile: Profile, facts: VerdictFacts, score: int = 20, mode: Mode = Mode.PAPER) -> list[str]:
    verdict = a_verdict(facts=facts, factors=risk_factors(score))
    return list(beyond_profile(verdict, a_book(profile=profile, mode=mode)))


@pytest.mark.parametrize("profile", Profile)
def test_a_deep_market_of_known_issuers_is_accepted_by_every_profile(profile: Profile) -> None:
    assert against(profile, verdict_facts()) == []
    assert against(profile, verdict_facts(**UNLISTED)) == []


@given(facts=near_thresholds(), score=st.sampled_from((20, 20, 20, 20, 60, 61, 75, 76, 90, 91)))
def test_what_a_careful_profile_accepts_a_bolder_one_accepts(facts: VerdictFacts, score: int) -> None:
    accepting = [profile for profile in Profile if not against(profile, facts, score)]
    event(f"accepted by {len(accepting)} of {len(Profile)} profiles")
    assert accepting == list(Profile)[len(Profile) - len(accepting) :]


@pytest.mark.parametrize(("careful", "bold"), list(pairwise(Profile)))
def test_every_threshold_is_ordered_and_neighbours_differ_in_most(careful: Profile, bold: Profile) -> None:
    strict, loose = PROFILES[careful], PROFILES[bold]
    differing = 0
    for field in fields(ProfileLimits):
        one, other = getattr(strict, field.name), getattr(loose, field.name)
        differing += one != other
        if field.name == "modes":
            assert one >= other
        elif other is not None:
            assert one is not None
            assert (one >= other) if field.name.startswith("min_") else (one <= other)
    assert differing >= 5


@pytest.mark.parametrize("fact", ["thinnest_depth", "depth_token", "price_impact_bps", "unlisted_tokens"])
@pytest.mark.parametrize("profile", Profile)
def test_what_is_not_known_about_the_market_is_refused(profile: Profile, fact: str) -> None:
    assert "not known" in against(profile, verdict_facts(**{fact: None}))[0]


@pytest.mark.parametrize("fact", sorted(set(UNLISTED) - {"unlisted_tokens"}))
def test_what_is_not_known_about_a_token_is_refused_where_there_is_a_threshold(fact: str) -> None:
    assert "not known" in against(Profile.CONSERVATIVE, verdict_facts(**UNLISTED | {fact: None}))[0]
    taxed = fact.endswith("tax_bps")
    assert bool(against(Profile.EXPERIMENTAL, verdict_facts(**UNLISTED | {fact: None}))) == taxed


@pytest.mark.parametrize(
    "worse",
    [
        {"thinnest_depth": 100_000 * 10**6 - 1},
        {"price_impact_bps": 51},
        {"buy_tax_bps": 201},
        {"sell_tax_bps": 201},
        {"transfer_tax_bps": 201},
        {"token_age_s": 30 * 86_400 - 1},
        {"lp_locked_bps": 8_999},
        {"top_holder_bps": 1_501},
    ],
)
def test_a_conservative_book_refuses_just_beyond_each_threshold(worse: dict[str, int]) -> None:
    [sentence] = against(Profile.CONSERVATIVE, verdict_facts(**UNLISTED | worse))
    assert sentence.endswith("a conservative book")
    (name, figure) = next(iter(worse.items()))
    just = figure + (1 if name in {"thinnest_depth", "token_age_s", "lp_locked_bps"} else -1)
    assert against(Profile.CONSERVATIVE, verdict_facts(**UNLISTED | {name: just})) == []


def test_thresholds_on_tokens_leave_known_issuers_alone() -> None:
    assert against(Profile.CONSERVATIVE, verdict_facts(top_holder_bps=9_000, unlisted_tokens=0)) == []


def test_one_bad_category_is_not_outweighed_by_four_good_ones() -> None:
    factors = (*risk_factors(0)[:3], *risk_factors(80)[3:4], *risk_factors(0)[4:])
    verdict = a_verdict(risk_score=20, factors=factors)
    [sentence] = beyond_profile(verdict, a_book(profile=Profile.MODERATE))
    assert sentence == "the contract risk of 80 is above 75, the most for a moderate book"
    assert list(beyond_profile(verdict, a_book(profile=Profile.AGGRESSIVE))) == []


def test_depth_in_a_token_that_is_no_dollar_says_nothing_about_dollars() -> None:
    assert against(Profile.AGGRESSIVE, verdict_facts(depth_token=WETH.address, thinnest_depth=10**30))


def test_an_experimental_book_is_refused_live() -> None:
    assert "paper alone" in against(Profile.EXPERIMENTAL, verdict_facts(), mode=Mode.LIVE)[0]
    assert against(Profile.AGGRESSIVE, verdict_facts(), mode=Mode.LIVE) == []


def test_a_verdict_of_before_there_were_facts_is_refused() -> None:
    assert all(against(profile, NO_FACTS) for profile in Profile)


def test_the_published_table_is_the_one_in_force() -> None:
    text = DOC.read_text()
    for row in published():
        assert row in text, f"docs/RISK.md should have the row:\n{row}"


def published() -> list[str]:
    """The table of docs/RISK.md, from the code."""

    def row(name: str, cells: list[str]) -> str:
        return f"| {name} | {' | '.join(cells)} |"

    def of(field: str, unit: str = "", per: int = 1) -> list[str]:
        values = [getattr(PROFILES[profile], field) for profile in Profile]
        return ["-" if value is None else f"{value // per:,}{unit}" for value in values]

    most = [appetite(profile, 10) for profile in Profile]
    return [
        row("", [profile.value for profile in Profile]),
        row("risk score at most", [str(accepted.max_risk_score) for accepted in most]),
        row("confidence at least", [f"{accepted.min_confidence_bps // 100} %" for accepted in most]),
        row("worst single category at most", of("max_category_score")),
        row("thinnest pool within 2 % at least", of("min_depth_usd", " USD")),
        row("price impact of the judged size at most", of("max_price_impact_bps", " bps")),
        row("each tax at most", of("max_tax_bps", " bps")),
        row("age of the token in days at least", of("min_token_age_s", "", DAY_S)),
        row("liquidity burned or locked at least", of("min_lp_locked_bps", " %", 100)),
        row("largest single holder at most", of("max_top_holder_bps", " %", 100)),
        row(
            "books",
            [", ".join(mode.value for mode in Mode if mode in PROFILES[profile].modes) for profile in Profile],
        ),
    ]
