"""Decisions about the markets of the builders, as services record them."""

from __future__ import annotations

from typing import Any

from dexlane.domain.circumstances import Holdings, PlanningRules, Refused
from dexlane.domain.planning import plan
from dexlane.domain.thoughts.calls import Occasion, Thought
from dexlane.domain.thoughts.recording import Recorder
from dexlane.domain.thoughts.visible import seen_market
from dexlane.events.base import Event
from dexlane.testing.builders import (
    NOW_MS,
    a_book,
    a_market,
    a_verdict,
    an_entry_opportunity,
    an_exposure,
)
from dexlane.values.books import Lane


def planning_arguments(**changes: Any) -> dict[str, Any]:
    """What planning is given: an entry that a moderate book of level 5 makes."""
    defaults: dict[str, Any] = {
        "cause": a_verdict(an_entry_opportunity()),
        "book": a_book(),
        "holdings": Holdings(exposure=an_exposure(at_work=0, open_positions=0, realised_today=0)),
        "market": a_market(),
        "rules": PlanningRules(),
    }
    return defaults | changes


def a_thought(overruled: Refused | None = None, **changes: Any) -> Thought:
    """Such a decision, as an executor records it."""
    arguments = planning_arguments(**changes)
    result = plan(**arguments)
    arguments["market"] = seen_market(arguments["cause"], arguments["book"], arguments["market"], arguments["rules"])
    occasion = Occasion(
        service="fast-executor",
        chain_id=1,
        at_ms=NOW_MS,
        code="0123456789abcdef",
        subject_id=arguments["cause"].id,
        book_id=arguments["book"].id,
        lane=Lane.FAST,
        overruled=overruled,
    )
    return Thought("plan", arguments, result, occasion)


def recorded_thoughts(*thoughts: Thought) -> tuple[Event, ...]:
    """What a service publishes about them: documents, then decisions."""
    return Recorder().recorded(thoughts or (a_thought(),), NOW_MS).events
