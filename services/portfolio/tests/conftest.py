"""A portfolio without a broker: the real journal and ledger, a pool mirror fed by hand, handlers called directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

import pytest_asyncio
import sqlalchemy as sa

from dexlane.domain.breakers.policy import DEFAULTS
from dexlane.domain.ledger import Outcome
from dexlane.events.base import Event
from dexlane.events.control import TradingStatus
from dexlane.events.market import BlockApplied
from dexlane.runtime.breaker_board import BoardPlace, BreakerBoard, BreakerMoments
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.journal import Journal, outbox
from dexlane.runtime.observability import Log, Metrics
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.testing.builders import NOW_MS, V2_POOL, a_block, a_block_ref, a_book, a_pool_v2, a_reserves_delta
from dexlane.testing.journals import migrated
from dexlane.values.books import Book
from portfolio.accounting import Accounting
from portfolio.handlers import Deps
from portfolio.marks import Announcer, ExitWatch, Marks, SideValues
from portfolio.marks.results import ResultBreakers
from portfolio.metrics import Moments
from portfolio.store.entries import EntryStore
from portfolio.store.positions import PositionStore, StoredPosition

E = TypeVar("E", bound=Event)


@dataclass
class Portfolio:
    """The parts of the service, and what a test wants to know about them."""

    journal: Journal
    mirror: PoolMirror
    clock: ManualClock
    deps: Deps
    watch: ExitWatch
    metrics: Metrics

    @property
    def accounting(self) -> Accounting:
        return self.deps.accounting

    async def book(self, *events: Outcome) -> None:
        for event in events:
            await self.accounting.book(event)

    def use(self, book: Book) -> None:
        self.deps.sides.books.set(book.id, book, self.clock.now_ms())

    def hear(self, status: TradingStatus) -> None:
        self.deps.sides.statuses.set((status.chain_id, status.source), status, self.clock.now_ms())

    async def block(self, number: int, *, usdc: int = 20_000_000) -> BlockApplied:
        """Apply a block in which the V2 pool holds that many USDC against 10,000 WETH; its time passes on the clock."""
        event = a_block(number, a_reserves_delta(pool=V2_POOL, reserve0=usdc * 10**6))
        behind = event.occurred_at_ms - self.clock.now_ms()
        if behind > 0:
            self.clock.advance(behind)
        await self.mirror.apply(event)
        return event

    async def emitted(self, kind: type[E]) -> list[E]:
        async with self.journal.reading() as conn:
            rows = (await conn.execute(sa.select(outbox).order_by(outbox.c.sequence))).all()
        payloads = [row.payload for row in rows if f".{kind.NAME}" in row.subject]
        return [kind.from_wire(payload) for payload in payloads]

    async def position(self, book_id: str, account: str, token: str) -> StoredPosition:
        async with self.journal.reading() as conn:
            found = await PositionStore(conn).position(book_id, account, token)
        assert found is not None
        return found

    async def balances(self, block: int | None = None) -> dict[tuple[str, str], int]:
        async with self.journal.reading() as conn:
            return await EntryStore(conn).summed_balances(block)


async def a_portfolio(url: str, log: Log) -> Portfolio:
    await migrated(url, "portfolio")
    clock = ManualClock(NOW_MS)
    journal = Journal(url, clock=clock, log=log)
    mirror = PoolMirror(1)
    mirror.book.put(a_pool_v2(), a_block_ref(99))
    marks = Marks({1: mirror}, clock, 60_000)
    metrics = Metrics("portfolio")
    moments = Moments(log, metrics)
    sides = SideValues()
    place = BoardPlace(
        service="portfolio", chain_id=1, policies=DEFAULTS, clock=clock, moments=BreakerMoments(metrics, log)
    )
    results = ResultBreakers({1: BreakerBoard(place)}, sides.books, journal)
    await results.take_up({})
    announcer = Announcer(marks, moments, results.valued)
    accounting = Accounting(journal, announcer, moments, results.sold)
    watch = ExitWatch(journal, announcer, sides, 5, 10)
    mirror.on_block(watch.on_block)
    mirror.on_block(results.on_block)
    portfolio = Portfolio(
        journal, mirror, clock, Deps(accounting, sides, marks, journal, clock, results), watch, metrics
    )
    portfolio.use(a_book())
    await portfolio.block(100)
    return portfolio


@pytest_asyncio.fixture
async def portfolio(database_url: str, log: Log) -> AsyncIterator[Portfolio]:
    """A portfolio on a database of its own, with a current block and a paper book; its books are proved at the end."""
    made = await a_portfolio(database_url, log)
    try:
        yield made
        await made.accounting.verify()
    finally:
        await made.journal.stop()
