"""``dexlane risk-report``: how often the verdicts on code are right, on contracts that others labelled."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import orjson
import typer
from rich.console import Console
from rich.table import Table

from dexlane.domain.risk.bytecode.flags import CodeFlag
from dexlane.domain.risk.bytecode.verdict import CodeVerdict, judge_code
from dexlane.domain.risk.calibration import Bin, Share, Tally, reliability, tally
from dexlane_cli.labelled_codes import HELD_OUT, TUNED, LabelledCode, LabelledFile, read_labelled

HALVES = (TUNED, HELD_OUT)
_PLOT_WIDTH = 40


class Judged(NamedTuple):
    """A labelled code, its verdict, and what the verdict took."""

    labelled: LabelledCode
    verdict: CodeVerdict
    ms: float


class Line(NamedTuple):
    """The judgements of one origin of labels, half, and category. ``readable`` leaves out what could not be judged."""

    origin: str
    half: str
    category: CodeFlag
    all: Tally
    readable: Tally


def risk_report_command(
    labelled: Annotated[list[Path], typer.Option("--labelled", help="A file of labelled codes; may be given again.")],
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="More of them.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw the reliability curve (on standard error with --json).")
    ] = False,
) -> None:
    """Recall, precision and false alarms of `dexlane bytecode-risk` per category, with counts and 95 % intervals; how
    much is bad at each score; and the cost per contract. Half of each file, chosen by digest, was used for tuning."""
    files = [read_labelled(path) for path in (*labelled, *(more or ()))]
    judged = [_judge(code) for file in files for code in file.codes]
    if as_json:
        sys.stdout.write(orjson.dumps(report(files, judged), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _show(files, judged, Console(soft_wrap=True))
    if plot:
        console = Console(stderr=as_json, soft_wrap=True)
        for half in HALVES:
            console.print(f"labelled bad by score, {half}:", *_plot(_curve(judged, half)), sep="\n", highlight=False)


def _judge(labelled: LabelledCode) -> Judged:
    began = time.perf_counter()
    verdict = judge_code(labelled.code)
    return Judged(labelled, verdict, (time.perf_counter() - began) * 1_000)


def lines(judged: Iterable[Judged]) -> Iterator[Line]:
    """One line for every origin, half and category that has labels."""
    items = list(judged)
    origins = dict.fromkeys(origin for item in items for origin in item.labelled.labels)
    for origin in origins:
        for half in HALVES:
            for category in CodeFlag:
                chosen = [
                    item
                    for item in items
                    if item.labelled.half == half and category in item.labelled.labels.get(origin, ())
                ]
                if chosen:
                    yield Line(
                        origin, half, category, *(_tally(chosen, origin, category, only) for only in (False, True))
                    )


def _tally(items: list[Judged], origin: str, category: CodeFlag, readable: bool) -> Tally:
    return tally(
        (item.labelled.labels[origin][category], category in item.verdict.flags)
        for item in items
        if item.verdict.complete or not readable
    )


def _curve(judged: Iterable[Judged], half: str) -> tuple[Bin, ...]:
    chosen = [item for item in judged if item.labelled.half == half and item.labelled.bad is not None]
    return reliability([(item.verdict.score, bool(item.labelled.bad)) for item in chosen])


def report(files: list[LabelledFile], judged: list[Judged]) -> dict[str, Any]:
    """Everything as JSON. Shares are in basis points; a share of nothing is null."""
    return {
        "files": [{"file": file.path.name, "codes": len(file.codes), "dropped": file.dropped} for file in files],
        "categories": [
            {
                "labels": line.origin,
                "half": line.half,
                "category": line.category,
                **_tally_json(line.all),
                "readable": _tally_json(line.readable),
            }
            for line in lines(judged)
        ],
        "reliability": {half: [_bin_json(each) for each in _curve(judged, half)] for half in HALVES},
        "incomplete": sum(not item.verdict.complete for item in judged),
        "ms": cost(judged),
    }


def cost(judged: list[Judged]) -> dict[str, float] | None:
    """Milliseconds per contract; None without one."""
    times = sorted(item.ms for item in judged)
    if not times:
        return None
    return {
        "p50": round(times[len(times) // 2], 1),
        "p95": round(times[min(len(times) - 1, len(times) * 95 // 100)], 1),
        "max": round(times[-1], 1),
        "mean": round(sum(times) / len(times), 1),
    }


def _tally_json(counted: Tally) -> dict[str, Any]:
    return {
        "detected": counted.detected,
        "missed": counted.missed,
        "false_alarms": counted.false_alarms,
        "passed": counted.passed,
        "recall": _share_json(counted.recall),
        "precision": _share_json(counted.precision),
        "false_alarm_rate": _share_json(counted.false_alarm_rate),
    }


def _share_json(share: Share) -> dict[str, Any]:
    return {"bps": share.bps, "interval_bps": share.interval_bps}


def _bin_json(each: Bin) -> dict[str, Any]:
    return {"score": [each.low, each.high], "bad": each.bad.hits, "labelled": each.bad.total, **_share_json(each.bad)}


def _show(files: list[LabelledFile], judged: list[Judged], console: Console) -> None:
    for file in files:
        dropped = ", ".join(f"{count} {reason}" for reason, count in file.dropped.items()) or "none dropped"
        console.print(f"{file.path.name}: {len(file.codes)} codes, {dropped}", highlight=False)
    table = Table("labels", "half", "category", "recall", "false alarms", "precision", "recall of complete verdicts")
    for line in lines(judged):
        shares = (line.all.recall, line.all.false_alarm_rate, line.all.precision, line.readable.recall)
        table.add_row(line.origin, line.half, line.category, *(in_words(share) for share in shares))
    console.print(table)
    spent = cost(judged)
    if spent is not None:
        console.print(
            f"{len(judged)} codes, {sum(not item.verdict.complete for item in judged)} verdicts not complete; "
            f"ms per code: p50 {spent['p50']}, p95 {spent['p95']}, max {spent['max']}",
            highlight=False,
        )


def in_words(share: Share) -> str:
    """A share with its counts and interval, for people."""
    if share.bps is None or share.interval_bps is None:
        return "no data"
    low, high = share.interval_bps
    return f"{share.hits}/{share.total} = {share.bps / 100:.0f} % ({low / 100:.0f} to {high / 100:.0f})"


def _plot(curve: tuple[Bin, ...]) -> list[str]:
    return [
        f"  {each.low:>3} to {each.high:>3}  {'#' * (_PLOT_WIDTH * (each.bad.bps or 0) // 10_000):<{_PLOT_WIDTH}}  "
        f"{in_words(each.bad)}"
        for each in curve
    ]
