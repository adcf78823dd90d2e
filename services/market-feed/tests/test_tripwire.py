"""The tripwire names what is wrong with a local pool, and the next block's event puts it right everywhere."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from dexlane.chain import abi
from dexlane.chain.answers import BlockId, Header, RawLog
from dexlane.chain.link import LinkPolicy
from dexlane.chain.logs import V2_SYNC_TOPIC
from dexlane.chain.node import NodeRpc
from dexlane.chain.pool_loading import ChainReader, WatchedPool, load_pool
from dexlane.chain.rpc import RpcClient, RpcError
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.tripwire import Defect
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.fake_chain import FakeChain, FakeLog
from dexlane.testing.fake_rpc import FakeRpc
from dexlane.values.pools import Protocol, ReservesDelta
from dexlane_devnet import V2_POOL, V3_POOL_005, Devnet, DevnetConfig, free_port, start_devnet
from market_feed.feed import AppliedBlock, BlockFollower
from market_feed.feed.tripwire import Tripwire, TripwirePolicy
from market_feed.metrics import TripwireMoments

PAIR = "0xb4e16d0168e52d35cacd2c6185b44281ec28c9dc"
WATCHED = [WatchedPool(address=PAIR, protocol=Protocol.UNISWAP_V2)]
CONFIRMATIONS = 2


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


class Steps:
    """What the follower did, without a bus."""

    def __init__(self) -> None:
        self.events: list[BlockApplied] = []
        self.loads = 0

    async def loaded(self, book: PoolBook, tip: Header) -> None:
        self.loads += 1

    async def applied(self, block: AppliedBlock, book: PoolBook) -> None:
        self.events.append(block.event)

    async def troubled(self, reason: str) -> None:
        pass

    async def reorged(self, event: BlockReorged) -> None:
        pass


class LosingRpc(FakeRpc):
    """A node that keeps back, or makes up, the logs of blocks chosen by number."""

    def __init__(self, chain: FakeChain) -> None:
        super().__init__(chain)
        self.lost: set[int] = set()
        self.made_up: dict[int, FakeLog] = {}

    async def logs(self, block_hash: str, addresses: Sequence[str]) -> list[RawLog]:
        found = await super().logs(block_hash, addresses)
        block = self.chain.resolve(block_hash)
        assert block is not None
        number = block.header.number
        if number in self.made_up:
            log = self.made_up[number]
            found = [RawLog(log.address, log.topics, log.data, number, block_hash, "0x" + "1" * 64, 0)]
        return [] if number in self.lost else found


class World:
    """A pair whose reserves follow its logs, unless something writes them without one."""

    def __init__(self) -> None:
        self.chain = FakeChain(1)
        self.chain.answer_call = self._call
        self.written: dict[int, int] = {}
        self.rpc = LosingRpc(self.chain)
        self.steps = Steps()
        self.metrics = Metrics("market-feed")
        self.follower = BlockFollower(1, self.rpc, WATCHED, clock=ManualClock())
        moments = TripwireMoments(self.metrics, Log(logging.getLogger("test")))
        self.tripwire = Tripwire(
            self.follower, self.chain.rpc(), TripwirePolicy(every_s=1, confirmations=CONFIRMATIONS), moments
        )

    def _call(self, to: str, data: bytes, header: Header) -> bytes:
        logs = [(block.header.number, log) for block in self.chain.blocks for log in block.logs]
        values = {number: int.from_bytes(log.data[:32], "big") for number, log in logs}
        changes = sorted((values | self.written).items())
        reserve = next((value for number, value in reversed(changes) if number <= header.number), 100)
        answers = {
            "0dfe1681": abi.address("0x" + "01" * 20),
            "d21220a7": abi.address("0x" + "02" * 20),
            "c45a0155": abi.address("0x5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f"),
            "95d89b41": abi.frame(abi.byte_string(b"T")),
            "313ce567": word(18),
            "0902f1ac": word(reserve) + word(1_000) + word(0),
        }
        if data[:4].hex() not in answers:
            raise RpcError(3, "execution reverted")
        return answers[data[:4].hex()]

    async def mine(self, *reserves: int) -> None:
        for reserve in reserves:
            logs = [sync(reserve)] if reserve else []
            for head in self.chain.mine(logs=logs):
                await self.follower.follow(head, self.steps)

    async def sample(self) -> Defect | None:
        found = await self.tripwire.sample(PAIR)
        return None if found is None else found.defect

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"dexlane_market_feed_{name}", {"chain": "1", **labels}) or 0.0


def sync(reserve0: int) -> FakeLog:
    return FakeLog(address=PAIR, topics=(V2_SYNC_TOPIC,), data=word(reserve0) + word(1_000))


@pytest.fixture
async def world() -> World:
    made = World()
    await made.follower.load(made.steps)
    return made


async def test_a_pool_that_follows_its_logs_agrees(world: World) -> None:
    await world.mine(101, 0, 102, 0, 0)
    assert await world.sample() is None
    assert world.count("tripwire_samples_total", outcome="agreed") == 1
    assert world.count("tripwire_checked_block") == world.chain.tip.number - CONFIRMATIONS


async def test_a_lost_log_is_named_and_the_next_block_carries_the_right_state(world: World) -> None:
    await world.mine(101)
    world.rpc.lost = {world.chain.tip.number + 1}
    await world.mine(102, 0, 0)
    assert await world.sample() is Defect.MISSED_LOG
    assert world.count("tripwire_defects_total", defect="missed_log") == 1
    await world.mine(0)
    assert world.steps.events[-1].deltas == (ReservesDelta(pool=PAIR, reserve0=102, reserve1=1_000),)
    await world.mine(0, 0)
    assert world.steps.events[-1].deltas == ()
    assert await world.sample() is None


async def test_a_change_without_a_log_is_named_and_repaired(world: World) -> None:
    await world.mine(101)
    world.written[world.chain.tip.number + 1] = 55
    await world.mine(0, 0, 0)
    assert await world.sample() is Defect.STORAGE_CHANGED
    await world.mine(0, 0, 0)
    assert await world.sample() is None


async def test_a_made_up_log_is_named_and_repaired(world: World) -> None:
    await world.mine(101)
    world.rpc.made_up = {world.chain.tip.number + 1: sync(77)}
    await world.mine(0, 0, 0)
    assert await world.sample() is Defect.UNEXPLAINED_CHANGE
    await world.mine(0, 0, 0)
    assert await world.sample() is None


async def test_blocks_that_are_not_canonical_are_an_unhandled_reorg_and_all_pools_are_read_anew(world: World) -> None:
    await world.mine(101, 102, 103, 0)
    world.chain.reorg(4)
    world.chain.mine(4, logs=[sync(9)])
    assert await world.sample() is Defect.UNHANDLED_REORG
    [head] = world.chain.mine()
    assert "not canonical" in world.follower.corrections._reason
    before = world.steps.loads
    await world.follower._take(head, world.steps, Quiet())  # type: ignore[arg-type]
    assert world.steps.loads == before + 1
    assert world.follower.tip == head


async def test_blocks_still_on_their_way_are_late_delivery_and_nothing_is_read_anew(world: World) -> None:
    await world.mine(101, 0)
    heads = world.chain.mine(logs=[sync(102)]) + world.chain.mine(3)
    assert await world.sample() is Defect.LATE_DELIVERY
    for head in heads:
        await world.follower.follow(head, world.steps)
    assert await world.sample() is None
    assert not world.follower.corrections.to_reread


async def test_a_node_that_does_not_answer_is_no_defect(world: World) -> None:
    await world.mine(101, 0, 0)
    node = world.tripwire._rpc
    assert isinstance(node, FakeRpc)
    node.fail_next("block", RpcError(-32000, "busy"))
    assert await world.sample() is None
    assert world.count("tripwire_samples_total", outcome="failed") == 1


async def test_a_block_older_than_what_is_remembered_is_not_compared(world: World) -> None:
    await world.mine(0)
    await world.follower.load(world.steps)
    assert await world.sample() is None
    assert world.count("tripwire_samples_total", outcome="failed") == 1


async def test_when_the_node_forgot_the_older_state_the_pool_is_still_repaired(world: World) -> None:
    await world.mine(101)
    world.written[world.chain.tip.number + 1] = 55
    await world.mine(0, 0, 0)
    answer = world.chain.answer_call

    def forgetful(to: str, data: bytes, header: Header) -> bytes:
        if header.number < world.chain.tip.number - CONFIRMATIONS:
            raise RpcError(-32000, "missing trie node")
        return answer(to, data, header)

    world.chain.answer_call = forgetful
    assert await world.sample() is Defect.UNTRACEABLE
    world.chain.answer_call = answer
    await world.mine(0, 0, 0)
    assert await world.sample() is None


class Quiet:
    def __getattr__(self, name: str) -> Any:
        return lambda *args, **fields: None


class AnvilLosing(NodeRpc):
    """A real node whose logs of one block do not arrive."""

    lost: int | None = None

    async def logs(self, block_hash: str, addresses: Sequence[str]) -> list[RawLog]:
        found = await super().logs(block_hash, addresses)
        return [log for log in found if log.block_number != self.lost]


class OnAnvil:
    def __init__(self, devnet: Devnet, client: RpcClient) -> None:
        self.devnet, self.rpc, self.steps = devnet, AnvilLosing(client), Steps()
        watched = [
            WatchedPool(address=V2_POOL.address, protocol=Protocol.UNISWAP_V2),
            WatchedPool(address=V3_POOL_005.address, protocol=Protocol.UNISWAP_V3),
        ]
        self.follower = BlockFollower(1, self.rpc, watched, clock=ManualClock())
        moments = TripwireMoments(Metrics("market-feed"), Log(logging.getLogger("test")))
        self.tripwire = Tripwire(self.follower, NodeRpc(client), TripwirePolicy(1, 1), moments)

    async def follow(self, tip: BlockId = "latest") -> None:
        head = await self.rpc.block(tip)
        assert head is not None
        assert await self.follower.follow(head, self.steps) == ""

    async def mine(self, blocks: int) -> None:
        await self.devnet.mine(blocks)
        await self.follow()

    async def sample(self, address: str) -> Defect | None:
        found = await self.tripwire.sample(address.lower())
        return None if found is None else found.defect

    async def equals_chain(self, address: str, protocol: Protocol) -> bool:
        assert self.follower.tip is not None
        reader = await ChainReader.at(self.rpc, self.follower.tip.hash)
        there = await load_pool(reader, WatchedPool(address=address, protocol=protocol))
        return there == self.follower.book.pools[address.lower()]


@pytest_asyncio.fixture
async def anvil() -> AsyncIterator[OnAnvil]:
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        client = RpcClient(devnet.ws_url, name="test", policy=LinkPolicy(jitter=random.random), chain_id=1)
        await client.start()
        world = OnAnvil(devnet, client)
        await world.follower.load(world.steps)
        yield world
        await client.stop()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("pool", "protocol", "slot"), [(V2_POOL, Protocol.UNISWAP_V2, 8), (V3_POOL_005, Protocol.UNISWAP_V3, 0)]
)
async def test_storage_written_without_an_event_is_named_and_repaired_on_a_real_node(
    anvil: OnAnvil, pool: Any, protocol: Protocol, slot: int
) -> None:
    """Slot 8 of ``UniswapV2Pair`` packs the reserves, slot 0 of ``UniswapV3Pool`` begins with the price."""
    await anvil.mine(2)
    assert await anvil.sample(pool.address) is None
    there = await anvil.devnet.rpc("eth_getStorageAt", pool.address, hex(slot), "latest")
    value = "0x" + word(int(there, 16) + 1_000).hex()
    await anvil.devnet.rpc("anvil_setStorageAt", pool.address, "0x" + word(slot).hex(), value)
    await anvil.mine(2)
    assert not await anvil.equals_chain(pool.address, protocol)
    assert await anvil.sample(pool.address) is Defect.STORAGE_CHANGED
    await anvil.mine(2)
    assert await anvil.equals_chain(pool.address, protocol)
    assert await anvil.sample(pool.address) is None


@pytest.mark.integration
async def test_a_log_that_a_real_node_kept_back_is_named_and_repaired(anvil: OnAnvil) -> None:
    await anvil.mine(2)
    number = await anvil.rpc.block_number()
    anvil.rpc.lost = number + 1
    await anvil.devnet.swap_exact_in(V3_POOL_005, V2_POOL.token0, 10**10)
    await anvil.follow()
    await anvil.mine(2)
    found = await anvil.tripwire.sample(V3_POOL_005.address.lower())
    assert found is not None
    assert (found.defect, found.block.number) == (Defect.MISSED_LOG, number + 1)
    await anvil.mine(2)
    assert await anvil.equals_chain(V3_POOL_005.address, Protocol.UNISWAP_V3)
    assert await anvil.sample(V3_POOL_005.address) is None
