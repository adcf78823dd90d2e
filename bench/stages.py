"""Where the time of a live trade goes: the moments that events, the bus and the journal keep anyway, put in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import nats.errors
import orjson
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from bench.floor import Spread, spread
from dexlane.events.base import Event
from dexlane.events.execution import IntentCreated, TxChanged, TxState
from dexlane.events.market import BlockApplied
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import VerdictApproved
from dexlane.events.streams import stream_of

E = TypeVar("E", bound=Event)
HANDED = "handed to the node"
ORDER = (
    "block stored",
    "opportunity stored",
    "verdict stored",
    "intent planned",
    "signed",
    HANDED,
    "answered by the node",
)
_BY_STATE = {TxState.PLANNED: ORDER[3], TxState.SIGNED: ORDER[4], TxState.SUBMITTED: ORDER[6]}


async def stages(js: JetStreamContext, log: Path, since_ns: int) -> dict[str, list[float]]:
    """Milliseconds since the logs were received, by stage: all live trades of the fast lane found since then.

    The bus's own time stamps tell when a fact was stored; ``elapsed_ms`` of the transaction's events, and the
    executor's log line for the moment before the bytes are sent, tell the rest.
    """
    intents = {
        intent.id: intent
        for _, intent in await _read(js, IntentCreated)
        if intent.mode == "live" and intent.lane == "fast" and intent.verdict and intent.received_at_ns >= since_ns
    }
    verdicts = [intent.verdict for intent in intents.values() if intent.verdict is not None]
    wanted = {verdict.id for verdict in verdicts} | {verdict.opportunity.id for verdict in verdicts}
    received = {verdict.opportunity.received_at_ns for verdict in verdicts}
    found: dict[str, list[float]] = {stage: [] for stage in ORDER}
    found[ORDER[0]] = _stored(
        (at, e.received_at_ns) for at, e in await _read(js, BlockApplied) if e.received_at_ns in received
    )
    found[ORDER[1]] = _stored((at, e.received_at_ns) for at, e in await _read(js, OpportunityFound) if e.id in wanted)
    found[ORDER[2]] = _stored(
        (at, e.opportunity.received_at_ns) for at, e in await _read(js, VerdictApproved) if e.id in wanted
    )
    for _, change in await _read(js, TxChanged):
        stage = _BY_STATE.get(change.state)
        if stage is not None and change.intent_id in intents and change.attempt <= 1 and change.elapsed_ms is not None:
            found[stage].append(change.elapsed_ms)
    found[HANDED] = [ms for intent_id, ms in _sent(log) if intent_id in intents]
    return found


def summary(found: Mapping[str, list[float]]) -> dict[str, Spread]:
    """The distribution of every stage that was reached."""
    return {stage: spread(samples) for stage, samples in found.items() if samples}


def _stored(moments: Iterable[tuple[int, int]]) -> list[float]:
    return [(stored_ns - received_ns) / 1e6 for stored_ns, received_ns in moments]


def _sent(log: Path) -> Iterable[tuple[str, float]]:
    for line in log.read_text(errors="replace").splitlines():
        if '"transaction_sent"' in line:
            said = orjson.loads(line[line.index("{") :])
            yield said["intent_id"], said["ms"]


async def _read(js: JetStreamContext, event_type: type[E]) -> list[tuple[int, E]]:
    """Everything of that type with the time it was stored at, Unix nanoseconds."""
    found: list[tuple[int, E]] = []
    subscription = await js.subscribe(
        event_type.pattern(),
        stream=stream_of(event_type).name,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
    )
    while True:
        try:
            message = await subscription.next_msg(timeout=0.5)
        except nats.errors.TimeoutError:
            break
        found.append((_stored_ns(message), event_type.from_wire(message.data)))
    await subscription.unsubscribe()
    return found


def _stored_ns(message: Msg) -> int:
    """The last but one token of the reply subject: nats-py itself rounds it to microseconds as a float."""
    return int(message.reply.split(".")[-2])
