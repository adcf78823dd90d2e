"""Labelled runtime codes from files, for ``dexlane risk-report``.

Three shapes are told apart by their columns; the same columns may come as Parquet, CSV or CSV.GZ, the third as JSON
lines (.jsonl):

* ``mint``, ``leak``, ``limit`` (0 or 1) and ``bytecode_hex``: contracts that experts labelled.
* ``manual_mint``, ``manual_leak``, ``manual_limit`` (Yes, No), ``rugpull_incident_root_cause``,
  ``in_curated_token_list``, ``mazorra_label`` (1: healthy) and ``bytecode_hex``: tokens with labels of several origins,
  which are kept apart. A token that is called healthy and has an incident or a Yes is ambiguous and dropped.
* ``id``, ``bytecode`` and ``labels`` {flag: true or false}: labels of one's own; ``bad`` counts for the score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from dexlane.domain.risk.bytecode.flags import CodeFlag
from dexlane.domain.risk.bytecode.instructions import skeleton_digest
from dexlane_cli.code_risk import code_of
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.tape_sources import open_table

_CATEGORIES = {"mint": CodeFlag.HIDDEN_MINT, "leak": CodeFlag.BALANCE_LEAK, "limit": CodeFlag.SELL_LIMIT}
_INCIDENTS = {
    "Mint": (CodeFlag.HIDDEN_MINT,),
    "Burn": (CodeFlag.BALANCE_LEAK,),
    "Arbitrarily Transfer": (CodeFlag.BALANCE_LEAK,),
    "Sale-restrict": (CodeFlag.SELL_LIMIT,),
    "FreezeAccount": (CodeFlag.SELL_LIMIT, CodeFlag.BLACKLIST),
    "Transfer block": (CodeFlag.SELL_LIMIT,),
}
_EXPERT = ("address", "bytecode_hex", *_CATEGORIES)
_MIXED = (
    "address", "bytecode_hex", "manual_mint", "manual_leak", "manual_limit", "rugpull_incident_root_cause",
    "in_curated_token_list", "mazorra_label",
)  # fmt: skip
TUNED, HELD_OUT = "tuned on", "held out"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class LabelledCode:
    """Runtime code with its labels by origin ("expert", "manual", ...) and category. ``bad`` is None when unlabelled.

    Clones, which differ in constants alone, are always in the same half.
    """

    name: str
    code: bytes
    labels: Mapping[str, Mapping[CodeFlag, bool]]
    bad: bool | None

    @property
    def half(self) -> str:
        """Which half it is in, chosen by the digest of its opcodes."""
        return TUNED if skeleton_digest(self.code)[0] % 2 == 0 else HELD_OUT


@dataclass
class LabelledFile:
    """What a file gave: codes, and how many rows were left out why."""

    path: Path
    codes: list[LabelledCode] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str) -> None:
        """Count a row that is left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def read_labelled(path: Path) -> LabelledFile:
    """All labelled codes of a file. ``CommandError`` when it has none of the three shapes or cannot be read."""
    found = LabelledFile(path)
    if path.suffix == ".jsonl":
        rows, kind = _json_lines(path), "own"
    else:
        table = open_table(path)
        kind = "expert" if {*_EXPERT} <= {*table.columns} else "mixed" if {*_MIXED} <= {*table.columns} else ""
        if not kind:
            raise CommandError(f"{path} has not the columns of labelled codes; see docs/RISK.md", EXIT_USAGE)
        rows = table.rows(_EXPERT if kind == "expert" else _MIXED)
    for row in rows:
        try:
            code = code_of(row.get("bytecode_hex", row.get("bytecode")))
        except ValueError:
            code = b""
        if not code:
            found.drop("no bytecode")
            continue
        labelled = _READERS[kind](row, code)
        if labelled is None:
            found.drop("called healthy and bad")
        else:
            found.codes.append(labelled)
    return found


def _json_lines(path: Path) -> Iterator[Row]:
    try:
        lines: Sequence[bytes] = path.read_bytes().splitlines()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", EXIT_USAGE) from error
    for number, line in enumerate(lines, 1):
        try:
            row = orjson.loads(line)
            known = {CodeFlag(flag) for flag in row["labels"]}
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise CommandError(f"{path}, line {number}: {error}", EXIT_USAGE) from error
        yield row | {"labels": {flag: bool(row["labels"][flag]) for flag in known}}


def _expert(row: Row, code: bytes) -> LabelledCode | None:
    labels = {flag: str(row[name]) == "1" for name, flag in _CATEGORIES.items()}
    return LabelledCode(str(row["address"]), code, {"expert": labels}, bad=any(labels.values()))


def _mixed(row: Row, code: bytes) -> LabelledCode | None:
    manual = {flag: answer == "Yes" for name, flag in _CATEGORIES.items() if (answer := row[f"manual_{name}"])}
    incident = row["rugpull_incident_root_cause"]
    caused = dict.fromkeys(_INCIDENTS.get(incident, ()), True) if incident else {}
    healthy = str(row["in_curated_token_list"]) == "True" or str(row["mazorra_label"]) == "1"
    bad = bool(incident) or any(manual.values())
    if healthy and bad:
        return None
    labels: dict[str, Mapping[CodeFlag, bool]] = {"manual": manual, "incident": caused}
    if healthy:
        labels["healthy"] = dict.fromkeys(CodeFlag, False)
    return LabelledCode(str(row["address"]), code, labels, bad=True if bad else False if healthy else None)


def _own(row: Row, code: bytes) -> LabelledCode | None:
    labels = dict(row["labels"])
    return LabelledCode(str(row.get("id")), code, {"own": labels}, bad=bool(row.get("bad", any(labels.values()))))


_READERS = {"expert": _expert, "mixed": _mixed, "own": _own}
