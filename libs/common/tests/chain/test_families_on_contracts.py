"""Loading and following of pools on the real contracts: what the logs say is what the chain then holds."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from dexlane.chain.link import LinkPolicy
from dexlane.chain.logs import fold_logs
from dexlane.chain.node import NodeRpc
from dexlane.chain.pool_loading import ChainReader, V4Key, WatchedPool, load_pool
from dexlane.chain.rpc import RpcClient
from dexlane.domain.amm.deltas import apply_delta
from dexlane.values.pools import ConcentratedState, Pool, Protocol, Tick
from dexlane_devnet.answers import solidly, ticked
from dexlane_devnet.answers.chain import AnswerChain, Json, Reverted, answer_chain
from dexlane_devnet.build import default_cache

pytestmark = pytest.mark.integration
SWAPS = 12


@asynccontextmanager
async def a_chain(chance: random.Random) -> AsyncIterator[tuple[AnswerChain, NodeRpc]]:
    async with answer_chain(default_cache(), chance, print) as chain:
        client = RpcClient(chain.url, name="test", policy=LinkPolicy(jitter=random.random))
        await client.start()
        try:
            yield chain, NodeRpc(client)
        finally:
            await client.stop()


async def loaded(rpc: NodeRpc, watched: WatchedPool) -> Pool:
    tip = await rpc.block("latest")
    assert tip is not None
    return await load_pool(await ChainReader.at(rpc, tip.hash), watched)


async def followed(rpc: NodeRpc, pool: Pool, watched: WatchedPool, receipts: list[Json]) -> Pool:
    """The pool after the logs of these transactions, block by block."""
    for receipt in receipts:
        logs = await rpc.logs(receipt["blockHash"], [watched.emitter])
        singletons = {watched.singleton} if watched.singleton else set()
        for delta in fold_logs(logs, {watched.address: pool}, singletons).deltas:
            pool = apply_delta(pool, delta)
    return pool


async def mined(chain: AnswerChain, pool: ticked.TickPool, chance: random.Random) -> list[Json]:
    """Receipts of random swaps; a pool that is drained on one side refuses some."""
    receipts = []
    for _ in range(SWAPS):
        with suppress(Reverted):
            call = pool.swap_call(chance.random() < 0.5, chance.choice(("in", "out")), chance.randrange(1, 10**9))
            receipts.append(await chain.mine_call(*call))
    return receipts


def watch(made: ticked.FilledPool) -> WatchedPool:
    pool, protocol = made.pool, Protocol(made.pool.exchange.protocol)
    if not pool.pool_id:
        return WatchedPool(address=pool.address, protocol=protocol)
    key = V4Key(currency0=pool.tokens[0], currency1=pool.tokens[1], fee_pips=pool.fee_pips, tick_spacing=pool.spacing)
    assert key.pool_id == "0x" + pool.pool_id.hex()
    return WatchedPool(address=key.pool_id[:42], protocol=protocol, singleton=pool.address, v4=key)


@pytest.mark.parametrize("protocol", ["uniswap_v3", "pancakeswap_v3", "uniswap_v4"])
async def test_pools_with_ticks_are_loaded_and_followed(protocol: str) -> None:
    chance = random.Random(5)  # noqa: S311
    async with a_chain(chance) as (chain, rpc):
        exchange = await ticked.deploy_exchange(chain, protocol, default_cache(), print)
        swapped = 0
        for _ in range(4):
            made = await ticked.make_filled(chain, exchange, chance)
            watched = watch(made)
            before = await loaded(rpc, watched)
            assert isinstance(before.state, ConcentratedState)
            assert before.state.ticks == tuple(Tick(index, *references) for index, references in made.ticks.items())
            assert [before.key.protocol_fee0_pips, before.key.protocol_fee1_pips] == made.protocol_fees
            receipts = await mined(chain, made.pool, chance)
            swapped += len(receipts)
            spacing = made.pool.spacing
            lower = before.state.tick // spacing * spacing
            mint = made.pool.mint_call(
                max(lower - spacing, -887_272 // spacing * spacing + spacing), lower + spacing, 9
            )
            receipts.append(await chain.send(mint[0], mint[1], *mint[2]))
            assert await followed(rpc, before, watched, receipts) == await loaded(rpc, watched)
        assert swapped >= SWAPS


@pytest.mark.parametrize("protocol", [Protocol.SOLIDLY_STABLE, Protocol.SOLIDLY_VOLATILE])
async def test_solidly_pools_are_loaded_and_followed(protocol: Protocol) -> None:
    chance = random.Random(6)  # noqa: S311
    async with a_chain(chance) as (chain, rpc):
        swapper = await solidly.deploy_swapper(chain)
        made = await solidly.make_pool(chain, swapper, protocol is Protocol.SOLIDLY_STABLE, chance)
        watched = WatchedPool(address=made.address, protocol=protocol)
        before = await loaded(rpc, watched)
        assert before.key.fee_pips == 100 * made.fee_bps
        sides = [chance.randrange(2) for _ in range(SWAPS)]
        asks = [(side == 0, made.reserves[side] // chance.randrange(50, 5_000)) for side in sides]
        receipts = [
            await chain.mine_call(*solidly.swap_call(swapper, made, zero_for_one, "in", amount))
            for zero_for_one, amount in asks
        ]
        after = await followed(rpc, before, watched, receipts)
        assert after == await loaded(rpc, watched)
        assert after.state != before.state
