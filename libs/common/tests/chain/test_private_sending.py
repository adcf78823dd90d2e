"""Private trades from a verdict to finality: through real HTTP relays, well behaved and not, on a chain in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dexlane.chain.execution.breaker_watch import NoWatch
from dexlane.chain.execution.handover import Handover
from dexlane.chain.execution.relay_board import RelayBoard, RelaySet
from dexlane.chain.execution.relay_moments import RelayMoments
from dexlane.chain.execution.sending_moments import SendingMoments
from dexlane.chain.relays.auth import AuthKey
from dexlane.chain.relays.catalogue import connected
from dexlane.chain.relays.relay import RelayKind
from dexlane.domain.relay_holds import RacePolicy
from dexlane.domain.relay_scores import Fault
from dexlane.domain.send_state import EXPIRED_AT_RELAY
from dexlane.domain.send_values import SendPolicy
from dexlane.domain.tx_states import first_illegal
from dexlane.events.control import Status
from dexlane.events.execution import FailureReason, IntentCreated, IntentFailed, Purpose, SendPath, TxChanged, TxState
from dexlane.events.portfolio import ExitReason, ExitTriggered
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.errors import Fatal, Transient
from dexlane.runtime.observability import Metrics, configure_logging
from dexlane.testing.builders import CHAIN_ID, WETH, a_book, a_status, an_exit
from dexlane.testing.live_bench import ACCOUNT, BOUGHT, KEY, ROUTER, Bench, Home, TokenWorld, live_book, reborn, running
from dexlane.testing.mishaps import latch_signer
from dexlane.testing.relay_server import Conduct, RelayServer, build
from dexlane.values.books import RelayPolicy, RelayRules
from dexlane_signer import Level

SEEDS = int(os.environ.get("RELAY_SEEDS", "1"))
ONLY = RelayRules(policy=RelayPolicy.PRIVATE_ONLY)
AUTH = AuthKey(bytes.fromhex("22" * 32))
PATIENT = SendPolicy(confirmations=2, bump_after_blocks=50)
"""Fees are not raised, so that one attempt is looked at as long as a test likes."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/journal.db")


@dataclass
class Scene:
    """A bench whose trades go to relays, and their board."""

    bench: Bench
    servers: Sequence[RelayServer]
    board: RelayBoard
    metrics: Metrics

    async def block(self, *building: RelayServer, told: bool = True) -> None:
        """The next block, built by these relays' builders; then the executor's look at it."""
        build(self.bench.chain, building)
        for server in self.servers:
            server.tip = self.bench.chain.tip.number
        if told:
            await self.bench.follow()
            assert not self.seen_in_public() or self.leaky, "the public pool saw a private trade"
        await answered()

    leaky: bool = False

    def seen_in_public(self) -> list[str]:
        """Trades in the node's pool."""
        return [tx.hash for tx in self.bench.chain.pool.values() if tx.to == ROUTER]

    async def trade(self, blocks: int = 12, **fields: Any) -> str:
        """A verdict comes; the id of its intent."""
        verdict = self.bench.verdict(blocks=blocks, **fields)
        await self.bench.executor.on_verdict(verdict)
        await answered()
        return IntentCreated.make_id("live-one", verdict.id, Purpose.ENTRY)

    async def told(self, intent_id: str) -> list[TxChanged]:
        """The life of an intent's transactions, which must be a legal one."""
        changes = await self.bench.of_intent(intent_id, TxChanged)
        assert first_illegal(change.state for change in changes) is None
        return changes

    def count(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(f"dexlane_bench_{name}", labels) or 0.0


async def answered() -> None:
    """What was asked of relays in the background, such as the status, has its answer."""
    while waiting := [task for task in asyncio.all_tasks() if task.get_name().startswith("relay-")]:
        await asyncio.wait(waiting)


def _with(board: RelayBoard, race: RacePolicy) -> Callable[[TokenWorld], None]:
    """Executors of that world have these relays."""

    def furnish(world: TokenWorld) -> None:
        world.relays, world.race = board, race

    return furnish


@asynccontextmanager
async def scene(
    home: Home,
    *conducts: Conduct,
    kind: RelayKind = RelayKind.PROTECT,
    race: RacePolicy | None = None,
    rules: RelayRules = ONLY,
    sending: SendPolicy = PATIENT,
) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(RelayServer(seed=number, conduct=conduct))
            for number, conduct in enumerate(conducts)
        ]
        clients = connected([server.spec(f"r{number}", kind) for number, server in enumerate(servers)], AUTH)
        metrics = Metrics("bench")
        moments = RelayMoments(metrics, configure_logging("bench", "CRITICAL"))
        board = RelayBoard(RelaySet(CHAIN_ID, clients, AUTH.address), clock=ManualClock(), moments=moments)
        stack.push_async_callback(board.stop)
        bench = await stack.enter_async_context(
            running(home, live_book(relays=rules), sending=sending, furnish=_with(board, race or RacePolicy()))
        )
        for server in servers:
            server.tip = bench.chain.tip.number
        yield Scene(bench, servers, board, metrics)


@pytest.mark.parametrize("kind", list(RelayKind))
async def test_a_private_trade_fills_once_and_the_public_pool_never_sees_it(home: Home, kind: RelayKind) -> None:
    async with scene(home, Conduct(), Conduct(), kind=kind) as at:
        intent_id = await at.trade()
        assert at.seen_in_public() == []
        for _ in range(3):
            await at.block(*at.servers)
        assert at.bench.effects() == 1
        changes = await at.told(intent_id)
        assert [change.state for change in changes] == [
            TxState.PLANNED, TxState.SIGNED, TxState.SUBMITTED, TxState.MINED, TxState.CONFIRMED,
        ]  # fmt: skip
        assert {change.path for change in changes if change.attempt} == {SendPath.PRIVATE}
        [intent] = [event for event in await at.bench.events() if isinstance(event, IntentCreated) and event.plan]
        assert intent.submission is not None
        assert intent.submission.reason == "the book or its level sends by private relays alone"
        assert at.count("relay_outcomes_total", chain_id="1", relay="r0", outcome="included_in_race") == 1
        assert at.board.scores["r0"].included == at.board.scores["r1"].included == 1


async def test_a_relay_that_takes_and_never_includes_is_followed_by_another_in_the_same_slot(home: Home) -> None:
    race = RacePolicy(at_once=1, widen_after_blocks=2, lie_after_blocks=3)
    async with scene(home, Conduct(swallow=1), Conduct(), race=race) as at:
        intent_id = await at.trade()
        liar, honest = at.servers
        for _ in range(8):
            await at.block(liar, honest)
        assert at.bench.effects() == 1
        changes = await at.told(intent_id)
        assert changes[-1].state is TxState.CONFIRMED
        assert len({change.tx_hash for change in changes if change.attempt}) == 1
        assert len({change.nonce for change in changes}) == 1
        assert set(liar.held) == set(honest.held)
        outcome = {"chain_id": "1", "relay": "r0", "outcome": "superseded"}
        assert at.count("relay_outcomes_total", **outcome) or at.board.scores["r0"].dropped_for is Fault.LIED
        assert (at.board.scores["r0"].included, at.board.scores["r1"].included) == (0, 1)


async def test_who_never_includes_is_told_as_a_liar_and_left_alone(home: Home) -> None:
    race = RacePolicy(at_once=1, widen_after_blocks=50, lie_after_blocks=3)
    async with scene(home, Conduct(swallow=1), Conduct(), race=race) as at:
        await at.trade()
        for _ in range(4):
            await at.block(*at.servers)
        assert at.board.scores["r0"].dropped_for is Fault.LIED
        assert at.board.usable() == ["r1"]
        assert [at.count("relay_usable", chain_id="1", relay=name) for name in ("r0", "r1")] == [0, 1]
        assert at.count("relay_faults_total", chain_id="1", relay="r0", fault="lied") == 1
        for _ in range(3):
            await at.block(*at.servers)
        assert at.bench.effects() == 1
        assert at.count("relay_outcomes_total", chain_id="1", relay="r1", outcome="included_first") == 1


async def test_what_expired_at_the_relay_is_told_as_that_and_goes_out_again_with_the_same_bytes(home: Home) -> None:
    async with scene(home, Conduct(forgets_after=2)) as at:
        intent_id = await at.trade()
        for _ in range(5):
            await at.block()  # its builder builds nothing, and then it has forgotten
        changes = await at.told(intent_id)
        dropped = [change for change in changes if change.state is TxState.DROPPED]
        assert {change.reason for change in dropped} == {EXPIRED_AT_RELAY}
        assert at.servers[0].asked("eth_sendPrivateTransaction") >= 2
        assert len({change.tx_hash for change in changes if change.attempt}) == 1
        for _ in range(2):
            await at.block(*at.servers)
        assert at.bench.effects() == 1


async def test_what_relays_hold_is_no_gap_and_is_not_taken_for_dropped(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps: list[int] = []
    monkeypatch.setattr(SendingMoments, "looked_at", lambda _self, _chain, **found: gaps.append(found["gaps"]))
    async with scene(home, Conduct()) as at:
        intent_id = await at.trade()
        for _ in range(3):
            await at.block()
        slots = at.bench.executor.live.transactions.open_slots
        assert len(slots) == 2, "the allowance for what was bought waits above the trade"
        assert [slot.state.dropped for slot in slots] == [False, False]
        assert at.bench.chain.pool, "the nodes have the upper one alone"
        assert len(gaps) >= 3
        assert set(gaps) == {0}
        states = [change.state for change in await at.told(intent_id)]
        assert TxState.DROPPED not in states
        assert TxState.PENDING not in states
        assert at.servers[0].asked("eth_sendPrivateTransaction") == 1


@pytest.mark.parametrize("ignores", [False, True], ids=["honoured", "ignored"])
@pytest.mark.parametrize("builder_first", [False, True], ids=["pool first", "builder first"])
async def test_a_cancel_asks_the_relay_and_takes_the_slot_and_only_one_of_them_happens(
    home: Home, ignores: bool, builder_first: bool
) -> None:
    async with scene(home, Conduct(ignores_cancels=ignores)) as at:
        at.leaky = True  # a builder that ignores the cancel hands the trade to the chain beside it
        intent_id = await at.trade()
        at.bench.side.take_status(a_status(Status.HALTED, status_version=2))
        await at.block()
        assert at.servers[0].asked("eth_cancelPrivateTransaction") >= 1
        cancels = [tx for tx in at.bench.chain.pool.values() if tx.to == ACCOUNT]
        assert len(cancels) == 1
        if builder_first:
            at.bench.chain.pool.clear()
        for _ in range(3):
            await at.block(*at.servers)
        changes = await at.told(intent_id)
        included = [tx for block in at.bench.chain.blocks for tx in block.transactions if tx.nonce == changes[0].nonce]
        assert len(included) == 1
        end = changes[-1].state
        assert end is (TxState.CONFIRMED if included[0].to == ROUTER else TxState.CANCELLED)
        if not ignores:
            assert end is TxState.CANCELLED
            failed = await at.bench.of_intent(intent_id, IntentFailed)
            assert failed[-1].reason is FailureReason.HALTED


async def test_an_entry_that_no_relay_includes_ends_at_its_deadline_and_was_never_public(home: Home) -> None:
    async with scene(home, Conduct(swallow=1)) as at:
        intent_id = await at.trade(blocks=4)
        for _ in range(8):
            await at.block(*at.servers)
        assert at.bench.effects() == 0
        assert (await at.told(intent_id))[-1].state is TxState.EXPIRED


async def test_after_a_crash_what_was_private_stays_private_and_fills_once(home: Home) -> None:
    async with scene(home, Conduct()) as at:
        intent_id = await at.trade()
        at.servers[0].held.clear()
        at.bench = await reborn(at.bench)
        await at.block()
        assert at.seen_in_public() == []
        for _ in range(3):
            await at.block(*at.servers)
        assert at.bench.effects() == 1
        assert (await at.told(intent_id))[-1].state is TxState.CONFIRMED
        await at.bench.die()


async def test_a_relay_is_asked_to_forget_a_trade_whose_bytes_the_signer_keeps(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given them in a term that ended before its journal had them."""
    answered_to = Handover.submit

    async def submitted_and_gone(*asked: Any) -> Any:
        await answered_to(*asked)
        raise Transient("the process is gone")

    async with scene(home, Conduct()) as at:
        with monkeypatch.context() as patch:
            patch.setattr(Handover, "submit", submitted_and_gone)
            with pytest.raises(Transient, match="is gone"):
                await at.trade()
        latch_signer(home, Level.HALTED)
        at.bench = await reborn(at.bench)
        at.bench.side.take_status(a_status(Status.HALTED, status_version=2))
        await at.block()
        assert at.servers[0].asked("eth_cancelPrivateTransaction") == 1
        assert [held.cancelled for held in at.servers[0].held.values()] == [True, False], "the trade, and its cancel"
        await at.bench.die()


async def test_after_the_relays_are_taken_away_a_private_entry_is_cancelled_and_not_made_public(home: Home) -> None:
    async with scene(home, Conduct(swallow=1)) as at:
        intent_id = await at.trade(blocks=5)
        at.bench.world.relays = None
        at.bench = await reborn(at.bench)
        for _ in range(9):
            await at.block()
        assert at.bench.effects() == 0
        assert (await at.told(intent_id))[-1].state is TxState.EXPIRED
        await at.bench.die()


BAD = {
    "throttled": (Conduct(throttled=1), Fault.RATE_LIMITED),
    "broken": (Conduct(broken=1), Fault.UNREACHABLE),
    "garbage": (Conduct(garbage=1), Fault.GARBAGE),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_relay_that_cannot_take_is_left_alone_and_the_next_trade_needs_another(home: Home, case: str) -> None:
    conduct, fault = BAD[case]
    async with scene(home, conduct) as at:
        first = await at.trade(blocks=4)
        assert at.board.scores["r0"].dropped_for is fault
        for _ in range(8):
            await at.block()
        assert (await at.told(first))[-1].state is TxState.EXPIRED
        await at.trade(strategy_version=2)
        refused = await at.bench.refusals()
        assert [event.outcome for event in refused] == ["no_relay"]
        assert "1 relays are configured and none of them can be used" in refused[0].reasons[0]
        assert at.bench.effects() == 0


@pytest.mark.parametrize("conduct", [Conduct(), *(conduct for conduct, _ in BAD.values())], ids=["taken", *BAD])
async def test_what_relays_answer_says_nothing_of_the_nodes(
    home: Home, monkeypatch: pytest.MonkeyPatch, conduct: Conduct
) -> None:
    async with scene(home, conduct) as at:
        heard: list[bool] = []
        monkeypatch.setattr(NoWatch, "answered", lambda _self, *, well: heard.append(well))
        await at.trade()
        assert at.servers[0].asked("eth_sendPrivateTransaction") == 1
        assert heard == []
        at.bench.side.take_status(a_status(Status.HALTED, status_version=2))
        await at.block()
        assert heard == [True, True], "the look at the new block, and the cancel that went to the node"


async def test_of_slots_that_are_looked_at_no_more_nothing_is_remembered(home: Home) -> None:
    sending = replace(PATIENT, watch_blocks=6)
    async with scene(home, Conduct(status="INCLUDED"), sending=sending) as at:
        private = at.bench.executor.live.transactions._handover._private
        assert private is not None
        traded = await at.trade()
        await at.block()
        assert (set(private._holds), {key[0] for key in private._claims}) == ({traded}, {traded})
        for _ in range(4):
            await at.block(*at.servers)
        assert private._shown == {traded}, "a reorganisation may bring it back"
        at.bench.side.take_status(a_status(Status.HALTED, status_version=2))
        for _ in range(5):
            await at.block(*at.servers)
        assert (private._holds, private._claims, private._shown) == ({}, {}, set())


async def test_a_relay_that_confirms_a_cancel_late_brings_nothing_back_to_mind(home: Home) -> None:
    async with scene(home, Conduct()) as at:
        private = at.bench.executor.live.transactions._handover._private
        assert private is not None
        traded = await at.trade()
        [slot] = [slot for slot in at.bench.executor.live.transactions.open_slots if slot.intent.id == traded]
        cancelling = asyncio.create_task(private._cancel("r0", slot, 1))
        private.forget(traded)
        await cancelling
        assert at.servers[0].asked("eth_cancelPrivateTransaction") == 1
        assert private._holds == {}


def the_exit(at: Scene) -> ExitTriggered:
    exit_id = ExitTriggered.make_id("live-one", ACCOUNT, WETH.address, 7, ExitReason.STOP_LOSS)
    block = at.bench.chain.tip.ref
    return an_exit(id=exit_id, book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT, block=block)


async def test_an_exit_that_relays_do_not_include_becomes_public_with_the_same_bytes(home: Home) -> None:
    async with scene(home, Conduct(swallow=1)) as at:
        at.bench.world.balances[WETH.address] = 10**20
        for _ in range(3):
            await at.block()
        exit_ = the_exit(at)
        at.bench.executor.live.watch(ACCOUNT, WETH.address)
        for _ in range(4):
            await at.block()
        await at.bench.executor.on_exit(exit_)
        intent_id = IntentCreated.make_id("live-one", exit_.id, Purpose.EXIT)
        at.leaky = True
        for _ in range(6):
            await at.block(*at.servers)
        changes = await at.told(intent_id)
        assert changes[-1].state is TxState.CONFIRMED
        paths = [change.path for change in changes if change.state is TxState.SUBMITTED]
        assert paths == [SendPath.PRIVATE, SendPath.PUBLIC]
        assert len({change.tx_hash for change in changes if change.attempt}) == 1


async def test_an_exit_waits_for_a_relay_and_then_goes_without_one(home: Home) -> None:
    async with scene(home, Conduct()) as at:
        at.bench.world.balances[WETH.address] = 10**20
        at.bench.executor.live.watch(ACCOUNT, WETH.address)
        for _ in range(5):
            await at.block()
        exit_ = the_exit(at)
        at.board.faulted("r0", Fault.UNREACHABLE, "a test says so")
        with pytest.raises(Transient, match="needs a private relay"):
            await at.bench.executor.on_exit(exit_)
        for _ in range(3):
            await at.block()
        await at.bench.executor.on_exit(exit_)
        assert len(at.seen_in_public()) == 1
        intent_id = IntentCreated.make_id("live-one", exit_.id, Purpose.EXIT)
        assert {change.path for change in await at.told(intent_id) if change.attempt} == {SendPath.PUBLIC}


async def test_a_leak_is_seen_and_costs_the_relay_its_place(home: Home) -> None:
    async with scene(home, Conduct(leak=1), race=RacePolicy(at_once=1)) as at:
        at.leaky = True
        await at.trade()
        at.bench.chain.submit(at.servers[0].leaks.pop())
        await at.bench.head(only=())
        assert at.board.scores["r0"].dropped_for is Fault.LEAKED
        assert at.count("relay_faults_total", chain_id="1", relay="r0", fault="leaked") == 1
        for _ in range(2):
            await at.block(*at.servers)
        assert at.bench.effects() == 1
        assert at.count("relay_outcomes_total", chain_id="1", relay="r0", outcome="included_first") == 0


async def test_what_a_reorganisation_puts_back_into_the_pool_is_no_leak(home: Home) -> None:
    async with scene(home, Conduct()) as at:
        intent_id = await at.trade()
        await at.block(*at.servers)
        assert at.bench.effects() == 1
        at.leaky = True
        at.bench.chain.reorg(1, reinclude=False)
        for _ in range(2):
            at.bench.chain.mine(only=())
            await at.bench.follow()
        assert len(at.seen_in_public()) == 1
        assert at.count("relay_faults_total", chain_id="1", relay="r0", fault="leaked") == 0
        for _ in range(2):
            await at.block(*at.servers)
        assert at.bench.effects() == 1
        assert [change.state for change in await at.told(intent_id)][-1] is TxState.CONFIRMED


@pytest.mark.parametrize("status", ["FAILED", "INCLUDED"])
async def test_a_status_that_is_not_true_moves_the_bytes_on_and_ends_nothing(home: Home, status: str) -> None:
    race = RacePolicy(at_once=1, widen_after_blocks=50)
    async with scene(home, Conduct(swallow=1, status=status), Conduct(), race=race) as at:
        intent_id = await at.trade()
        for _ in range(9):
            await at.block(*at.servers)
        changes = await at.told(intent_id)
        if status == "INCLUDED":
            assert at.board.scores["r0"].dropped_for is Fault.LIED
            assert changes[-1].state is TxState.CONFIRMED
        else:
            assert at.servers[0].asked("eth_sendPrivateTransaction") >= 2
        assert at.bench.effects() <= 1


async def test_paper_says_what_a_live_book_would_do_and_a_live_one_without_relays_does_nothing(home: Home) -> None:
    async with running(home, live_book(relays=ONLY), a_book(id="paper-one", relays=ONLY)) as bench:
        await bench.executor.on_verdict(bench.verdict())
        events = await bench.events()
        [intent] = [event for event in events if isinstance(event, IntentCreated) and event.plan is not None]
        assert (intent.book_id, intent.submission and intent.submission.path) == ("paper-one", SendPath.PRIVATE)
        [refused] = await bench.refusals()
        assert (refused.book_id, refused.outcome) == ("live-one", "no_relay")
        assert "no relay is configured for this chain" in refused.reasons[0]
        assert bench.chain.pool == {}


async def test_a_trade_of_a_book_that_does_not_ask_is_told_without_a_word_of_ways(home: Home) -> None:
    async with running(home) as bench:
        verdict = bench.verdict()
        await bench.executor.on_verdict(verdict)
        await bench.head()
        intent_id = IntentCreated.make_id("live-one", verdict.id, Purpose.ENTRY)
        changes = await bench.of_intent(intent_id, TxChanged)
        assert len(changes) >= 4
        assert all(b'"path"' not in change.to_wire() for change in changes)
        [intent] = [event for event in await bench.events() if getattr(event, "id", "") == intent_id]
        assert b"submission" not in intent.to_wire()


async def test_the_key_that_relays_know_must_not_be_a_trading_key(home: Home) -> None:
    board = RelayBoard(
        RelaySet(CHAIN_ID, (), ACCOUNT),
        clock=ManualClock(),
        moments=RelayMoments(Metrics("bench"), configure_logging("bench", "CRITICAL")),
    )
    assert AuthKey(bytes.fromhex(KEY[2:])).address == ACCOUNT
    with pytest.raises(Fatal, match="the relay auth key is the key of a trading account"):
        async with running(home, live_book(relays=ONLY), furnish=_with(board, RacePolicy())):
            pass


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_relays_do_a_slot_has_one_effect_at_most_and_comes_to_its_end(home: Home, seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - repeatable on purpose
    conducts = [
        Conduct(
            swallow=chance.random() / 3,
            known=chance.random() / 8,
            throttled=chance.random() / 8,
            broken=chance.random() / 8,
            garbage=chance.random() / 8,
            forgets_after=chance.choice([None, 1, 2]),
            status=chance.choice([None, "INCLUDED", "FAILED", "PENDING"]),
            includes_twice=chance.random() < 0.5,
            ignores_cancels=chance.random() < 0.5,
        )
        for _ in range(3)
    ]
    kind = chance.choice(list(RelayKind))
    race = RacePolicy(at_once=2, widen_after_blocks=1, lie_after_blocks=3)
    async with scene(home, *conducts, kind=kind, race=race) as at:
        intents = []
        for number in range(3):
            intents.append(await at.trade(blocks=8, strategy_version=number + 10))
            for _ in range(3):
                await at.block(*[server for server in at.servers if chance.random() < 0.6])
        for _ in range(14):
            await at.block(*at.servers)
        assert at.bench.executor.live.transactions.open_slots == []
        for intent_id in intents:
            changes = await at.told(intent_id)
            ends = [change.state for change in changes if change.state in {TxState.CONFIRMED, TxState.EXPIRED}]
            assert len(ends) == (1 if changes else 0)
        confirmed = [
            event
            for event in await at.bench.events()
            if isinstance(event, TxChanged) and event.state is TxState.CONFIRMED
        ]
        trades = [event for event in confirmed if event.purpose is Purpose.ENTRY]
        assert at.bench.effects() == len(trades)
