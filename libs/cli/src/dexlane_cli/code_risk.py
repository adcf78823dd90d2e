"""``dexlane bytecode-risk``: what runtime codes allow, JSON lines in and out.

Each line of input is ``{"id": ..., "bytecode": "0x..."}``, each line of output ``{"id", "score", "flags"}`` in the same
order. Code that cannot be judged is answered with score 100 and no flags. A line that is no such object is named on
standard error with its number, the rest goes on, and the exit code is 2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO, cast

import orjson
import typer

from dexlane.domain.risk.bytecode.verdict import CodeVerdict, judge_code, unreadable
from dexlane_cli.errors import EXIT_USAGE, CommandError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLineError(Exception):
    """Why a line cannot be used, in words."""


class BadBytecodeError(ValueError):
    """Why a text is no bytecode, in words."""


def bytecode_risk_command(
    source: Annotated[Path, typer.Option("--input", help="JSON lines; - is standard input.")],
    explain: Annotated[bool, typer.Option("--explain", help="Add complete, reasons, notes and steps.")] = False,
) -> None:
    """Judge runtime codes: score 0 to 100 and flags for each line {"id", "bytecode"}.

    Exit code 0 when every line was judged, 2 when one could not be used (it is named on standard error) or the file
    cannot be read.
    """
    try:
        opened = nullcontext(sys.stdin.buffer) if str(source) == "-" else source.open("rb")
    except OSError as error:
        raise CommandError(f"{source} cannot be read: {error.strerror}", EXIT_USAGE) from error
    with opened as lines:
        faults = judge_lines(cast("BinaryIO", lines), sys.stdout.buffer, sys.stderr, explain=explain)
    if faults:
        raise typer.Exit(EXIT_USAGE)


def judge_lines(source: BinaryIO, sink: BinaryIO, complaints: TextIO, *, explain: bool = False) -> int:
    """Answer all lines and return how many could not be used. Each answer is written before the next line is read."""
    faults = 0
    for number, line in enumerate(source, 1):
        if line.removeprefix(_BYTE_ORDER_MARK).isspace() or not line:
            continue
        try:
            name, verdict, fault = _judged(line.removeprefix(_BYTE_ORDER_MARK))
        except BadLineError as error:
            complaints.write(f"line {number}: {error}\n")
            faults += 1
            continue
        if fault is not None:
            complaints.write(f"line {number}: {fault}\n")
            faults += 1
        sink.write(orjson.dumps(answer(name, verdict, explain=explain)) + b"\n")
        sink.flush()
    return faults


def _judged(line: bytes) -> tuple[Any, CodeVerdict, str | None]:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadLineError(f"this is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadLineError("a line is an object with id and bytecode")
    if not isinstance(fields.get("id"), str | int) or isinstance(fields["id"], bool):
        raise BadLineError("id is missing, or neither text nor an integer")
    try:
        code = code_of(fields.get("bytecode"))
    except BadBytecodeError as error:
        return fields["id"], unreadable(str(error)), str(error)
    return fields["id"], judge_code(code), None


def code_of(text: object) -> bytes:
    """Bytes of hexadecimal text, with or without 0x. ``BadBytecodeError`` says what is wrong with it."""
    if not isinstance(text, str):
        raise BadBytecodeError("bytecode is missing or no text")
    digits = text.strip().removeprefix("0x").removeprefix("0X")
    if len(digits) % 2:
        raise BadBytecodeError(f"bytecode has {len(digits)} digits, which is no whole number of bytes")
    try:
        return bytes.fromhex(digits)
    except ValueError as error:
        raise BadBytecodeError("bytecode is not hexadecimal") from error


def answer(name: object, verdict: CodeVerdict, *, explain: bool) -> dict[str, object]:
    """One line of output."""
    told: dict[str, object] = {"id": name, "score": verdict.score, "flags": list(verdict.flags)}
    if explain:
        told["complete"] = verdict.complete
        told["reasons"] = list(_reasons(verdict))
        told["notes"] = list(verdict.notes)
        told["steps"] = verdict.steps
    return told


def _reasons(verdict: CodeVerdict) -> Iterator[dict[str, object]]:
    for finding in verdict.findings:
        yield {"flag": finding.flag, "reason": finding.reason, "final": finding.final}
