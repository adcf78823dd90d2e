"""The published levels, wherever they are repeated: the command, the document and the signer."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from dexlane.domain.levels import LEVELS, LevelLimits, position_shares
from dexlane_cli import books, gateway_client
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.level_files import contents
from dexlane_cli.main import app
from dexlane_signer import POSITION_BPS

ROOT = Path(__file__).parents[3]


def test_what_repeats_the_levels_says_what_the_code_says() -> None:
    for path, text in contents(ROOT).items():
        assert (ROOT / path).read_text() == text, f"{path} differs; run `make schemas`"


def test_the_signer_counts_by_the_published_shares() -> None:
    assert {str(level): dict(lanes) for level, lanes in POSITION_BPS.items()} == position_shares()


def test_programs_get_every_level_whole() -> None:
    done = CliRunner().invoke(app, ["levels", "--json"])
    assert [LevelLimits.model_validate(row) for row in orjson.loads(done.stdout)] == list(LEVELS.values())


def test_people_get_every_figure_within_eighty_columns() -> None:
    done = CliRunner().invoke(app, ["levels"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    table = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert [cell.strip() for cell in table[0].strip("│").split("│")][1:] == [
        str(row.max_risk_score) for row in LEVELS.values()
    ]
    assert "lanes: 1-2 fast; 3-10 fast, smart" in done.stdout
    assert "Nothing tunes yet" in done.stdout


def test_a_level_is_set_at_the_gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[object, ...]] = []

    def call(_options: object, *request: object) -> object:
        asked.append(request)
        return {"book": {"level": 3}, "book_version": 7}

    monkeypatch.setattr(gateway_client, "call", call)
    done = CliRunner().invoke(app, ["books", "level", "paper-main", "3", "--home", str(tmp_path)])
    assert done.stdout == "paper-main has level 3 (version 7)\n"
    assert asked == [("PUT", "/books/paper-main", {"level": 3})]


@pytest.mark.parametrize("level", [0, 11])
def test_a_level_that_is_not_published_is_a_usage_error(level: int, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"is not published; give the book one from 1 to 10") as caught:
        books.level("paper-main", level, tmp_path)
    assert caught.value.code == EXIT_USAGE
