"""``dexlane assess`` as a user calls it: many opportunities, one answer each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dexlane.chain.deployments import counterparties
from dexlane.domain.risk.evidence import Evidence, Impact, PoolDepth, Seen, TokenFacts, Volatility
from dexlane.domain.risk.factors import pools_of, tokens_of
from dexlane.testing.builders import NOW_MS, USDC, an_entry_opportunity
from dexlane_cli.assess import Line
from dexlane_cli.main import app


def a_line(name: object = "a", **changes: Any) -> dict[str, Any]:
    """An opportunity with everything that is needed, as JSON."""
    opportunity = an_entry_opportunity()
    tokens = {token: TokenFacts(address=token, code_hash="0x" + "1" * 64, decimals=6) for token in
              tokens_of(opportunity.route)}  # fmt: skip
    evidence = Evidence(
        as_of_ms=NOW_MS,
        held=True,
        quote_token=USDC.address,
        depths={pool: Seen(PoolDepth(10**12, 10**12), 100, NOW_MS) for pool in pools_of(opportunity.route)},
        volatilities={pool: Seen(Volatility(100, 500, 32), 100, NOW_MS) for pool in pools_of(opportunity.route)},
        impact=Seen(Impact(opportunity.expected_out, 5), 100, NOW_MS),
        tokens={token: Seen(facts, 100, NOW_MS) for token, facts in tokens.items()},
    )
    line = Line(id="x", block=100, opportunity=opportunity, evidence=evidence).model_dump(mode="json")
    return line | {"id": name} | changes


def run(*lines: object, options: tuple[str, ...] = ()) -> Result:
    given = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return CliRunner().invoke(app, ["assess", "--input", "-", *options], input=given)


def answers(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_line_is_judged_and_told_with_everything_a_verdict_says() -> None:
    result = run(a_line("a"), a_line(7))
    assert result.exit_code == 0
    first, second = answers(result)
    assert (first["id"], second["id"]) == ("a", 7)
    assert first | {"id": 7} == second, "the same evidence, the same answer"
    assert first["approved"] is True
    assert [factor["category"] for factor in first["factors"]] == [
        "liquidity", "volatility", "slippage", "contract", "regulatory",
    ]  # fmt: skip
    assert first["facts"]["thinnest_depth"] == str(10**12)
    assert first["refused_by"]["experimental"] == []


def test_lists_are_looked_up_where_the_line_has_none() -> None:
    [told] = answers(run(a_line()))
    assert "sanctions" in told["checks"]
    assert [ruling["jurisdiction"] for ruling in told["facts"]["rulings"]] == ["EU", "GB"]


@pytest.mark.parametrize("behind", ["owner", "implementation"])
def test_who_stands_behind_a_token_is_looked_up_too(behind: str, tmp_path: Path) -> None:
    listed, line = "0x" + "5" * 40, a_line()
    line["evidence"]["tokens"][USDC.address]["value"][behind] = listed
    file = tmp_path / "list"
    file.write_text(f"2026-06-25\n{listed}\n")
    [told] = answers(run(line, options=("--sanctions", str(file))))
    assert f"{listed} is on the sanctions list of 2026-06-25" in told["vetoes"]


def test_what_every_trade_calls_is_looked_up_too(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text(f"2026-06-25\n{min(counterparties(1))}\n")
    [told] = answers(run(a_line(), options=("--sanctions", str(file))))
    assert told["approved"] is False


def test_a_look_up_that_leaves_out_an_owner_is_none() -> None:
    line = a_line()
    pools_and_tokens = [*line["evidence"]["depths"], *line["evidence"]["tokens"]]
    line["evidence"]["sanctions"] = {
        "list_date": "2026-06-25", "on": "2026-06-25", "checked": pools_and_tokens, "hits": [],
    }  # fmt: skip
    assert answers(run(line))[0]["approved"] is True
    line["evidence"]["tokens"][USDC.address]["value"]["owner"] = "0x" + "5" * 40
    assert "sanctions cannot be checked: not every address was looked up" in answers(run(line))[0]["vetoes"]


def test_what_the_highest_level_asks_for_and_was_not_checked_is_said_as_planning_says_it() -> None:
    line = a_line()
    line["evidence"]["impact"] = None
    [told] = answers(run(line))
    sentence = "level 10 asks for what this verdict did not check: impact"
    assert all(sentence in reasons for reasons in told["refused_by"].values())


def test_missing_evidence_is_a_veto_for_every_profile() -> None:
    bare = a_line()
    bare["evidence"]["depths"] = {}
    [told] = answers(run(bare))
    assert told["approved"] is False
    assert any("depth" in veto for veto in told["vetoes"])
    assert all(told["refused_by"].values())


def test_a_thinner_pool_is_refused_by_careful_profiles_first() -> None:
    thin = a_line()
    for seen in thin["evidence"]["depths"].values():
        seen["value"] = {"side0": 60_000 * 10**6, "side1": 60_000 * 10**6}
    [told] = answers(run(thin))
    refused = [profile for profile, reasons in told["refused_by"].items() if reasons]
    assert "conservative" in refused
    assert "experimental" not in refused


def test_a_bad_line_is_named_by_its_number_and_loses_nothing_else() -> None:
    wrong = a_line()
    wrong["evidence"]["depth"] = {}
    result = run(a_line("a"), "no json", wrong, {}, a_line("b"))
    assert result.exit_code == 2
    assert [told["id"] for told in answers(result)] == ["a", "b"]
    complaints = result.stderr.splitlines()
    assert [line.split(":")[0] for line in complaints] == ["line 2", "line 3", "line 4"]
    assert "evidence.depth: Unexpected keyword argument" in complaints[1]
    assert complaints[2].endswith("and 1 more")


def test_what_the_line_says_about_lists_holds() -> None:
    told = a_line()
    token = USDC.address
    told["evidence"]["sanctions"] = {"list_date": "2026-06-25", "on": "2026-06-25", "checked": [], "hits": [token]}
    told["evidence"]["compliance"] = {
        "reviewed": "2026-06-25", "on": "2026-06-25", "checked": [], "flags": {}, "rulings": [], "unverified": [],
    }  # fmt: skip
    [answer] = answers(run(told))
    assert any(token in veto for veto in answer["vetoes"])
    assert answer["facts"]["rulings"] == []


def test_a_score_beyond_every_profile_is_told_for_each() -> None:
    restless = a_line()
    for seen in restless["evidence"]["volatilities"].values():
        seen["value"] = {"mean_move_pips": 10_000, "peak_move_pips": 50_000, "samples": 4}
    for seen in restless["evidence"]["depths"].values():
        seen["at_ms"] -= 29_000
    [answer] = answers(run(restless))
    assert "the risk score" in " ".join(answer["refused_by"]["conservative"])


@pytest.mark.parametrize("arguments", [("--input", "/nowhere/lines"), ("--sanctions", "/nowhere/list")])
def test_a_file_that_cannot_be_read_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    error = CliRunner().invoke(app, ["assess", *arguments], input="").exception
    assert getattr(error, "code", None) == 2
    assert "cannot be" in str(error)


def test_the_form_of_a_line_is_published() -> None:
    result = run(options=("--schema",))
    assert set(json.loads(result.stdout)["properties"]) == {"id", "block", "opportunity", "evidence", "limits"}
