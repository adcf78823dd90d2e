"""Read the last values once, before anything is decided: a halt that is stored must be known to the first verdict."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from dexlane.chain.execution.side_values import SideValues
from dexlane.events.base import Event
from dexlane.events.control import BookChanged, TradingStatus
from dexlane.events.fees import FeeQuoted
from dexlane.events.portfolio import ExposureChanged
from dexlane.events.streams import stream_of
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Fatal

E = TypeVar("E", bound=Event)


async def load_last_values(bus: Bus, side: SideValues, chain_id: int) -> None:
    """Books, exposures, fee quote and every source's status of a chain. ``Fatal`` when the broker does not answer."""
    try:
        async for status in _stored(bus, TradingStatus, chain_id):
            side.take_status(status)
        async for book in _stored(bus, BookChanged, chain_id):
            side.take_book(book)
        async for exposure in _stored(bus, ExposureChanged, chain_id):
            side.take_exposure(exposure)
        async for quote in _stored(bus, FeeQuoted, chain_id):
            side.take_fee_quote(quote)
    except (NatsError, JetStreamError, TimeoutError) as error:
        raise Fatal(f"the last values of chain {chain_id} could not be read: {error}") from error


async def _stored(bus: Bus, event_type: type[E], chain_id: int) -> AsyncIterator[E]:
    stream = stream_of(event_type).name_in(bus.realm)
    pattern = event_type.pattern(bus.realm, chain_id)
    info = await bus.js.stream_info(stream, subjects_filter=pattern)
    for subject in sorted(info.state.subjects or {}):
        try:
            message = await bus.js.get_last_msg(stream, subject)
        except NotFoundError:
            continue
        yield event_type.from_wire(message.data or b"")
