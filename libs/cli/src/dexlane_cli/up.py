"""``dexlane up``: the fork server is started before anything else, and imports while this process does."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

import typer

from dexlane_cli.launching import ForkServer
from dexlane_cli.options import DEFAULT_HOME, Home, Shift, console
from dexlane_cli.stack import Ports, StackOptions, devnet_chains, given_nodes


def up_command(
    *,
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
    speed: Annotated[float, typer.Option(help="Speed of the recorded flow, 1 to 1000.", min=1, max=1000)] = 100,
    block_time: Annotated[float, typer.Option(help="Seconds between devnet blocks.", min=0.2, max=60)] = 1.0,
    flow: Annotated[bool, typer.Option(help="Replay the recorded flow; without it the chain is quiet.")] = True,
    chains: Annotated[str | None, typer.Option(envvar="CHAINS", help="1 is Ethereum, 1,8453 adds Base.")] = None,
    signer_process: Annotated[
        bool, typer.Option("--signer-process", envvar="DXL_SIGNER_PROCESS", help="Keys lie with a process of its own.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every line of every process.")] = False,
) -> None:
    """Start the bus, the cache, the devnet and all eight services, and show fills as they happen.

    With DEXLANE_RPC_WS_URLS='{"1": "wss://..."}' in the environment those chains are paper-traded instead of the
    devnet.
    """
    nodes = given_nodes(chains)
    options = StackOptions(
        home=home.resolve(),
        ports=Ports(port_shift),
        speed=speed,
        block_time_s=block_time,
        rpc_ws_urls=nodes,
        flow=flow,
        chains=(1,) if nodes else devnet_chains(chains),
        signer_process=signer_process,
    )
    console.print("dexlane starts ...", style="dim", highlight=False)
    with contextlib.ExitStack() as ending:
        server = None
        if ForkServer.is_possible():
            server = ForkServer()
            ending.callback(server.close)
        # Imported here: it takes more than a second, in which the fork server imports, too.
        from dexlane_cli.whole_system import up

        raise typer.Exit(asyncio.run(up(options, server, verbose=verbose, console=console)))
