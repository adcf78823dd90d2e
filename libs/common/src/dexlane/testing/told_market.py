"""A market on a real bus, as market-feed, portfolio and gas-oracle tell it; and what services answer to it."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from dexlane.events.base import Event
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.events.portfolio import ExposureChanged
from dexlane.events.streams import MARKET, stream_of
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import SystemClock
from dexlane.testing.builders import CHAIN_ID, a_block, a_block_ref, a_fee_quote, a_pool_v2
from dexlane.values.pools import Pool

E = TypeVar("E", bound=Event)


async def tell_market(bus: Bus, js: JetStreamContext, exposure: ExposureChanged, *others: Pool) -> None:
    """The V2 pool and any others as of block 99, block 100, what a book has at work, and a fee quote."""
    sequence = (await js.stream_info(MARKET.name)).state.last_seq
    pools = {pool.key.address: pool for pool in (a_pool_v2(), *others)}
    checkpoint = PoolCheckpoint(chain_id=CHAIN_ID, block=a_block_ref(99), market_sequence=sequence, pools=tuple(pools))
    for address, pool in pools.items():
        snapshot = PoolSnapshot(chain_id=CHAIN_ID, block=a_block_ref(99), pool=pool)
        await bus.kv_put(PoolSnapshot.key("main", CHAIN_ID, address), snapshot.model_dump_json().encode())
    await bus.kv_put(PoolCheckpoint.key("main", CHAIN_ID), checkpoint.model_dump_json().encode())
    await bus.publish(a_block(100, received_at_ns=SystemClock().now_ns()))
    await bus.publish(exposure)
    await bus.publish(a_fee_quote())


async def eventually(js: JetStreamContext, kind: type[E], subject: str) -> E:
    """The last event on a subject, as soon as there is one. Raises ``AssertionError`` after ten seconds without."""
    for _ in range(200):
        try:
            message = await js.get_last_msg(stream_of(kind).name, subject)
        except NotFoundError:
            await asyncio.sleep(0.05)
        else:
            return kind.from_wire(message.data or b"")
    raise AssertionError(f"no {kind.NAME} within ten seconds")
