"""A live desk in memory: a fake chain with token balances and Permit2, a real journal, the real signer."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import orjson
import sqlalchemy as sa

from dexlane.chain import abi
from dexlane.chain.answers import Header
from dexlane.chain.execution.assembly import restored
from dexlane.chain.execution.brakes import Brakes, restored_brakes
from dexlane.chain.execution.executor import Executor, ExecutorParts
from dexlane.chain.execution.fencing import FencedJournal, JournalLeaseStore, LeaseKey, Term
from dexlane.chain.execution.keys import KeyFiles, SigningRules
from dexlane.chain.execution.live import LiveAccess
from dexlane.chain.execution.market_view import MarketView
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.chain.execution.relay_board import RelayBoard
from dexlane.chain.execution.reservations import Reservations
from dexlane.chain.execution.side_values import SideValues
from dexlane.chain.execution.testimony import Witness
from dexlane.chain.execution.told_before import ToldFacts
from dexlane.chain.permit2 import PERMIT2
from dexlane.chain.rpc import Rpc
from dexlane.domain.breakers.policy import BreakerPolicy
from dexlane.domain.circumstances import PlanningRules
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.relay_holds import RacePolicy
from dexlane.domain.send_values import SendPolicy
from dexlane.events.base import Event, FeeCap
from dexlane.events.breakers import BreakerKind
from dexlane.events.control import Status
from dexlane.events.fees import FeeTier
from dexlane.events.market import BlockApplied
from dexlane.events.risk import DecisionRecorded
from dexlane.events.streams import EVENTS
from dexlane.runtime.breaker_board import BoardPlace
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.journal import Journal, outbox
from dexlane.runtime.lease import Lease, LeasePolicy
from dexlane.runtime.observability import Metrics, configure_logging
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.testing.builders import (
    CHAIN_ID,
    USDC,
    WETH,
    a_book,
    a_book_changed,
    a_fee_quote,
    a_pool_v2,
    a_pool_v3,
    a_status,
    a_verdict,
    an_entry_opportunity,
    an_exposure,
    losses_counted,
)
from dexlane.testing.fake_chain import FakeChain, FakeLog, Outcome
from dexlane.testing.fake_mempool import PooledTransaction
from dexlane.testing.journals import migrated
from dexlane.values.books import Book, Lane, Mode
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool
from dexlane_signer import PrivateKey

E = TypeVar("E", bound=Event)
KEY = "0x" + "11" * 32
ACCOUNT = PrivateKey.from_hex(KEY).address
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
GWEI = 10**9
BOUGHT = 498 * 10**15
ROUTER = "0x66a9893cc07d91d95644aedd05d03f95e1dba8af"


def transfer(token: str, sender: str, receiver: str, amount: int) -> FakeLog:
    """The log of an ERC-20 transfer."""
    topics = (TRANSFER, "0x" + abi.address(sender).hex(), "0x" + abi.address(receiver).hex())
    return FakeLog(address=token, topics=topics, data=abi.uint(amount))


class TokenWorld:
    """Balances, allowances and Permit2 nonces behind a fake chain's calls, by what its blocks include."""

    def __init__(self, chain: FakeChain) -> None:
        self.chain = chain
        self.balances = {USDC.address: 100_000 * 10**6, WETH.address: 0}
        self.spent = 1_000 * 10**6
        self.bought = BOUGHT
        self.reverts: set[str] = set()
        self.pools: Sequence[Pool] = (a_pool_v2(), a_pool_v3())
        self.others: Sequence[Rpc] = ()
        """Further providers beside the bench's own."""
        self.left_out: dict[str, str] = {}
        """Providers that are not asked any more, and why: ``p0`` is the bench's own."""
        self.sending = SendPolicy(confirmations=2)
        self.rules = PlanningRules()
        self.signing = SigningRules()
        self.relays: RelayBoard | None = None
        self.race = RacePolicy()
        self.told: ToldFacts | None = None
        self.policies: Mapping[BreakerKind, BreakerPolicy] | None = None
        """Of the breakers that executors host; None: they host none."""
        self.losses_counted = True
        chain.codes[ROUTER] = b"\1"
        chain.execute = self.execute
        chain.answer_call = self.answer

    def execute(self, tx: PooledTransaction) -> Outcome:
        """A router call buys WETH; an approval and a cancel succeed."""
        if tx.hash in self.reverts or tx.to != ROUTER:
            return Outcome(success=tx.hash not in self.reverts)
        pool = "0x" + "77" * 20
        paid = transfer(USDC.address, ACCOUNT, pool, self.spent)
        return Outcome(logs=(paid, transfer(WETH.address, pool, ACCOUNT, self.bought)))

    def included(self, to: str) -> list[PooledTransaction]:
        """Successful transactions to a contract, in the canonical chain."""
        good = {receipt.tx_hash for block in self.chain.blocks for receipt in block.receipts if receipt.success}
        return [tx for block in self.chain.blocks for tx in block.transactions if tx.to == to and tx.hash in good]

    def answer(self, to: str, data: bytes, header: Header) -> bytes:
        """``balanceOf``, ``allowance`` and Permit2's ``allowance``."""
        selector, trades = data[:4].hex(), len(self.included(ROUTER))
        if to == PERMIT2:
            return abi.uint(0) + abi.uint(0) + abi.uint(trades)
        if selector == "70a08231":
            change = -self.spent if to == USDC.address else self.bought
            return abi.uint(self.balances.get(to, 0) + change * trades)
        approvals = [tx for tx in self.included(to) if tx.data[:4].hex() == "095ea7b3"]
        return approvals[-1].data[36:68] if approvals else abi.uint(0)


@dataclass(frozen=True)
class Home:
    """What outlives a process: the folder of the signer's record, the database of its journal, keys by account."""

    folder: Path
    database_url: str
    keys: Mapping[str, str] = field(default_factory=lambda: {ACCOUNT: KEY})


@dataclass
class Bench:
    """One process's life: an executor with its journal. ``reborn`` is the next process in the same home."""

    home: Home
    chain: FakeChain
    world: TokenWorld
    rpc: Any
    clock: ManualClock
    journal: Journal
    executor: Executor
    mirror: PoolMirror
    side: SideValues
    reservations: Reservations
    books: list[Book] = field(default_factory=list)

    async def head(self, mine: int = 1, **options: Any) -> BlockApplied:
        """Mine, tell the mirror, and take the executor's step."""
        self.chain.mine(mine, **options)
        return await self.follow()

    async def follow(self) -> BlockApplied:
        """Tell the mirror the fake chain's tip as the next block, and take the executor's step."""
        tip = await self.applied()
        await self.executor.step(tip)
        return tip

    async def applied(self) -> BlockApplied:
        """Tell the mirror the fake chain's tip without a step. The clock goes with the chain."""
        header = self.chain.tip
        self.clock.advance(1_000)
        event = BlockApplied(
            id=BlockApplied.make_id(CHAIN_ID, header.hash),
            chain_id=CHAIN_ID,
            occurred_at_ms=self.clock.now_ms(),
            block=header.ref,
            parent_hash=header.parent_hash,
            timestamp_s=header.timestamp_s,
            base_fee_per_gas_wei=header.base_fee_per_gas_wei,
            next_base_fee_per_gas_wei=header.base_fee_per_gas_wei,
            gas_used=header.gas_used,
            gas_limit=header.gas_limit,
            received_at_ns=self.clock.now_ns(),
        )
        self.mirror.book = _book_of_pools(event, self.world.pools)
        self.mirror.tip_event = event
        self.mirror.book.apply(event)
        await self.executor.view.on_block(event)
        base_fee = header.base_fee_per_gas_wei
        cap = FeeCap(max_fee_per_gas_wei=2 * base_fee + GWEI // 10, max_priority_fee_per_gas_wei=GWEI // 10)
        self.side.take_fee_quote(
            a_fee_quote(block=header.ref, next_base_fee_per_gas_wei=base_fee, tiers=dict.fromkeys(FeeTier, cap))
        )
        return event

    def verdict(self, blocks: int = 4, **fields: Any) -> Any:
        """An approved entry that lasts so many blocks from the tip."""
        block = self.chain.tip.ref
        found = an_entry_opportunity(
            block=block, deadline_block=block.number + blocks, received_at_ns=self.clock.now_ns(), **fields
        )
        return a_verdict(found)

    async def events(self) -> list[Event]:
        """Everything emitted so far, in order."""
        by_name = {event.NAME: event for event in EVENTS}
        async with self.journal.reading() as conn:
            rows = (await conn.execute(sa.select(outbox).order_by(outbox.c.sequence))).all()
        return [by_name[_name(row.subject, by_name)].from_wire(row.payload) for row in rows]

    async def refusals(self) -> list[DecisionRecorded]:
        """Decisions not to trade, in order."""
        return [one for one in await self.events() if isinstance(one, DecisionRecorded) and one.outcome != "traded"]

    async def names(self, intent_id: str | None = None) -> list[str]:
        """Names of the events of an intent, the states of its transactions spelled out."""
        return [
            event.NAME + (f".{event.tail()}" if event.NAME == "tx" else "")
            for event in await self.events()
            if getattr(event, "intent_id", event.id) == intent_id or intent_id is None
        ]

    def effects(self) -> int:
        """How many trades the chain has included."""
        return len([tx for block in self.chain.blocks for tx in block.transactions if tx.to == ROUTER])

    async def of_intent(self, intent_id: str, event_type: type[E]) -> list[E]:
        """Events of one type about one intent."""
        return [
            event
            for event in await self.events()
            if isinstance(event, event_type) and getattr(event, "intent_id", "") == intent_id
        ]

    async def die(self) -> None:
        """The process ends without a word."""
        await self.executor.live.close()
        await self.journal.close()


def _name(subject: str, names: dict[str, Any]) -> str:
    rest = subject.split(".", 2)[2]
    return next(name for name in names if rest == name or rest.startswith(name + "."))


def _book_of_pools(event: BlockApplied, pools: Iterable[Pool]) -> PoolBook:
    book = PoolBook()
    before = BlockRef(number=event.block.number - 1, hash=event.parent_hash)
    for pool in pools:
        book.put(pool, before)
    return book


def live_book(**fields: Any) -> Book:
    """A live book whose fast account is the test key's."""
    limits = {"accounts": {Lane.FAST: ACCOUNT}, "limits": {Lane.FAST: a_book().limits[Lane.FAST]}}
    return a_book(**({"id": "live-one", "mode": Mode.LIVE, **limits} | fields))


async def a_term(journal: Journal) -> Term:
    """Take the lease, from an instance that died if need be. It lasts: its clock stands still from then on."""
    key, clock, policy = LeaseKey("fast-executor", CHAIN_ID), ManualClock(), LeasePolicy()
    lease = Lease(JournalLeaseStore(journal, key), secrets.token_hex(4), clock=clock, policy=policy)
    while not lease.held:
        await lease.pursue()
        clock.advance(0 if lease.held else int(policy.ttl_s * 1_000))
    return Term(lease, key)


async def born(home: Home, chain: FakeChain, world: TokenWorld, clock: ManualClock, books: list[Book]) -> Bench:
    """A new process in ``home``."""
    await migrated(home.database_url, "dexlane.chain")
    journal = Journal(home.database_url, clock=clock, log=configure_logging("bench", "ERROR"), direct=True)
    place = Place(home, chain, world, clock, books)
    return await taken_up(place, journal, await a_term(journal), chain.rpc())


@dataclass(frozen=True)
class Place:
    """Where executors act: what outlives them, the chain, and the time of their decisions."""

    home: Home
    chain: FakeChain
    world: TokenWorld
    clock: ManualClock
    books: list[Book]


async def taken_up(place: Place, journal: Journal, term: Term, rpc: Any) -> Bench:
    """The executor of a term, built from the journal."""
    home, clock, log = place.home, place.clock, configure_logging("bench", "ERROR")
    keys = home.folder / "keys.json"
    keys.touch(0o600)
    keys.write_bytes(orjson.dumps(dict(home.keys)))
    side, mirror = SideValues(), PoolMirror(CHAIN_ID)
    reservations = await restored(journal, CHAIN_ID, clock.now_ms())

    async def connect() -> Rpc:
        return cast("Rpc", rpc)

    access = LiveAccess(
        chain_id=CHAIN_ID,
        lane=Lane.FAST,
        url="ws://127.0.0.1:1",
        connect=connect,
        key_files=KeyFiles(plain=keys),
        guard_path=home.folder / "guard.db",
        **{name: getattr(place.world, name) for name in ("signing", "sending", "relays", "race", "told")},
        witnesses=lambda: [_witness(place.world, index, one) for index, one in enumerate((rpc, *place.world.others))],
    )
    moments = ExecutionMoments(Metrics("bench"), log)
    parts = ExecutorParts(
        service="fast-executor",
        lane=Lane.FAST,
        mirror=mirror,
        view=MarketView(mirror, side, clock),
        journal=FencedJournal(journal, term),
        clock=clock,
        moments=moments,
        side=side,
        reservations=reservations,
        brakes=await _brakes(place, journal, side, moments),
        rules=place.world.rules,
    )
    executor = Executor(parts, access)
    for book in place.books:
        side.take_book(a_book_changed(book))
        side.take_exposure(an_exposure(book_id=book.id, lane=Lane.FAST, at_work=0, open_positions=0, realised_today=0))
    side.take_status(a_status(Status.ACTIVE))
    if place.world.losses_counted:
        side.take_breaker(losses_counted())
    executor.books_changed()
    return Bench(
        home, place.chain, place.world, rpc, clock, journal, executor, mirror, side, reservations, books=place.books
    )


async def _brakes(place: Place, journal: Journal, side: SideValues, moments: ExecutionMoments) -> Brakes:
    if place.world.policies is None:
        return Brakes(chain_id=CHAIN_ID, side=side, clock=place.clock)
    board = BoardPlace(
        service="fast-executor",
        chain_id=CHAIN_ID,
        policies=place.world.policies,
        clock=place.clock,
        moments=moments.breakers,
        on_change=side.take_breaker,
    )
    return await restored_brakes(journal, side, board, Lane.FAST)


def _witness(world: TokenWorld, index: int, rpc: Rpc) -> Witness:
    name = f"p{index}"
    return Witness(
        name=name,
        rpc=rpc,
        left_out=lambda: world.left_out.get(name, ""),
        drop=lambda reason: world.left_out.update({name: reason}),
    )


@asynccontextmanager
async def running(
    home: Home,
    *books: Book,
    ready: bool = True,
    others: Callable[[FakeChain], Sequence[Rpc]] = lambda chain: (),
    sending: SendPolicy | None = None,
    furnish: Callable[[TokenWorld], None] = lambda world: None,
) -> AsyncIterator[Bench]:
    """A bench on a new chain; with ``ready`` the accounts are open and the allowances stand. ``others`` are further
    providers; ``sending`` has two confirmations unless said otherwise; ``furnish`` adds relays or breakers."""
    chain = FakeChain(CHAIN_ID, block_time_s=1)
    chain.fund(ACCOUNT, 10 * 10**18)
    clock = ManualClock(chain.tip.timestamp_s * 1_000)
    world = TokenWorld(chain)
    world.others = others(chain)
    world.sending = sending or world.sending
    furnish(world)
    bench = await born(home, chain, world, clock, list(books or [live_book()]))
    if ready:
        for _ in range(5):
            await bench.head()
    yield bench
    await bench.die()


async def reborn(bench: Bench) -> Bench:
    """The process is killed and started anew."""
    await bench.die()
    return await born(bench.home, bench.chain, bench.world, bench.clock, bench.books)
