"""``dexlane bytecode-risk`` and ``dexlane risk-report`` as a user calls them."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from dexlane.domain.risk.bytecode.exploration import Budget, explore
from dexlane.domain.risk.bytecode.expressions import Expression, place_of, read_by
from dexlane.domain.risk.bytecode.flags import CodeFlag
from dexlane.domain.risk.bytecode.instructions import program_of, without_metadata
from dexlane.domain.risk.bytecode.roles import TRANSFERS, roles_of
from dexlane.domain.risk.bytecode.verdict import judge_code
from dexlane_cli.labelled_codes import LabelledCode, read_labelled
from dexlane_cli.main import app

GOLDEN = Path(__file__).parents[2] / "common/tests/golden/token_codes/codes.json.gz"
CODES = json.loads(gzip.decompress(GOLDEN.read_bytes()))["optimized"]


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=given)


def lines_of(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def asked(*pairs: tuple[object, object]) -> str:
    return "".join(json.dumps({"id": name, "bytecode": code}) + "\n" for name, code in pairs)


def test_each_line_is_answered_with_id_score_and_flags_in_order() -> None:
    result = run("bytecode-risk", "--input", "-", given=asked(("a", "0x" + CODES["Plain"]), (7, CODES["OwnerMint"])))
    assert result.exit_code == 0
    assert lines_of(result) == [
        {"id": "a", "score": 0, "flags": []},
        {"id": 7, "score": 40, "flags": ["hidden_mint"]},
    ]


def test_reasons_are_told_on_request(tmp_path: Path) -> None:
    file = tmp_path / "codes.jsonl"
    file.write_text(asked(("x", CODES["Switch"])))
    (told,) = lines_of(run("bytecode-risk", "--input", str(file), "--explain"))
    assert told["complete"] is True
    assert told["notes"] == []
    assert {reason["flag"] for reason in told["reasons"]} == set(told["flags"]) == {"pausable", "sell_limit"}


def test_a_bad_line_is_named_by_its_number_and_loses_nothing_else() -> None:
    given = "﻿" + asked(("a", CODES["Plain"])) + "no json\n\n[1]\n" + asked((None, "0x"), ("b", CODES["Fee"]))
    result = run("bytecode-risk", "--input", "-", given=given)
    assert result.exit_code == 2
    assert [line["id"] for line in lines_of(result)] == ["a", "b"]
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["line 2", "line 4", "line 5"]


@pytest.mark.parametrize("code", ["0xzz", "0x123", None, 5])
def test_a_named_line_with_a_bad_code_is_answered_with_the_worst_score(code: object) -> None:
    result = run("bytecode-risk", "--input", "-", given=asked(("bad", code)))
    assert lines_of(result) == [{"id": "bad", "score": 100, "flags": []}]
    assert result.exit_code == 2
    assert result.stderr.startswith("line 1: bytecode")


def test_empty_code_is_no_fault_of_the_line() -> None:
    result = run("bytecode-risk", "--input", "-", given=asked(("none", "0x")))
    assert lines_of(result) == [{"id": "none", "score": 100, "flags": []}]
    assert result.exit_code == 0


def test_a_missing_file_is_a_usage_error() -> None:
    result = run("bytecode-risk", "--input", "/nowhere/codes.jsonl")
    assert result.exception is not None
    assert getattr(result.exception, "code", None) == 2


def own_labels(folder: Path) -> Path:
    file = folder / "own.jsonl"
    rows = [
        {"id": "mint", "bytecode": CODES["OwnerMint"], "labels": {"hidden_mint": True, "sell_limit": False}},
        {"id": "plain", "bytecode": CODES["Plain"], "labels": {"hidden_mint": False, "sell_limit": False}},
        {"id": "odd", "bytecode": CODES["Blacklist"], "labels": {"hidden_mint": True, "sell_limit": False}},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_the_report_counts_hits_misses_and_false_alarms(tmp_path: Path) -> None:
    result = run("risk-report", "--labelled", str(own_labels(tmp_path)), "--json", "--plot")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    counted = {name: [0, 0, 0, 0] for name in ("hidden_mint", "sell_limit")}
    for line in told["categories"]:
        for place, what in enumerate(("detected", "missed", "false_alarms", "passed")):
            counted[line["category"]][place] += line[what]
        assert (line["recall"]["bps"] is None) == (line["detected"] + line["missed"] == 0)
    assert counted == {"hidden_mint": [1, 1, 0, 1], "sell_limit": [0, 0, 1, 2]}
    assert sum(each["labelled"] for half in told["reliability"].values() for each in half) == 3
    assert told["ms"]["p50"] > 0
    assert "labelled bad by score" in result.stderr


def test_the_report_for_people_shows_counts_and_intervals(tmp_path: Path) -> None:
    result = run("risk-report", "--labelled", str(own_labels(tmp_path)))
    assert result.exit_code == 0
    assert "3 codes, none dropped" in result.stdout


def parquet(folder: Path, **columns: list[Any]) -> Path:
    pq.write_table(pa.table(columns), folder / "labels.parquet")
    return folder / "labels.parquet"


def test_expert_labels_are_read_and_rows_without_code_are_counted(tmp_path: Path) -> None:
    file = parquet(
        tmp_path, address=["a", "b"], bytecode_hex=[CODES["OwnerMint"], None], mint=[1, 1], leak=[0, 0], limit=[0, 1]
    )
    found = read_labelled(file)
    assert [(code.name, code.bad) for code in found.codes] == [("a", True)]
    assert found.dropped == {"no bytecode": 1}


def test_a_token_called_healthy_and_bad_is_dropped(tmp_path: Path) -> None:
    file = parquet(
        tmp_path,
        address=["good", "both", "frozen", "unlabelled"],
        bytecode_hex=[CODES["Plain"]] * 4,
        manual_mint=[None, "Yes", None, None],
        manual_leak=[None, None, "No", None],
        manual_limit=pa.array([None] * 4, pa.string()),
        rugpull_incident_root_cause=[None, None, "FreezeAccount", None],
        in_curated_token_list=[True, True, False, False],
        mazorra_label=[None, 1, None, 0],
    )
    found = read_labelled(file)
    assert [(code.name, code.bad) for code in found.codes] == [("good", False), ("frozen", True), ("unlabelled", None)]
    assert found.dropped == {"called healthy and bad": 1}
    assert set(found.codes[1].labels["incident"]) == {"sell_limit", "blacklist"}


def test_columns_of_another_kind_are_a_usage_error(tmp_path: Path) -> None:
    result = run("risk-report", "--labelled", str(parquet(tmp_path, price=[1])))
    assert getattr(result.exception, "code", None) == 2


EXPERTS = "contracts_ground_truth_mint_leak_limit.parquet"
WITHOUT_LIMIT = "0x9db8a10c7fe60d84397860b3af2e686d4f90c2b7"
"""Labelled as limiting sales. Its source holds a token and the farm that mints it; the code is the token's alone."""


@pytest.fixture(scope="module")
def experts() -> list[LabelledCode]:
    file = Path(os.environ.get("DEXLANE_DATA", "")) / "risk" / EXPERTS
    if not file.is_file():
        pytest.skip("DEXLANE_DATA names no folder with the labelled contracts")
    return read_labelled(file).codes


@pytest.mark.recorded
def test_of_the_experts_sell_limits_one_alone_is_not_found(experts: list[LabelledCode]) -> None:
    limited = [each for each in experts if each.labels["expert"][CodeFlag.SELL_LIMIT]]
    missed = [each.name for each in limited if CodeFlag.SELL_LIMIT not in judge_code(each.code).flags]
    assert (len(limited), missed) == (17, [WITHOUT_LIMIT])


@pytest.mark.recorded
def test_the_code_of_that_one_asks_nothing_but_balances_and_allowances(experts: list[LabelledCode]) -> None:
    """Both transfers were walked to the end on every way; they call nobody and store nothing else."""
    (code,) = (each.code for each in experts if each.name == WITHOUT_LIMIT)
    contract = explore(program_of(without_metadata(code)), Budget())
    roles = roles_of(contract)
    for nodes in (contract.functions[selector].nodes for selector in TRANSFERS):
        assert not any(node.passage.calls or node.passage.end in ("lost", "selfdestruct") for node in nodes)
        assert all(None not in node.successors for node in nodes)
        conditions = [node.passage.condition for node in nodes if isinstance(node.passage.condition, Expression)]
        leaves = frozenset().union(*(condition.leaves for condition in conditions))
        assert {leaf.name for leaf in leaves} == {"arg", "caller", "calldatasize", "sload"}
        assert {read[1] for leaf in leaves if (read := read_by(leaf)) is not None} <= roles.balances | roles.allowances
        written = {place_of(store.key) for node in nodes for store in node.passage.stores}
        assert written <= roles.balances | roles.allowances
