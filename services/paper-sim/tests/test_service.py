"""The running service on a real broker: a paper intent on the bus becomes a confirmed fill on the bus."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from dexlane.events.base import Event
from dexlane.events.execution import AccountOpened, FillConfirmed, FillIncluded, PaperScored
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.events.streams import MARKET, TRADING, stream_of
from dexlane.runtime.bus import Bus
from dexlane.runtime.service import Service
from dexlane.testing.builders import ENTRY_OUT, V2_POOL, a_block, a_block_ref, a_book_changed, a_pool_v2, an_intent
from dexlane.testing.servers import free_port
from paper_sim.app import build
from paper_sim.settings import Settings

E = TypeVar("E", bound=Event)
pytestmark = pytest.mark.integration


async def last(js: JetStreamContext, kind: type[E]) -> E:
    """The last fact of a type, when there is one."""
    for _ in range(200):
        try:
            message = await js.get_last_msg(stream_of(kind).name, kind.pattern(chain_id=1))
        except NotFoundError:
            await asyncio.sleep(0.05)
        else:
            return kind.from_wire(message.data or b"")
    raise AssertionError(f"no {kind.NAME} within ten seconds")


async def begin_market(bus: Bus, js: JetStreamContext) -> None:
    """The V2 pool after block 99, and block 100."""
    sequence = (await js.stream_info(MARKET.name)).state.last_seq
    snapshot = PoolSnapshot(chain_id=1, block=a_block_ref(99), pool=a_pool_v2())
    checkpoint = PoolCheckpoint(chain_id=1, block=a_block_ref(99), market_sequence=sequence, pools=(V2_POOL,))
    await bus.kv_put(PoolSnapshot.key("main", 1, V2_POOL), snapshot.model_dump_json().encode())
    await bus.kv_put(PoolCheckpoint.key("main", 1), checkpoint.model_dump_json().encode())
    await bus.publish(a_block(100))


def started(bus: Bus, folder: Path) -> tuple[Service, asyncio.Task[int]]:
    """A process on this journal."""
    service = build(Settings(nats_url=bus.url, data_dir=folder, port=free_port(), log_level="ERROR"))
    return service, asyncio.create_task(service.run())


async def test_paper_intent_on_the_bus_becomes_a_confirmed_fill(bus: Bus, js: JetStreamContext, tmp_path: Path) -> None:
    service, running = started(bus, tmp_path)
    await begin_market(bus, js)
    await bus.publish(a_book_changed())
    await last(js, AccountOpened)
    await bus.publish(an_intent())
    await _acknowledged(js)
    await bus.publish(a_block(101))
    assert (await last(js, FillIncluded)).deltas[1].amount == ENTRY_OUT
    service.stop()
    assert await running == 0
    service, running = started(bus, tmp_path)
    for number in range(102, 105):
        await bus.publish(a_block(number))
    confirmed = await last(js, FillConfirmed)
    assert (confirmed.block, confirmed.outcome_version) == (a_block_ref(101), 2)
    assert (await last(js, PaperScored)).difference_bps == 0
    service.stop()
    assert await running == 0
    assert await _count(js, FillIncluded) == 1


async def _acknowledged(js: JetStreamContext) -> None:
    for _ in range(200):
        info = await js.consumer_info(TRADING.name, "paper-sim-fast-1")
        if info.ack_floor is not None and info.ack_floor.consumer_seq >= 1:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the intent was not acknowledged")


async def _count(js: JetStreamContext, kind: type[Event]) -> int:
    info = await js.stream_info(stream_of(kind).name, subjects_filter=kind.pattern(chain_id=1))
    return sum((info.state.subjects or {}).values())
