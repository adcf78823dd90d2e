"""``dexlane confirmations``: trades that wait for a person."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from dexlane.values.amounts import decimal_text
from dexlane_cli import gateway_client
from dexlane_cli.options import DEFAULT_HOME, Home, Shift, console, options_for
from dexlane_cli.stack import StackOptions

app = typer.Typer(help="List trades that wait for a person, and confirm or decline one.", invoke_without_command=True)

Request = Annotated[str, typer.Argument(help="The id of the request, as it is listed.")]
Why = Annotated[str, typer.Option("--reason", help="It is recorded.")]


@app.callback()
def list_confirmations(
    context: typer.Context,
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
    everything: Annotated[bool, typer.Option("--all", help="Also what was answered or expired.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False,
) -> None:
    """Show what waits, the nearest deadline first."""
    if context.invoked_subcommand is not None:
        return
    path = "/confirmations?all=true" if everything else "/confirmations"
    rows = gateway_client.call(options_for(home, port_shift), "GET", path)
    if as_json:
        sys.stdout.write(orjson.dumps(rows).decode() + "\n")
    elif rows:
        console.print(_table(rows))
    else:
        console.print("nothing waits for a confirmation")


@app.command("confirm")
def confirm(request: Request, reason: Why, home: Home = DEFAULT_HOME, port_shift: Shift = 0) -> None:
    """Let a trade be made. It is planned again on the state of now, and never for more than what is shown here."""
    _answer(options_for(home, port_shift), request, "confirm", reason)


@app.command("decline")
def decline(request: Request, reason: Why, home: Home = DEFAULT_HOME, port_shift: Shift = 0) -> None:
    """Have a trade not made."""
    _answer(options_for(home, port_shift), request, "decline", reason)


def _answer(options: StackOptions, request: str, word: str, reason: str) -> None:
    answer = gateway_client.call(options, "POST", f"/confirmations/{request}/{word}", {"reason": reason})
    console.print(f"{answer['state']}: {_trade(answer['request'])}")


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table()
    table.add_column("id", no_wrap=True)
    for heading in ("state", "book", "trade", "until block", "why"):
        table.add_column(heading)
    for row in rows:
        request = row["request"]
        why = row["reason"] or "; ".join(request["reasons"])
        cells = (row["state"], request["book_id"], _trade(request), str(request["deadline_block"]), why)
        table.add_row(request["id"], *cells)
    return table


def _trade(request: dict[str, Any]) -> str:
    plan, quote = request["plan"], request["quote"]
    legs = plan["route"]["legs"]
    paid = decimal_text(int(plan["amount_in"]), quote["decimals"])
    return f"{request['mode']} {paid} {quote['symbol']} for {legs[-1]['token_out']} in {len(legs)} pools"
