"""``dexlane bytecode-risk`` and ``dexlane risk-report`` as a user calls them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from dexlane_cli.labelled_codes import read_labelled
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
