"""``dexlane compliance check`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dexlane_cli.main import app

MIXER = "0x8589427373D6D84E98730D7795D8f6f8731FDA16"
USDT = "0xdAC17F958D2ee523a2206206994597C13D831ec7"
LISTED = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compliance", "check", *arguments])


def told(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]


def test_an_address_is_judged_by_the_given_day_in_any_letter_case() -> None:
    for written in (MIXER, MIXER.lower(), "0X" + MIXER[2:].upper()):
        assert run(written, "--date", "2025-03-20").exit_code == 1
        assert run(written, "--date", "2025-03-21").exit_code == 0
    [answer] = told(MIXER, "--date", "2025-03-21")
    assert answer["listed"][0]["until"] == "2025-03-21"


def test_one_sanctioned_address_of_many_is_enough() -> None:
    result = run(USDT, LISTED, "--date", "2026-11-26")
    assert result.exit_code == 1
    assert "SANCTIONED" in result.stdout
    assert [answer["sanctioned"] for answer in told(USDT, LISTED, "--date", "2026-11-26")] == [False, True]


def test_a_token_is_told_with_its_kind_and_who_refuses_it() -> None:
    [answer] = told(USDT, "--date", "2026-11-26")
    assert (answer["flags"], list(answer["refused_in"])) == (["stablecoin"], ["EU"])
    assert told(USDT, "--date", "2025-03-31")[0]["refused_in"] == {}
    assert told(USDT, "--chain", "8453", "--date", "2026-11-26")[0]["flags"] == []


def test_files_of_the_operator_are_used(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"2026-11-01\n{USDT}\n")
    (tmp_path / "rules").write_text("reviewed = 2026-11-01\nallowed_tokens = []\n")
    files = ("--sanctions", str(tmp_path / "list"), "--rules", str(tmp_path / "rules"))
    assert run(USDT, *files).exit_code == 1
    assert told(USDT, *files)[0]["may_be_traded"] is False


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("0x12",), "is no address"),
        ((USDT, "--sanctions", "/nowhere"), "the sanctions list /nowhere cannot be used"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error(arguments: tuple[str, ...], says: str) -> None:
    error = run(*arguments).exception
    assert says in str(error)
    assert getattr(error, "code", None) == 2
