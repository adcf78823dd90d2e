"""What the gateway consumes: everything. Trades are archived first and shown then; last values are only shown."""

from __future__ import annotations

from dataclasses import dataclass

from dexlane.domain.thoughts.chain import ChainName, Head
from dexlane.events.base import DEFAULT_REALM, Event
from dexlane.events.breakers import BreakerChanged, BreakerReset
from dexlane.events.control import BookChanged, TradingStatus
from dexlane.events.fees import FeeQuoted
from dexlane.events.market import BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched
from dexlane.events.portfolio import ExposureChanged
from dexlane.events.thoughts import DocumentsRecorded, ThoughtsChained
from dexlane.runtime import thought_archive
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
    realm: str = DEFAULT_REALM


def routes(deps: Deps) -> Routes:
    """One durable consumer for each archived event; ordered readers for the rest."""
    routes = Routes()

    async def archive(event: Event) -> None:
        async with deps.journal.transaction() as tx:
            fresh = await add(tx.conn, event, tx.realm)
        if fresh:
            deps.moments.archived(event.NAME)
            deps.display.show(event)

    for event_type in ARCHIVED:
        routes.decide(event_type, durable=f"gateway-{event_type.NAME.replace('.', '-')}")(archive)

    _add_thoughts(routes, deps)

    @routes.follow(BlockApplied, FeeQuoted, ExposureChanged, BookChanged, BreakerChanged, BreakerReset, from_="last")
    async def show_last(event: Event) -> None:
        deps.display.show(event)

    @routes.follow(PoolDiscovered, PoolsWatched, BlockReorged, from_="all")
    async def show(event: Event) -> None:
        deps.display.show(event)

    @routes.follow(TradingStatus, from_="last")
    async def remember(word: TradingStatus) -> None:
        if deps.statuses.is_news(word):
            deps.display.show(word)
            await deps.statuses.remember(word)

    return routes


def _add_thoughts(routes: Routes, deps: Deps) -> None:
    """What decisions were computed from, and what is told of their chain."""

    @routes.decide(DocumentsRecorded, durable="gateway-documents-recorded")
    async def keep(event: DocumentsRecorded) -> None:
        async with deps.journal.transaction() as tx:
            await thought_archive.put_documents(tx.conn, event, tx.now_ms)

    @routes.follow(ThoughtsChained, from_="last")
    async def compare(word: ThoughtsChained) -> None:
        name, told = ChainName(deps.realm, word.chain_id), Head(word.sequence, word.entry_hash)
        async with deps.journal.reading() as conn:
            is_ours = await thought_archive.knows(conn, name, told)
        if not is_ours:
            deps.moments.other_chain(word.chain_id, word.sequence)
