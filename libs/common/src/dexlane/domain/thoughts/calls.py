"""The functions whose decisions are recorded, and how their arguments are read back.

An argument is any value that :mod:`dexlane.domain.thoughts.documents` can write down. It is read back by the type that
the function declares for it, so a field that is added to a value, or an argument to a function, needs no word here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from dexlane.domain.circumstances import Refused
from dexlane.domain.exits import judge_exit
from dexlane.domain.planning import plan
from dexlane.domain.risk.assessment import assess
from dexlane.values.books import Lane

CALLS: Mapping[str, Callable[..., Any]] = MappingProxyType({"plan": plan, "assess": assess, "judge_exit": judge_exit})
"""Every deciding function by the name it is recorded under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """Who decided, when, and about what. ``code`` names the version of the rules.

    ``overruled`` is what spoke against a plan after planning (a router that cannot trade it, an account that cannot
    pay it, a relay that is missing, a breaker): facts of that moment, recorded as such.
    """

    service: str
    chain_id: int
    at_ms: int
    code: str
    subject_id: str
    book_id: str | None = None
    lane: Lane | None = None
    overruled: Refused | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Thought:
    """A call of a deciding function with its result."""

    call: str
    arguments: Mapping[str, Any]
    result: Any
    occasion: Occasion


def called_again(call: str, arguments: Mapping[str, Any], occasion: Any) -> Thought:
    """Read arguments and occasion as a document gives them, and decide once more.

    ``ValueError`` for a function that is not known or arguments that it does not take.
    """
    function = CALLS.get(call)
    if function is None:
        raise ValueError(f"nothing decides under the name {call!r}")
    readers = _readers(call)
    if unknown := arguments.keys() - readers.keys():
        raise ValueError(f"{call} takes no argument {', '.join(sorted(unknown))}")
    values = {name: readers[name].validate_json(json.dumps(given)) for name, given in arguments.items()}
    return Thought(call, values, function(**values), _OCCASION.validate_json(json.dumps(occasion)))


@cache
def _readers(call: str) -> Mapping[str, TypeAdapter[Any]]:
    hints = get_type_hints(CALLS[call])
    return {name: TypeAdapter(hint) for name, hint in hints.items() if name != "return"}


_OCCASION = TypeAdapter(Occasion)
