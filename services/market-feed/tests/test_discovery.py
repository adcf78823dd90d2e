"""The search for new pools as a specification: factories, lists, hostile tokens, floods and reorganisations."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from dexlane.chain import abi
from dexlane.chain.answers import Header
from dexlane.chain.factories import FACTORIES, V2_PAIR_CREATED_TOPIC, Factory, NewPool
from dexlane.chain.logs import V2_SYNC_TOPIC
from dexlane.chain.pool_events.uniswap_v4 import INITIALIZE_TOPIC, MODIFY_LIQUIDITY_TOPIC
from dexlane.chain.pool_loading import V4Key, WatchedPool
from dexlane.chain.pool_loading.base import signed_word
from dexlane.chain.pool_loading.uniswap_v4 import _slot
from dexlane.chain.rpc import RpcError
from dexlane.domain.liquidity_filter import Thresholds
from dexlane.domain.listing import parse_token_list
from dexlane.domain.pool_book import PoolBook
from dexlane.events.market import BlockReorged
from dexlane.events.pools import PoolSnapshot
from dexlane.events.portfolio import ExposureChanged, ExposurePart
from dexlane.events.streams import POOLS
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.errors import Fatal
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.builders import a_block_ref, a_pool_v3, an_exposure, an_intent
from dexlane.testing.fake_chain import FakeChain, FakeLog
from dexlane.values.chains import ZERO_ADDRESS
from dexlane.values.pools import ConcentratedState, Protocol, Tick
from market_feed.discovery import Discovery, reading
from market_feed.discovery.access import Access, AccessSources
from market_feed.discovery.holdings import POOLS_PER_TOKEN, SETTLING_BLOCKS, Held, Holdings
from market_feed.discovery.pools import Bounds, DiscoveryRules
from market_feed.feed import AppliedBlock, BlockFollower, PoolsChange
from market_feed.metrics import DiscoveryMoments

FACTORY = FACTORIES[1][0].address
USDC, WETH = "0x" + "a" * 40, "0x" + "c" * 40
MANAGER = "0x000000000004444c5dc75cb358380d2e3de08a90"
SPACING, EDGE = 10, 887_270
CONFIGURED = "0x" + "1" * 40
MILLION = 10**12
REVERT = RpcError(3, "execution reverted")


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def address(number: int) -> str:
    return f"0x{number:040x}"


class Contracts:
    """Pairs and tokens of a chain in memory: what the contracts answer at every block."""

    def __init__(self) -> None:
        self.pairs: dict[str, tuple[str, str, int, int]] = {CONFIGURED: (USDC, WETH, 20 * MILLION, 10_000 * 10**18)}
        self.storage: dict[int, int] = {}
        self.symbols: dict[str, bytes | RpcError] = {}
        self.decimals: dict[str, bytes | RpcError] = {USDC: word(6), WETH: word(18)}

    def pair(self, number: int, token: str, usdc: int) -> str:
        """A pair of USDC and a token with 18 decimals that counts as much in whole units."""
        new = address(0x10_0000 + number)
        token0, token1 = sorted((USDC, token))
        reserves = (usdc, usdc * 10**12) if token0 == USDC else (usdc * 10**12, usdc)
        self.pairs[new] = (token0, token1, *reserves)
        return new

    def managed(self, token0: str, token1: str, liquidity: int) -> V4Key:
        """A pool of Uniswap V4 at the price of one, with liquidity at every price."""
        key = V4Key(currency0=token0, currency1=token1, fee_pips=500, tick_spacing=SPACING)
        base = _slot(bytes.fromhex(key.pool_id[2:]), 6)
        self.storage |= {base: 500 << 208 | 1 << 96, base + 3: liquidity}
        for index, net in ((-EDGE, liquidity), (EDGE, -liquidity)):
            at = index // SPACING
            self.storage[_slot(signed_word(index), base + 4)] = (net % (1 << 128)) << 128 | liquidity
            self.storage[_slot(signed_word(at >> 8), base + 5)] = 1 << (at & 255)
        return key

    def answer(self, to: str, data: bytes, _header: Header) -> bytes:
        selector = data[:4].hex()
        if selector == "70a08231":
            token0, token1, reserve0, reserve1 = self.pairs[f"0x{data[-20:].hex()}"]
            return word({token0: reserve0, token1: reserve1}[to])
        if to == MANAGER:
            return word(self.storage.get(int.from_bytes(data[4:36], "big"), 0))
        if to in self.pairs:
            token0, token1, reserve0, reserve1 = self.pairs[to]
            answers = {
                "0dfe1681": abi.address(token0),
                "d21220a7": abi.address(token1),
                "c45a0155": abi.address(FACTORY),
            }
            return answers.get(selector) or word(reserve0) + word(reserve1) + word(0)
        default: bytes | RpcError = abi.frame(abi.byte_string(b"T")) if selector == "95d89b41" else word(18)
        given = (self.symbols if selector == "95d89b41" else self.decimals).get(to, default)
        if isinstance(given, RpcError):
            raise given
        return given


def initialised(key: V4Key) -> FakeLog:
    topics = (key.pool_id, *("0x" + abi.address(each).hex() for each in (key.currency0, key.currency1)))
    data = abi.uint(key.fee_pips) + abi.uint(key.tick_spacing) + abi.address(ZERO_ADDRESS) + word(1 << 96) + word(0)
    return FakeLog(address=MANAGER, topics=(INITIALIZE_TOPIC, *topics), data=data)


class World:
    """A chain, its feed and the discovery beside it."""

    def __init__(self, sources: AccessSources | None = None, **changes: Any) -> None:
        self.contracts = Contracts()
        self.chain = FakeChain(1)
        self.chain.answer_call = self.contracts.answer
        self.rpc = self.chain.rpc()
        watched = [WatchedPool(address=CONFIGURED, protocol=Protocol.UNISWAP_V2)]
        self.follower = BlockFollower(1, self.chain.rpc(), watched, clock=ManualClock())
        moments = DiscoveryMoments(Metrics("market-feed"), Log(logging.getLogger("test")))
        self.access = Access(sources or AccessSources(), moments)
        bounds = changes.pop("bounds", Bounds())
        rules = DiscoveryRules(
            chain_id=1,
            quote=USDC,
            wrapped_native=WETH,
            factories=(*FACTORIES[1], Factory(address=MANAGER, protocol=Protocol.UNISWAP_V4)),
            thresholds=Thresholds(**({"enter": 5_000 * 10**6, "leave": 2_500 * 10**6, "capacity": 10} | changes)),
            bounds=bounds,
        )
        self.discovery = Discovery(rules, self.rpc, self.follower, self.access, moments)
        self.held = Held(frozenset(), complete=True)
        self.discovery.holdings.at = lambda number: self.held  # type: ignore[method-assign]
        self.changes: list[PoolsChange] = []
        self.reasons: list[str] = []
        self.lost: list[tuple[str, str]] = []
        told = moments.refused
        moments._held_pool_lost = lambda _, address, reason: self.lost.append((address, reason))  # type: ignore[method-assign]

        def refused(chain_id: int, address: str, reason: str, *, held: bool = False) -> None:
            self.reasons.append(reason)
            told(chain_id, address, reason, held=held)

        moments.refused = refused  # type: ignore[method-assign]

    async def loaded(self, book: PoolBook, tip: Header) -> None:
        self.discovery.begin(book, tip.ref)

    async def applied(self, block: AppliedBlock, book: PoolBook) -> None:
        self.discovery.note(block.event)

    async def pools_changed(self, change: PoolsChange, book: PoolBook) -> None:
        self.changes.append(change)

    async def troubled(self, reason: str) -> None:
        pass

    async def reorged(self, event: BlockReorged) -> None:
        return None

    async def start(self) -> World:
        await self.access.start()
        await self.follower.load(self)
        await self.discovery.work()
        return self

    async def block(self, *logs: FakeLog) -> None:
        """One block with these logs, and what the discovery does after it."""
        [head] = self.chain.mine(logs=logs)
        await self.follow(head)

    async def follow(self, head: Header) -> None:
        assert await self.follower.follow(head, self) == ""
        await self.discovery.work()

    async def watch(self, number: int, token: str) -> str:
        """A pool of USDC and a token, watched for its depth."""
        new = self.contracts.pair(number, token, MILLION)
        await self.block(created(new, token))
        await self.block()
        assert new in self.pools
        return new

    async def drain(self, number: int, token: str) -> None:
        """Somebody takes the liquidity of such a pool, all but one USDC."""
        pool = self.contracts.pair(number, token, 10**6)
        await self.block(synced(pool, *self.contracts.pairs[pool][2:]))

    @property
    def waiting(self) -> set[str]:
        return {candidate.new.address for candidate in self.discovery.candidates}

    @property
    def pools(self) -> set[str]:
        return set(self.follower.book.pools) - {CONFIGURED}


def created(pool: str, token: str, factory: str = FACTORY) -> FakeLog:
    topics = [("0x" + abi.address(each).hex()) for each in sorted((USDC, token))]
    data = abi.address(pool) + word(1)
    return FakeLog(address=factory, topics=(V2_PAIR_CREATED_TOPIC, *topics), data=data)


def synced(pool: str, reserve0: int, reserve1: int) -> FakeLog:
    return FakeLog(address=pool, topics=(V2_SYNC_TOPIC,), data=word(reserve0) + word(reserve1))


@pytest.fixture
async def world() -> World:
    return await World().start()


TOKEN = address(0xFEED)


async def test_a_new_pool_with_enough_depth_is_watched_from_the_next_block_on(world: World) -> None:
    new = world.contracts.pair(1, TOKEN, MILLION)
    await world.block(created(new, TOKEN))
    assert world.pools == set()
    await world.block(synced(new, MILLION * 10**12 + 1, MILLION))
    [change] = world.changes
    assert [pool.key.address for pool in change.joined] == [new]
    assert change.block.number == 1
    assert world.follower.book.pools[new].state.reserve0 == MILLION * 10**12 + 1  # type: ignore[union-attr]


async def test_only_known_factories_are_believed(world: World) -> None:
    new = world.contracts.pair(1, TOKEN, MILLION)
    await world.block(created(new, TOKEN, factory=address(0xBAD)))
    assert world.waiting == set()


async def test_a_pool_without_liquidity_waits_until_it_has_some(world: World) -> None:
    new = world.contracts.pair(1, TOKEN, 10**6)
    await world.block(created(new, TOKEN))
    await world.block()
    assert (world.pools, world.waiting) == (set(), {new})
    world.contracts.pair(1, TOKEN, MILLION)
    await world.block()
    await world.block()
    assert world.pools == {new}


async def test_a_pool_leaves_when_its_depth_is_gone_and_may_come_back(world: World) -> None:
    new = world.contracts.pair(1, TOKEN, MILLION)
    await world.block(created(new, TOKEN))
    await world.block()
    world.contracts.pair(1, TOKEN, 10**6)
    await world.block(synced(new, 10**18, 10**6))
    assert world.pools == {new}
    await world.block()
    assert (world.pools, world.waiting) == (set(), {new})


async def test_a_pool_of_two_unknown_tokens_is_refused_because_nobody_knows_its_worth(world: World) -> None:
    other = address(0xBEEF)
    data = abi.address(address(5)) + word(1)
    topics = ["0x" + abi.address(each).hex() for each in sorted((TOKEN, other))]
    await world.block(FakeLog(address=FACTORY, topics=(V2_PAIR_CREATED_TOPIC, *topics), data=data))
    assert world.waiting == set()
    assert world.reasons == ["it trades no token whose price is known"]


@pytest.mark.parametrize("tokens", [(TOKEN, USDC), (ZERO_ADDRESS, TOKEN)], ids=["quote", "coin"])
async def test_a_pool_of_a_manager_is_watched_when_its_liquidity_is_worth_it(
    world: World, tokens: tuple[str, str]
) -> None:
    key = world.contracts.managed(*sorted(tokens), liquidity=10_000 * 10**18)
    await world.block(initialised(key))
    await world.block()
    [found] = world.pools
    assert found == key.pool_id[:42]
    assert world.follower.book.pools[found].key.pool_id == key.pool_id


async def test_a_pool_that_somebody_fills_with_ticks_leaves_before_its_snapshot_holds_up_all_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.contracts.managed(*sorted((TOKEN, USDC)), liquidity=10_000 * 10**18)
    monkeypatch.setattr(reading, "MAX_TICKS", 3)
    await world.block(initialised(key))
    await world.block()
    assert world.pools == {key.pool_id[:42]}
    topics = (MODIFY_LIQUIDITY_TOPIC, key.pool_id, "0x" + word(1).hex())
    data = signed_word(-SPACING) + signed_word(SPACING) + word(1) + word(0)
    await world.block(FakeLog(address=MANAGER, topics=topics, data=data))
    await world.block()
    assert (world.pools, world.waiting) == (set(), set())


async def test_a_pool_of_a_manager_without_active_liquidity_waits_and_is_not_read(world: World) -> None:
    key = world.contracts.managed(*sorted((TOKEN, USDC)), liquidity=10**6)
    await world.block(initialised(key))
    calls = len(world.rpc.calls)
    await world.block()
    assert (world.pools, world.waiting) == (set(), {key.pool_id[:42]})
    assert len(world.rpc.calls) - calls < 10


@pytest.mark.parametrize(
    ("decimals", "reason"),
    [
        (b"", "does not answer decimals"),
        (REVERT, "does not answer decimals"),
        (word(200), "more decimals"),
        (b"\xff" * 3, "with 3 bytes"),
        (RpcError(-32000, "out of gas"), "does not answer decimals"),
    ],
    ids=["no contract", "reverts", "absurd", "garbage", "burns"],
)
async def test_a_token_without_decimals_is_recorded_and_its_pool_never_watched(
    world: World, decimals: bytes | RpcError, reason: str
) -> None:
    world.contracts.decimals[TOKEN] = decimals
    new = world.contracts.pair(1, TOKEN, MILLION)
    await world.block(created(new, TOKEN))
    await world.block()
    assert (world.pools, world.waiting) == (set(), set())
    assert world.discovery.tokens[TOKEN].decimals is None
    assert reason in world.reasons[0]


async def test_a_bytes32_symbol_is_read(world: World) -> None:
    world.contracts.symbols[TOKEN] = b"MKR".ljust(32, b"\0")
    new = world.contracts.pair(1, TOKEN, MILLION)
    await world.block(created(new, TOKEN))
    await world.block()
    assert world.follower.book.pools[new].key.token(TOKEN).symbol == "MKR"


async def test_a_pool_that_contradicts_its_factory_is_refused(world: World) -> None:
    new = world.contracts.pair(1, TOKEN, MILLION)
    log = created(new, TOKEN)
    world.contracts.pairs[new] = (address(3), USDC, MILLION, MILLION)
    await world.block(log)
    assert world.reasons == ["it trades other tokens than its factory said"]


async def test_thousands_of_new_pools_in_one_block_are_worked_off_in_bounded_pieces() -> None:
    bounds = Bounds(candidates=2_000, screened=100, loaded=4)
    world = await World(bounds=bounds, capacity=1_000).start()
    tokens = [address(0xA_0000_0000 + number) for number in range(3_000)]
    pools = [world.contracts.pair(number, token, MILLION) for number, token in enumerate(tokens)]
    await world.block(*(created(pool, token) for pool, token in zip(pools, tokens, strict=True)))
    assert len(world.discovery.candidates) == 1_996
    assert world.reasons.count("there are too many candidates") == 1_000
    calls = len(world.rpc.calls)
    await world.block()
    assert len(world.pools) == 4
    assert len(world.rpc.calls) - calls < 50


async def test_at_the_bound_the_deepest_pools_are_the_watched_ones() -> None:
    world = await World(capacity=2).start()
    sizes = (MILLION, 4 * MILLION, 16 * MILLION)
    pools = [world.contracts.pair(number, address(0xF00 + number), size) for number, size in enumerate(sizes)]
    for number, pool in enumerate(pools):
        await world.block(created(pool, address(0xF00 + number)))
    await world.block()
    assert world.pools == {pools[1], pools[2]}


async def test_a_pool_that_the_chain_took_back_is_watched_no_longer_and_comes_again_with_its_event(
    world: World,
) -> None:
    new = world.contracts.pair(1, TOKEN, MILLION)
    await world.block()
    await world.block(created(new, TOKEN))
    await world.block()
    assert world.pools == {new}
    head, *_ = world.chain.reorg(2, logs=[created(new, TOKEN)])
    await world.follow(head)
    assert world.pools == set()
    await world.follow(world.chain.tip)
    assert world.pools == {new}


async def test_a_chain_that_is_faster_than_the_loading_only_delays_it(world: World) -> None:
    new = world.contracts.pair(1, TOKEN, MILLION)
    load = world.discovery._reader.load

    async def slow(*arguments: Any, **more: Any) -> Any:
        pool = await load(*arguments, **more)
        if len(world.follower.book.pools) == 1 and world.chain.tip.number < 3:
            assert await world.follower.follow(world.chain.mine()[0], world) == ""
        return pool

    world.discovery._reader.load = slow  # type: ignore[method-assign]
    await world.block(created(new, TOKEN))
    for _ in range(3):
        await world.block()
    assert world.pools == {new}


async def test_after_everything_was_read_anew_the_discovered_pools_join_again(world: World) -> None:
    new = world.contracts.pair(1, TOKEN, MILLION)
    await world.block(created(new, TOKEN))
    await world.block()
    await world.follower.load(world)
    assert world.pools == set()
    await world.discovery.work()
    await world.block()
    assert world.pools == {new}


# ---------------------------------------------------------------- what is held


NOTHING = Held(frozenset(), complete=True)
UNKNOWN = Held(frozenset(), complete=False)
TOKEN_HELD = Held(frozenset({TOKEN}), complete=True)


async def test_a_pool_that_lost_its_depth_is_watched_as_long_as_its_token_is_held(world: World) -> None:
    pool, dust = await world.watch(1, TOKEN), await world.watch(2, address(0xD057))
    world.held = TOKEN_HELD
    await world.drain(1, TOKEN)
    await world.drain(2, address(0xD057))
    for _ in range(3):
        await world.block()
    assert [change.left for change in world.changes if change.left] == [(dust,)]
    assert dust in world.waiting
    assert world.discovery.only_for_exits == {pool}
    world.held = NOTHING
    await world.block()
    await world.block()
    assert (world.pools, world.discovery.only_for_exits) == (set(), frozenset())


async def filled_with_ticks(world: World, monkeypatch: pytest.MonkeyPatch, most: int) -> str:
    """A pool of the token that is held, to which somebody added two ticks more than others may have."""
    key = world.contracts.managed(*sorted((TOKEN, USDC)), liquidity=10_000 * 10**18)
    monkeypatch.setattr(reading, "MAX_TICKS", 3)
    monkeypatch.setattr(reading, "HELD_TICKS", most)
    await world.block(initialised(key))
    await world.block()
    world.held = TOKEN_HELD
    topics = (MODIFY_LIQUIDITY_TOPIC, key.pool_id, "0x" + word(1).hex())
    data = signed_word(-SPACING) + signed_word(SPACING) + word(1) + word(0)
    await world.block(FakeLog(address=MANAGER, topics=topics, data=data))
    await world.block()
    return key.pool_id[:42]


async def test_a_pool_that_somebody_fills_with_ticks_stays_for_exits_while_its_token_is_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await filled_with_ticks(world, monkeypatch, most=5)
    assert world.pools == world.discovery.only_for_exits == {pool}
    monkeypatch.setattr(reading, "MAX_TICKS", 1)  # of the two that the node still tells
    await world.follower.load(world)
    for _ in range(2):
        await world.block()
    assert world.pools == world.discovery.only_for_exits == {pool}, "also when all is read anew"
    assert world.lost == []
    world.held = NOTHING
    await world.block()
    await world.block()
    assert world.pools == set()
    assert world.lost == []


async def test_a_pool_of_a_held_token_that_nobody_can_carry_is_told_as_such(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await filled_with_ticks(world, monkeypatch, most=3)
    assert world.pools == set()
    assert world.lost == [(pool, "it has 4 ticks, at most 3 are carried")]


def test_a_snapshot_has_room_for_as_many_ticks_as_are_carried_of_a_held_pool() -> None:
    state = ConcentratedState.unchecked(2**160 - 1, -887_272, 2**128 - 1, ())
    widest = [Tick(-887_272 + number, 2**128 - 1, -(2**127)) for number in range(reading.HELD_TICKS)]
    pool = replace(a_pool_v3(), state=replace(state, ticks=tuple(widest)))
    snapshot = PoolSnapshot(chain_id=2**53, block=a_block_ref(2**40), pool=pool)
    assert len(snapshot.model_dump_json()) < POOLS.max_value_bytes


async def test_a_pool_of_a_held_token_makes_no_room_for_a_deeper_one() -> None:
    world = await World(capacity=1).start()
    pool = await world.watch(1, TOKEN)
    world.held = TOKEN_HELD
    deeper = world.contracts.pair(2, address(2), 100 * MILLION)
    await world.block(created(deeper, address(2)))
    await world.block()
    assert world.pools == {pool}
    world.held = NOTHING
    await world.block()
    await world.block()
    assert world.pools == {deeper}


async def test_nothing_leaves_while_it_is_not_known_what_is_held(world: World) -> None:
    pool = await world.watch(1, TOKEN)
    world.held = UNKNOWN
    await world.drain(1, TOKEN)
    await world.block()
    assert world.pools == {pool}


async def test_a_restart_watches_a_drained_pool_again_until_it_is_known_that_its_token_is_not_held() -> None:
    world = World()
    pool = world.contracts.pair(1, TOKEN, 10**6)
    world.held = UNKNOWN
    world.discovery.remember([NewPool(pool, Protocol.UNISWAP_V2, *sorted((USDC, TOKEN)))])
    await world.start()
    await world.block()
    assert world.pools == {pool}
    world.held = TOKEN_HELD
    await world.block()
    await world.block()
    assert world.pools == {pool}
    world.held = NOTHING
    await world.block()
    await world.block()
    assert world.pools == set()


async def test_a_drained_pool_of_a_held_token_joins_again_first_when_everything_is_read_anew() -> None:
    world = await World(bounds=Bounds(loaded=1)).start()
    for number in range(3):
        await world.watch(number, address(0xF00 + number))
    pool = await world.watch(9, TOKEN)
    world.held = TOKEN_HELD
    await world.drain(9, TOKEN)
    await world.follower.load(world)
    assert pool in world.discovery.awaited, "the checkpoint of this moment names the configured pools alone"
    await world.discovery.work()
    await world.block()
    assert pool in world.pools
    assert world.discovery.awaited == ()


async def test_a_pool_that_the_node_cannot_give_is_not_given_up_while_its_token_is_held() -> None:
    world = await World(bounds=Bounds(attempts=1)).start()
    pool = await world.watch(1, TOKEN)
    world.held = TOKEN_HELD
    await world.drain(1, TOKEN)
    answer = world.chain.answer_call

    def refused(to: str, data: bytes, header: Header) -> bytes:
        if to == pool:
            raise RpcError(-32000, "out of gas")
        return answer(to, data, header)

    await world.follower.load(world)
    world.chain.answer_call = refused
    for _ in range(3):
        await world.block()
    world.chain.answer_call = answer
    await world.block()
    await world.block()
    assert world.pools == {pool}


async def test_a_token_that_is_bought_as_its_pool_leaves_brings_the_pool_back(world: World) -> None:
    pool = await world.watch(1, TOKEN)
    await world.drain(1, TOKEN)
    world.held = TOKEN_HELD
    await world.block()
    await world.block()
    assert world.pools == {pool}


async def test_of_many_drained_pools_of_a_held_token_only_the_deepest_stay() -> None:
    world = await World(capacity=100).start()
    deep = await world.watch(99, TOKEN)
    pools = [await world.watch(number, TOKEN) for number in range(POOLS_PER_TOKEN + 4)]
    world.held = TOKEN_HELD
    for number in range(len(pools)):
        await world.drain(number, TOKEN)
    for _ in range(5):
        await world.block()
        assert deep in world.pools
    assert len(world.pools) == POOLS_PER_TOKEN


async def test_a_blocked_pool_stays_for_exits_until_its_token_is_sold(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked.txt"
    blocked.write_text("")
    world = await World(AccessSources(blocked=blocked)).start()
    pool = await world.watch(1, TOKEN)
    world.held = Held(frozenset({TOKEN, WETH}), complete=True)
    blocked.write_text(f"{TOKEN}\n{CONFIGURED}")
    world.access._read_again()
    await world.block()
    await world.block()
    assert set(world.follower.book.pools) == world.discovery.only_for_exits == {pool, CONFIGURED}
    world.held = NOTHING
    await world.block()
    await world.block()
    assert set(world.follower.book.pools) == set()


def an_exposure_of(token: str | None, version: int, number: int) -> ExposureChanged:
    parts = (ExposurePart(token=token, strategy="momentum", cost=1),) if token else ()
    return an_exposure(exposure_version=version, parts=parts, block=a_block_ref(number))


def listening(*, since: int = 0) -> Holdings:
    holdings = Holdings()
    holdings.at(since)
    return holdings


def test_what_is_held_is_known_when_exposures_were_told_and_earlier_entries_are_over() -> None:
    holdings = listening()
    assert not holdings.at(SETTLING_BLOCKS).complete
    holdings.note_exposure(an_exposure_of(TOKEN, 1, SETTLING_BLOCKS))
    assert holdings.at(SETTLING_BLOCKS - 1) == Held(frozenset({TOKEN}), complete=False)
    assert holdings.at(SETTLING_BLOCKS) == Held(frozenset({TOKEN}), complete=True)
    assert not holdings.at(2 * SETTLING_BLOCKS + 1).complete, "portfolio is silent"


def test_what_is_at_work_without_anybody_saying_of_what_is_not_known() -> None:
    holdings = listening()
    holdings.note_exposure(an_exposure(parts=None, block=a_block_ref(200)))
    assert not holdings.at(200).complete


def test_a_sold_token_counts_as_held_until_no_reorganisation_brings_it_back() -> None:
    holdings = listening()
    holdings.note_exposure(an_exposure_of(TOKEN, 1, 200))
    holdings.note_exposure(an_exposure_of(None, 2, 205))
    holdings.note_exposure(an_exposure_of(TOKEN, 1, 200))  # came late
    assert TOKEN in holdings.at(200 + SETTLING_BLOCKS).tokens
    assert TOKEN not in holdings.at(201 + SETTLING_BLOCKS).tokens


def test_an_entry_counts_until_its_fill_must_have_been_told() -> None:
    holdings = listening()
    entry = an_intent()
    assert entry.plan is not None
    holdings.note_intent(entry)
    holdings.note_exposure(an_exposure_of(None, 1, entry.plan.deadline_block))
    bought, last = entry.plan.route.token_out, entry.plan.deadline_block + SETTLING_BLOCKS
    assert bought in holdings.at(last).tokens
    assert bought not in holdings.at(last + 1).tokens


# ---------------------------------------------------------------- lists


def _rewrite(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1_000_000_000))


async def test_a_blocked_token_is_neither_looked_at_nor_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market_feed.discovery.access.LOOK_EVERY_S", 0.01)
    blocked = tmp_path / "blocked.txt"
    blocked.write_text("# nothing yet\n")
    world = await World(AccessSources(blocked=blocked)).start()
    new = world.contracts.pair(1, TOKEN, MILLION)
    await world.block(created(new, TOKEN))
    await world.block()
    assert world.pools == {new}
    looking = asyncio.create_task(world.access.run())
    _rewrite(blocked, TOKEN.upper().replace("0X", "0x"))
    async with asyncio.timeout(5):
        while world.access.version < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    _rewrite(blocked, "not an address")
    await asyncio.sleep(0.05)
    looking.cancel()
    await world.block()
    await world.block()
    assert (world.pools, world.waiting) == (set(), set())
    another = world.contracts.pair(2, TOKEN, MILLION)
    await world.block(created(another, TOKEN))
    await world.block()
    assert world.pools == set()
    assert world.reasons == [f"{TOKEN} is blocked"]


async def test_a_configured_pool_that_is_blocked_leaves_before_the_first_block(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked.txt"
    blocked.write_text(CONFIGURED)
    world = await World(AccessSources(blocked=blocked)).start()
    await world.block()
    assert world.changes[0].left == (CONFIGURED,)
    assert CONFIGURED not in world.follower.book.pools


async def test_only_listed_tokens_are_watched_when_that_is_wanted(tmp_path: Path) -> None:
    tokens = [{"chainId": 1, "address": each, "symbol": "T", "decimals": 18} for each in (USDC, WETH, TOKEN)]
    path = tmp_path / "list.json"
    path.write_bytes(orjson.dumps({"name": "L", "timestamp": "", "version": {"major": 1}, "tokens": tokens}))
    world = await World(AccessSources(token_lists=(str(path),), listed_only=True)).start()
    listed, unlisted = world.contracts.pair(1, TOKEN, MILLION), world.contracts.pair(2, address(9), MILLION)
    await world.block(created(listed, TOKEN), created(unlisted, address(9)))
    await world.block()
    assert world.pools == {listed}


def test_the_list_that_comes_along_is_whole() -> None:
    shipped = parse_token_list((Path(__file__).parents[1] / "lists" / "basics.tokenlist.json").read_bytes())
    assert shipped.faults == ()
    assert {"WETH", "USDC"} <= {token.symbol for token in shipped.tokens if token.chain_id == 1}


async def test_a_list_that_cannot_be_read_refuses_the_start(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="lists of tokens and pools"):
        await World(AccessSources(allowed=tmp_path / "missing.txt")).access.start()


async def test_a_token_list_is_fetched_from_an_address_and_one_that_does_not_come_allows_nothing() -> None:
    content = orjson.dumps({"version": {}, "tokens": [{"chainId": 1, "address": TOKEN, "symbol": "T", "decimals": 18}]})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1]
        status = b"200 OK" if path == b"/list.json" else b"302 Found\r\nLocation: /list.json"
        writer.write(
            b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(content), content)
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for path, expected in (("/list.json", {TOKEN}), ("/moved.json", set())):
            access = World(AccessSources(token_lists=(base + path,), listed_only=True)).access
            await access.start()
            assert access.lists(1).allowed == expected
