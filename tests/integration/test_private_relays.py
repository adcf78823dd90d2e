"""Private relays in front of a real node: what goes to them alone is never in the node's pool, and trades once.

The executor runs in this process; node, contracts, HTTP and signatures are the real ones. The relays build the blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from dexlane.chain.execution.brakes import Brakes
from dexlane.chain.execution.connections import NodeConnections
from dexlane.chain.execution.executor import Executor, ExecutorParts
from dexlane.chain.execution.fencing import FencedJournal
from dexlane.chain.execution.keys import KeyFiles
from dexlane.chain.execution.live import LiveAccess
from dexlane.chain.execution.market_view import MarketView
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.chain.execution.relay_board import RelayBoard, RelaySet
from dexlane.chain.execution.reservations import Reservations
from dexlane.chain.execution.side_values import SideValues
from dexlane.chain.pool_loading import ChainReader, WatchedPool, load_pool
from dexlane.chain.relays.auth import AuthKey
from dexlane.chain.relays.catalogue import connected
from dexlane.chain.relays.relay import RelayKind
from dexlane.chain.rpc import Rpc
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.relay_holds import RacePolicy
from dexlane.domain.relay_scores import Fault
from dexlane.events.base import FeeCap
from dexlane.events.control import Status
from dexlane.events.execution import SendPath, TxChanged, TxState
from dexlane.events.fees import FeeTier
from dexlane.events.market import BlockApplied
from dexlane.events.streams import EVENTS
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.journal import Journal, outbox
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.observability import Metrics, configure_logging
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.testing.builders import a_book_changed, a_fee_quote, a_status, an_exposure, losses_counted
from dexlane.testing.devnet_verdicts import POOL, Purchase, approval
from dexlane.testing.live_bench import a_term, live_book
from dexlane.testing.relay_server import AnvilBuilder, Conduct, RelayServer
from dexlane.values.books import Book, Lane, RelayPolicy, RelayRules
from dexlane.values.chains import BlockRef
from dexlane.values.controls import Controls
from dexlane.values.pools import Protocol
from dexlane_devnet import Devnet, DevnetConfig, account, free_port, start_devnet

pytestmark = pytest.mark.integration
AUTH = AuthKey(bytes.fromhex("22" * 32))
ME = account("live-fast")
GWEI = 10**9


@dataclass
class Place:
    """A node that mines when it is told to, relays, and an executor of a book that sends by them alone."""

    node: Rpc
    builder: AnvilBuilder
    relays: Sequence[RelayServer]
    board: RelayBoard
    journal: Journal
    mirror: PoolMirror
    side: SideValues
    executor: Executor

    async def block(self, *building: RelayServer) -> None:
        """A block with what these relays want in it, and the executor's look at it."""
        await self.builder.build(building)
        header = await self.node.block("latest")
        assert header is not None
        event = BlockApplied(
            id=BlockApplied.make_id(1, header.hash),
            chain_id=1,
            occurred_at_ms=header.timestamp_s * 1_000,
            block=header.ref,
            parent_hash=header.parent_hash,
            timestamp_s=header.timestamp_s,
            base_fee_per_gas_wei=header.base_fee_per_gas_wei,
            next_base_fee_per_gas_wei=header.base_fee_per_gas_wei * 9 // 8,
            gas_used=header.gas_used,
            gas_limit=header.gas_limit,
            received_at_ns=SystemClock().now_ns(),
        )
        book = PoolBook()
        reader = await ChainReader.at(self.node, header.hash)
        book.put(
            await load_pool(reader, WatchedPool(address=POOL, protocol=Protocol.UNISWAP_V3)),
            BlockRef(number=header.number - 1, hash=header.parent_hash),
        )
        self.mirror.book, self.mirror.tip_event = book, event
        book.apply(event)
        await self.executor.view.on_block(event)
        cap = FeeCap(max_fee_per_gas_wei=3 * header.base_fee_per_gas_wei + GWEI, max_priority_fee_per_gas_wei=GWEI)
        quote = a_fee_quote(
            block=header.ref,
            next_base_fee_per_gas_wei=event.next_base_fee_per_gas_wei,
            tiers=dict.fromkeys(FeeTier, cap),
        )
        self.side.take_fee_quote(quote)
        await self.executor.step(event)
        while waiting := [task for task in asyncio.all_tasks() if task.get_name().startswith("relay-")]:
            await asyncio.wait(waiting)

    async def trade(self, blocks: int = 10) -> None:
        """A verdict of the newest block comes."""
        tip = self.executor.view.tip
        assert tip is not None
        purchase = Purchase(spend=1_000 * 10**6, blocks_to_live=blocks)
        await self.executor.on_verdict(approval(tip.block, purchase, SystemClock().now_ns()))

    async def private_hashes(self) -> set[str]:
        """Transactions that were to go to relays alone, by what was told of them."""
        return {one.tx_hash for one in await self.told() if one.path is SendPath.PRIVATE and one.tx_hash}

    async def told(self) -> list[TxChanged]:
        """What was told of trades that had a choice of ways."""
        async with self.journal.reading() as conn:
            rows = (await conn.execute(outbox.select().order_by(outbox.c.sequence))).all()
        tail = f".{TxChanged.NAME}."
        assert TxChanged in EVENTS
        events = [TxChanged.from_wire(row.payload) for row in rows if tail in row.subject]
        return [event for event in events if event.path is not None]


def a_live_book() -> Book:
    rules = RelayRules(policy=RelayPolicy.PRIVATE_ONLY)
    return live_book(accounts={Lane.FAST: ME.address.lower()}, relays=rules, controls=Controls(collar_bps=None))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def devnet() -> AsyncIterator[Devnet]:
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as running:
        await running.rpc("evm_setAutomine", False)
        yield running


def key_file(folder: Path) -> Path:
    """The account's key."""
    path = folder / "keys.json"
    path.touch(0o600)
    path.write_bytes(orjson.dumps({ME.address: ME.private_key}))
    return path


def side_values() -> SideValues:
    """A live book that holds nothing, and may trade."""
    side, book = SideValues(), a_live_book()
    side.take_book(a_book_changed(book))
    side.take_exposure(an_exposure(book_id=book.id, lane=Lane.FAST, at_work=0, open_positions=0, realised_today=0))
    side.take_status(a_status(Status.ACTIVE))
    side.take_breaker(losses_counted())
    return side


async def a_place(stack: AsyncExitStack, devnet: Devnet, folder: Path, *conducts: Conduct) -> Place:
    """Everything, until the account may trade."""
    clock, log = SystemClock(), configure_logging("bench", "CRITICAL")
    builder = AnvilBuilder(devnet.http_url)
    stack.push_async_callback(builder.close)
    servers = [await stack.enter_async_context(RelayServer(seed=one, conduct=c)) for one, c in enumerate(conducts)]
    kinds = [RelayKind.BUNDLES, RelayKind.PROTECT]
    specs = [server.spec(f"r{number}", kinds[number % 2]) for number, server in enumerate(servers)]
    moments = ExecutionMoments(Metrics("bench"), log)
    board = RelayBoard(RelaySet(1, connected(specs, AUTH), AUTH.address), clock=clock, moments=moments.relays)
    stack.push_async_callback(board.stop)
    url = f"sqlite+aiosqlite:///{folder}/journal.db"
    await upgrade(url, "dexlane.chain")
    journal = Journal(url, clock=clock, log=log, direct=True)
    stack.push_async_callback(journal.close)
    node = NodeConnections(1, [devnet.ws_url], clock, log)
    stack.push_async_callback(node.stop)
    access = LiveAccess(
        chain_id=1,
        lane=Lane.FAST,
        url=devnet.ws_url,
        connect=node.connect,
        key_files=KeyFiles(plain=key_file(folder)),
        guard_path=folder / "guard.db",
        witnesses=node.witnesses,
        relays=board,
        race=RacePolicy(at_once=1, widen_after_blocks=1, lie_after_blocks=3),
    )
    side, mirror = side_values(), PoolMirror(1)
    parts = ExecutorParts(
        service="fast-executor",
        lane=Lane.FAST,
        mirror=mirror,
        view=MarketView(mirror, side, clock),
        journal=FencedJournal(journal, await a_term(journal)),
        clock=clock,
        moments=moments,
        side=side,
        reservations=Reservations(),
        brakes=Brakes(chain_id=1, side=side, clock=clock),
    )
    executor = Executor(parts, access)
    stack.push_async_callback(executor.live.close)
    executor.books_changed()
    place = Place(await node.connect(), builder, servers, board, journal, mirror, side, executor)
    for server in servers:
        server.tip = await place.node.block_number()
    for _ in range(4):
        await place.block()
    return place


@pytest.mark.asyncio(loop_scope="module")
async def test_a_trade_by_relays_is_in_a_block_once_and_was_never_in_the_nodes_pool(
    devnet: Devnet, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        place = await a_place(stack, devnet, tmp_path, Conduct(), Conduct())
        await place.trade()
        private = await place.private_hashes()
        assert len(private) == 1
        assert not private & await place.builder.pooled()
        assert place.relays[0].signers == {AUTH.address}
        for _ in range(3):
            await place.block(*place.relays)
            assert not private & await place.builder.pooled()
        ends = [one for one in await place.told() if one.state is TxState.CONFIRMED]
        assert [one.tx_hash for one in ends] == list(private)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_relay_that_lies_is_followed_by_the_other_in_the_same_slot(devnet: Devnet, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        place = await a_place(stack, devnet, tmp_path, Conduct(swallow=1), Conduct())
        await place.trade()
        for _ in range(8):
            await place.block(*place.relays)
            assert not await place.private_hashes() & await place.builder.pooled()
        told = await place.told()
        assert told[-1].state is TxState.CONFIRMED
        assert len({one.nonce for one in told}) == 1
        assert place.relays[1].included


@pytest.mark.asyncio(loop_scope="module")
async def test_a_trade_that_no_relay_includes_is_cancelled_in_its_slot_and_stays_unseen(
    devnet: Devnet, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        place = await a_place(stack, devnet, tmp_path, Conduct(swallow=1))
        await place.trade(blocks=3)
        for _ in range(8):
            await place.block(*place.relays)
            assert not await place.private_hashes() & await place.builder.pooled()
        told = await place.told()
        assert told[-1].state is TxState.EXPIRED
        assert told[-1].path is SendPath.PUBLIC
        assert place.board.scores["r0"].dropped_for in {None, Fault.LIED}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_bundle_that_would_revert_is_left_out_and_costs_nothing(devnet: Devnet, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        place = await a_place(stack, devnet, tmp_path, Conduct())
        await place.trade()
        private = await place.private_hashes()
        # In the very block that the bundle is for, the pool refuses every call.
        snapshot = await place.builder.call("evm_snapshot")
        await place.builder.call("anvil_setCode", POOL, "0x60006000fd")
        await place.builder.build(place.relays)
        block = await place.builder.call("eth_getBlockByNumber", "latest", False)
        assert not private & set(block["transactions"])
        assert not private & await place.builder.pooled()
        await place.builder.call("evm_revert", snapshot)
        for _ in range(4):
            await place.block(*place.relays)
        assert (await place.told())[-1].state is TxState.CONFIRMED
