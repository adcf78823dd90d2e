"""The list of commands: each is imported only when it is called for, and is what the list says."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dexlane_cli.commands import COMMANDS, loaded
from dexlane_cli.main import app

HEAVY = ("sqlalchemy", "nats", "httpx", "numpy", "dexlane_signer", "dexlane.events")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_is_there_under_its_name(name: str) -> None:
    command = loaded(name)
    assert command.get_short_help_str(limit=400), name
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert f"dexlane {name}" in shown.output


def test_the_list_shows_every_command_and_imports_none() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from dexlane_cli.main import app\n"
        "print(CliRunner().invoke(app, ['--help']).output)\n"
        f"print('IMPORTED', [name for name in {HEAVY} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "IMPORTED []" in shown.stdout
    assert all(name in shown.stdout for name in COMMANDS)


def test_a_misspelt_command_is_told_what_may_be_meant() -> None:
    shown = CliRunner().invoke(app, ["statsu"])
    assert shown.exit_code == 2
    assert "status" in shown.output
