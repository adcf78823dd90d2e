"""A level that is changed at the gateway is the level that an executor plans by, on a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from dexlane.events.execution import IntentCreated
from dexlane.events.risk import DecisionRecorded, VerdictApproved
from dexlane.events.streams import TRADING
from dexlane.runtime.books_file import default_books_text
from dexlane.runtime.bus import Bus
from dexlane.runtime.service import Service
from dexlane.testing.builders import (
    a_pool_v3,
    a_verdict,
    an_entry_opportunity,
    an_exposure,
)
from dexlane.testing.servers import free_port
from dexlane.testing.told_market import eventually, tell_market
from fast_executor.app import build as build_executor
from fast_executor.settings import Settings as ExecutorSettings
from gateway.app import build as build_gateway
from gateway.settings import Settings as GatewaySettings

pytestmark = [pytest.mark.integration, pytest.mark.alone]

BOOK = "paper-main"
CAUTIOUS, BOLD = 3, 6
TOO_RISKY_FOR_THREE = 32
ASK_EVERY_S = 0.02


@asynccontextmanager
async def living(service: Service, port: int) -> AsyncIterator[httpx.AsyncClient]:
    """A service from the moment on at which it is ready."""
    life = asyncio.create_task(service.run())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        try:
            await until_ready(client)
            yield client
        finally:
            service.stop()
            assert await life == 0


async def until_ready(client: httpx.AsyncClient) -> None:
    for _ in range(400):
        with suppress(httpx.TransportError):
            if (await client.get("/readyz")).status_code == 200:
                return
        await asyncio.sleep(0.05)
    raise AssertionError((await client.get("/readyz")).text)


def paper_books() -> str:
    """The default paper book alone, at a careful level: a live one would wait for its node."""
    paper, _ = default_books_text().split(
        "# ---------------------------------------------------------------- a live book"
    )
    return paper.replace("level = 6", f"level = {CAUTIOUS}")


def a_risky_verdict(number: int) -> VerdictApproved:
    """One that level 3 refuses and level 6 takes; every number is another one."""
    found = an_entry_opportunity(strategy_version=number, addressee=BOOK, edge_bps=0)
    return a_verdict(found, risk_score=TOO_RISKY_FOR_THREE)


async def refusal(js: JetStreamContext) -> DecisionRecorded:
    return await eventually(js, DecisionRecorded, "main.1.decision.recorded")


async def first_intent(bus: Bus, js: JetStreamContext) -> IntentCreated:
    """Ask with verdict after verdict until one becomes an intent."""
    for number in range(1, 500):
        await bus.publish(a_risky_verdict(number))
        try:
            message = await js.get_last_msg(TRADING.name, "main.1.intent.created.paper.fast")
        except NotFoundError:
            await asyncio.sleep(ASK_EVERY_S)
        else:
            return IntentCreated.from_wire(message.data or b"")
    raise AssertionError(f"no verdict became an intent: {await refusal(js)}")


async def test_a_new_level_is_planned_by_in_under_a_second(bus: Bus, js: JetStreamContext, tmp_path: Path) -> None:
    (tmp_path / "books.toml").write_text(paper_books())
    place = {"nats_url": bus.url, "data_dir": tmp_path, "log_level": "ERROR"}
    desk = GatewaySettings(**place, books_file=tmp_path / "books.toml", port=free_port(), archive_days=100_000)
    trader = ExecutorSettings(**place, port=free_port())
    await tell_market(bus, js, an_exposure(book_id=BOOK), a_pool_v3())
    async with living(build_gateway(desk), desk.port) as client, living(build_executor(trader), trader.port):
        await bus.publish(a_risky_verdict(500))
        refused = await refusal(js)
        assert (refused.outcome, refused.book_id) == ("too_risky", BOOK)
        client.headers["Authorization"] = f"Bearer {(tmp_path / 'gateway-token').read_text().strip()}"
        began = time.monotonic()
        answer = await client.put(f"/api/v1/books/{BOOK}", json={"level": BOLD})
        assert answer.status_code == 200, answer.text
        intent = await first_intent(bus, js)
        took_s = time.monotonic() - began
    assert intent.book_id == BOOK
    assert took_s < 1.0, f"a new level took {took_s:.3f} s"
