"""Shows events: into the picture, and out to the live clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dexlane.events.base import Event
from dexlane.events.streams import EVENTS
from dexlane.runtime.clock import Clock
from gateway.projections.health import HealthPoller, ServiceHealth
from gateway.projections.hub import FEED, OVERVIEW, Hub
from gateway.projections.picture import LivePicture, Overview

SUBSCRIBABLE = frozenset({event.NAME for event in EVENTS} | {FEED, OVERVIEW})
"""What a client can subscribe to: every event by its name, the list, and the sums of the page."""
OVERVIEW_INTERVAL_S = 1.0


class FullOverview(Overview):
    """The page's sums with the health of all services."""

    services: tuple[ServiceHealth, ...]


class Display:
    """One place through which everything that happens becomes visible."""

    def __init__(self, picture: LivePicture, hub: Hub, health: HealthPoller, clock: Clock) -> None:
        self.picture = picture
        self.hub = hub
        self.health = health
        self._clock = clock

    def show(self, event: Event) -> None:
        """Take an event into the picture and tell the clients that want it."""
        now_ms = self._clock.now_ms()
        item = self.picture.apply(event, now_ms)
        if self.hub.wanted(event.NAME):
            self.hub.send(event.NAME, event.to_wire(), now_ms)
        if item is not None and self.hub.wanted(FEED):
            self.hub.send(FEED, item.model_dump_json().encode(), now_ms)

    def overview(self) -> FullOverview:
        """Everything the page shows but the list."""
        picture = self.picture.overview(self._clock.now_ms())
        return FullOverview(**dict(picture), services=self.health.view())

    def send_overview(self) -> None:
        """Tell the clients that want the sums how they stand."""
        if self.hub.wanted(OVERVIEW):
            body = self.overview().model_dump_json().encode()
            self.hub.send_latest(OVERVIEW, body, self._clock.now_ms())

    async def run(self, after_each: Callable[[], None]) -> None:
        """Tell the sums once a second, for ever, because ages grow even when nothing happens."""
        while True:
            self.send_overview()
            after_each()
            await asyncio.sleep(OVERVIEW_INTERVAL_S)
