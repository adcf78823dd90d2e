"""Two instances of one executor on one journal: whatever is frozen where, only the one that acts leaves a trace."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dexlane.chain.execution.fencing import Deposed, FencedJournal, JournalLeaseStore, LeaseKey, Term
from dexlane.events.execution import FillConfirmed, IntentCreated, Purpose
from dexlane.runtime.clock import ManualClock, SystemClock
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import CommitUnknown, Journal, Tx, outbox
from dexlane.runtime.lease import Conflict, Entry, Lease, LeasePolicy
from dexlane.runtime.observability import Log
from dexlane.testing.builders import CHAIN_ID, USDC, all_booked, an_exposure
from dexlane.testing.fake_chain import FakeChain
from dexlane.testing.journals import migrated
from dexlane.testing.live_bench import ACCOUNT, Bench, Home, Place, TokenWorld, live_book, taken_up

KEY = LeaseKey("fast-executor", CHAIN_ID)
POLICY = LeasePolicy(ttl_s=3.0, margin_s=0.75)
ROUNDS = 50
SEEDS = int(os.environ.get("FENCING_SEEDS", "3"))
"""Worlds of so many rounds; ``FENCING_SEEDS=20`` makes a thousand rounds."""
BOUNDARIES = 8
"""Transactions that are about to begin, and bytes before and after they are handed over, from a verdict on."""


def a_lease(journal: Journal, name: str, clock: ManualClock) -> Lease:
    return Lease(JournalLeaseStore(journal, KEY), name, clock=clock, policy=POLICY)


@pytest.fixture
async def two(database_url: str, log: Log) -> AsyncIterator[list[Journal]]:
    """One database, and two journals that write to it as two processes would."""
    await migrated(database_url, "dexlane.chain")
    journals = [Journal(database_url, clock=SystemClock(), log=log, direct=True) for _ in range(2)]
    yield journals
    for journal in journals:
        await journal.stop()


async def test_the_row_is_replaced_only_by_who_knows_its_revision(two: list[Journal]) -> None:
    a, b = (JournalLeaseStore(journal, KEY) for journal in two)
    assert await b.read() is None
    assert await a.write(Entry("a", 1, 3_000)) == 1
    with pytest.raises(Conflict):
        await b.write(Entry("b", 1, 3_000))
    assert await b.write(Entry("b", 2, 3_000, 1)) == 2
    with pytest.raises(Conflict):
        await a.write(Entry("a", 1, 3_000, 1))
    assert await a.read() == Entry("b", 2, 3_000, 2)


async def test_each_chain_and_service_has_a_row_of_its_own(two: list[Journal]) -> None:
    await JournalLeaseStore(two[0], KEY).write(Entry("a", 1, 3_000))
    assert await JournalLeaseStore(two[0], LeaseKey("fast-executor", 8453)).read() is None
    assert await JournalLeaseStore(two[0], LeaseKey("smart-executor", CHAIN_ID)).read() is None


async def a_term(journal: Journal, name: str, clock: ManualClock) -> Term:
    lease = a_lease(journal, name, clock)
    while not lease.held:
        await lease.pursue()
        clock.advance(0 if lease.held else 1_000)
    return Term(lease, KEY)


async def write(journal: FencedJournal, message_id: str) -> None:
    async with journal.transaction() as tx:
        await tx.first_time("test", message_id)


async def test_a_stale_epoch_writes_nothing_and_ends_its_own_term(two: list[Journal]) -> None:
    first = FencedJournal(two[0], await a_term(two[0], "a", ManualClock()))
    await write(first, "m1")
    second = FencedJournal(two[1], await a_term(two[1], "b", ManualClock()))
    assert (first.term.epoch, second.term.epoch, first.term.runs) == (1, 2, True)  # both believe that they act
    with pytest.raises(Deposed):
        await write(first, "m2")
    assert not first.term.runs
    await write(second, "m2")  # it was new


async def test_a_transaction_that_was_begun_in_time_is_before_the_takeover(two: list[Journal]) -> None:
    clock = ManualClock()
    first = FencedJournal(two[0], await a_term(two[0], "a", ManualClock()))
    other = a_lease(two[1], "b", clock)
    await other.pursue()
    clock.advance(3_000)
    async with first.transaction() as tx:
        taking = asyncio.create_task(other.pursue())
        await asyncio.sleep(0.1)
        assert not other.held  # it waits for the lock of this very transaction
        await tx.first_time("test", "m1")
    await taking
    while not other.held:
        clock.advance(1_000)
        await other.pursue()
    with pytest.raises(Deposed):
        await write(first, "m2")


@pytest.mark.integration
async def test_a_session_that_was_frozen_in_a_transaction_does_not_keep_the_lease(
    two: list[Journal], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen process keeps a SQLite file locked until it goes on or dies; PostgreSQL ends such a session."""
    if database_url.startswith("sqlite"):
        return
    first = FencedJournal(two[0], await a_term(two[0], "a", ManualClock()))

    async def frozen() -> None:
        async with first.transaction() as tx:
            await asyncio.sleep(6)
            await tx.first_time("test", "m1")

    stale = asyncio.create_task(frozen())
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5.9):
        second = FencedJournal(two[1], await a_term(two[1], "b", ManualClock()))
        await write(second, "m1")
    with pytest.raises(Transient):
        await stale


async def test_an_instance_that_cannot_renew_stops_before_its_lease_ends(two: list[Journal]) -> None:
    clock = ManualClock()
    journal = FencedJournal(two[0], await a_term(two[0], "a", clock))
    clock.advance(2_249)
    await write(journal, "m1")
    clock.advance(1)
    with pytest.raises(Deposed):
        await write(journal, "m2")


async def test_a_later_term_of_the_same_process_does_not_let_an_earlier_one_write(two: list[Journal]) -> None:
    clock = ManualClock()
    lease = a_lease(two[0], "a", clock)
    await lease.pursue()
    early = FencedJournal(two[0], Term(lease, KEY))
    await lease.release()
    await lease.pursue()
    assert (lease.held, lease.epoch) == (True, 2)
    with pytest.raises(Deposed):
        await write(early, "m1")
    await write(FencedJournal(two[0], Term(lease, KEY)), "m1")


async def test_after_a_commit_that_nobody_can_tell_the_work_is_taken_up_anew(
    two: list[Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FencedJournal(two[0], await a_term(two[0], "a", ManualClock()))

    async def unknown(*_: Any) -> bool:
        raise CommitUnknown("no answer")

    async def unkeyed() -> None:
        async with journal.transaction() as tx:
            await tx.run(outbox.delete(), {})

    monkeypatch.setattr(Tx, "run", unknown)
    with pytest.raises(CommitUnknown):
        await unkeyed()
    assert not journal.term.runs


class Freeze:
    """Stops a process at the so-manieth boundary, as SIGSTOP would, until it is told to go on."""

    def __init__(self) -> None:
        self.left = -1
        self.reached = asyncio.Event()
        self.goes_on = asyncio.Event()

    def arm(self, boundary: int) -> None:
        self.left = boundary
        self.reached.clear()
        self.goes_on.clear()

    async def pass_by(self) -> None:
        if self.left == 0:
            self.reached.set()
            await self.goes_on.wait()
        self.left -= 1


class FreezingJournal(Journal):
    """A journal whose process can be frozen when a transaction is about to begin: after its term was looked at."""

    freeze: Freeze

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        await self.freeze.pass_by()
        async with super().transaction() as tx:
            yield tx


class FreezingRpc:
    """A node client whose process can be frozen before and after it hands bytes over."""

    def __init__(self, rpc: Any, freeze: Freeze) -> None:
        self._rpc = rpc
        self._freeze = freeze

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rpc, name)

    async def send_raw_transaction(self, raw: bytes, **options: Any) -> Any:
        await self._freeze.pass_by()
        answer = await self._rpc.send_raw_transaction(raw, **options)
        await self._freeze.pass_by()
        return answer


class Process:
    """One of the two: its journal, its clock of leases, and the executor of its term."""

    def __init__(self, name: str, place: Place, log: Log) -> None:
        self.name = name
        self.place = place
        self.freeze = Freeze()
        self.journal = FreezingJournal(place.home.database_url, clock=place.clock, log=log, direct=True)
        self.journal.freeze = self.freeze
        self.clock = ManualClock()
        self.bench: Bench | None = None
        self.epoch = 0

    async def take_over(self) -> Bench:
        if self.bench is not None:
            await self.bench.executor.live.close()
        term = await a_term(self.journal, self.name, self.clock)
        self.epoch = term.epoch
        self.bench = await taken_up(self.place, self.journal, term, FreezingRpc(self.place.chain.rpc(), self.freeze))
        # Portfolio is there all the time: without a word of it, fills would use up the book's capital in twenty rounds.
        results = all_booked(self.place.chain.tip.number)
        told = an_exposure(book_id="live-one", exposure_version=2, results=results)
        self.bench.side.take_exposure(told)
        return self.bench


async def gone_through(process: Process, verdict: Any) -> None:
    """Decide on a verdict; that another instance acts is no fault."""
    assert process.bench is not None
    try:
        await process.bench.executor.on_verdict(verdict)
    except Transient:
        return


class Rounds:
    """A world with two processes. In each round the one that acts is frozen somewhere, the other one takes over and
    acts, and then the first goes on."""

    def __init__(self, folder: Path, log: Log, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  (chance that can be repeated)
        chain = FakeChain(CHAIN_ID, block_time_s=1)
        chain.fund(ACCOUNT, 10**24)
        world = TokenWorld(chain)
        world.balances[USDC.address] = 10**18
        home = Home(folder, f"sqlite+aiosqlite:///{folder}/journal.db")
        self.place = Place(home, chain, world, ManualClock(chain.tip.timestamp_s * 1_000), [live_book()])
        self.acting, self.standby = (Process(name, self.place, log) for name in "ab")
        self.verdicts: list[Any] = []
        self.stale_writes = 0
        self.stale_signatures = 0

    async def begin(self) -> None:
        await migrated(self.place.home.database_url, "dexlane.chain")
        bench = await self.acting.take_over()
        for _ in range(5):
            await bench.head()
        self.witness = sqlite3.connect(self.place.home.folder / "journal.db")
        self.record = sqlite3.connect(self.place.home.folder / "guard.db")

    async def play(self) -> None:
        old, new = self.acting, self.standby
        assert old.bench is not None
        self.place.clock.advance(30_000)
        await old.bench.head()
        verdict = old.bench.verdict(blocks=40)
        self.verdicts.append(verdict)
        old.freeze.arm(self.random.randrange(BOUNDARIES))
        working = asyncio.create_task(self._work(old, verdict))
        frozen = asyncio.create_task(old.freeze.reached.wait())
        await asyncio.wait({working, frozen}, return_when=asyncio.FIRST_COMPLETED)
        frozen.cancel()
        bench = await new.take_over()
        await bench.head()
        await gone_through(new, verdict)  # nobody acknowledged it
        await self._go_on(old, working)
        for _ in range(4):
            await bench.head()
        self.acting, self.standby = new, old

    async def _work(self, process: Process, verdict: Any) -> None:
        await gone_through(process, verdict)
        assert process.bench is not None
        try:
            await process.bench.head()
        except Transient:
            return

    async def _go_on(self, old: Process, working: asyncio.Task[None]) -> None:
        """The frozen one wakes up. What it may still do is to send bytes that are stored."""
        assert old.bench is not None
        both_believe = self.random.random() < 0.5
        if not both_believe:
            old.clock.advance(10_000)
        before = self._data_version(), self._signed()
        old.freeze.goes_on.set()
        await working
        late = old.bench.verdict(blocks=41)
        await gone_through(old, late)
        with contextlib.suppress(Transient):
            await old.bench.executor.step(await old.bench.applied())
        self.stale_writes += self._data_version() != before[0]
        if not both_believe:
            self.stale_signatures += self._signed() - before[1]

    def _data_version(self) -> int:
        """Changes with every commit of anybody else."""
        return int(self.witness.execute("PRAGMA data_version").fetchone()[0])

    def _signed(self) -> int:
        return int(self.record.execute("SELECT count(*) FROM attempts").fetchone()[0])

    async def end(self) -> None:
        for process in (self.acting, self.standby):
            assert process.bench is not None
            await process.bench.die()
        self.witness.close()
        self.record.close()


@pytest.fixture
def small_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are opened thousands of times here; the room made beforehand is for speed alone."""
    monkeypatch.setattr("dexlane.runtime.statements.LOG_ROOM_BYTES", 1_000)
    monkeypatch.setattr("dexlane_signer.guard_file._LOG_ROOM_BYTES", 1_000)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_no_stale_write_whatever_is_frozen_where(tmp_path: Path, log: Log, seed: int, small_rooms: None) -> None:
    rounds = Rounds(tmp_path, log, seed)
    await rounds.begin()
    for _ in range(ROUNDS):
        await rounds.play()
    bench = rounds.acting.bench
    assert bench is not None
    assert (rounds.stale_writes, rounds.stale_signatures) == (0, 0)
    assert rounds.acting.epoch > ROUNDS  # more, when a takeover was written but not answered in time
    assert bench.effects() == len(rounds.verdicts)
    confirmed = [event.intent_id for event in await bench.events() if isinstance(event, FillConfirmed)]
    traded = [IntentCreated.make_id("live-one", verdict.id, Purpose.ENTRY) for verdict in rounds.verdicts]
    assert sorted(set(confirmed) & set(traded)) == sorted(traded)
    assert len(confirmed) == len(set(confirmed))
    await rounds.end()


async def test_without_the_proof_in_the_transaction_the_rounds_would_notice(
    tmp_path: Path, log: Log, small_rooms: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def believed(_term: Term, _tx: Tx) -> None:
        return

    monkeypatch.setattr(Term, "prove", believed)
    rounds = Rounds(tmp_path, log, 1)
    await rounds.begin()
    while not rounds.stale_writes and len(rounds.verdicts) < ROUNDS:
        try:
            await rounds.play()
        except sqlite3.IntegrityError:  # two intents for one nonce
            rounds.stale_writes += 1
    assert rounds.stale_writes


async def test_a_full_disk_keeps_verdicts_waiting_and_writes_nothing_about_them(tmp_path: Path, log: Log) -> None:
    rounds = Rounds(tmp_path, log, 0)
    await rounds.begin()
    bench = rounds.acting.bench
    assert bench is not None
    parts = dataclasses.replace(bench.executor._parts, why_no_room=lambda: "511 MB are free")
    bench.executor._parts = parts
    before = await bench.events()
    with pytest.raises(Transient, match="511 MB"):
        await bench.executor.on_verdict(bench.verdict())
    assert await bench.events() == before
    await bench.head()  # open transactions go on
    await bench.die()
