"""The running service: a fill on the bus becomes a position and an exposure on the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from dexlane.events.base import Event
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.events.portfolio import ExposureChanged, PositionChanged
from dexlane.events.streams import MARKET, stream_of
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import SystemClock
from dexlane.testing.builders import (
    ENTRY_OUT,
    V2_POOL,
    WETH,
    a_block,
    a_block_ref,
    a_book_changed,
    a_confirmed_fill,
    a_fill,
    a_pool_v2,
    an_opened_account,
)
from dexlane.testing.servers import free_port
from portfolio.app import build
from portfolio.settings import Settings

E = TypeVar("E", bound=Event)
EXPOSURES = ("paper-one.fast", "paper-one.fast.results")
pytestmark = pytest.mark.integration


async def last(js: JetStreamContext, kind: type[E], of: str = "paper-one.fast") -> E | None:
    subject = kind.pattern(chain_id=1).replace(">", of)
    try:
        message = await js.get_last_msg(stream_of(kind).name, subject)
    except NotFoundError:
        return None
    return kind.from_wire(message.data or b"")


async def position_of(js: JetStreamContext) -> PositionChanged | None:
    return await last(js, PositionChanged)


async def exposure_of(js: JetStreamContext) -> ExposureChanged | None:
    """The newest, from both of its last values, where it counts the position and has a price."""
    told = [one for of in EXPOSURES if (one := await last(js, ExposureChanged, of)) is not None]
    newest = max(told, key=lambda one: one.exposure_version, default=None)
    return newest if newest is not None and newest.open_positions == 1 and newest.equity is not None else None


async def within_ten_seconds(js: JetStreamContext, look: Callable[[JetStreamContext], Awaitable[E | None]]) -> E:
    for _ in range(200):
        if (found := await look(js)) is not None:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"nothing for {look.__name__} within ten seconds")


async def market(bus: Bus, js: JetStreamContext) -> None:
    sequence = (await js.stream_info(MARKET.name)).state.last_seq
    snapshot = PoolSnapshot(chain_id=1, block=a_block_ref(99), pool=a_pool_v2())
    checkpoint = PoolCheckpoint(chain_id=1, block=a_block_ref(99), market_sequence=sequence, pools=(V2_POOL,))
    await bus.kv_put(PoolSnapshot.key("main", 1, V2_POOL), snapshot.model_dump_json().encode())
    await bus.kv_put(PoolCheckpoint.key("main", 1), checkpoint.model_dump_json().encode())
    await bus.publish(a_block(100, received_at_ns=SystemClock().now_ns()))


async def test_fills_on_the_bus_become_positions_and_exposure(bus: Bus, js: JetStreamContext, tmp_path: Path) -> None:
    port = free_port()
    service = build(Settings(nats_url=bus.url, data_dir=tmp_path, port=port, log_level="ERROR"))
    running = asyncio.create_task(service.run())
    await market(bus, js)
    await bus.publish(a_book_changed())
    for event in (an_opened_account(), a_fill(), a_confirmed_fill()):
        await bus.publish(event)
    position = await within_ten_seconds(js, position_of)
    assert (position.token, position.quantity) == (WETH, ENTRY_OUT)
    await within_ten_seconds(js, exposure_of)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/readyz")).json()["ready"]
        assert (await client.get("/ledger/trial-balance")).json()["balanced"]
    service.stop()
    assert await running == 0
