"""The market feed on a real node, a real bus and a real cache: its mirror elsewhere stays equal to the chain, new pools
of the real factories included."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.pool_loading import ChainReader, WatchedPool, load_pool
from dexlane.chain.rpc import RpcClient
from dexlane.domain.amm.quoting import quote_exact_in
from dexlane.events.market import BlockReorged
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.market_cache import CandleForm, MarketReader, Reading
from dexlane.runtime.observability import Log
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.runtime.service import Service
from dexlane_devnet import ADDRESSES, V2_POOL, V3_POOL_005, Devnet, DevnetConfig, account, free_port, start_devnet
from dexlane_devnet.contracts import calldata
from market_feed.app import build
from market_feed.settings import Settings

pytestmark = pytest.mark.integration
MAKER = account("noise-3").address
USDC, WETH = ADDRESSES.usdc, ADDRESSES.weth
BYTES32_SYMBOL = b"ODD".ljust(32, b"\0")


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the condition belongs to another process
            await asyncio.sleep(0.02)


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def odd_token(answers: dict[str, bytes | None]) -> str:
    """Runtime code that answers one word by selector, or reverts; anything else is answered with 1."""
    head, body = bytes.fromhex("5f3560e01c"), b""
    start = len(head) + 11 * len(answers) + 41
    for selector, answer in answers.items():
        head += bytes.fromhex(f"8063{selector}1461{start + len(body):04x}57")
        body += b"\x5b" + (bytes.fromhex("5f5ffd") if answer is None else _returning(answer))
    return "0x" + (head + _returning(word(1)).ljust(41, b"\0") + body).hex()


def _returning(answer: bytes) -> bytes:
    return b"\x7f" + answer + bytes.fromhex("5f5260205ff3")


BALANCE, SYMBOL, DECIMALS = "70a08231", "95d89b41", "313ce567"


class Running:
    """Chain, feed, and a mirror as another service would hold it."""

    def __init__(self, devnet: Devnet, service: Service, mirror: PoolMirror, rpc: NodeRpc) -> None:
        self.devnet = devnet
        self.service = service
        self.mirror = mirror
        self.rpc = rpc
        self.reorgs: list[BlockReorged] = []

    async def send(self, to: str, signature: str, *arguments: object) -> None:
        request = {"from": MAKER, "to": to, "data": calldata(signature, *arguments), "gas": hex(8_000_000)}
        receipt = await self.devnet.rpc("eth_sendTransactionSync", request)
        assert receipt["status"] == "0x1", signature

    async def view(self, to: str, signature: str, *arguments: object) -> bytes:
        return await self.rpc.eth_call(to, bytes.fromhex(calldata(signature, *arguments)[2:]))

    async def pair_with(self, token: str) -> str:
        """A real pair of USDC and a token of which everybody owns the same, with 100,000 USDC in it."""
        await self.send(ADDRESSES.v2_factory, "createPair(address,address)", USDC, token)
        found = await self.view(ADDRESSES.v2_factory, "getPair(address,address)", USDC, token)
        pair = f"0x{found[-20:].hex()}"
        await self.send(USDC, "transfer(address,uint256)", pair, 100_000 * 10**6)
        await self.send(pair, "mint(address)", MAKER)
        return pair

    async def until_watched(self, pool: str) -> None:
        """Blocks come until the mirror has the pool."""
        async with asyncio.timeout(20):
            while pool not in self.mirror.book.pools:
                await self.devnet.mine()
                await asyncio.sleep(0.05)

    async def mirror_equals_chain(self) -> None:
        async with asyncio.timeout(20):
            while True:
                tip = await self.rpc.block("latest")
                assert tip is not None
                if self.mirror.tip is not None and self.mirror.tip.hash == tip.hash:
                    break
                await asyncio.sleep(0.02)
            reader = await ChainReader.at(self.rpc, tip.hash)
            for address, known in self.mirror.book.pools.items():
                watched = WatchedPool(address=address, protocol=known.key.protocol)
                assert await load_pool(reader, watched) == known


@pytest_asyncio.fixture
async def running(bus: Bus, nats_url: str, redis_url: str, log: Log) -> AsyncIterator[Running]:
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        settings = Settings(
            tripwire_every_s=0.1,
            tripwire_confirmations=1,
            nats_url=nats_url,
            redis_url=redis_url,
            rpc_ws_urls={1: devnet.ws_url},
            port=0,
            log_level="ERROR",
            enter_depth=500 * 10**6,
            leave_depth=250 * 10**6,
        )
        service, mirror = build(settings), PoolMirror(1)
        client = RpcClient(devnet.ws_url, name="test", policy=LinkPolicy(jitter=random.random), chain_id=1)
        await client.start()
        world = Running(devnet, service, mirror, NodeRpc(client))

        @mirror.on_reorg
        async def remember(event: BlockReorged) -> None:
            world.reorgs.append(event)

        tasks = [asyncio.create_task(service.run()), asyncio.create_task(mirror.run(bus, SystemClock(), log))]
        await until(lambda: service.why_not_ready() == {})
        await devnet.mine()
        await until(lambda: mirror.tip is not None)
        yield world
        service.stop()
        await asyncio.wait_for(tasks[0], 15)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        await client.stop()


async def test_a_mirror_stays_equal_to_the_chain_through_swaps_and_reorgs(running: Running) -> None:
    devnet = running.devnet
    for pool in (V3_POOL_005, V2_POOL):
        for amount in (10**9, 5 * 10**10):
            await devnet.swap_exact_in(pool, USDC, amount)
    await running.mirror_equals_chain()
    await devnet.reorg(2)
    await until(lambda: running.reorgs)
    assert running.reorgs[0].depth == 2
    await running.mirror_equals_chain()
    await devnet.swap_exact_in(V3_POOL_005, USDC, 10**10)
    await running.mirror_equals_chain()


async def test_a_silent_rollback_is_noticed_at_the_next_block(running: Running) -> None:
    snapshot = await running.devnet.rpc("evm_snapshot")
    await running.devnet.swap_exact_in(V3_POOL_005, USDC, 10**10)
    await running.mirror_equals_chain()
    await running.devnet.rpc("evm_revert", snapshot)
    await running.devnet.mine(2)
    await running.mirror_equals_chain()
    assert running.reorgs


async def test_blocks_are_not_lost_while_nobody_listens(running: Running) -> None:
    before = running.mirror.tip
    assert before is not None
    await running.devnet.mine(50)
    await running.mirror_equals_chain()
    assert running.mirror.tip is not None
    assert running.mirror.tip.number == before.number + 50


async def test_prices_and_candles_reach_the_readers(running: Running, redis_url: str) -> None:
    await running.devnet.swap_exact_in(V3_POOL_005, USDC, 10**10)
    async with Redis.from_url(redis_url) as redis:
        reader = MarketReader(redis, "main", 1, SystemClock())
        candles: tuple[CandleForm, ...] = ()
        async with asyncio.timeout(10):
            while not candles:
                await asyncio.sleep(0.05)
                reading = await reader.candles(V3_POOL_005.address, "1d", 1, 5_000)
                record, candles = reading.value if isinstance(reading, Reading) else (None, ())
    [candle] = candles
    assert record is not None
    assert 500 < float(record.price or 0) < 20_000
    assert candle.close == record.price
    assert candle.quote_volume == 10**10
    assert record.depth[0].out0 < record.depth[-1].out0


async def test_storage_written_without_an_event_is_repaired_in_every_mirror(running: Running) -> None:
    """Slot 8 of ``UniswapV2Pair`` packs the reserves."""
    await running.devnet.mine(3)
    await running.mirror_equals_chain()
    slot = "0x" + (8).to_bytes(32, "big").hex()
    there = int(await running.devnet.rpc("eth_getStorageAt", V2_POOL.address, slot, "latest"), 16)
    value = "0x" + (there + 10**9).to_bytes(32, "big").hex()
    await running.devnet.rpc("anvil_setStorageAt", V2_POOL.address, slot, value)
    await running.devnet.mine(2)
    repaired = running.service.metrics.registry
    name, labels = "dexlane_market_feed_tripwire_defects_total", {"chain": "1", "defect": "storage_changed"}
    await until(lambda: repaired.get_sample_value(name, labels))
    await running.devnet.mine(2)
    await running.mirror_equals_chain()


async def test_a_pair_of_the_real_factory_is_watched_and_quoted_to_the_wei(running: Running) -> None:
    token = "0x" + "b0" * 20
    answers = {BALANCE: word(10**24), SYMBOL: BYTES32_SYMBOL, DECIMALS: word(18)}
    await running.devnet.rpc("anvil_setCode", token, odd_token(answers))
    pair = await running.pair_with(token)
    await running.until_watched(pair)
    known = running.mirror.book.pools[pair]
    assert known.key.token(token).symbol == "ODD"
    for token_in, amount in ((USDC.lower(), 10**9 + 7), (token, 3 * 10**20 + 1)):
        path = [token_in, known.key.other(token_in).address]
        told = await running.view(ADDRESSES.v2_router02, "getAmountsOut(uint256,address[])", amount, path)
        assert quote_exact_in(known, token_in, amount).amount_out == int.from_bytes(told[-32:], "big")
    await running.send(USDC, "transfer(address,uint256)", pair, 10**9)
    await running.send(pair, "sync()")
    await running.mirror_equals_chain()
    await running.devnet.reorg(2)
    await running.devnet.mine()
    await running.mirror_equals_chain()


async def test_a_concentrated_pool_of_the_real_factory_is_watched_and_quoted_to_the_wei(running: Running) -> None:
    manager, fee = ADDRESSES.position_manager, 10_000
    slot0 = await running.view(running_pool(running), "slot0()")
    price = int.from_bytes(slot0[:32], "big")
    await running.send(
        manager, "createAndInitializePoolIfNecessary(address,address,uint24,uint160)", USDC, WETH, fee, price
    )
    for token in (USDC, WETH):
        await running.send(token, "approve(address,uint256)", manager, 1 << 200)
    amounts = (200_000 * 10**6, 60 * 10**18)
    position = (USDC, WETH, fee, -887_200, 887_200, *amounts, 0, 0, MAKER, 1 << 40)
    shape = "(address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256)"
    await running.send(manager, f"mint({shape})", position)
    found = await running.view(ADDRESSES.v3_factory, "getPool(address,address,uint24)", USDC, WETH, fee)
    pool = f"0x{found[-20:].hex()}"
    await running.until_watched(pool)
    known = running.mirror.book.pools[pool]
    quoter = "quoteExactInputSingle((address,address,uint256,uint24,uint160))"
    for token_in, token_out, amount in ((USDC, WETH, 10**10), (WETH, USDC, 10**18 + 1)):
        told = await running.view(ADDRESSES.quoter_v2, quoter, (token_in, token_out, amount, fee, 0))
        assert quote_exact_in(known, token_in.lower(), amount).amount_out == int.from_bytes(told[:32], "big")
    await running.mirror_equals_chain()


def running_pool(running: Running) -> str:
    """A concentrated pool that is there from the start."""
    return next(a for a, pool in running.mirror.book.pools.items() if pool.key.tick_spacing)


async def test_a_token_without_decimals_is_never_watched(running: Running) -> None:
    bad, good = "0x" + "b1" * 20, "0x" + "b2" * 20
    symbol = {BALANCE: word(10**24), SYMBOL: BYTES32_SYMBOL}
    await running.devnet.rpc("anvil_setCode", bad, odd_token({**symbol, DECIMALS: None}))
    await running.devnet.rpc("anvil_setCode", good, odd_token({**symbol, DECIMALS: word(6)}))
    refused = await running.pair_with(bad)
    await running.until_watched(await running.pair_with(good))
    assert refused not in running.mirror.book.pools
    await running.mirror_equals_chain()
