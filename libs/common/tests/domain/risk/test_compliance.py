"""Sanctions and rules are data by date: who was listed when, what is forbidden where, and who alone may trade."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dexlane.domain.risk.compliance import AssetFlag, ComplianceRules, check_tokens, forbidden
from dexlane.domain.risk.factors import regulatory
from dexlane.domain.risk.sanctions import Period, SanctionsList, day_of
from dexlane.runtime.compliance_files import built_in_rules, built_in_sanctions, load_rules, load_sanctions
from dexlane.runtime.errors import Misconfigured

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
USDT = "0xdac17f958d2ee523a2206206994597c13d831ec7"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
MIXER = "0x8589427373d6d84e98730d7795d8f6f8731fda16"
"""A contract of Tornado Cash: listed in 2022, removed on 2025-03-21."""
UNKNOWN = "0x" + "7" * 40
TODAY = date(2026, 11, 26)
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)

# ``Any`` stands for the Case of conftest.py, which test modules cannot import in importlib mode.


def a_list(*lines: str) -> SanctionsList:
    return SanctionsList.parse("\n".join(("2026-11-01", *lines)))


# ---------------------------------------------------------------- sanctions


def test_an_address_is_judged_by_the_day_of_the_decision() -> None:
    listed = a_list(f"{UNKNOWN} 2022-08-08 2025-03-21")
    hits = {day: bool(listed.check([UNKNOWN], day).hits) for day in ("2022-08-07", "2022-08-08", "2025-03-20")}
    assert hits == {"2022-08-07": False, "2022-08-08": True, "2025-03-20": True}
    assert not listed.check([UNKNOWN], "2025-03-21").hits


def test_an_address_may_be_listed_again() -> None:
    listed = a_list(f"{UNKNOWN} 2020-01-01 2021-01-01", f"{UNKNOWN} 2023-01-01")
    assert [bool(listed.check([UNKNOWN], f"{year}-06-01").hits) for year in (2019, 2020, 2022, 2024)] == [
        False, True, False, True,
    ]  # fmt: skip


def test_a_day_that_is_not_known_counts_as_listed() -> None:
    listed = a_list(UNKNOWN, f"{USDC} - 2025-03-21", f"{WETH} 2020-01-01 -")
    assert listed.check([UNKNOWN, USDC], "1999-01-01").hits == {UNKNOWN, USDC}
    assert listed.check([WETH], "2030-01-01").hits == {WETH}


@given(st.text(alphabet="0123456789abcdefABCDEF", min_size=40, max_size=40), st.booleans())
def test_letter_case_never_matters(digits: str, big_x: bool) -> None:
    written = ("0X" if big_x else "0x") + digits
    listed = a_list(written, f"{UNKNOWN} 2022-01-01 2023-01-01")
    for asked in (written, written.lower(), written.upper().replace("0X", "0x")):
        assert listed.check([asked], "2026-01-01").hits == {written.lower()}
        assert listed.periods_of(asked) == (Period(),)


@given(
    start=st.dates(date(2000, 1, 1), date(2030, 1, 1)),
    length=st.integers(1, 4_000),
    on=st.dates(date(1999, 1, 1), date(2045, 1, 1)),
)
def test_a_listing_holds_from_its_first_day_to_the_day_before_its_end(start: date, length: int, on: date) -> None:
    end = start + timedelta(days=length)
    listed = a_list(f"{UNKNOWN} {start} {end}")
    assert bool(listed.check([UNKNOWN], on.isoformat()).hits) == (start <= on < end)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("2026-11-01", "names no address"),
        ("2026-11-01\n0x12", "line 2 is no address"),
        (f"{USDC}\n{UNKNOWN}", "line 1 has no day"),
        (f"2026-11-01\n{USDC} 2026-13-01", "line 2 has no day like 2026-06-25 where one belongs: '2026-13-01'"),
        (f"2026-11-01\n\n{USDC} 2026-01-02 2026-01-01", "line 3 says that the address was delisted before"),
        (f"2026-11-01\n{USDC} 2026-01-01 - x", "line 2 is no address with at most two days"),
    ],
)
def test_a_sanctions_list_is_read_whole_or_not_at_all(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SanctionsList.parse(text)


def test_comments_and_empty_lines_say_nothing() -> None:
    text = f"# ours\n2026-11-01  # taken by the operator\n\n{USDC.upper().replace('0X', '0x')}\n{UNKNOWN} # bad\n"
    assert SanctionsList.parse(text) == SanctionsList("2026-11-01", frozenset({USDC, UNKNOWN}))


def test_the_built_in_list_knows_who_is_listed_and_who_was() -> None:
    built_in = built_in_sanctions()
    assert (built_in.date, len(built_in.addresses), len(built_in.periods)) == ("2026-06-25", 97, 92)
    assert built_in.check([MIXER], "2025-03-20").hits == {MIXER}
    assert not built_in.check([MIXER], "2025-03-21").hits
    assert not built_in.check(built_in.periods, built_in.date).hits, "nobody delisted is listed"


# ---------------------------------------------------------------- kinds of assets and jurisdictions


def test_a_rule_holds_from_its_day_and_an_exemption_from_its_own() -> None:
    def refused(token: str, day: str) -> bool:
        check = check_tokens(built_in_rules(), 1, [WETH, token], date.fromisoformat(day))
        return bool(forbidden(check.rulings, "EU"))

    assert [refused(USDT, day) for day in ("2025-03-31", "2025-04-01", "2026-11-26")] == [False, True, True]
    assert [refused(USDC, day) for day in ("2025-03-31", "2025-04-01", "2026-11-26")] == [False, False, False]


def test_a_token_that_nobody_classified_is_refused_in_every_jurisdiction() -> None:
    check = check_tokens(built_in_rules(), 1, [WETH, UNKNOWN], TODAY)
    assert forbidden(check.rulings, "EU") == forbidden(check.rulings, "GB") == (f"nobody classified token {UNKNOWN}",)


def test_a_token_is_classified_on_its_own_chain_alone() -> None:
    assert check_tokens(built_in_rules(), 8453, [USDC], TODAY).flags == {}


def test_a_jurisdiction_without_an_answer_refuses() -> None:
    check = check_tokens(built_in_rules(), 1, [WETH], TODAY)
    assert forbidden(check.rulings, "EU") == ()
    assert "was not judged" in forbidden(check.rulings, "US")[0]
    assert "was not judged" in forbidden((), "EU")[0]


def test_where_only_listed_tokens_may_be_traded_others_are_vetoed(case: Any) -> None:
    rules = ComplianceRules.parse(
        f'reviewed = 2026-06-25\nallowed_tokens = [{{ chain_id = 1, address = "{WETH.upper().replace("0X", "0x")}" }}]'
    )
    check = check_tokens(rules, 1, [USDC, WETH], TODAY)
    assert check.unverified == (USDC,)
    vetoes = case.but(compliance=check).assess().vetoes
    assert vetoes == (f"token {USDC} is not among those that may be traded",)


def test_a_verified_account_may_trade_in_its_time_and_others_may_not() -> None:
    rules = ComplianceRules.parse(
        "reviewed = 2026-06-25\n"
        f'allowed_accounts = [{{ address = "{UNKNOWN}", since = 2026-01-01, until = 2027-01-01, note = "file 17" }}]'
    )
    assert [rules.account_allowed(UNKNOWN.upper(), date(year, 6, 1)) for year in (2025, 2026, 2027)] == [
        False, True, False,
    ]  # fmt: skip
    assert not rules.account_allowed(USDC, TODAY)
    assert built_in_rules().account_allowed(USDC, TODAY), "without a list everybody may"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "reviewed: Field required"),
        ("reviewed = yesterday", "Invalid value"),
        ("reviewed = 2026-01-01\nassets = [{ chain_id = 1 }]", "assets.0.address: Field required"),
        ('reviewed = 2026-01-01\njurisdictions = ["Europe"]', "jurisdictions.0: String should match"),
        ("reviewed = 2026-01-01\nrulez = []", "rulez: Extra inputs are not permitted"),
        (
            (
                "reviewed = 2026-01-01\n"
                'rules = [{ jurisdiction = "US", flags = ["security"], reason = "r", source = "s" }]'
            ),
            "a rule is of US, which jurisdictions does not name",
        ),
        (
            (
                f'reviewed = 2026-01-01\nassets = [{{ chain_id = 1, address = "{USDC}", symbol = "U", '
                'flags = ["stable"], source = "s" }]'
            ),
            "assets.0.flags.0: Input should be 'plain', 'stablecoin'",
        ),
        (
            (
                f'reviewed = 2026-01-01\nallowed_accounts = [{{ address = "{USDC}", since = 2026-01-02, '
                "until = 2026-01-01 }]"
            ),
            "until lies after since",
        ),
    ],
)
def test_a_bad_compliance_file_says_what_is_wrong_where(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ComplianceRules.parse(text)


def test_a_file_of_the_operator_takes_the_place_of_the_built_in_one(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"2026-11-01\n{USDC}\n")
    (tmp_path / "rules.toml").write_text("reviewed = 2026-11-01\n")
    assert load_sanctions(tmp_path / "list.txt").addresses == {USDC}
    assert load_rules(tmp_path / "rules.toml").assets == ()
    assert load_sanctions(None) is built_in_sanctions()
    assert load_rules(None) is built_in_rules()
    with pytest.raises(Misconfigured, match=r"the compliance file .*list.txt cannot be used"):
        load_rules(tmp_path / "list.txt")
    with pytest.raises(Misconfigured, match=r"the sanctions list .*nothing cannot be used"):
        load_sanctions(tmp_path / "nothing")


# ---------------------------------------------------------------- the category and the verdict


def test_the_verdict_tells_what_every_jurisdiction_says(case: Any) -> None:
    [ruling] = case.assess().facts.rulings
    assert (ruling.jurisdiction, ruling.refused) == ("EU", ())


def test_rules_that_nobody_reviewed_for_long_are_no_answer(case: Any) -> None:
    old = built_in_rules().model_copy(update={"reviewed": date(2020, 1, 1)})
    assessment = case.but(compliance=check_tokens(old, 1, [USDC, WETH], TODAY)).assess()
    assert assessment.facts.rulings == ()
    assert assessment.factors[-1].score == 100


def test_rules_that_were_asked_for_another_token_are_no_answer(cases: dict[str, Any]) -> None:
    other = cases["unknown_token"].but(compliance=cases["single"].evidence.compliance)
    assert other.assess().facts.rulings == ()
    assert "not every token was looked up" in other.assess().vetoes[0]
    assert not other.but(compliance=None).assess().approved


@shared
@given(flags=st.sets(st.sampled_from(AssetFlag), min_size=1), more=st.sampled_from(AssetFlag))
def test_one_more_flag_or_refusal_never_lowers_the_regulatory_score(
    case_factory: Any, flags: set[AssetFlag], more: AssetFlag
) -> None:
    def score(found: set[AssetFlag], jurisdictions: tuple[str, ...]) -> int:
        case = case_factory()
        rules = ComplianceRules.model_validate(
            {
                "reviewed": "2026-06-25",
                "jurisdictions": jurisdictions,
                "assets": [
                    {"chain_id": 1, "address": token, "symbol": "T", "flags": sorted(found), "source": "a test"}
                    for token in (USDC, WETH)
                ],
                "rules": [
                    {"jurisdiction": each, "flags": ["security"], "reason": "no", "source": "a test"}
                    for each in jurisdictions
                ],
            }
        )
        case = case.but(compliance=check_tokens(rules, 1, [USDC, WETH], TODAY))
        return regulatory(case.opportunity, case.evidence, case.limits).score

    assert score(flags | {more}, ("EU",)) >= score(flags, ("EU",))
    assert score(flags, ("EU", "GB")) >= score(flags, ("EU",))


def test_what_is_not_classified_scores_above_what_is_plain(cases: dict[str, Any]) -> None:
    case = cases["single"]
    bare = case.but(compliance=check_tokens(ComplianceRules(reviewed=date(2026, 6, 25)), 1, [USDC, WETH], TODAY))
    scores = [regulatory(each.opportunity, each.evidence, each.limits).score for each in (case, bare)]
    assert scores[0] < scores[1]


def test_a_moment_is_a_day_of_utc() -> None:
    assert day_of(0) == "1970-01-01"
    assert day_of(1_782_431_999_999) == "2026-06-25"
    assert day_of(1_782_432_000_000) == "2026-06-26"
