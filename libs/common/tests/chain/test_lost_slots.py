"""An executor with an older journal: what the journal lost comes back from the signer's record and the bus."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import nats.errors
import pytest

from dexlane.chain.execution import handover
from dexlane.chain.execution.told_before import ToldBefore, ToldOnBus, last_told
from dexlane.events.base import Event
from dexlane.events.execution import (
    FailureReason,
    FillConfirmed,
    FillIncluded,
    IntentCreated,
    IntentFailed,
    Purpose,
    TxChanged,
    TxState,
)
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Fatal, Transient
from dexlane.testing.builders import a_confirmed_fill, a_fill, an_exit, an_intent
from dexlane.testing.live_bench import ACCOUNT, BOUGHT, Bench, Home, TokenWorld, reborn, running
from dexlane.testing.mishaps import latch_signer
from dexlane_signer import Level


@dataclass
class Told:
    """What was published, of everything that was ever committed; ``unheard`` are intents the bus does not know."""

    facts: list[Event] = field(default_factory=list)
    unheard: set[str] = field(default_factory=set)

    async def of(self, chain_id: int, intent_ids: AbstractSet[str]) -> dict[str, ToldBefore]:
        return last_told(self.facts, intent_ids - self.unheard)


@dataclass
class Loss:
    """A desk whose journal is copied at one time and put back at a later one."""

    bench: Bench
    told: Told
    copy: Path

    @property
    def journal(self) -> Path:
        return self.bench.home.folder / "journal.db"

    @property
    def is_acting(self) -> bool:
        return self.bench.executor._journal.term.runs

    def back_up(self) -> None:
        with closing(sqlite3.connect(self.journal)) as live, closing(sqlite3.connect(self.copy)) as copy:
            live.backup(copy)

    async def put_back(self) -> None:
        """The process ends, everything it committed was published, and the copy takes the journal's place."""
        self.told.facts = await self.bench.events()
        await self.bench.die()
        for file in self.journal.parent.glob("journal.db*"):
            file.unlink()
        with closing(sqlite3.connect(self.copy)) as copy, closing(sqlite3.connect(self.journal)) as live:
            copy.backup(live)
        await self.next_term()

    async def next_term(self) -> None:
        self.bench = await reborn(self.bench)

    async def filled_in(self) -> None:
        """The journal is put back, filled in, and taken up anew, as the seat does after the end of a term."""
        await self.put_back()
        with pytest.raises(Transient, match="filled in"):
            await self.bench.follow()
        assert not self.is_acting
        await self.next_term()

    async def trade(self, blocks: int = 0) -> IntentCreated:
        """One more entry, and so many blocks after it."""
        known = {one.id for one in await self.intents()}
        await self.bench.executor.on_verdict(self.bench.verdict())
        for _ in range(blocks):
            await self.bench.head()
        return next(one for one in await self.intents() if one.id not in known)

    async def intents(self) -> Sequence[IntentCreated]:
        created = [one for one in await self.bench.events() if isinstance(one, IntentCreated)]
        return [one for one in created if one.purpose is Purpose.ENTRY]

    async def told_now(self, intent: IntentCreated, event_type: type[Any]) -> list[Any]:
        """What this journal tells of an intent: after it was put back, all of it is new."""
        return await self.bench.of_intent(intent.id, event_type)


@pytest.fixture
async def loss(tmp_path: Path) -> AsyncIterator[Loss]:
    told = Told()

    def furnish(world: TokenWorld) -> None:
        world.told = told

    home = Home(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/journal.db")
    async with running(home, furnish=furnish) as bench:
        found = Loss(bench, told, tmp_path / "copy.db")
        yield found
        if found.bench is not bench:
            await found.bench.die()


async def test_a_trade_that_had_ended_is_known_again_and_told_no_second_time(loss: Loss) -> None:
    loss.back_up()
    lost = await loss.trade(blocks=3)
    assert await loss.told_now(lost, FillConfirmed)
    await loss.filled_in()
    for _ in range(3):
        await loss.bench.head()
    assert not await loss.told_now(lost, FillConfirmed)
    assert not await loss.told_now(lost, TxChanged)


async def test_nonces_go_on_behind_what_was_lost(loss: Loss) -> None:
    before = await loss.trade(blocks=3)
    loss.back_up()
    lost = await loss.trade(blocks=3)
    await loss.filled_in()
    await loss.bench.head()
    after = await loss.trade(blocks=3)
    assert await loss.told_now(after, FillConfirmed)
    assert loss.bench.effects() == len({before.id, lost.id, after.id})


async def test_a_lost_trade_that_was_mined_meanwhile_is_booked_once(loss: Loss) -> None:
    loss.back_up()
    lost = await loss.trade()
    await loss.put_back()
    loss.bench.chain.mine(1)
    with pytest.raises(Transient, match="filled in"):
        await loss.bench.follow()
    await loss.next_term()
    for _ in range(3):
        await loss.bench.head()
    (confirmed,) = await loss.told_now(lost, FillConfirmed)
    versions = [one.outcome_version for one in await loss.told_now(lost, FillIncluded)]
    assert [*versions, confirmed.outcome_version] == [1, 2]
    assert loss.bench.effects() == 1


@pytest.mark.parametrize("level", [Level.REDUCING, Level.HALTED])
async def test_so_it_is_while_the_signer_keeps_the_bytes(loss: Loss, level: Level) -> None:
    loss.back_up()
    lost = await loss.trade()
    latch_signer(loss.bench.home, level)
    await loss.put_back()
    loss.bench.chain.mine(1)
    with pytest.raises(Transient, match="filled in"):
        await loss.bench.follow()
    await loss.next_term()
    for _ in range(3):
        await loss.bench.head()
    assert len(await loss.told_now(lost, FillConfirmed)) == 1
    assert loss.bench.effects() == 1


async def test_an_open_slot_whose_bytes_the_signer_keeps_has_each_attempt_once(
    loss: Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: Any, **__: Any) -> Any:
        raise Transient("the process is gone")

    await loss.trade(blocks=3)
    with monkeypatch.context() as patch:
        patch.setattr(handover, "submit", dies)
        with pytest.raises(Transient, match="is gone"):
            await loss.bench.executor.on_exit(
                an_exit(book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT)
            )
    loss.back_up()
    await loss.next_term()
    await loss.bench.head(only=())
    await loss.bench.executor.on_verdict(loss.bench.verdict(strategy_version=2))
    latch_signer(loss.bench.home, Level.HALTED)
    await loss.filled_in()
    await loss.bench.head(only=())
    slots = loss.bench.executor.live.transactions.open_slots
    numbers = [[one.number for one in slot.state.attempts] for slot in slots]
    assert [len(each) for each in numbers] == [len(set(each)) for each in numbers], numbers
    assert len(numbers) == 2


async def test_a_fill_that_was_told_as_included_is_confirmed_under_the_next_version(loss: Loss) -> None:
    loss.back_up()
    lost = await loss.trade(blocks=1)
    (told,) = await loss.told_now(lost, FillIncluded)
    await loss.filled_in()
    for _ in range(2):
        await loss.bench.head()
    assert not await loss.told_now(lost, FillIncluded)
    (confirmed,) = await loss.told_now(lost, FillConfirmed)
    assert (confirmed.outcome_version, confirmed.deltas) == (told.outcome_version + 1, told.deltas)


async def test_a_lost_trade_that_no_block_has_is_cancelled_in_its_own_slot(loss: Loss) -> None:
    loss.back_up()
    lost = await loss.trade()
    (signed,) = [one for one in await loss.told_now(lost, TxChanged) if one.state is TxState.SIGNED]
    told = max(one.sequence for one in await loss.told_now(lost, TxChanged))
    await loss.filled_in()
    await loss.bench.head(only=())
    for _ in range(3):
        await loss.bench.head()
    ends = await loss.told_now(lost, IntentFailed)
    assert [one.final for one in ends] == [False, True]
    assert {one.reason for one in ends} == {FailureReason.CANCELLED}
    changes = await loss.told_now(lost, TxChanged)
    assert {one.nonce for one in changes} == {signed.nonce}
    assert [one.sequence for one in changes] == list(range(told + 1, told + 1 + len(changes)))
    assert loss.bench.effects() == 0


async def test_what_a_lost_trade_reserved_counts_until_it_has_ended(loss: Loss) -> None:
    loss.back_up()
    lost = await loss.trade()
    await loss.filled_in()
    assert loss.bench.reservations.is_held(lost.id)


async def test_an_attempt_that_was_signed_after_the_copy_is_found_in_an_open_slot(loss: Loss) -> None:
    bumped = await loss.trade()
    loss.back_up()
    for _ in range(3):
        await loss.bench.head(only=())
    attempts = {one.attempt for one in await loss.told_now(bumped, TxChanged)}
    assert max(attempts) > 1
    (cheap,) = {one.tx_hash for one in await loss.told_now(bumped, TxChanged) if one.attempt == 1}
    await loss.bench.head()
    (fill,) = await loss.told_now(bumped, FillIncluded)
    assert fill.tx_hash != cheap
    await loss.trade(blocks=3)
    await loss.filled_in()
    for _ in range(3):
        await loss.bench.head()
    again = await loss.told_now(bumped, FillConfirmed)
    assert [one.tx_hash for one in again] in ([], [fill.tx_hash])
    assert loss.bench.effects() == 2


async def test_a_verdict_that_was_acted_upon_is_not_acted_upon_again(loss: Loss) -> None:
    loss.back_up()
    verdict = loss.bench.verdict(blocks=30)
    await loss.bench.executor.on_verdict(verdict)
    for _ in range(3):
        await loss.bench.head()
    await loss.filled_in()
    await loss.bench.head()
    await loss.bench.executor.on_verdict(verdict)
    await loss.bench.head()
    assert loss.bench.effects() == 1
    assert not await loss.intents()


async def test_the_lease_of_an_older_journal_comes_to_numbers_that_the_signer_takes(loss: Loss) -> None:
    loss.back_up()
    for _ in range(3):
        await loss.next_term()
    await loss.bench.head()
    lost = await loss.trade(blocks=3)
    await loss.put_back()
    for _ in range(8):
        try:
            await loss.bench.follow()
        except Transient:
            assert not loss.is_acting, "the next term has a higher number"
            await loss.next_term()
    await loss.bench.head()
    after = await loss.trade(blocks=3)
    assert await loss.told_now(after, FillConfirmed)
    assert not await loss.told_now(lost, FillConfirmed)


async def test_what_the_bus_does_not_know_stops_trading_and_writes_nothing(loss: Loss) -> None:
    loss.back_up()
    first, second = await loss.trade(blocks=3), await loss.trade(blocks=3)
    loss.told.unheard.add(second.id)
    await loss.put_back()
    with pytest.raises(Fatal, match=f"does not know the intent {second.id}"):
        await loss.bench.follow()
    with closing(sqlite3.connect(loss.journal)) as journal:
        found = journal.execute("SELECT count(*) FROM execution_slots WHERE intent_id = ?", (first.id,)).fetchone()
    assert found == (0,)


@pytest.mark.integration
async def test_the_bus_knows_the_last_that_was_told_of_each_intent(bus: Bus) -> None:
    intent, other = an_intent(), an_intent(book_id="other")
    changes = [a_tx_change(intent, sequence) for sequence in (1, 3, 2)]
    outcomes = [a_confirmed_fill(intent), a_fill(intent), a_fill(other)]
    for fact in (*outcomes, *changes, other, intent):
        await bus.publish(fact)
    await bus.publish_raw("main.1.intent.failed", intent.id.encode(), event_id="odd", stream="TRADING", headers={})
    told = await ToldOnBus(bus).of(1, {intent.id, "0" * 32})
    assert told == {intent.id: ToldBefore(intent, 3, outcomes[0])}
    assert await ToldOnBus(bus).of(2, {intent.id}) == {}


async def test_a_broker_that_does_not_answer_is_asked_again(bus_away: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dexlane.chain.execution.told_before.READ_S", 0.2)
    with pytest.raises(Transient, match="could not be read"):
        await ToldOnBus(bus_away).of(1, {"0" * 32})


@pytest.fixture
def bus_away() -> Bus:
    async def silence(*_: object, **__: object) -> None:
        raise nats.errors.TimeoutError

    return cast("Bus", SimpleNamespace(realm="main", js=SimpleNamespace(stream_info=silence)))


def a_tx_change(intent: IntentCreated, sequence: int) -> TxChanged:
    of_intent = ("chain_id", "occurred_at_ms", "book_id", "mode", "lane", "account", "purpose", "strategy")
    return TxChanged(
        id=TxChanged.make_id(intent.id, sequence),
        intent_id=intent.id,
        state=TxState.PENDING,
        sequence=sequence,
        **{name: getattr(intent, name) for name in of_intent},
    )
