"""The last values on the bus, read once: what is stored must be known before anything is decided."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

from nats.js.errors import NotFoundError

from dexlane.events.base import Event
from dexlane.events.streams import stream_of
from dexlane.runtime.bus import Bus

E = TypeVar("E", bound=Event)


async def stored_values(bus: Bus, event_type: type[E], chain_id: int) -> AsyncIterator[E]:
    """The last value on every subject of a type of event on a chain. Raises what the broker's client raises."""
    stream = stream_of(event_type).name_in(bus.realm)
    pattern = event_type.pattern(bus.realm, chain_id)
    info = await bus.js.stream_info(stream, subjects_filter=pattern)
    for subject in sorted(info.state.subjects or {}):
        try:
            message = await bus.js.get_last_msg(stream, subject)
        except NotFoundError:
            continue
        yield event_type.from_wire(message.data or b"")
