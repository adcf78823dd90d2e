"""``dexlane assess``: many opportunities judged from given evidence, JSON lines in and out.

The same pure function as in risk-scorer, without node, broker or clock: equal lines have equal answers everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO, cast

import orjson
import typer
from pydantic import Field, ValidationError

from dexlane.chain.deployments import counterparties
from dexlane.domain.acceptance import beyond_appetite
from dexlane.domain.levels import HIGHEST
from dexlane.domain.risk.assessment import Assessment, assess
from dexlane.domain.risk.compliance import ComplianceRules, check_tokens
from dexlane.domain.risk.evidence import Evidence
from dexlane.domain.risk.factors import USUAL_LIMITS, RiskLimits, tokens_of
from dexlane.domain.risk.profiles import beyond_thresholds
from dexlane.domain.risk.required import to_screen
from dexlane.domain.risk.sanctions import SanctionsList, day_of
from dexlane.events.opportunity import OpportunityFound
from dexlane.runtime.compliance_files import load_rules, load_sanctions
from dexlane.runtime.errors import Misconfigured
from dexlane.values.base import Value
from dexlane.values.books import Profile
from dexlane_cli.errors import EXIT_USAGE, CommandError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MOST_PROBLEMS = 3
Lists = tuple[SanctionsList, ComplianceRules]


class Line(Value):
    """One question: an opportunity, what is known about it, and the newest block.

    Where ``evidence`` has no ``sanctions`` or ``compliance``, they are looked up as of its ``as_of_ms``.
    """

    id: str | int
    block: int = Field(ge=0)
    opportunity: OpportunityFound
    evidence: Evidence
    limits: RiskLimits = USUAL_LIMITS


def assess_command(
    source: Annotated[str, typer.Option("--input", help="A file of JSON lines, or - for standard input.")] = "-",
    sanctions: Annotated[Path | None, typer.Option(help="Sanctions list; the built-in one.")] = None,
    rules: Annotated[Path | None, typer.Option(help="Compliance rules (TOML); the built-in ones.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a line, and do nothing.")] = False,
) -> None:
    """Judge many opportunities from given evidence: score, confidence, vetoes, checks, facts, and who accepts it.

    Exit code 0 when every line was judged, 2 when one could not be used (it is named on standard error).
    """
    if schema:
        typer.echo(orjson.dumps(Line.model_json_schema(), option=orjson.OPT_INDENT_2).decode())
        return
    try:
        lists = load_sanctions(sanctions), load_rules(rules)
        with nullcontext(sys.stdin.buffer) if source == "-" else Path(source).open("rb") as lines:
            faults = assess_lines(cast("BinaryIO", lines), sys.stdout.buffer, sys.stderr, lists)
    except Misconfigured as error:
        raise CommandError(str(error), EXIT_USAGE) from error
    except OSError as error:
        raise CommandError(f"{source} cannot be read: {error.strerror}", EXIT_USAGE) from error
    if faults:
        raise typer.Exit(EXIT_USAGE)


def assess_lines(source: BinaryIO, sink: BinaryIO, complaints: TextIO, lists: Lists) -> int:
    """Answer all lines and return how many could not be used. Each answer is written before the next line is read."""
    faults = 0
    for number, raw in enumerate(source, 1):
        text = raw.removeprefix(_BYTE_ORDER_MARK).strip()
        if not text:
            continue
        try:
            line = Line.model_validate_json(text)
        except ValidationError as error:
            complaints.write(f"line {number}: {'; '.join(_problems(error))}\n")
            faults += 1
            continue
        sink.write(orjson.dumps(answer(line, lists)) + b"\n")
        sink.flush()
    return faults


def answer(line: Line, lists: Lists) -> dict[str, Any]:
    """One line of output."""
    assessment = assess(line.opportunity, _looked_up(line, lists), line.block, line.limits)
    return {
        "id": line.id,
        "approved": assessment.approved,
        "risk_score": assessment.risk_score,
        "confidence_bps": assessment.confidence_bps,
        "lane": assessment.lane,
        "vetoes": assessment.vetoes,
        "factors": [factor.model_dump(mode="json") for factor in assessment.factors],
        "checks": assessment.checks,
        "facts": assessment.facts.model_dump(mode="json"),
        "refused_by": {profile.value: list(_against(profile, line, assessment)) for profile in Profile},
    }


def _looked_up(line: Line, lists: Lists) -> Evidence:
    evidence, today = line.evidence, day_of(line.evidence.as_of_ms)
    route, chain_id = line.opportunity.route, line.opportunity.chain_id
    if evidence.sanctions is None:
        check = lists[0].check((*to_screen(route, evidence.tokens), *counterparties(chain_id)), today)
        evidence = replace(evidence, sanctions=check)
    if evidence.compliance is None:
        rulings = check_tokens(lists[1], chain_id, tokens_of(route), date.fromisoformat(today))
        evidence = replace(evidence, compliance=rulings)
    return evidence


def _against(profile: Profile, line: Line, assessment: Assessment) -> Iterator[str]:
    """Why books of a profile would refuse it at every level; vetoes hold for all of them."""
    yield from assessment.vetoes
    for objection in beyond_appetite(assessment, profile, HIGHEST):
        yield objection.sentence
    yield from beyond_thresholds(profile, line.opportunity.chain_id, assessment.factors, assessment.facts)


def _problems(error: ValidationError) -> Iterator[str]:
    found = error.errors()
    for problem in found[:_MOST_PROBLEMS]:
        place = ".".join(str(part) for part in problem["loc"])
        yield f"{place}: {problem['msg']}" if place else str(problem["msg"])
    if len(found) > _MOST_PROBLEMS:
        yield f"and {len(found) - _MOST_PROBLEMS} more"
