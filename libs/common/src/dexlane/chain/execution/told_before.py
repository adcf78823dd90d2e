"""What an executor told the bus of its intents: the memory of a journal that is younger than the one in place."""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, get_args

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from pydantic import ValidationError

from dexlane.domain.ledger import Outcome
from dexlane.events.base import Event
from dexlane.events.execution import IntentCreated, TxChanged
from dexlane.events.streams import stream_of
from dexlane.runtime.bus import Bus
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.errors import Transient
from dexlane.runtime.reading import Follower

READ_S = 300.0
"""How long reading one type of fact may take: the stream keeps 90 days of them."""

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class ToldBefore:
    """An intent with the last that was told of it: the number of its last ``tx`` event, and the outcome that holds."""

    intent: IntentCreated
    sequence: int = 0
    outcome: Outcome | None = None


class ToldFacts(Protocol):
    """Where it can be read what was told."""

    async def of(self, chain_id: int, intent_ids: AbstractSet[str]) -> dict[str, ToldBefore]:
        """By intent; without those of which nothing was told. ``Transient`` when it cannot be read."""
        ...


class ToldOnBus:
    """Reads the streams from their beginning."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def of(self, chain_id: int, intent_ids: AbstractSet[str]) -> dict[str, ToldBefore]:
        """As ``ToldFacts.of``."""
        try:
            facts: list[Event] = []
            for event_type in (IntentCreated, TxChanged, *get_args(Outcome)):
                facts += await self._stored(event_type, chain_id, intent_ids)
        except (NatsError, JetStreamError, TimeoutError) as error:
            raise Transient(f"what was told of chain {chain_id} could not be read: {error}") from error
        return last_told(facts, intent_ids)

    async def _stored(self, event_type: type[E], chain_id: int, intent_ids: AbstractSet[str]) -> list[E]:
        found: list[E] = []
        wanted = {intent_id.encode() for intent_id in intent_ids}

        async def take(message: Msg) -> None:
            # Most of it is about other intents, and reading all of it would take minutes.
            if any(intent_id in message.data for intent_id in wanted):
                try:
                    found.append(event_type.from_wire(message.data))
                except ValidationError:
                    return  # of a form that is not read any more: as if it had not been told

        stream = stream_of(event_type).name_in(self._bus.realm)
        follower = Follower(self._bus, stream, event_type.pattern(self._bus.realm, chain_id), start="all")
        reading = [asyncio.create_task(follower.run(take)), asyncio.create_task(follower.caught_up.wait())]
        try:
            async with asyncio.timeout(READ_S):
                await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancelled(reading)
        return found


def last_told(facts: list[Event], intent_ids: AbstractSet[str]) -> dict[str, ToldBefore]:
    """The last that was told of each of these intents, whatever the order of the facts."""
    told = {fact.id: ToldBefore(fact) for fact in facts if isinstance(fact, IntentCreated) and fact.id in intent_ids}
    for fact in facts:
        if isinstance(fact, TxChanged) and fact.intent_id in told:
            known = told[fact.intent_id]
            told[fact.intent_id] = replace(known, sequence=max(known.sequence, fact.sequence))
        elif isinstance(fact, Outcome) and fact.intent_id in told:
            known = told[fact.intent_id]
            if known.outcome is None or known.outcome.outcome_version < fact.outcome_version:
                told[fact.intent_id] = replace(known, outcome=fact)
    return told
