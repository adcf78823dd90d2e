"""Slots through any order of trades, blocks, reorganisations, drops, lost answers and crashes, on the real manager.

The model is small: which intent was given which slot, and which bytes belong to which intent. What the manager tells
and what the chain holds must agree with it after every step.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from dexlane.chain.execution.payloads import Payloads
from dexlane.chain.execution.relay_board import RelayBoard, RelaySet
from dexlane.chain.execution.relay_moments import RelayMoments
from dexlane.chain.relays.auth import AuthKey
from dexlane.chain.relays.relay import Parcel, Relay, RelayAnswer, RelayKind
from dexlane.chain.rpc import RpcUnavailable
from dexlane.domain.relay_holds import RacePolicy
from dexlane.domain.tx_states import ENDS, first_illegal
from dexlane.events.execution import IntentCreated, TxChanged, TxState
from dexlane.events.portfolio import ExitReason, ExitTriggered
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.errors import Fatal, Transient
from dexlane.runtime.journal import Journal, Tx
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.observability import Metrics, configure_logging
from dexlane.testing.builders import CHAIN_ID, USDC, WETH, an_exit
from dexlane.testing.fake_chain import FakeChain
from dexlane.testing.live_bench import (
    ACCOUNT,
    BOUGHT,
    ROUTER,
    Bench,
    Home,
    Place,
    TokenWorld,
    a_term,
    live_book,
    taken_up,
)
from dexlane.testing.mishaps import ProcessDiedError, dies
from dexlane.testing.relay_server import Conduct, RelayServer, build
from dexlane.values.books import Book, RelayPolicy, RelayRules

LIVES = int(os.environ.get("SLOT_LIVES", "10"))
"""Sequences of at most ``STEPS`` steps; ``SLOT_LIVES=500`` with ``--timeout=0`` for a long search."""
PRIVATE_LIVES = int(os.environ.get("SLOT_LIVES", "4"))
PHASES = [phase for phase in Phase if phase not in {Phase.shrink, Phase.explain} or "SLOT_SHRINK" in os.environ]
"""What is found is printed at once; a shorter sequence takes minutes and is looked for with ``SLOT_SHRINK=1``."""
STEPS = 30
BOUNDARIES = 14
"""Commits, signatures and sends that one step may pass, before and after each."""
CONFIRMATIONS = 2
DEEPEST = 8
"""Blocks that a reorganisation replaces at most."""
GWEI = 10**9
AUTH = AuthKey(bytes.fromhex("22" * 32))


class Peril:
    """Kills the process at the so-manieth boundary from now on."""

    def __init__(self) -> None:
        self.left = -1

    def pass_by(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise ProcessDiedError


class MortalJournal(Journal):
    """A journal whose process can die before a transaction, just before its commit, and just after it."""

    peril: Peril

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        self.peril.pass_by()
        async with super().transaction() as tx:
            yield tx
            self.peril.pass_by()
        self.peril.pass_by()


class MortalRpc:
    """A node client whose process can die before and after it hands bytes over."""

    def __init__(self, rpc: Any, peril: Peril) -> None:
        self._rpc = rpc
        self._peril = peril

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rpc, name)

    async def send_raw_transaction(self, raw: bytes, **options: Any) -> Any:
        self._peril.pass_by()
        answer = await self._rpc.send_raw_transaction(raw, **options)
        self._peril.pass_by()
        return answer


def mortal(method: Callable[..., Awaitable[Any]], peril: Peril) -> Callable[..., Awaitable[Any]]:
    """A method that calls the signer, before and after which the process can die."""

    async def called(payloads: Payloads, *arguments: Any) -> Any:
        peril.pass_by()
        answer = await method(payloads, *arguments)
        peril.pass_by()
        return answer

    return called


class World:
    """The chain, and one process after the other that trades on it."""

    relays: Sequence[RelayServer] = ()

    def __init__(self, folder: Path, journal_file: Path) -> None:
        shutil.copy(journal_file, folder / "journal.db")
        self.chain = FakeChain(CHAIN_ID, block_time_s=1)
        self.chain.fund(ACCOUNT, 10**24)
        tokens = TokenWorld(self.chain)
        tokens.balances |= {USDC.address: 10**18, WETH.address: 10**24}
        home = Home(folder, f"sqlite+aiosqlite:///{folder}/journal.db")
        self.place = Place(home, self.chain, tokens, ManualClock(self.chain.tip.timestamp_s * 1_000), [self.book()])
        self.peril = Peril()
        self.unanswered: tuple[Callable[[Bench, Any], Awaitable[None]], Any] | None = None
        """What the broker delivers again: nobody acknowledged it."""
        self.rolled_back = False
        """Whether any reorganisation went deeper than finality: then a process may have to stop."""
        self.bench: Bench

    def book(self) -> Book:
        return live_book()

    def mine(self) -> None:
        """A block with everything that can be in it."""
        self.chain.mine()

    async def begin(self) -> None:
        self.chain.mine(DEEPEST)
        await self._be_born()
        for _ in range(6):
            await self.bench.head()

    async def _be_born(self) -> None:
        log = configure_logging("bench", "CRITICAL")
        journal = MortalJournal(self.place.home.database_url, clock=self.place.clock, log=log, direct=True)
        journal.peril = self.peril
        rpc = MortalRpc(self.chain.rpc(), self.peril)
        self.bench = await taken_up(self.place, journal, await a_term(journal), rpc)

    async def deliver(self, how: Callable[[Bench, Any], Awaitable[None]], message: Any) -> None:
        """As the broker does: again to the next process, when this one died of it or before it had answered."""
        self.unanswered = (how, message)
        await self.live(lambda: how(self.bench, message))
        self.unanswered = None

    async def live(self, act: Callable[[], Awaitable[Any]]) -> None:
        """Do something; if the process dies or stops of it, the next one takes up what is in the journal."""
        try:
            await act()
        except Transient:
            return
        except (ProcessDiedError, Fatal) as end:
            await self._again(end)

    async def _again(self, end: Exception) -> None:
        for _ in range(4):
            if isinstance(end, Fatal):
                assert self.rolled_back, str(end)
                assert "a reorganisation undid" in str(end)
            self.peril.left = -1
            await self.bench.die()
            await self._be_born()
            try:
                await self._take_up()
            except Fatal as fatal:
                end = fatal
            else:
                return
        raise AssertionError(f"the process cannot be started again: {end}")

    async def _take_up(self) -> None:
        with contextlib.suppress(Transient):
            await self.bench.follow()
        if self.unanswered is not None:
            how, message = self.unanswered
            with contextlib.suppress(Transient):
                await how(self.bench, message)


async def take_verdict(bench: Bench, verdict: Any) -> None:
    await bench.executor.on_verdict(verdict)


async def take_exit(bench: Bench, exit_: ExitTriggered) -> None:
    await bench.executor.on_exit(exit_)


class PrivateWorld(World):
    """The same by private relays alone: two of them, which build the blocks and behave as they like."""

    def __init__(self, folder: Path, journal_file: Path) -> None:
        super().__init__(folder, journal_file)
        self.relays = [RelayServer(seed=number) for number in range(2)]
        kinds = (RelayKind.PROTECT, RelayKind.BUNDLES)
        clients = [
            MortalRelay(relay.client(f"r{number}", kind, AUTH), self.peril)
            for number, (relay, kind) in enumerate(zip(self.relays, kinds, strict=True))
        ]
        moments = RelayMoments(Metrics("bench"), configure_logging("bench", "CRITICAL"))
        board = RelayBoard(RelaySet(CHAIN_ID, clients, AUTH.address), clock=self.place.clock, moments=moments)
        self.place.world.relays = board
        self.place.world.race = RacePolicy(at_once=1, widen_after_blocks=1, lie_after_blocks=3)

    def book(self) -> Book:
        return live_book(relays=RelayRules(policy=RelayPolicy.PRIVATE_ONLY, exits_public_after_blocks=None))

    def mine(self) -> None:
        build(self.chain, self.relays)


class MortalRelay:
    """A relay whose client can die before and after it hands bytes over."""

    def __init__(self, relay: Relay, peril: Peril) -> None:
        self._relay = relay
        self._peril = peril
        self.name = relay.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)

    async def send(self, parcel: Parcel, on_sent: Callable[[], None] | None = None) -> RelayAnswer:
        self._peril.pass_by()
        answer = await self._relay.send(parcel, on_sent)
        self._peril.pass_by()
        return answer


class Model:
    """What was told so far, and what must follow from it."""

    def __init__(self, chain: FakeChain) -> None:
        self._chain = chain
        self._read = 0
        self.nonce_of: dict[str, int] = {}
        self.intent_of: dict[str, str] = {}
        """By transaction hash."""
        self.states: dict[str, list[TxState]] = {}
        self.ever_included: set[Any] = set()

    async def agrees(self, bench: Bench) -> None:
        """Read what is new in the journal, and compare everything with the chain as it is now."""
        events = await bench.events()
        for event in events[self._read :]:
            if isinstance(event, TxChanged):
                self._take(event)
        self._read = len(events)
        assert len(set(self.nonce_of.values())) == len(self.nonce_of), "two intents in one slot"
        for intent_id, states in self.states.items():
            assert first_illegal(states) is None, (intent_id, states)
        sent = [*self._chain.pool.values(), *self.canonical()]
        assert {tx.hash for tx in sent} <= set(self.intent_of), "bytes left before they were journalled"
        self.ever_included.update(self.canonical())
        effects = Counter(self.intent_of[tx.hash] for tx in self.canonical())
        assert max(effects.values(), default=0) <= 1, "an intent had two effects"

    def canonical(self) -> Iterator[Any]:
        return (tx for block in self._chain.blocks for tx in block.transactions)

    def _take(self, event: TxChanged) -> None:
        assert self.nonce_of.setdefault(event.intent_id, event.nonce) == event.nonce, "an intent changed its slot"
        if event.tx_hash is not None:
            assert self.intent_of.setdefault(event.tx_hash, event.intent_id) == event.intent_id
        self.states.setdefault(event.intent_id, []).append(event.state)
        if event.state in ENDS:
            assert event.block is not None
            block = self._chain.blocks[event.block.number]
            assert block.header.hash == event.block.hash, "the end is told of a block that was replaced"
            assert event.tx_hash in {tx.hash for tx in block.transactions}
            assert self._chain.tip.number - event.block.number + 1 >= CONFIRMATIONS, "an end was told too early"


VERDICT = ("a_verdict_comes", st.sampled_from([2, 4, 30]))
BLOCKS = ("blocks_are_mined", st.booleans(), st.integers(0, 2))
HAPPENINGS: Sequence[Sequence[Any]] = (
    *[VERDICT] * 4,
    *[BLOCKS] * 4,
    ("an_exit_comes",),
    ("blocks_are_missed",),
    ("the_base_fee_jumps", st.integers(2, 40)),
    ("a_reorganisation_comes", st.integers(1, DEEPEST), st.integers(0, 2), st.booleans(), st.sets(st.integers(0, 3))),
    ("a_reorganisation_comes", st.integers(1, 2), st.integers(0, 2), st.booleans(), st.sets(st.integers(0, 3))),
    ("a_node_forgets", st.integers(0, 3)),
    ("the_next_answer_is_lost", st.booleans()),
    (
        "the_next_look_up_fails",
        st.sampled_from(["block_number", "receipt", "transaction_count", "transaction", "eth_calls"]),
    ),
    *[("death_is_near", st.integers(0, BOUNDARIES))] * 2,
    ("the_process_is_killed",),
)
"""What may happen, by its method and arguments, as often as it is to be. One rule does it all: rules of their own would
be switched off at random, and most lives would see no trade."""


class SlotLives(RuleBasedStateMachine):
    """The machine; each rule changes the world once and then lets the process look at it."""

    journal_file: Path
    world_type: type[World] = World

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.world = self.world_type(Path(self.folder.name), self.journal_file)
        self.model = Model(self.world.chain)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(Payloads, "sign", mortal(Payloads.sign, self.world.peril))
        self.count = 0

    @initialize()
    def begins(self) -> None:
        self._run(self.world.begin())

    @rule(step=st.one_of(*(st.tuples(st.just(name), *arguments) for name, *arguments in HAPPENINGS)))
    def something_happens(self, step: tuple[Any, ...]) -> None:
        name, *arguments = step
        getattr(self, name)(*arguments)

    def a_verdict_comes(self, blocks: int) -> None:
        self.count += 1
        self.world.place.clock.advance(10_000)
        verdict = self.world.bench.verdict(blocks=blocks, strategy_version=self.count)
        self._run(self.world.deliver(take_verdict, verdict))

    def an_exit_comes(self) -> None:
        self.count += 1
        exit_id = ExitTriggered.make_id("live-one", ACCOUNT, WETH.address, self.count, ExitReason.STOP_LOSS)
        exit_ = an_exit(id=exit_id, book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT)
        self._run(self.world.deliver(take_exit, exit_))

    def blocks_are_mined(self, full: bool, more: int) -> None:
        for _ in range(1 + more):
            if full:
                self.world.mine()
            else:
                self.world.chain.mine(only=())
            self._look()

    def blocks_are_missed(self) -> None:
        self.world.chain.mine(3)
        self._look()

    def the_base_fee_jumps(self, dear_gwei: int) -> None:
        self.world.chain.next_base_fee_wei = dear_gwei * GWEI
        self.world.chain.mine()
        self._look()

    def a_reorganisation_comes(self, depth: int, longer: int, reinclude: bool, lost: set[int]) -> None:
        chain = self.world.chain
        undone = [tx.hash for block in chain.blocks[-depth:] for tx in block.transactions]
        drop = [tx_hash for index, tx_hash in enumerate(undone) if index in lost]
        self.world.rolled_back = self.world.rolled_back or depth >= CONFIRMATIONS
        chain.reorg(depth, drop=drop, longer=longer, reinclude=reinclude)
        self._look()

    def a_node_forgets(self, which: int) -> None:
        waiting = list(self.world.chain.pool)
        if waiting:
            self.world.chain.drop(waiting[which % len(waiting)])

    def the_next_answer_is_lost(self, after: bool) -> None:
        self.world.bench.rpc.fail_next("send_raw_transaction", RpcUnavailable("timed out"), after=after)

    def the_next_look_up_fails(self, method: str) -> None:
        self.world.bench.rpc.fail_next(method, RpcUnavailable("timed out"))

    def death_is_near(self, boundary: int) -> None:
        self.world.peril.left = boundary

    def the_process_is_killed(self) -> None:
        self._run(self.world.live(dies))

    def teardown(self) -> None:
        try:
            if hasattr(self.world, "bench"):
                self._ends()
        finally:
            self.patch.undo()
            self.runner.close()
            self.folder.cleanup()

    def _ends(self) -> None:
        """Left in peace, every slot comes to its end, and what was told last is what the chain holds."""
        self.world.peril.left = -1
        for relay in self.world.relays:
            relay.conduct = Conduct()
        for _ in range(60):
            self.world.mine()
            self._look()
            if not self.world.bench.executor.live.transactions.open_slots:
                break
        assert self.world.bench.executor.live.transactions.open_slots == []
        traded = Counter(self.model.intent_of[tx.hash] for tx in self.model.canonical() if tx.to == ROUTER)
        created = self.runner.run(self._created())
        for intent in created:
            last = self.model.states[intent.id][-1]
            assert last in ENDS
            if intent.plan is not None:
                assert traded[intent.id] == (last in {TxState.CONFIRMED, TxState.FAILED})
        self.runner.run(self.world.bench.die())

    async def _created(self) -> list[IntentCreated]:
        return [event for event in await self.world.bench.events() if isinstance(event, IntentCreated)]

    def _look(self) -> None:
        self._run(self.world.live(self.world.bench.follow))

    def _run(self, act: Any) -> None:
        self.runner.run(act)
        self.runner.run(self.model.agrees(self.world.bench))


CONDUCTS = (
    Conduct(),
    Conduct(swallow=1),
    Conduct(known=1),
    Conduct(broken=1),
    Conduct(throttled=0.5, garbage=0.5),
    Conduct(forgets_after=1, status="PENDING"),
    Conduct(swallow=0.5, status="INCLUDED"),
    Conduct(includes_twice=True, ignores_cancels=True),
)


class PrivateSlotLives(SlotLives):
    """The same rules, and none of the trades is ever seen in the public pool before it was in a block."""

    world_type = PrivateWorld

    @rule(which=st.integers(0, 1), conduct=st.sampled_from(CONDUCTS))
    def a_relay_behaves_otherwise(self, which: int, conduct: Conduct) -> None:
        self.world.relays[which].conduct = conduct

    def _run(self, act: Any) -> None:
        super()._run(act)
        undone = {tx.hash for tx in self.model.ever_included}
        for tx in self.world.chain.pool.values():
            assert tx.to != ROUTER or tx.hash in undone, "the public pool saw what relays alone were given"


@pytest.fixture(scope="module")
def journal_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty journal of the newest revision, to begin each life with."""
    file = tmp_path_factory.mktemp("slots") / "empty.db"
    asyncio.run(upgrade(f"sqlite+aiosqlite:///{file}", "dexlane.chain"))
    return file


@pytest.mark.long
@pytest.mark.parametrize(("lives", "most"), [(SlotLives, LIVES), (PrivateSlotLives, PRIVATE_LIVES)])
def test_every_slot_lives_by_the_rules_whatever_happens(
    lives: type[SlotLives], most: int, journal_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dexlane.runtime.statements.LOG_ROOM_BYTES", 1_000)
    monkeypatch.setattr("dexlane_signer.guard_file._LOG_ROOM_BYTES", 1_000)
    monkeypatch.setattr(SlotLives, "journal_file", journal_file, raising=False)
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        lives,
        settings=settings(
            max_examples=most, stateful_step_count=STEPS, deadline=None, suppress_health_check=checks, phases=PHASES
        ),
    )
