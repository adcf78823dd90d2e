"""What a start reads back: the last values on the bus, the archive, and the names of tokens."""

from __future__ import annotations

from typing import TypeVar

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from dexlane.events.base import Event
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.events.streams import stream_of
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Fatal, Transient
from dexlane.runtime.journal import Journal
from gateway.projections.feed import KEPT
from gateway.projections.latency import KEPT as SIGNED_KEPT
from gateway.projections.picture import LivePicture
from gateway.records import ARCHIVED, Search, all_positions, find
from gateway.statuses import StatusKeeper

E = TypeVar("E", bound=Event)


async def last_value(bus: Bus, event_type: type[E], chain_id: int, tail: str) -> E | None:
    """The last value on one subject; None when there is none. ``Fatal`` when the bus does not tell."""
    subject = event_type.pattern(bus.realm, chain_id, tail)
    try:
        message = await bus.js.get_last_msg(stream_of(event_type).name, subject)
    except NotFoundError:
        return None
    except (NatsError, JetStreamError, TimeoutError) as error:
        raise Fatal(f"the last value of {subject} could not be read: {error}") from error
    return event_type.from_wire(message.data or b"")


async def rebuild(picture: LivePicture, journal: Journal, statuses: StatusKeeper) -> int:
    """Fill the picture from the journal; returns how many events went in."""
    events: list[Event] = list(statuses.words.values())
    async with journal.reading() as conn:
        events += await all_positions(conn)
        for event_type in ARCHIVED:
            limit = SIGNED_KEPT if event_type.NAME == "tx" else KEPT
            events += [record.event for record in await find(conn, Search(names=(event_type.NAME,), limit=limit))]
    for event in sorted(events, key=lambda event: (event.occurred_at_ms, event.id)):
        picture.apply(event, event.occurred_at_ms)
    return len(events)


async def learn_tokens(picture: LivePicture, bus: Bus, chain_id: int) -> None:
    """Learn the names of the tokens of every watched pool. Without them the page shows addresses."""
    try:
        checkpoint = await bus.kv_get(PoolCheckpoint.key(bus.realm, chain_id))
        if checkpoint is None:
            return
        for address in PoolCheckpoint.model_validate_json(checkpoint).pools:
            raw = await bus.kv_get(PoolSnapshot.key(bus.realm, chain_id, address))
            if raw is not None:
                key = PoolSnapshot.model_validate_json(raw).pool.key
                picture.tokens.learn(chain_id, key.tokens)
    except Transient:
        return  # they are learnt again from pool.discovered
