"""``dexlane breakers`` and ``dexlane emergency-stop``: what holds trading back, and stopping everything."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table
from rich.text import Text

from dexlane_cli import gateway_client
from dexlane_cli.errors import EXIT_FAILED
from dexlane_cli.options import DEFAULT_HOME, Home, Shift, console, is_person, options_for
from dexlane_cli.stack import StackOptions

app = typer.Typer(help="List circuit breakers, and reset one with a reason.", invoke_without_command=True)

COLOURS = {"closed": "green", "half_open": "yellow", "open": "red"}
LOOK_EVERY_S = 1.0


@app.callback()
def list_breakers(
    context: typer.Context,
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False,
) -> None:
    """Show every breaker with its figures against their limits; those that hold something first."""
    if context.invoked_subcommand is not None:
        return
    rows = gateway_client.call(options_for(home, port_shift), "GET", "/breakers")
    if as_json:
        sys.stdout.write(orjson.dumps(rows).decode() + "\n")
    else:
        console.print(_table(rows))


@app.command("reset")
def reset(
    source: Annotated[str, typer.Argument(help="The breaker, as it is listed: breaker-losses.")],
    reason: Annotated[str, typer.Option("--reason", help="What was found and done; it is recorded.")],
    chain: Annotated[int | None, typer.Option("--chain", help="Only on this chain.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask a person at the terminal.")] = False,
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
) -> None:
    """Show a breaker and close it. Where what opened it still holds, such as a drawdown, it opens again at once. When
    it opened once more meanwhile, the command is refused and says why it did."""
    options = options_for(home, port_shift)
    rows = [row for row in gateway_client.call(options, "GET", "/breakers") if row["source"] == source]
    found = [row for row in rows if chain in {None, row["chain_id"]}]
    for row in found:
        console.print(f"to be reset: {source} on chain {row['chain_id']} is {row['phase']}: {row['reason']}")
    if any(row["phase"] != "closed" for row in found) and not yes and is_person():
        typer.confirm("reset this?", abort=True)
    seen = {row["chain_id"]: row["opened_at_ms"] or 0 for row in found}
    body = {"reason": reason, "chain_id": chain, "seen": seen}
    answer = gateway_client.call(options, "POST", f"/breakers/{source}/reset", body)
    for before in answer["before"]:
        console.print(f"reset {source} on chain {before['chain_id']}; it was {before['phase']}: {before['reason']}")
    console.print("`dexlane breakers` shows what it says now")


def stop_everything(options: StackOptions, body: dict[str, Any], *, wait: bool) -> None:
    """Press the button and show how far it is; ``Exit`` 1 when something is left at the end."""
    state = gateway_client.call(options, "POST", "/emergency-stop", body)
    shown = ""
    for one in state["unconfirmed"]:
        console.print(Text("NOT CONFIRMED", "bold red"), f"{one['what']}: {one['why']}", highlight=False)
    while wait and state["phase"] != "done":
        shown = _show_progress(state, shown)
        time.sleep(LOOK_EVERY_S)
        state = gateway_client.call(options, "GET", "/emergency-stop")
    _show_progress(state, shown)
    for one in state["left"]:
        console.print(Text("left", "red"), f"{one['what']}: {one['why']}", highlight=False)
    if state["left"] or state["unconfirmed"]:
        raise typer.Exit(EXIT_FAILED)


def _show_progress(state: dict[str, Any], before: str) -> str:
    words = {
        "closing": f"closing positions: {state['positions_left']} of {state['positions_at_start']} are left",
        "cancelling": f"halted; {state['transactions_open']} transactions are not settled yet",
        "done": f"done: {state['positions_left']} positions and {state['transactions_open']} transactions are left",
    }
    told = words[state["phase"]]
    if told != before:
        console.print(told)
    return told


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("chain")
    table.add_column("breaker", no_wrap=True)
    for heading in ("phase", "holds", "figures", "why", "next"):
        table.add_column(heading)
    for row in rows:
        colour = "red" if row["status"] != "active" else COLOURS[row["phase"]]
        what = row["venue"] or (f"{row['mode']} books" if row["mode"] else "all")
        figures = ", ".join(_figure(one) for one in row["readings"])
        asked = "" if row["status"] == "active" else f"{what}: {row['status']}"
        phase = Text(row["phase"], colour)
        table.add_row(str(row["chain_id"]), row["source"], phase, asked, figures, row["reason"], _next(row))
    return table


def _figure(reading: dict[str, Any]) -> str:
    value = "no data" if reading["value"] is None else reading["value"]
    return f"{reading['name']} {value} of {reading['limit']}"


def _next(row: dict[str, Any]) -> str:
    if row["phase"] == "half_open":
        return f"{row['probes']} probes a lane, round {row['round']}"
    if row["phase"] != "open":
        return ""
    if row["needs_operator"]:
        return "waits for an operator"
    return f"tries again at {datetime.fromtimestamp(row['next_probe_at_ms'] / 1000, UTC):%H:%M:%S} UTC"
