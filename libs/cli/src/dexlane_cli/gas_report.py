"""``dexlane gas-report``: the fee policy replayed on recorded blocks, against named baselines and perfect foresight."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.fee_histories import read_history
from dexlane_cli.fee_plot import draw
from dexlane_cli.fee_report import METHOD, Reporter, work
from dexlane_cli.tape import bar

LONGEST_DEADLINE = 256
console = Console(soft_wrap=True)


class Inclusion(StrEnum):
    """Which percentile of a block's tips counts as what inclusion took."""

    P5 = "p5"
    P10 = "p10"
    P20 = "p20"


def gas_report_command(
    *,
    feehistory: Annotated[list[Path], typer.Option(help="A recorded fee history, Parquet or CSV; may be repeated.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="More of them.")] = None,
    deadline_blocks: Annotated[str, typer.Option(help="Deadlines in blocks.")] = "1,3,5,10,25,50",
    inclusion: Annotated[Inclusion, typer.Option(help="Tip percentile that counts as included.")] = Inclusion.P5,
    chain: Annotated[
        int | None, typer.Option(help="Chain id of the files; without it their names say the chain.", min=1)
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw it into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Replay the fee policy on recorded blocks, block by block and without a look ahead, beside named baselines.

    Columns: a block number, a base fee, and where known gas_used_ratio (or gas used and gas limit) and
    reward_pN_wei. Without tips only the timing is judged. docs/GAS.md says how it is computed.
    """
    deadlines = _deadlines(deadline_blocks)
    if plot is not None and not plot.parent.is_dir():
        raise CommandError(f"there is no folder {plot.parent} for the picture", EXIT_USAGE)
    histories = [read_history(path, chain) for path in (*feehistory, *(more or ()))]
    with bar("trades", sum(work(history, deadlines) for history in histories)) as advance:
        percentile = int(inclusion.removeprefix("p"))
        files = [Reporter.of(history, percentile, advance).report(deadlines) for history in histories]
    report = {"files": files, "inclusion": inclusion, "method": METHOD}
    if plot is not None:
        draw(report, plot)
    if as_json:
        sys.stdout.write(orjson.dumps(report).decode() + "\n")
        return
    for file in files:
        _show(file, inclusion)


def _deadlines(text: str) -> list[int]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise CommandError(f"{text!r} is no list of whole numbers such as 1,3,5", EXIT_USAGE) from error
    if found[0] < 1 or found[-1] > LONGEST_DEADLINE:
        raise CommandError(f"a deadline is 1 to {LONGEST_DEADLINE} blocks, not {text}", EXIT_USAGE)
    return found


def _show(file: dict[str, Any], inclusion: Inclusion) -> None:
    rule = f"inclusion at {inclusion}" if file["has_tips"] else "base fees alone: only the timing is judged"
    console.print(f"{file['file']}, {file['blocks']} blocks of chain {file['chain_id']}, {rule}")
    entries, main = file["deadlines"], file["deadlines"][0]["main_baseline"]
    table = _table("blocks", "pays", "limit", "saves %, interval", "of limit", "delay, p95", "missed")
    for entry in entries:
        policy = entry["policy"]
        table.add_row(
            str(entry["deadline"]),
            _number(policy["paid_gwei"]),
            _number(entry["foresight_paid_gwei"]),
            _saving(entry["baselines"][main]),
            _percent(entry["share_of_foresight_vs"][main]),
            f"{_decimal(policy['mean_delay'])}, {_number(policy['p95_delay'])}",
            f"{policy['missed']}/{entry['trades']}",
        )
    console.print(table)
    table = _table("blocks", "baseline", "pays", "we save % against it", "delay", "missed")
    for entry in entries:
        for name, found in entry["baselines"].items():
            table.add_row(
                str(entry["deadline"]),
                name,
                _number(found["paid_gwei"]),
                _saving(found),
                _decimal(found["mean_delay"]),
                str(found["missed"]),
            )
        table.add_section()
    console.print(table)
    _show_frontier(file)
    met = [str(entry["deadline"]) for entry in entries if entry["saves_23_1_percent"]]
    console.print(
        f"Prices in gwei per gas. 23.1 % against {main}, lower bound: met at {', '.join(met) or 'no deadline'}\n"
    )


def _show_frontier(file: dict[str, Any]) -> None:
    points = [point for entry in file["deadlines"] for point in entry.get("frontier", ())]
    if points:
        table = _table("one block, tip's chance", "missed", "saves", "of limit")
        for point in points:
            shares = (point["probability"], point["missed_share"], point["saving"], point["share_of_foresight"])
            table.add_row(*(_percent(share) for share in shares))
        console.print(table)


def _table(*headers: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for header in headers:
        table.add_column(header, no_wrap=True)
    return table


def _saving(found: dict[str, Any]) -> str:
    if found["saving"] is None:
        return "-"
    low, high = (100 * bound for bound in found["saving_ci95"])
    return f"{100 * found['saving']:.1f} ({low:.1f} to {high:.1f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
