"""A recorded decision in plain language, at three levels of detail. It follows from the record alone."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from dexlane.domain.thoughts.saying import APPROVED, EXIT_TRIGGERED, REJECTED, TRADED
from dexlane.events.risk import DecisionRecorded
from dexlane.events.thoughts import Alternative, Stance

_VERBS = {
    TRADED: "trades",
    APPROVED: "approves",
    REJECTED: "rejects",
    EXIT_TRIGGERED: "closes the position",
    "planned": "waits",
}


class Detail(StrEnum):
    """How much is told: a sentence; the reasons with what was weighed; everything on record."""

    SHORT = "short"
    NORMAL = "normal"
    FULL = "full"


def told(decision: DecisionRecorded, detail: Detail = Detail.NORMAL) -> str:
    """The decision for people, as lines of text."""
    if detail is Detail.SHORT:
        return _headline(decision)
    return "\n".join([_headline(decision), *_why(decision), *(_record(decision) if detail is Detail.FULL else ())])


def _headline(decision: DecisionRecorded) -> str:
    """One sentence."""
    who = decision.service if decision.book_id is None else f"{decision.service} for {decision.book_id}"
    verb = _VERBS.get(decision.outcome, f"does nothing ({decision.outcome.replace('_', ' ')})")
    about = "" if decision.strategy is None else f" on {decision.strategy}"
    more = len(decision.reasons) - 1
    tail = f" (and {more} more)" if more > 0 else ""
    return f"{who} {verb}{about}: {decision.reasons[0].rstrip('.') if decision.reasons else 'no reason given'}{tail}."


def _why(decision: DecisionRecorded) -> Iterator[str]:
    if len(decision.reasons) > 1:
        yield "Reasons:"
        yield from (f"  - {reason}" for reason in decision.reasons)
    for stance, title in ((Stance.FOR, "Speaking for it:"), (Stance.AGAINST, "Speaking against it:")):
        weighed = [f"  - {one.name}: {one.sentence}" for one in decision.factors if one.stance is stance]
        if weighed:
            yield from (title, *weighed)
    if decision.would_if:
        deed = "approved" if decision.outcome == REJECTED else "traded"
        yield f"It would be {deed} if {', and if '.join(decision.would_if)}."


def _record(decision: DecisionRecorded) -> Iterator[str]:
    if decision.alternatives:
        yield "Looked at:"
        yield from (f"  - {_looked_at(one)}" for one in decision.alternatives)
    if decision.tokens:
        yield f"Tokens: {', '.join(decision.tokens)}"
    yield "Computed from:"
    yield from (f"  {name}: {value}" for name, value in sorted(decision.inputs.items()))
    inputs = decision.inputs_id or "none: a person decided, or it was recorded before inputs were"
    yield f"  document: {inputs}"
    yield f"Decision {decision.id} about {decision.subject_id}, chain {decision.chain_id}"
    yield f"Content hash {decision.content_hash}"


def _looked_at(one: Alternative) -> str:
    outcome = one.outcome.replace("_", " ")
    brought = "" if one.amount_out is None else f" for {one.amount_out}"
    why = f": {one.sentence}" if one.sentence else ""
    return f"{one.amount_in}{brought} through {' '.join(one.pools)}: {outcome}{why}"
