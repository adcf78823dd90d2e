"""``dexlane levels``: the published levels, in words or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from dexlane.domain.levels import LEVELS, LevelLimits
from dexlane.events.risk import Check
from dexlane.values.amounts import decimal_text
from dexlane.values.books import Lane

console = Console(soft_wrap=True)


def levels_command(
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False,
) -> None:
    """Show what each level allows. `dexlane books level BOOK N` gives a book another one."""
    if as_json:
        sys.stdout.write(orjson.dumps([limits.model_dump(mode="json") for limits in LEVELS.values()]).decode() + "\n")
        return
    table = Table("level", *map(str, LEVELS), padding=(0, 0, 0, 1))
    for name, figure in FIGURES.items():
        table.add_row(name, *map(figure, LEVELS.values()))
    console.print(table)
    for name, word in WORDS.items():
        console.print(f"{name}: {'; '.join(_runs(word))}", highlight=False)
    console.print("Nothing tunes yet: those figures are only published.")


def _percent(bps: int) -> str:
    return f"{decimal_text(bps, 2)}%"


def _tier(limits: LevelLimits, lane: Lane) -> str:
    return limits.entry_tiers[lane].value if lane in limits.lanes else "-"


FIGURES: Mapping[str, Callable[[LevelLimits], str]] = {
    "risk score up to": lambda limits: str(limits.max_risk_score),
    "confidence from": lambda limits: _percent(limits.min_confidence_bps),
    "entry up to, of capital": lambda limits: _percent(limits.position_bps),
    "chance up to": lambda limits: f"{limits.max_age_s}s",
    "stop tuned by": lambda limits: _percent(limits.tuning.stop_loss_bps),
    "target tuned by": lambda limits: _percent(limits.tuning.take_profit_bps),
    "size tuned by": lambda limits: _percent(limits.tuning.size_bps),
}
"""Columns whose figure differs from level to level."""

WORDS: Mapping[str, Callable[[LevelLimits], str]] = {
    "lanes": lambda limits: ", ".join(limits.lanes),
    "checks not required": lambda limits: (
        ", ".join(check for check in Check if check not in limits.required_checks) or "none"
    ),
    "relays at least": lambda limits: limits.relay_policy.value,
    "fee tier, fast": lambda limits: _tier(limits, Lane.FAST),
    "fee tier, smart": lambda limits: _tier(limits, Lane.SMART),
}
"""Columns that several levels share."""


def _runs(word: Callable[[LevelLimits], str]) -> Iterator[str]:
    for said, run in groupby(LEVELS.values(), key=word):
        levels = [limits.level for limits in run]
        yield f"{levels[0]}-{levels[-1]} {said}"
