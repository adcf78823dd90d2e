"""What a book accepts of a judgement by its profile and level: risk, confidence, lane and checks.

Planning asks it of verdicts, ``dexlane assess`` of assessments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from dexlane.domain.circumstances import Objection
from dexlane.domain.levels import LEVELS
from dexlane.domain.sizing import appetite
from dexlane.events.risk import Check
from dexlane.values.amounts import decimal_text
from dexlane.values.books import Lane, Profile


class Judgement(Protocol):
    """A verdict, or the assessment behind it."""

    @property
    def risk_score(self) -> int:
        """0 to 100."""
        ...

    @property
    def confidence_bps(self) -> int:
        """How complete and fresh the evidence was."""
        ...

    @property
    def lane(self) -> Lane:
        """The lane it is for."""
        ...

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was looked at."""
        ...


def beyond_appetite(judged: Judgement, profile: Profile, level: int) -> Iterator[Objection]:
    """What a book of this profile and published level does not accept; ``ValueError`` for another level."""
    accepted, limits = appetite(profile, level), LEVELS[level]
    whose = f"a {profile} book of level {level}"
    if judged.risk_score > accepted.max_risk_score:
        sentence = f"the risk score {judged.risk_score} is above {accepted.max_risk_score}, the most for {whose}"
        yield Objection("too_risky", sentence)
    if judged.confidence_bps < accepted.min_confidence_bps:
        least = percent(accepted.min_confidence_bps)
        sentence = f"the confidence of {percent(judged.confidence_bps)} is below {least}, the least for {whose}"
        yield Objection("too_uncertain", sentence)
    if judged.lane not in limits.lanes:
        yield Objection("lane_not_allowed", f"a book of level {level} opens nothing in the {judged.lane} lane")
    missing = [check.replace("_", " ") for check in limits.required_checks if check not in judged.checks]
    if missing:
        sentence = f"level {level} asks for what this verdict did not check: {', '.join(missing)}"
        yield Objection("not_checked", sentence)


def percent(bps: int) -> str:
    """Basis points as a percentage: ``percent(150) == "1.5 %"``."""
    return f"{decimal_text(bps, 2)} %"
