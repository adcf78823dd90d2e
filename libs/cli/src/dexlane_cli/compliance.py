"""``dexlane compliance``: what the sanctions list and the compliance rules say about addresses on a day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from dexlane.domain.risk.compliance import ComplianceRules, check_tokens
from dexlane.domain.risk.sanctions import SanctionsList, day_of
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.compliance_files import load_rules, load_sanctions
from dexlane.runtime.errors import Misconfigured
from dexlane_cli.errors import EXIT_USAGE, CommandError

app = typer.Typer(help="Sanctions and rules of jurisdictions: what they say about addresses.", no_args_is_help=True)
console = Console(soft_wrap=True)
_ADDRESS = re.compile("0[xX][0-9a-fA-F]{40}")


@app.callback()
def _group() -> None:
    """Sanctions and rules of jurisdictions: what they say about addresses."""


@app.command("check")
def check_command(
    addresses: Annotated[list[str], typer.Argument(help="Tokens, pools, accounts: 0x and 40 hex digits each.")],
    on: Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="As of this day; today.")] = None,
    chain: Annotated[int, typer.Option(help="The chain that tokens are on.", min=1)] = 1,
    sanctions: Annotated[Path | None, typer.Option(help="Sanctions list; the built-in one.")] = None,
    rules: Annotated[Path | None, typer.Option(help="Compliance rules (TOML); the built-in ones.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Look addresses up as of a day.

    Exit code 0 when none is sanctioned, 1 when one is, 2 when a file or an address cannot be used. Whether a token is
    classified, and which jurisdictions refuse it, is told and does not change the exit code.
    """
    try:
        lists = load_sanctions(sanctions), load_rules(rules)
    except Misconfigured as error:
        raise CommandError(str(error), EXIT_USAGE) from error
    wrong = next((address for address in addresses if not _ADDRESS.fullmatch(address)), None)
    if wrong is not None:
        raise CommandError(f"{wrong!r} is no address; one has 0x and 40 hex digits", EXIT_USAGE)
    day = date.fromisoformat(day_of(SystemClock().now_ms())) if on is None else on.date()
    found = [answer(address.lower(), chain, day, lists) for address in addresses]
    for told in found:
        console.print(orjson.dumps(told).decode() if as_json else "\n".join(sentences(told)), highlight=False)
    if any(told["sanctioned"] for told in found):
        raise typer.Exit(1)


def answer(address: str, chain: int, day: date, lists: tuple[SanctionsList, ComplianceRules]) -> dict[str, Any]:
    """Everything that is known about one address on one day."""
    sanctions, rules = lists
    check = check_tokens(rules, chain, [address], day)
    return {
        "address": address,
        "date": day.isoformat(),
        "sanctioned": bool(sanctions.check([address], day.isoformat()).hits),
        "list_date": sanctions.date,
        "listed": [{"from": period.listed, "until": period.delisted} for period in sanctions.periods_of(address)],
        "rules_reviewed": check.reviewed,
        "flags": sorted(check.flags.get(address, ())),
        "refused_in": {ruling.jurisdiction: list(ruling.refused) for ruling in check.rulings if ruling.refused},
        "may_be_traded": not check.unverified,
    }


def sentences(told: dict[str, Any]) -> Iterator[str]:
    """The answer in words."""
    word = "SANCTIONED" if told["sanctioned"] else "not sanctioned"
    yield f"{told['address']} on {told['date']}: {word} (list of {told['list_date']})"
    for period in told["listed"]:
        yield f"  listed from {period['from'] or 'a day that is not known'} until {period['until'] or 'today'}"
    yield f"  as a token: {', '.join(told['flags']) or 'not classified'}"
    for jurisdiction, reasons in told["refused_in"].items():
        yield f"  refused in {jurisdiction}: {'; '.join(reasons)}"
    if not told["may_be_traded"]:
        yield "  not among the tokens that may be traded"
