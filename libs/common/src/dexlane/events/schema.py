"""The contract as files: JSON Schemas and AsyncAPI, generated from the event types.

``python -m dexlane.events.schema`` writes ``events.json`` and ``asyncapi.json`` into ``libs/common/schemas``;
``--check`` only compares. A test pins the files, so that the wire form never changes unseen.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dexlane.events.base import Event
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.events.streams import EVENTS, POOLS, stream_of
from dexlane.events.traffic import PUBLISHED, consumed_by

SCHEMAS = Path(__file__).parents[3].joinpath("schemas")
"""The folder of the generated files in a source tree; an installed wheel has none."""

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "book.changed": ("book",),
    "breaker.changed": ("source",),
    "breaker.reset": ("source",),
    "confirmation.given": ("lane",),
    "exit.triggered": ("lane",),
    "exposure.changed": ("book", "lane"),
    "intent.created": ("mode", "lane"),
    "trading.status": ("source",),
    "tx": ("state",),
    "verdict.approved": ("lane",),
}
"""What the parts of a subject mean that follow the event's name."""

_MEANINGS = {
    "realm": "main, or replay-<name>",
    "chain_id": "EIP-155 chain id",
    "book": "book id",
    "lane": "fast or smart",
    "mode": "live or paper",
    "source": "who speaks: operator, a breaker, or a service",
    "state": "state of the transaction",
}
_AMOUNTS = {"^[0-9]+$": "^(0|[1-9][0-9]*)$", "^-?[0-9]+$": "^(0|-?[1-9][0-9]*)$"}
_PACKAGE_VERSION = "0.1.0"


def address(event: type[Event]) -> str:
    """The subject of an event with its parameters in braces."""
    return ".".join(["{realm}.{chain_id}", event.NAME, *(f"{{{name}}}" for name in PARAMETERS.get(event.NAME, ()))])


def definitions() -> dict[str, Any]:
    """The JSON Schema of every event and pool entry in its wire form, with everything they refer to."""
    models: tuple[type[BaseModel], ...] = (*EVENTS, PoolSnapshot, PoolCheckpoint)
    pairs: list[tuple[type[BaseModel], Literal["serialization"]]] = [(model, "serialization") for model in models]
    _, schema = models_json_schema(pairs)
    named: dict[str, Any] = {name: _tidy(definition) for name, definition in sorted(schema["$defs"].items())}
    for event in EVENTS:
        definition = named[event.__name__]
        definition["properties"]["version"] = {"const": event.VERSION, "description": "version of the wire form"}
        definition["required"] = ["version", *definition["required"]]
    return named


def _tidy(node: Any) -> Any:
    """Without generated titles and hints for generators, and amounts with the pattern that their parser accepts."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    unwanted = {key for key, kind in (("title", str), ("discriminator", dict)) if isinstance(node.get(key), kind)}
    kept = {key: _tidy(value) for key, value in node.items() if key not in unwanted}
    if kept.get("type") == "string" and kept.get("pattern") in _AMOUNTS:
        kept.pop("ge", None)  # a bound of the integer in code; the pattern says it for the string
        kept["pattern"] = _AMOUNTS[kept["pattern"]]
        kept.setdefault("description", "integer in the smallest unit, as a decimal string")
    return kept


def event_schemas() -> dict[str, Any]:
    """Subject pattern to JSON Schema, and the entries of the pool bucket by key pattern."""
    return {
        "$schema": DRAFT,
        "title": "Events of dexlane on the wire",
        "subjects": {
            event.pattern("*"): {
                "$ref": f"#/$defs/{event.__name__}",
                "address": address(event),
                "stream": stream_of(event).name,
            }
            for event in EVENTS
        },
        "buckets": {
            POOLS.name: {
                "*.*.pool.*": {"$ref": "#/$defs/PoolSnapshot"},
                "*.*.checkpoint": {"$ref": "#/$defs/PoolCheckpoint"},
            }
        },
        "$defs": definitions(),
    }


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0: a channel per event type, and what each service sends and receives."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "dexlane",
            "version": _PACKAGE_VERSION,
            "description": "Facts on the bus of dexlane. Headers: Nats-Msg-Id (realm and event id), traceparent.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {"host": "nats:4222", "protocol": "nats", "description": "NATS with JetStream; streams hold all"}
        },
        "channels": {event.__name__: _channel(event) for event in EVENTS},
        "operations": dict(_operations()),
        "components": {
            "messages": {event.__name__: _message(event) for event in EVENTS},
            "schemas": _moved(definitions()),
        },
    }


def _channel(event: type[Event]) -> dict[str, Any]:
    names = ("realm", "chain_id", *PARAMETERS.get(event.NAME, ()))
    channel: dict[str, Any] = {
        "address": address(event),
        "description": f"Stream {stream_of(event).name}.",
        "parameters": {name: {"description": _MEANINGS[name]} for name in names},
        "messages": {event.__name__: {"$ref": f"#/components/messages/{event.__name__}"}},
    }
    if ">" not in event.tails():
        for position, name in enumerate(PARAMETERS.get(event.NAME, ())):
            values = dict.fromkeys(str(tail).split(".")[position] for tail in event.tails())
            channel["parameters"][name]["enum"] = list(values)
    return channel


def _message(event: type[Event]) -> dict[str, Any]:
    summary = (event.__doc__ or "").strip().split("\n")[0]
    return {"name": event.NAME, "summary": summary, "payload": {"$ref": f"#/components/schemas/{event.__name__}"}}


def _operations() -> list[tuple[str, dict[str, Any]]]:
    operations = []
    for service, published in PUBLISHED.items():
        sides = (("send", published), ("receive", consumed_by(service)))
        for action, events in sides:
            for event in events:
                channel = f"#/channels/{event.__name__}"
                operation = {
                    "action": action,
                    "channel": {"$ref": channel},
                    "summary": f"{service} {'publishes' if action == 'send' else 'consumes'} {event.NAME}",
                    "tags": [{"name": service}],
                    "messages": [{"$ref": f"{channel}/messages/{event.__name__}"}],
                }
                operations.append((f"{service}.{action}.{event.NAME}", operation))
    return operations


def _moved(node: Any) -> Any:
    """The same definitions where AsyncAPI keeps them, in its dialect (draft 7: tuples are arrays of ``items``)."""
    if isinstance(node, list):
        return [_moved(item) for item in node]
    if not isinstance(node, dict):
        return node
    moved = {"items" if key == "prefixItems" else key: _moved(value) for key, value in node.items()}
    if isinstance(node.get("$ref"), str):
        moved["$ref"] = node["$ref"].replace("#/$defs/", "#/components/schemas/")
    return moved


FILES: Mapping[str, Callable[[], dict[str, Any]]] = {"events.json": event_schemas, "asyncapi.json": asyncapi}


def render(name: str) -> str:
    """The text of one generated file."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with ``--check`` say which of them differ; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dexlane.events.schema", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a file differs")
    parser.add_argument("--into", type=Path, default=SCHEMAS, help="folder of the files")
    options = parser.parse_args(arguments)
    differing = [name for name in FILES if _text(options.into.joinpath(name)) != render(name)]
    for name in differing:
        if not options.check:
            options.into.mkdir(parents=True, exist_ok=True)
            options.into.joinpath(name).write_text(render(name), encoding="utf-8")
        sys.stdout.write(f"{name}: {'differs; run `make schemas`' if options.check else 'written'}\n")
    return 1 if differing and options.check else 0


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())
