"""A broker with the system's streams, for benches."""

from __future__ import annotations

import nats

from dexlane.events.base import DEFAULT_REALM
from dexlane.runtime.bus import Bus
from dexlane.runtime.declare import declare
from dexlane.runtime.observability import configure_logging


async def started_bus(url: str) -> Bus:
    """Declare the streams on a new server, and link to it."""
    client = await nats.connect(url)
    await declare(client.jetstream(), apply=True)
    await client.close()
    bus = Bus(url, DEFAULT_REALM, "bench", configure_logging("bench", "ERROR"))
    await bus.start()
    return bus
