"""``dexlane halt``, ``resume`` and ``emergency-stop``: words that stop trading, and let it go on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from dexlane.events.control import Status
from dexlane_cli import breakers, gateway_client
from dexlane_cli.errors import EXIT_UNCONFIRMED, CommandError
from dexlane_cli.options import DEFAULT_HOME, Home, Shift, console, is_person, options_for
from dexlane_cli.stack import StackOptions
from dexlane_signer import HALT_FILE


def halt_command(
    reason: Annotated[str, typer.Argument(help="Why; it is recorded.")],
    everything: Annotated[bool, typer.Option("--all", help="HALTED: only cancels. Without it exits go on.")] = False,
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
) -> None:
    """Stop entries (REDUCING), or everything but cancels (HALTED) with --all. It holds until `dexlane resume`.
    Exit code 3 when a signer or the bus did not confirm it."""
    scope = Status.HALTED if everything else Status.REDUCING
    options = options_for(home, port_shift)
    try:
        answer = gateway_client.call(options, "POST", "/halt", {"scope": scope, "reason": reason})
    except CommandError:
        show_by_hand(options)
        raise
    for row in answer["chains"]:  # what holds may be stricter than what was asked for
        console.print(f"trading on chain {row['chain_id']} is {row['effective']}: {reason}")
    for path in answer["paths"]:
        if path["confirmed"]:
            console.print(f"confirmed by {path['path']}")
    missing = [path for path in answer["paths"] if not path["confirmed"]]
    for path in missing:
        console.print(Text("NOT CONFIRMED", "bold red"), f"by {path['path']}: {path['why']}", highlight=False)
    if missing:
        show_by_hand(options)
        raise typer.Exit(EXIT_UNCONFIRMED)


def show_by_hand(options: StackOptions) -> None:
    """What stops the signers of this stack though nobody answers."""
    files = " ".join(shlex.quote(str(record.with_name(HALT_FILE))) for record in options.signer_records())
    if files:
        console.print(f"signers of this stack halt, exits too, by: touch {files}", highlight=False)


def resume_command(
    reason: Annotated[str, typer.Argument(help="Why it is safe to go on; it is recorded.")],
    source: Annotated[
        str, typer.Option(help="Whose word to release: operator, gas, or the service that stopped.")
    ] = "operator",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask a person at the terminal.")] = False,
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
) -> None:
    """Show the operator's halt, or with --source that of the gas oracle or of a service, and release it. What is said
    meanwhile is not released: then the command is refused and says what holds."""
    options = options_for(home, port_shift)
    words = {row["chain_id"]: word for row, word in _words(gateway_client.call(options, "GET", "/status"), source)}
    held = {chain: word for chain, word in words.items() if word["status"] != Status.ACTIVE}
    for chain, word in held.items():
        console.print(f"to be released: {source} on chain {chain} says {word['status']}: {word['reason']}")
    if held and not yes and is_person():
        typer.confirm("release this?", abort=True)
    body = {"reason": reason, "source": source, "seen": {chain: word["version"] for chain, word in words.items()}}
    rows = gateway_client.call(options, "POST", "/resume", body)
    console.print(f"the halt of {source} is released")
    for row in rows:
        for word in row["sources"]:
            if word["status"] != Status.ACTIVE:
                still = f"trading on chain {row['chain_id']} is still {word['status']} by {word['source']}"
                console.print(f"{still}: {word['reason']}")
    if options.signer.exists():
        console.print("the signer's process holds halts by itself: `dexlane signer resume` lets go of them")


def _words(rows: list[dict[str, Any]], source: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    return ((row, word) for row in rows for word in row["sources"] if word["source"] == source)


def emergency_stop_command(
    *,
    close_positions: Annotated[bool, typer.Option("--close-positions", help="Sell all that is held first.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")] = "no reason was given",
    exits_within: Annotated[int, typer.Option(help="Seconds for the exits; then all is halted.", min=5)] = 300,
    wait: Annotated[bool, typer.Option(help="Show how far it is until it is done.")] = True,
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
) -> None:
    """Stop everything on all chains: no entries, open transactions are cancelled, and with --close-positions everything
    held is sold before. It goes on without this command. Exit code 1 when something is left at the end."""
    body = {"reason": reason, "close_positions": close_positions, "exits_within_s": exits_within}
    breakers.stop_everything(options_for(home, port_shift), body, wait=wait)
