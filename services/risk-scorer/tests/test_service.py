"""The running service on a real broker: an opportunity on the bus gets its verdict on the bus."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from dexlane.events.base import Event
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.events.risk import DecisionRecorded, VerdictApproved, VerdictRejected
from dexlane.events.streams import MARKET, stream_of
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import SystemClock
from dexlane.testing.builders import USDC, V2_POOL, WETH, a_block, a_block_ref, a_pool_v2, an_entry_opportunity
from dexlane.testing.servers import free_port
from risk_scorer.app import build
from risk_scorer.settings import Settings

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


async def test_opportunity_on_the_bus_is_rejected_while_the_node_is_silent(
    bus: Bus, js: JetStreamContext, tmp_path: Path, redis_url: str
) -> None:
    settings = Settings(
        nats_url=bus.url,
        redis_url=redis_url,
        data_dir=tmp_path,
        port=free_port(),
        log_level="ERROR",
        rpc_ws_urls={1: f"ws://127.0.0.1:{free_port()}"},
    )
    service = build(settings)
    running = asyncio.create_task(service.run())
    sequence = (await js.stream_info(MARKET.name)).state.last_seq
    snapshot = PoolSnapshot(chain_id=1, block=a_block_ref(95), pool=a_pool_v2())
    checkpoint = PoolCheckpoint(chain_id=1, block=a_block_ref(95), market_sequence=sequence, pools=(V2_POOL,))
    await bus.kv_put(PoolSnapshot.key("main", 1, V2_POOL), snapshot.model_dump_json().encode())
    await bus.kv_put(PoolCheckpoint.key("main", 1), checkpoint.model_dump_json().encode())
    for number in range(96, 101):
        await bus.publish(a_block(number, received_at_ns=SystemClock().now_ns()))
    opportunity = an_entry_opportunity()
    await bus.publish(opportunity)
    rejected = await last(js, VerdictRejected)
    assert rejected.id == VerdictApproved.make_id(opportunity.id)
    assert set(rejected.vetoes) == {
        f"token {token.address} cannot be checked: there is no evidence" for token in (USDC, WETH)
    }
    assert (await last(js, DecisionRecorded)).subject_id == rejected.id
    service.stop()
    assert await running == 0
