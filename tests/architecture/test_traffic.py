"""The table of who publishes and consumes what says the same as the services."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from house_rules import SERVICES, Source, all_sources, name_of, package_of, planted, sources_of

from dexlane.events.streams import EVENTS
from dexlane.events.traffic import PUBLISHED, consumed_by

NAMES = {event_type.__name__: event_type for event_type in EVENTS}
MIRRORED = ("BlockApplied", "BlockReorged", "PoolDiscovered", "PoolsWatched")
SHARED_CONSUMERS = ("dexlane.chain",)
"""Packages beside a service's own in which its routes may be declared."""


def consumed_in(source: Source) -> Iterator[str]:
    """Event types named in ``decide`` and ``follow`` calls; a mirror stands for what it follows."""
    for node in source.walk(ast.Call):
        assert isinstance(node, ast.Call)
        if name_of(node).endswith((".decide", ".follow")):
            yield from (name_of(argument) for argument in node.args if name_of(argument) in NAMES)
        if name_of(node) == "PoolMirror":
            yield from MIRRORED


def built_in(source: Source) -> set[str]:
    """Event types that this file constructs."""
    return {name_of(node) for node in source.walk(ast.Call) if isinstance(node, ast.Call) and name_of(node) in NAMES}


def names(types: tuple[type, ...]) -> set[str]:
    return {event_type.__name__ for event_type in types}


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "gateway"])
def test_service_consumes_what_the_table_says(service: str) -> None:
    found = {name for source in sources_of(package_of(service)) for name in consumed_in(source)}
    shared = {
        name
        for source in all_sources()
        if source.within(*SHARED_CONSUMERS) and service.endswith("-executor")
        for name in consumed_in(source)
    }
    assert found | shared == names(consumed_by(service))


@pytest.mark.parametrize("service", SERVICES)
def test_service_constructs_no_event_that_the_table_does_not_know(service: str) -> None:
    found = {name for source in sources_of(package_of(service)) for name in built_in(source)}
    assert found <= names(PUBLISHED[service])


def test_every_event_is_constructed_somewhere_outside_the_test_kit() -> None:
    built = {name for source in all_sources() if not source.within("dexlane.testing") for name in built_in(source)}
    assert set(NAMES) - built == set()


def test_planted_route_and_event_are_seen() -> None:
    text = "@routes.decide(FillIncluded, durable='x')\nasync def on_fill(event):\n    TxChanged(id='')\n"
    source = planted(text, "portfolio.planted")
    assert list(consumed_in(source)) == ["FillIncluded"]
    assert built_in(source) == {"TxChanged"}
    assert list(consumed_in(planted("mirror = PoolMirror(1)"))) == list(MIRRORED)
