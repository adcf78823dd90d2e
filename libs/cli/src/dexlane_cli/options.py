"""What most commands are told in the same words: where dexlane lives, and on which ports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dexlane_cli.stack import Ports, StackOptions, devnet_chains, given_nodes

Home = Annotated[Path, typer.Option(envvar="DXL_HOME", help="Folder for books, journals, streams and logs.")]
Shift = Annotated[int, typer.Option("--port-shift", help="Added to every port, to run beside another stack.")]
DEFAULT_HOME = Path(".dexlane")
console = Console(soft_wrap=True)


def options_for(home: Path, shift: int = 0) -> StackOptions:
    """The stack that these two options mean, with the nodes or chains given in the environment."""
    nodes = given_nodes()
    return StackOptions(
        home=home.resolve(), ports=Ports(shift), rpc_ws_urls=nodes, chains=(1,) if nodes else devnet_chains()
    )
