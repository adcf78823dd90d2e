"""The generated files are what the code says now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dexlane.events import schema
from dexlane.events.streams import EVENTS
from dexlane.events.traffic import PUBLISHED, consumed_by
from dexlane.runtime.settings import SERVICES


def references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for item in node for found in references(item)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for value in node.values() for found in references(value)]


def resolve(document: dict[str, Any], reference: str) -> Any:
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


@pytest.mark.parametrize("name", schema.FILES)
def test_generated_file_is_current(name: str) -> None:
    assert (schema.SCHEMAS / name).read_text(encoding="utf-8") == schema.render(name), "run `make schemas`"


@pytest.mark.parametrize("name", schema.FILES)
def test_every_reference_leads_somewhere(name: str) -> None:
    document = schema.FILES[name]()
    found = references(document)
    assert found
    for reference in found:
        assert isinstance(resolve(document, reference), dict)


def test_check_writes_nothing_and_says_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main(["--check", "--into", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []
    assert "events.json: differs" in capsys.readouterr().out


def test_written_files_pass_the_check(tmp_path: Path) -> None:
    assert schema.main(["--into", str(tmp_path / "new")]) == 0
    assert schema.main(["--check", "--into", str(tmp_path / "new")]) == 0


def test_definitions_are_valid_json_schema() -> None:
    Draft202012Validator.check_schema(schema.event_schemas())


def test_channels_name_every_part_of_every_subject() -> None:
    for event_type in EVENTS:
        channel = schema.asyncapi()["channels"][event_type.__name__]
        assert channel["address"].count("{") == len(channel["parameters"])
        for tail in event_type.tails():
            names = schema.PARAMETERS.get(event_type.NAME, ())
            assert tail == ">" or len([part for part in tail.split(".") if part]) == len(names)


def test_closed_endings_are_enumerated() -> None:
    parameters = schema.asyncapi()["channels"]["IntentCreated"]["parameters"]
    assert parameters["mode"]["enum"] == ["live", "paper"]
    assert parameters["lane"]["enum"] == ["fast", "smart"]


def test_every_service_has_its_traffic_and_every_event_a_publisher_and_a_consumer() -> None:
    assert set(PUBLISHED) == set(SERVICES)
    assert {event_type for types in PUBLISHED.values() for event_type in types} == set(EVENTS)
    assert {event_type for service in SERVICES for event_type in consumed_by(service)} == set(EVENTS)
