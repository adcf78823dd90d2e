"""The wire form of every event is pinned by a small example that people can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from dexlane.events.base import Event
from dexlane.events.schema import event_schemas
from dexlane.events.streams import EVENTS

GOLDEN = Path(__file__).parent / "golden"
CONTRACT = event_schemas()
every_event = pytest.mark.parametrize("event_type", EVENTS, ids=lambda event_type: event_type.NAME)


def golden(event_type: type[Event]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{event_type.NAME}.json").read_text())
    return found


def compact(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def schema_of(event_type: type[Event]) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{event_type.__name__}", "$defs": CONTRACT["$defs"]})


def amounts(node: Any) -> list[Any]:
    """Every value whose name says that it is money."""
    if isinstance(node, list):
        return [found for item in node for found in amounts(item)]
    if not isinstance(node, dict):
        return []
    own = [value for key, value in node.items() if key.endswith("_wei") or key in {"amount", "amount_in", "quantity"}]
    return own + [found for value in node.values() for found in amounts(value)]


def test_golden_folder_holds_exactly_the_declared_events() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {event_type.NAME for event_type in EVENTS}


@every_event
def test_golden_document_is_read_and_written_back_to_the_same_bytes(event_type: type[Event]) -> None:
    wire = compact(golden(event_type))
    event = event_type.from_wire(wire)
    assert event.to_wire() == wire
    assert event_type.from_wire(event.to_wire()) == event


@every_event
def test_golden_document_satisfies_the_published_schema(event_type: type[Event]) -> None:
    assert list(schema_of(event_type).iter_errors(golden(event_type))) == []


@every_event
def test_unknown_field_is_refused_by_reader_and_schema(event_type: type[Event]) -> None:
    document = golden(event_type) | {"surprise": 1}
    with pytest.raises(ValidationError, match="surprise"):
        event_type.from_wire(compact(document))
    assert not schema_of(event_type).is_valid(document)


@every_event
def test_other_version_is_refused_by_reader_and_schema(event_type: type[Event]) -> None:
    document = golden(event_type) | {"version": event_type.VERSION + 1}
    with pytest.raises(ValidationError, match="is not understood"):
        event_type.from_wire(compact(document))
    assert not schema_of(event_type).is_valid(document)


@every_event
def test_amounts_are_decimal_strings_on_the_wire(event_type: type[Event]) -> None:
    assert all(isinstance(value, str) for value in amounts(golden(event_type)) if value is not None)


@every_event
def test_event_cannot_be_changed(event_type: type[Event]) -> None:
    event = event_type.from_wire(compact(golden(event_type)))
    with pytest.raises(ValidationError, match="frozen"):
        event.occurred_at_ms = 1  # type: ignore[misc]


def test_amount_with_leading_zero_or_as_float_is_refused() -> None:
    fee_quote = next(event_type for event_type in EVENTS if event_type.NAME == "fee.quoted")
    for wrong in ("010", "1e9", 1.5, "+1", "-1"):
        document = golden(fee_quote) | {"next_base_fee_per_gas_wei": wrong}
        with pytest.raises(ValidationError):
            fee_quote.from_wire(compact(document))
        assert not schema_of(fee_quote).is_valid(document)


def test_plan_with_zero_minimum_out_is_refused() -> None:
    intent = next(event_type for event_type in EVENTS if event_type.NAME == "intent.created")
    document = golden(intent)
    document["plan"]["minimum_out"] = "0"
    with pytest.raises(ValidationError, match="minimum_out"):
        intent.from_wire(compact(document))
