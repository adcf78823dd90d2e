"""The whole service on a real broker: what goes in by events comes out over HTTP, and the other way round."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from dexlane.events.base import Event
from dexlane.events.control import BookChanged, TradingStatus
from dexlane.events.thoughts import ThoughtsChained
from dexlane.runtime.books_file import default_books_text
from dexlane.runtime.bus import Bus
from dexlane.testing.builders import (
    a_block,
    a_book,
    a_fee_quote,
    a_fill,
    a_position,
    a_status,
    an_exposure,
    an_opportunity,
)
from dexlane.testing.servers import free_port
from dexlane.testing.thinking import a_thought, recorded_thoughts
from gateway.app import build
from gateway.settings import Settings

pytestmark = pytest.mark.integration


@asynccontextmanager
async def running(nats_url: str, folder: Path, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    (folder / "books.toml").write_text(changes.pop("books", default_books_text()))
    # The built events are years old, and must not fall to the retention.
    where = {"data_dir": folder, "books_file": folder / "books.toml", "port": free_port(), "archive_days": 100_000}
    settings = Settings(nats_url=nats_url, log_level="ERROR", **where, **changes)
    service = build(settings)
    life = asyncio.create_task(service.run())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}", trust_env=False) as client:
        await until(lambda: client.get("/readyz"), lambda answer: answer.status_code == 200)
        client.headers["Authorization"] = f"Bearer {(folder / 'gateway-token').read_text().strip()}"
        yield client
    service.stop()
    assert await life == 0


async def until(ask: Callable[[], Any], matches: Callable[[Any], bool]) -> Any:
    answer: Any = None
    for _ in range(200):
        try:
            answer = await ask()
            if matches(answer):
                return answer
        except (httpx.HTTPError, NotFoundError):
            answer = None
        await asyncio.sleep(0.05)
    raise AssertionError(f"never came: {answer!r} {getattr(answer, 'text', '')}")


async def last(js: JetStreamContext, event_type: type[Event], tail: str) -> Any:
    message = await js.get_last_msg("STATE", event_type.pattern("main", 1, tail))
    return event_type.from_wire(message.data or b"")


async def test_events_come_out_over_http_and_survive_a_restart(nats_url: str, bus: Bus, tmp_path: Path) -> None:
    async with running(nats_url, tmp_path) as client:
        for event in (an_opportunity(), a_fill(), a_position(), a_block(), a_fee_quote(), an_exposure()):
            await bus.publish(event)
        fills = await until(lambda: client.get("/api/v1/fills"), lambda answer: answer.json()["data"] != [])
        assert fills.json()["data"][0]["data"]["id"] == a_fill().id
        await until(lambda: client.get("/api/v1/fees"), lambda answer: answer.json()["data"][0]["fees"] is not None)
        await until(lambda: client.get("/api/v1/exposures"), lambda answer: len(answer.json()["data"]) == 1)
        assert (await client.get("/")).status_code == 200
        assert "dexlane_gateway_archived_total" in (await client.get("/metrics")).text
    async with running(nats_url, tmp_path) as client:
        assert len((await client.get("/api/v1/fills")).json()["data"]) == 1
        assert len((await client.get("/api/v1/positions")).json()["data"]) == 1
        feed = (await client.get("/api/v1/feed")).json()["data"]
        assert {entry["kind"] for entry in feed} >= {"opportunity", "fill"}


async def test_books_and_status_reach_the_bus_as_last_values(
    nats_url: str, js: JetStreamContext, tmp_path: Path
) -> None:
    async with running(nats_url, tmp_path) as client:
        assert (await client.put("/api/v1/books/paper-main", json={"level": 2})).status_code == 200
        halt = {"scope": "reducing", "reason": "drill"}
        assert (await client.post("/api/v1/halt", json=halt)).status_code == 200
    changed = await last(js, BookChanged, "paper-main")
    assert (changed.book.level, changed.book_version) == (2, 2)
    assert (await last(js, BookChanged, "live-devnet")).book_version == 1
    assert (await last(js, TradingStatus, "operator")).status == "reducing"


async def test_a_fresh_journal_takes_over_the_halt_that_is_on_the_bus(
    nats_url: str, bus: Bus, js: JetStreamContext, tmp_path: Path
) -> None:
    await bus.publish(a_status(status_version=4))
    async with running(nats_url, tmp_path) as client:
        assert (await client.get("/api/v1/status")).json()["data"][0]["effective"] == "halted"
    assert (await last(js, TradingStatus, "operator")).status_version == 4


async def test_what_happened_while_the_gateway_was_away_is_archived(nats_url: str, bus: Bus, tmp_path: Path) -> None:
    async with running(nats_url, tmp_path):
        pass
    await bus.publish(an_opportunity())
    async with running(nats_url, tmp_path) as client:
        await until(lambda: client.get("/api/v1/opportunities"), lambda answer: len(answer.json()["data"]) == 1)


async def test_a_lost_journal_is_read_again_from_the_streams_and_its_chain_names_the_head_that_was_lost(
    nats_url: str, bus: Bus, js: JetStreamContext, tmp_path: Path
) -> None:
    def all_decided(answer: httpx.Response) -> bool:
        return len(answer.json()["data"]) == 3

    books = [a_book(id=f"paper-{number}") for number in range(3)]
    async with running(nats_url, tmp_path) as client:
        for event in recorded_thoughts(*(a_thought(book=book) for book in books)):
            await bus.publish(event)
        before = await until(lambda: client.get("/api/v1/thoughts"), all_decided)
        [was] = (await client.get("/api/v1/thoughts/heads")).json()["data"]
    async with running(nats_url, tmp_path):
        told = await until(lambda: last(js, ThoughtsChained, ""), lambda word: word.sequence == 4)
    assert told.entry_hash == was["entry_hash"]
    for file in tmp_path.glob("gateway.db*"):
        file.unlink()
    async with running(nats_url, tmp_path) as client:
        again = await until(lambda: client.get("/api/v1/thoughts"), all_decided)
        document = again.json()["data"][0]["decision"]["inputs_id"]
        await until(lambda: client.get(f"/api/v1/documents/{document}"), lambda answer: answer.status_code == 200)
    hashes = [{one["id"]: one["entry"]["content_hash"] for one in each.json()["data"]} for each in (before, again)]
    assert hashes[0] == hashes[1]
    with sqlite3.connect(tmp_path / "gateway.db") as db:
        [(about,)] = db.execute("SELECT about FROM thought_chain WHERE sequence = 1").fetchall()
    db.close()
    note = json.loads(about)
    assert note["after"] == f"4:{was['entry_hash']}"
    assert note["at_ms"] > before.json()["as_of"]["at_ms"], "what was decided before may lack its documents"


@pytest.mark.parametrize(
    ("books", "network"),
    [
        ("[books]\n", "devnet"),
        (default_books_text().replace("level = 6", "level = 60"), "devnet"),
        (default_books_text().replace("live-fast", "0x" + "1" * 40).replace("live-smart", "0x" + "2" * 40), "remote"),
    ],
)
async def test_books_that_cannot_be_used_refuse_the_start(
    nats_url: str, bus: Bus, tmp_path: Path, books: str, network: Any
) -> None:
    (tmp_path / "books.toml").write_text(books)
    settings = Settings(
        nats_url=nats_url, data_dir=tmp_path, books_file=tmp_path / "books.toml", port=free_port(), network=network
    )
    assert await build(settings).run() == 2, "starting again would end the same way"
    assert bus.connected
