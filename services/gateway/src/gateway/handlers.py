"""What the gateway consumes: everything. Trades are archived first and shown then; last values are only shown."""

from __future__ import annotations

from dataclasses import dataclass

from dexlane.events.base import Event
from dexlane.events.breakers import BreakerChanged, BreakerReset
from dexlane.events.control import BookChanged, TradingStatus
from dexlane.events.fees import FeeQuoted
from dexlane.events.market import BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched
from dexlane.events.portfolio import ExposureChanged
from dexlane.runtime.consuming import Routes
from dexlane.runtime.journal import Journal
from gateway.metrics import Moments
from gateway.projections.display import Display
from gateway.records import ARCHIVED, add
from gateway.statuses import StatusKeeper


@dataclass(frozen=True)
class Deps:
    """What the handlers work with."""

    journal: Journal
    statuses: StatusKeeper
    display: Display
    moments: Moments


def routes(deps: Deps) -> Routes:
    """One durable consumer for each archived event; ordered readers for the rest."""
    routes = Routes()

    async def archive(event: Event) -> None:
        async with deps.journal.transaction() as tx:
            fresh = await add(tx.conn, event)
        if fresh:
            deps.moments.archived(event.NAME)
            deps.display.show(event)

    for event_type in ARCHIVED:
        routes.decide(event_type, durable=f"gateway-{event_type.NAME.replace('.', '-')}")(archive)

    @routes.follow(BlockApplied, FeeQuoted, ExposureChanged, BookChanged, BreakerChanged, BreakerReset, from_="last")
    async def show_last(event: Event) -> None:
        deps.display.show(event)

    @routes.follow(PoolDiscovered, PoolsWatched, BlockReorged, from_="all")
    async def show(event: Event) -> None:
        deps.display.show(event)

    @routes.follow(TradingStatus, from_="last")
    async def remember(word: TradingStatus) -> None:
        if await deps.statuses.remember(word):
            deps.display.show(word)

    return routes
