"""Pools loaded and followed on the contracts: what the logs say is what the chain then holds."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from dexlane.chain.factories import Factory, by_address, decode_creation, known_pool
from dexlane.chain.link import LinkPolicy
from dexlane.chain.logs import fold_logs
from dexlane.chain.node import NodeRpc
from dexlane.chain.pool_loading import ChainReader, PoolUnreadable, V4Key, WatchedPool, load_pool
from dexlane.chain.rpc import RpcClient
from dexlane.domain.amm.deltas import InconsistentDelta, apply_delta
from dexlane.domain.pool_table import PoolTable
from dexlane.values.pools import BalancesState, BalanceTerms, ConcentratedState, Pool, Protocol, Tick
from dexlane_devnet.answers import balancer, solidly, stableswap, ticked
from dexlane_devnet.answers.chain import AnswerChain, Json, Reverted, answer_chain
from dexlane_devnet.build import default_cache
from dexlane_devnet.contracts import calldata
from dexlane_devnet.errors import DevnetError

pytestmark = pytest.mark.integration
SWAPS = 12
BOTH_BALANCER = pytest.mark.parametrize("protocol", [Protocol.BALANCER_WEIGHTED, Protocol.BALANCER_STABLE])


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
    singletons = {watched.singleton} if watched.singleton else set()
    for receipt in receipts:
        logs = await rpc.logs(receipt["blockHash"], list(watched.emitters))
        for delta in fold_logs(logs, PoolTable([pool]), singletons).deltas:
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


@pytest.mark.parametrize("protocol", ["uniswap_v3", "pancakeswap_v3", "uniswap_v4"])
async def test_what_the_factory_logs_names_the_pool_to_watch(protocol: str) -> None:
    chance = random.Random(9)  # noqa: S311
    async with a_chain(chance) as (chain, rpc):
        exchange = await ticked.deploy_exchange(chain, protocol, default_cache(), print)
        factory = Factory(address=exchange.factory.lower(), protocol=Protocol(protocol))
        made = [watch(await ticked.make_filled(chain, exchange, chance)) for _ in range(3)]
        tip = await rpc.block("latest")
        assert tip is not None
        logs = [
            log
            for number in range(1, tip.number + 1)
            if (block := await rpc.block(number)) is not None
            for log in await rpc.logs(block.hash, [factory.address])
        ]
        found = [new for log in logs if (new := decode_creation(log, by_address([factory]))) is not None]
        assert [new.to_watch for new in found] == made
        for new in found:
            pool = await loaded(rpc, new.to_watch)
            assert (pool.key.token0.address, pool.key.token1.address) == (new.token0, new.token1)
            assert known_pool(1, pool.key)._replace(manager=new.manager) == new


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


def balances_of(pool: Pool) -> BalancesState:
    assert isinstance(pool.state, BalancesState)
    return pool.state


@BOTH_BALANCER
async def test_balancer_pools_are_loaded_and_followed(protocol: Protocol) -> None:
    chance = random.Random(7)  # noqa: S311
    make = balancer.make_weighted if protocol is Protocol.BALANCER_WEIGHTED else balancer.make_stable
    async with a_chain(chance) as (chain, rpc):
        contracts = await balancer.deploy_balancer(chain, default_cache(), print)
        for _ in range(4):
            made = await make(chain, contracts, chance)
            watched = WatchedPool(address=made.pool_id[:42], protocol=protocol, singleton=contracts.vault.lower())
            before = await loaded(rpc, watched)
            assert balances_of(before).balances == made.balances
            assert balances_of(before).terms == BalanceTerms(**made.terms)
            assert [token.address for token in before.key.tokens] == [token.address for token in made.tokens]
            receipts = [await chain.mine_call(*call) for call in balancer.small_swaps(chain, contracts, made, chance)]
            receipts.append(await balancer.join_again(chain, contracts, made))
            receipts.append(await chain.send(watched.address, "setSwapFeePercentage(uint256)", 10**15))
            after = await followed(rpc, before, watched, receipts)
            assert after.state == (await loaded(rpc, watched)).state
            assert balances_of(after).terms.fee == 10**15


async def test_a_pool_held_by_another_vault_is_unreadable() -> None:
    chance = random.Random(8)  # noqa: S311
    async with a_chain(chance) as (chain, rpc):
        contracts = await balancer.deploy_balancer(chain, default_cache(), print)
        made = await balancer.make_weighted(chain, contracts, chance)
        other = WatchedPool(
            address=made.pool_id[:42], protocol=Protocol.BALANCER_WEIGHTED, singleton=chain.tokens[0].address.lower()
        )
        with pytest.raises(PoolUnreadable, match="is held by"):
            await loaded(rpc, other)


async def test_stableswap_pools_are_loaded_and_followed() -> None:
    chance = random.Random(9)  # noqa: S311
    async with a_chain(chance) as (chain, rpc):
        for _ in range(6):
            made = await stableswap.make_pool(chain, chance)
            watched = WatchedPool(address=made.address, protocol=Protocol.STABLESWAP)
            before = await loaded(rpc, watched)
            assert balances_of(before).terms == BalanceTerms(**made.terms)
            receipts = []
            for _ in range(SWAPS):
                paid, bought = chance.sample(range(len(made.tokens)), 2)
                amount = made.balances[paid] // chance.randrange(20, 5_000)
                exchange = calldata("exchange(int128,int128,uint256,uint256)", paid, bought, amount, 0)
                with suppress(DevnetError):
                    receipts.append(await chain.mine_call(made.address, exchange))
            more = [balance // chance.randrange(2, 50) for balance in made.balances]
            receipts.append(await chain.send(made.address, "add_liquidity(uint256[],uint256)", more, 0))
            nothing = [0] * len(made.tokens)
            receipts.append(await chain.send(made.address, "remove_liquidity(uint256,uint256[])", 10**17, nothing))
            assert len(receipts) > 2
            assert (await followed(rpc, before, watched, receipts)).state == (await loaded(rpc, watched)).state


async def test_a_stableswap_pool_whose_amplification_moves_has_to_be_read_anew() -> None:
    chance = random.Random(10)  # noqa: S311
    async with a_chain(chance) as (chain, rpc):
        made = await stableswap.make_pool(chain, chance)
        watched = WatchedPool(address=made.address, protocol=Protocol.STABLESWAP)
        before = await loaded(rpc, watched)
        ramped = await chain.send(made.address, "ramp_A(uint256,uint256)", made.terms["amplification"] * 3, 1 << 40)
        with pytest.raises(InconsistentDelta, match="read anew"):
            await followed(rpc, before, watched, [ramped])
