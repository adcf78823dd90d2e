"""What a start reads back: the last values on the bus, the archive, and the names of tokens."""

from __future__ import annotations

from typing import TypeVar

import sqlalchemy as sa
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from dexlane.domain.thoughts.chain import ChainName, Head
from dexlane.events.base import Event
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.events.streams import stream_of
from dexlane.events.thoughts import ThoughtsChained
from dexlane.runtime import thought_archive
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import Journal
from dexlane.runtime.service import Service
from gateway.projections.feed import KEPT
from gateway.projections.latency import KEPT as SIGNED_KEPT
from gateway.projections.picture import LivePicture
from gateway.records import ARCHIVED, Search, all_positions, archive, find
from gateway.statuses import StatusKeeper

E = TypeVar("E", bound=Event)


async def last_value(bus: Bus, event_type: type[E], chain_id: int, tail: str) -> E | None:
    """The last value on one subject; None when there is none. ``Transient`` when the bus does not tell."""
    subject = event_type.pattern(bus.realm, chain_id, tail)
    try:
        message = await bus.js.get_last_msg(stream_of(event_type).name, subject)
    except NotFoundError:
        return None
    except (NatsError, JetStreamError, TimeoutError) as error:
        raise Transient(f"the last value of {subject} could not be read: {error}") from error
    return event_type.from_wire(message.data or b"")


async def take_up_chains(journal: Journal, service: Service) -> None:
    """Go on with the chains of decisions, before the first new one comes.

    A journal that knows nothing was lost or is new: everything that the streams still hold is read again. Where the bus
    tells a head that the journal does not know, an entry says that the chain goes on without what that head stood for.
    """
    async with journal.reading() as conn:
        is_empty = (await conn.execute(sa.select(archive.c.sequence).limit(1))).first() is None
        is_empty = is_empty and not await thought_archive.chains(conn)
    if is_empty:
        for stream, _, durable in service.durables():
            await service.bus.forget_reader(stream, durable)
    for chain_id in service.settings.chains:
        word = await last_value(service.bus, ThoughtsChained, chain_id, "")
        name = ChainName(service.bus.realm, chain_id)
        async with journal.transaction() as tx:
            told = None if word is None else Head(word.sequence, word.entry_hash)
            is_unknown = is_empty if told is None else not await thought_archive.knows(tx.conn, name, told)
            if is_unknown:
                await thought_archive.begin(tx.conn, name, told, tx.now_ms)
            await thought_archive.append_missing(tx.conn, name)


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
