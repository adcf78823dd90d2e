"""Identifiers and subjects: the same fact has the same id everywhere, and lives in exactly one place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dexlane.events.base import Event
from dexlane.events.control import BookChanged
from dexlane.events.execution import FillIncluded, IntentCreated, TxChanged, TxState
from dexlane.events.fees import FeeQuoted
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import VerdictApproved, VerdictRejected
from dexlane.events.streams import EVENTS, STREAMS, StreamSpec, stream_of
from dexlane.testing import builders

GOLDEN = Path(__file__).parent / "golden"
REALMS = ("main", "replay-tuesday")

IDS_SCRIPT = """
import json
from dexlane.testing import builders as b
events = [b.an_opportunity(), b.a_verdict(), b.an_intent(), b.a_fill(), b.a_position(), b.a_fee_quote(), b.a_block()]
print(json.dumps([event.id for event in events]))
"""


def golden_events() -> list[Event]:
    return [event_type.from_wire((GOLDEN / f"{event_type.NAME}.json").read_bytes()) for event_type in EVENTS]


def matches(pattern: str, subject: str) -> bool:
    """NATS rules: ``*`` is one token, ``>`` is one or more at the end."""
    expression = re.escape(pattern).replace(r"\*", "[^.]+").replace(">", ".+")
    return re.fullmatch(expression, subject) is not None


def homes(subject: str) -> list[str]:
    return [
        spec.name_in(realm)
        for spec in STREAMS
        for realm in REALMS
        for pattern in spec.subjects_in(realm)
        if matches(pattern, subject)
    ]


def ids_in_a_process_with_hash_seed(seed: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", IDS_SCRIPT], env=environment, check=True, capture_output=True)
    found: list[str] = json.loads(done.stdout)
    return found


def test_ids_are_equal_in_every_process() -> None:
    first, second = (ids_in_a_process_with_hash_seed(seed) for seed in ("1", "2"))
    assert first == second
    assert len(set(first)) == len(first)


def test_ids_do_not_change_between_releases() -> None:
    block_hash = "0x" + "ab" * 32
    assert FeeQuoted.make_id(1, block_hash) == "120f8bc4ff8b52622c8db822508c4db1"
    assert TxChanged.make_id("0" * 32, 3) == "d08e83d0104660d80b87a156864807f5"
    assert BookChanged.make_id("paper-main", 1) == "d2d8e31bb9e4a7de359ec2fdfb204047"


def test_opportunity_seen_twice_has_one_id_whatever_the_time_and_the_size() -> None:
    first = builders.an_opportunity()
    again = builders.an_opportunity(occurred_at_ms=builders.NOW_MS + 70, size_hint=1, received_at_ns=1)
    assert again.id == first.id
    assert builders.an_opportunity(addressee="paper-one").id != first.id
    assert builders.an_opportunity(strategy_version=2).id != first.id
    assert builders.an_opportunity(block=builders.a_block_ref(101)).id != first.id


def test_opportunity_id_depends_on_the_direction_of_its_route() -> None:
    there, back = builders.a_route(), builders.a_route(token_in=builders.WETH.address)
    ids = {OpportunityFound.make_id("momentum", 1, builders.a_hash("block"), route, None) for route in (there, back)}
    assert len(ids) == 2


def test_approval_and_rejection_of_one_opportunity_are_twins() -> None:
    assert VerdictApproved.make_id("1" * 32) == VerdictRejected.make_id("1" * 32)


def test_kinds_of_outcome_never_share_an_id() -> None:
    same = [event_type.make_id("1" * 32, 1) for event_type in (FillIncluded, TxChanged)]
    assert len(set(same)) == 2
    assert IntentCreated.make_id("a", "b", "entry") != IntentCreated.make_id("a", "b", "exit")


@pytest.mark.parametrize("event", golden_events(), ids=lambda event: event.NAME)
@pytest.mark.parametrize("realm", REALMS)
def test_every_subject_is_stored_by_exactly_its_stream(event: Event, realm: str) -> None:
    assert homes(event.subject(realm)) == [stream_of(type(event)).name_in(realm)]


@pytest.mark.parametrize("event", golden_events(), ids=lambda event: event.NAME)
def test_subject_matches_its_own_patterns_and_no_other_event(event: Event) -> None:
    subject = event.subject()
    for pattern in (event.pattern(), event.pattern(chain_id=event.chain_id)):
        assert matches(pattern, subject)
    strangers = [other.NAME for other in EVENTS if other is not type(event) and matches(other.pattern(), subject)]
    assert strangers == []
    assert not matches(event.pattern(chain_id=8453), subject)


@pytest.mark.parametrize("event_type", EVENTS, ids=lambda event_type: event_type.NAME)
def test_every_event_has_a_stream(event_type: type[Event]) -> None:
    assert isinstance(stream_of(event_type), StreamSpec)


def test_undeclared_event_is_refused_with_advice() -> None:
    class Stranger(Event):
        NAME = "stranger.met"

    with pytest.raises(KeyError, match=r"dexlane\.events\.streams"):
        stream_of(Stranger)


def test_dead_letters_of_a_realm_go_to_that_realm() -> None:
    assert homes("dlq.main.1.verdict.approved.fast") == ["DEAD_LETTERS"]
    assert homes("dlq.replay-tuesday.1.fee.quoted") == ["DEAD_LETTERS-replay-tuesday"]


def test_no_stream_begins_with_a_wildcard_because_the_server_refuses_it() -> None:
    for spec in STREAMS:
        assert not [subject for subject in spec.subjects_in("main") if subject.startswith(("*", ">"))]


def test_transaction_states_are_closed_endings() -> None:
    subjects = {builders.a_tx(state).subject() for state in TxState}
    assert subjects == {f"main.1.tx.{state}" for state in TxState}
