"""A gateway without a broker: the real journal, routes and page; what goes out is read from the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import pytest_asyncio
import sqlalchemy as sa

from dexlane.events.base import Event
from dexlane.runtime.books_file import BooksFile, default_books_text, parse_books
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.endpoints import HttpServer
from dexlane.runtime.journal import outbox
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.journals import migrated
from dexlane.testing.servers import free_port
from dexlane.values.base import digest
from gateway.api import build_api
from gateway.api.desk import Desk, Surroundings, make_desk
from gateway.books import event_of
from gateway.records import add
from gateway.settings import Settings

E = TypeVar("E", bound=Event)
TOKEN = "t" * 43
WRITE = {"Authorization": f"Bearer {TOKEN}"}


def books_file(text: str | None = None) -> BooksFile:
    books = parse_books(text or default_books_text(), roles=Settings().roles)
    return BooksFile(books=books, digest=digest(*(book.model_dump(mode="json") for book in books)))


@dataclass
class Gateway:
    """The parts of a running gateway, and what a test wants to know about them."""

    desk: Desk
    clock: ManualClock
    client: httpx.AsyncClient
    metrics: Metrics

    def gauge(self, name: str) -> float | None:
        """What a gauge without labels shows."""
        return self.metrics.registry.get_sample_value(f"dexlane_gateway_{name}")

    async def archive(self, *events: Event) -> None:
        """What the durable consumers do."""
        for event in events:
            async with self.desk.journal.transaction() as tx:
                fresh = await add(tx.conn, event)
            if fresh:
                self.desk.display.show(event)

    async def sent(self, event_type: type[E]) -> list[E]:
        """What was put in the outbox, oldest first."""
        async with self.desk.journal.reading() as conn:
            rows = await conn.execute(sa.select(outbox.c.subject, outbox.c.payload).order_by(outbox.c.sequence))
        return [event_type.from_wire(row.payload) for row in rows if f".{event_type.NAME}" in row.subject]

    async def get(self, path: str, **query: Any) -> Any:
        """The data of a good answer."""
        answer = await self.client.get(f"/api/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def post(self, path: str, body: Any, status: int = 200) -> Any:
        """The body of the answer to an authorised write."""
        answer = await self.client.post(f"/api/v1{path}", json=body, headers=WRITE)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def resume(self, reason: str, **more: Any) -> Any:
        """Release the operator's halt as somebody does who has just looked at it; the data."""
        words = [(row["chain_id"], word) for row in await self.get("/status") for word in row["sources"]]
        seen = {chain: word["version"] for chain, word in words if word["source"] == "operator"}
        return (await self.post("/resume", {"reason": reason, "seen": seen, **more}))["data"]

    async def put(self, path: str, body: Any, status: int = 200) -> Any:
        """The same for PUT."""
        answer = await self.client.put(f"/api/v1{path}", json=body, headers=WRITE)
        assert answer.status_code == status, answer.text
        return answer.json()


async def taken(_within_s: float) -> bool:
    """What a bus says that takes everything."""
    return True


Make = Callable[..., Any]


@pytest.fixture
def settings_for(tmp_path: Path) -> Callable[..., Settings]:
    """Settings in a folder of their own."""

    def make(**changes: Any) -> Settings:
        return Settings(**{"data_dir": tmp_path, **changes})

    return make


@pytest_asyncio.fixture
async def open_gateway(settings_for: Callable[..., Settings], log: Log) -> AsyncIterator[Make]:
    """Opens gateways on the same journal, one after the other, as restarts do."""
    opened: list[Gateway] = []

    async def make(file: BooksFile | None = None, published: dict[str, int] | None = None, **changes: Any) -> Gateway:
        settings = settings_for(**{"writes_per_minute": 1_000, **changes})
        clock = opened[-1].clock if opened else ManualClock()
        metrics = Metrics("gateway")
        desk = make_desk(settings, Surroundings(clock, metrics, log, own=dict))
        await migrated(settings.database("gateway"), "gateway")
        await desk.books.load(file or books_file(), published or {})
        await desk.statuses.load(())
        await desk.paths.load(desk.statuses.operator_level)
        for version in desk.books.current.values():
            desk.display.show(event_of(version, clock.now_ms()))
        for word in desk.statuses.words.values():
            desk.display.show(word)
        desk.token.use(TOKEN)
        desk.door.is_open = True
        transport = httpx.ASGITransport(build_api(desk), client=("127.0.0.1", 50_000))
        client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")
        desk.paths.published = taken
        gateway = Gateway(desk, clock, client, metrics)
        opened.append(gateway)
        return gateway

    yield make
    for gateway in opened:
        await gateway.client.aclose()
        await gateway.desk.journal.stop()


@pytest_asyncio.fixture
async def gateway(open_gateway: Make) -> Gateway:
    """A gateway with the two books of the example file."""
    opened: Gateway = await open_gateway()
    return opened


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Make]:
    """Serves gateways on ports of their own; gives their addresses."""
    running: list[tuple[HttpServer, asyncio.Task[None]]] = []

    async def start(gateway: Gateway) -> str:
        port = free_port()
        server = HttpServer(build_api(gateway.desk), "127.0.0.1", port)
        running.append((server, asyncio.create_task(server.run())))
        for _ in range(100):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
        return f"http://127.0.0.1:{port}"

    yield start
    for server, task in running:
        server.stop()
        await task
