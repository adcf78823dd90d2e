"""What most commands are told in the same words: where dexlane lives, and on which ports."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from dexlane_cli.stack import Ports, StackOptions, devnet_chains, given_nodes

Home = Annotated[Path, typer.Option(envvar="DXL_HOME", help="Folder for books, journals, streams and logs.")]
Shift = Annotated[int, typer.Option("--port-shift", help="Added to every port, to run beside another stack.")]
DEFAULT_HOME = Path(".dexlane")


def plain(text: str) -> str:
    """The text without what commands a terminal or turns the direction of writing: symbols and reasons come from
    contracts and nodes of strangers."""
    return "".join("\ufffd" if unicodedata.category(one)[0] == "C" and one not in "\n\t" else one for one in text)


class PlainConsole(Console):
    """Shows strings as they are: a bracket in them is no markup, and would end the command where it closes nothing.
    What is coloured is a ``Text``."""

    def __init__(self, **given: Any) -> None:
        super().__init__(soft_wrap=True, markup=False, emoji=False, **given)

    def render_str(self, text: str, **given: Any) -> Text:
        """Every string of a line or of a cell comes through here."""
        return super().render_str(plain(text), **given)


console = PlainConsole()


def is_person() -> bool:
    """Whether somebody at a terminal can be asked."""
    return sys.stdin.isatty()


def options_for(home: Path, shift: int = 0) -> StackOptions:
    """The stack that these two options mean, with the nodes or chains given in the environment."""
    nodes = given_nodes()
    return StackOptions(
        home=home.resolve(), ports=Ports(shift), rpc_ws_urls=nodes, chains=(1,) if nodes else devnet_chains()
    )
