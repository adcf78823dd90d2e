"""Read the last values once, before anything is decided: a halt that is stored must be known to the first verdict."""

from __future__ import annotations

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from dexlane.chain.execution.side_values import SideValues
from dexlane.events.breakers import BreakerChanged, BreakerReset
from dexlane.events.control import BookChanged, TradingStatus
from dexlane.events.fees import FeeQuoted
from dexlane.events.portfolio import ExposureChanged
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Transient
from dexlane.runtime.stored_values import stored_values


async def load_last_values(bus: Bus, side: SideValues, chain_id: int) -> None:
    """Books, exposures, fee quote, every source's status and every breaker of a chain. ``Transient`` when the broker
    does not answer."""
    try:
        async for status in stored_values(bus, TradingStatus, chain_id):
            side.take_status(status)
        async for fact in stored_values(bus, BreakerChanged, chain_id):
            side.take_breaker(fact)
        async for reset in stored_values(bus, BreakerReset, chain_id):
            side.breakers.take_reset(reset)
        async for book in stored_values(bus, BookChanged, chain_id):
            side.take_book(book)
        async for exposure in stored_values(bus, ExposureChanged, chain_id):
            side.take_exposure(exposure)
        async for quote in stored_values(bus, FeeQuoted, chain_id):
            side.take_fee_quote(quote)
    except (NatsError, JetStreamError, TimeoutError) as error:
        raise Transient(f"the last values of chain {chain_id} could not be read: {error}") from error
