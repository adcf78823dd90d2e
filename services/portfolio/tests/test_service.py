"""The running service: a fill on the bus becomes a position and an exposure on the bus."""

from __future__ import annotations

import asyncio
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
pytestmark = pytest.mark.integration


async def last(js: JetStreamContext, kind: type[E]) -> E:
    subject = kind.pattern(chain_id=1).replace(">", "paper-one.fast")
    for _ in range(200):
        try:
            message = await js.get_last_msg(stream_of(kind).name, subject)
        except NotFoundError:
            await asyncio.sleep(0.05)
        else:
            return kind.from_wire(message.data or b"")
    raise AssertionError(f"no {kind.NAME} within ten seconds")


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
    position = await last(js, PositionChanged)
    assert (position.token, position.quantity) == (WETH, ENTRY_OUT)
    for _ in range(100):
        exposure = await last(js, ExposureChanged)
        if exposure.open_positions == 1 and exposure.equity is not None:
            break
        await asyncio.sleep(0.05)
    assert exposure.open_positions == 1
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/readyz")).json()["ready"]
        assert (await client.get("/ledger/trial-balance")).json()["balanced"]
    service.stop()
    assert await running == 0
