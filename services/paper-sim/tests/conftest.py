"""A paper exchange on a real journal, with a mirror that the test drives block by block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TypeVar

import pytest_asyncio
import sqlalchemy as sa

from dexlane.domain.simulation import SimulationModel
from dexlane.events.base import Event
from dexlane.events.streams import EVENTS
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.journal import Journal, outbox
from dexlane.runtime.observability import Log, Metrics, configure_logging
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.testing.builders import (
    CHAIN_ID,
    NOW_MS,
    a_block,
    a_block_ref,
    a_book_changed,
    a_pool_v2,
    a_pool_v3,
    a_reorg,
)
from dexlane.testing.journals import migrated
from dexlane.values.pools import PoolDelta
from paper_sim.exchange import PaperExchange, Terms
from paper_sim.metrics import Moments

E = TypeVar("E", bound=Event)


@dataclass
class Bench:
    """Drives one exchange and reads what it told."""

    url: str
    log: Log
    terms: Terms
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_MS))

    async def start(self, number: int = 100, fork: str = "main") -> None:
        """A new process on the same journal, whose mirror stands at this block."""
        self.journal = Journal(self.url, clock=self.clock, log=self.log)
        self.mirror = PoolMirror(CHAIN_ID)
        for pool in (a_pool_v2(), a_pool_v3()):
            self.mirror.book.put(pool, a_block_ref(number - 1, fork))
        self.moments = Moments(self.log, Metrics("paper-sim-test"))
        self.exchange = PaperExchange(self.mirror, self.journal, self.terms, clock=self.clock, moments=self.moments)
        await self.exchange.load()
        self.mirror.on_block(self.exchange.on_block)
        self.mirror.on_reorg(self.exchange.on_reorg)
        await self.block(number, fork=fork)

    async def kill(self) -> None:
        """The process is gone; only the journal is left."""
        await self.journal.engine.dispose()

    async def block(self, number: int, *deltas: PoolDelta, **fields: object) -> None:
        """The next block arrives."""
        self.clock.advance(1_000)
        await self.mirror.apply(a_block(number, *deltas, **fields))  # type: ignore[arg-type]

    async def reorg(self, old: int, ancestor: int, *, frm: str = "main", to: str = "other", at_ms: int = 0) -> None:
        """Blocks above the ancestor are replaced; the new ones come with ``block(..., fork=to)``."""
        event = a_reorg(a_block_ref(old, frm), a_block_ref(ancestor), a_block_ref(old, to))
        await self.mirror.reorg(event.model_copy(update={"occurred_at_ms": event.occurred_at_ms + at_ms}))

    async def told(self) -> list[Event]:
        """Every fact in the outbox, in order."""
        async with self.journal.reading() as conn:
            rows = (await conn.execute(sa.select(outbox).order_by(outbox.c.sequence))).all()
        return [_event(row.subject, row.payload) for row in rows]

    async def told_of(self, kind: type[E]) -> list[E]:
        """The facts of one type."""
        return [event for event in await self.told() if isinstance(event, kind)]


def _event(subject: str, payload: bytes) -> Event:
    name = subject.split(".", 2)[2]
    kind = next(kind for kind in EVENTS if name == kind.NAME or name.startswith(f"{kind.NAME}."))
    return kind.from_wire(payload)


@pytest_asyncio.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    """An exchange at block 100 with the accounts of the default book open."""
    await migrated(database_url, "paper_sim")
    terms = Terms(model=SimulationModel(), confirmations=3, opening_native_wei=10**18)
    bench = Bench(database_url, configure_logging("paper-sim-test", "ERROR"), terms)
    await bench.start()
    await bench.exchange.note_book(a_book_changed())
    yield bench
    await bench.kill()
