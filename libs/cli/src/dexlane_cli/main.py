"""The ``dexlane`` command."""

from __future__ import annotations

import sys

import typer

from dexlane.runtime.errors import DexlaneError
from dexlane_cli.commands import Commands
from dexlane_cli.errors import EXIT_FAILED, CommandError

app = typer.Typer(name="dexlane", cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def dexlane() -> None:
    """dexlane: dual-lane DEX auto-trading. `dexlane up` starts everything on this machine."""


def main() -> None:
    """Run a command; a known fault is one sentence on standard error and an exit code."""
    try:
        app()
    except CommandError as error:
        sys.stderr.write(f"dexlane: {error}\n")
        sys.exit(error.code)
    except DexlaneError as error:
        sys.stderr.write(f"dexlane: {error}\n")
        sys.exit(EXIT_FAILED)
