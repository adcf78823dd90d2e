"""``dexlane thoughts``: what was decided and why, whether the record is whole, whether it follows from its inputs."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import orjson
import typer

from dexlane.domain.thoughts.chain import Head
from dexlane.domain.thoughts.words import Detail, told
from dexlane.events.base import DEFAULT_REALM
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.code_version import code_version
from dexlane.runtime.thought_archive import Asked
from dexlane_cli import journals, thought_exports
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.options import DEFAULT_HOME, Home, console
from dexlane_cli.thought_checks import Outcome, ReRun, Verified, re_run, verified
from dexlane_cli.thought_sources import Source, opened

T = TypeVar("T")
DECISION_ID = re.compile("[0-9a-f]{6,32}")
SHOWN_FAULTS = 20
SETTLE_S = 3.0

app = typer.Typer(help="Show, export and verify recorded decisions, or compute them again.", no_args_is_help=True)

Realm = Annotated[str, typer.Option(help="Whose journal it is.")]
File = Annotated[Path | None, typer.Option("--file", help="Read this export (jsonl) instead of the journal.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON instead of text.")]


class Format(StrEnum):
    """What an export is written as."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    CAR = "car"


def _with_source(home: Path, realm: str, file: Path | None, work: Callable[[Source], Awaitable[T]]) -> T:
    url = journals.urls(home.resolve() / "session" / "data", "gateway")["gateway"]

    async def run() -> T:
        async with opened(url, realm, file) as source:
            return await work(source)

    return asyncio.run(run())


def _settled(look: Callable[[], T], is_faulty: Callable[[T], bool], file: Path | None) -> T:
    """What was found; looked at once more after a moment when it has faults: a decision may be archived before the
    documents that are on their way beside it."""
    found = look()
    if file is None and is_faulty(found):
        time.sleep(SETTLE_S)
        found = look()
    return found


def _checked_id(text: str) -> str | None:
    if text and not DECISION_ID.fullmatch(text):
        raise CommandError(f"{text!r} is no id of a decision: 6 to 32 hex digits", EXIT_USAGE)
    return text or None


@app.command("show")
def show(
    decision_id: Annotated[str, typer.Argument(help="Id of a decision, or its beginning.")] = "",
    latest: Annotated[int, typer.Option(help="The newest so many that fit.", min=1)] = 10,
    detail: Annotated[Detail | None, typer.Option(help="How much is told.")] = None,
    book: Annotated[str, typer.Option(help="Only of this book.")] = "",
    token: Annotated[str, typer.Option(help="Only about this token (address).")] = "",
    outcome: Annotated[str, typer.Option(help="Only with this outcome: traded, rejected, too_risky ...")] = "",
    service: Annotated[str, typer.Option(help="Only of this service.")] = "",
    file: File = None,
    realm: Realm = DEFAULT_REALM,
    home: Home = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Tell what was decided and why. One decision is told in full, several in a sentence each."""
    asked = Asked(
        decision_id=_checked_id(decision_id),
        book_id=book or None,
        token=token.lower() or None,
        outcome=outcome or None,
        service=service or None,
        limit=latest,
    )

    async def work(source: Source) -> list[DecisionRecorded]:
        return [found.decision async for found in source.find(asked)]

    found = _with_source(home, realm, file, work)
    if not found:
        raise CommandError("no recorded decision fits; `dexlane thoughts show` lists the newest")
    found.reverse()
    chosen = sorted(found, key=lambda one: one.occurred_at_ms)[-latest:]
    shown = detail or (Detail.FULL if decision_id else Detail.SHORT)
    for decision in chosen:
        text = decision.to_wire().decode() if as_json else told(decision, shown)
        sys.stdout.write(text + "\n" if as_json or decision_id else f"{decision.id}  {text}\n")


@app.command("export")
def export(
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    form: Annotated[Format, typer.Option("--format", help="jsonl holds all; parquet a table; car is for IPFS.")],
    file: File = None,
    realm: Realm = DEFAULT_REALM,
    home: Home = DEFAULT_HOME,
) -> None:
    """Write all recorded decisions to a file. Nothing is sent anywhere: `ipfs dag import FILE` takes a CAR file."""

    async def write(source: Source) -> str:
        if form is Format.PARQUET:
            return f"{await thought_exports.write_parquet(source, out)} rows"
        if form is Format.CAR:
            return f"root {await thought_exports.write_car(source, out)}"
        return f"{await thought_exports.write_lines(source, out)} lines"

    console.print(f"{out}: {_with_source(home, realm, file, write)}", highlight=False)


@app.command("verify")
def verify(
    head: Annotated[
        list[str] | None, typer.Option("--head", help="A head noted down earlier, <sequence>:<hash>; repeatable.")
    ] = None,
    file: File = None,
    realm: Realm = DEFAULT_REALM,
    home: Home = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Check the chain of decisions, their contents and their documents, and print the heads to note down. What was cut
    off at the end only a noted head tells. Exit code 1 on any change, gap, exchange or deletion."""
    try:
        noted = [Head.parse(text) for text in head or ()]
    except ValueError as error:
        raise CommandError(str(error), EXIT_USAGE) from error

    def look() -> Verified:
        return _with_source(home, realm, file, lambda source: verified(source, noted))

    result = _settled(look, lambda found: bool(found.faults), file)
    if as_json:
        sys.stdout.write(_verified_json(result) + "\n")
    else:
        _print_verified(result)
    if result.faults:
        raise CommandError(f"the record is not whole: {len(result.faults)} faults, the first: {_first(result)}")


def _first(result: Verified) -> str:
    return result.faults[0].sentence


def _print_verified(result: Verified) -> None:
    for fault in result.faults[:SHOWN_FAULTS]:
        console.print(fault.sentence, style="red", highlight=False)
    counts = f"{result.entries} entries, {result.decisions} decisions, {result.documents} documents"
    console.print(f"looked at {counts}: {len(result.faults)} faults", highlight=False)
    if result.no_longer_kept:
        why = "only decisions from before the chain was begun anew name them"
        console.print(f"{result.no_longer_kept} documents are no longer kept; {why}", highlight=False)
    for chain_id, newest in result.heads.items():
        console.print(f"head of chain {chain_id}: {newest}", highlight=False)


def _verified_json(result: Verified) -> str:
    content = {
        "entries": result.entries,
        "decisions": result.decisions,
        "documents": result.documents,
        "no_longer_kept": result.no_longer_kept,
        "heads": {str(chain_id): None if one is None else str(one) for chain_id, one in result.heads.items()},
        "faults": [{"sequence": fault.sequence, "sentence": fault.sentence} for fault in result.faults],
    }
    return orjson.dumps(content).decode()


@app.command("re-run")
def re_run_command(
    decision_id: Annotated[str, typer.Argument(help="Id of a decision, or its beginning.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="All decisions that name their inputs.")] = False,
    file: File = None,
    realm: Realm = DEFAULT_REALM,
    home: Home = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Decide again from the recorded inputs and compare the bytes. Exit code 1 unless all are the same."""
    if bool(decision_id) == everything:
        raise CommandError("name a decision, or say --all", EXIT_USAGE)
    asked = Asked(decision_id=_checked_id(decision_id), limit=sys.maxsize)

    async def work(source: Source) -> list[ReRun]:
        return await re_run(source, asked, code_version())

    results = _settled(lambda: _with_source(home, realm, file, work), lambda found: bool(_not_the_same(found)), file)
    if not results:
        raise CommandError("no recorded decision fits; `dexlane thoughts show` lists the newest")
    if as_json:
        rows = [{"id": one.decision_id, "outcome": one.outcome.value, "why": one.why} for one in results]
        sys.stdout.write(orjson.dumps(rows).decode() + "\n")
    else:
        _print_re_run(results)
    bad = _not_the_same(results)
    if bad:
        raise CommandError(f"{len(bad)} of {len(results)} decisions do not follow from their recorded inputs")


def _not_the_same(results: list[ReRun]) -> list[ReRun]:
    return [one for one in results if one.outcome in {Outcome.DIFFERENT, Outcome.FAULTY_INPUTS}]


def _print_re_run(results: list[ReRun]) -> None:
    bad = _not_the_same(results)
    for one in bad[:SHOWN_FAULTS]:
        console.print(f"{one.decision_id}: {one.why}", style="red", highlight=False)
    counts = Counter(one.outcome for one in results)
    same, without = counts[Outcome.SAME], counts[Outcome.NO_INPUTS]
    more = f"; {without} name no inputs" if without else ""
    lost = counts[Outcome.NO_LONGER_KEPT]
    more += f"; of {lost} from before the chain was begun anew documents are no longer kept" if lost else ""
    console.print(f"{same} decided again to the same bytes, {len(bad)} not{more}", highlight=False)
