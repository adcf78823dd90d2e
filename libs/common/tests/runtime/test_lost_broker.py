"""A broker that lost what it stored is given everything again: the database is the truth, the streams follow it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import nats
import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from dexlane.events.base import Event
from dexlane.events.portfolio import ExposureChanged
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.bus import Bus
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.clock import SystemClock
from dexlane.runtime.consuming import decision_config
from dexlane.runtime.declare import declare
from dexlane.runtime.journal import Journal
from dexlane.runtime.observability import Log, Metrics
from dexlane.runtime.reading import Follower
from dexlane.runtime.watchdogs import ProgressWatchdog
from dexlane.testing.builders import an_exposure
from dexlane.testing.servers import free_port, nats_server

pytestmark = pytest.mark.integration


class Broker:
    """A server of its own that can lose its store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._running = ExitStack()
        self.url = ""
        self.stores = 0

    async def start(self) -> None:
        self.stores += 1
        store = self._folder / f"store {self.stores}"
        self.url = self._running.enter_context(nats_server(store, self._port))
        async with self.js() as js:
            await declare(js, apply=True)

    async def lose_everything(self) -> None:
        self.stop()
        await self.start()

    def stop(self) -> None:
        self._running.close()

    @asynccontextmanager
    async def js(self) -> AsyncIterator[JetStreamContext]:
        client = await nats.connect(self.url)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def stored(self, stream: str, kind: type[Event]) -> list[Event]:
        async with self.js() as js:
            state = (await js.stream_info(stream)).state
            numbers = range(state.first_seq, state.last_seq + 1) if state.messages else range(0)
            return [kind.from_wire((await js.get_msg(stream, number)).data or b"") for number in numbers]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.stop()


@pytest_asyncio.fixture
async def lost_bus(broker: Broker, log: Log) -> AsyncIterator[Bus]:
    await broker.start()
    bus = Bus(broker.url, "main", "test", log)
    await bus.start()
    yield bus
    await bus.stop()


def a_decision(number: int) -> DecisionRecorded:
    return DecisionRecorded(
        id=DecisionRecorded.make_id("test", str(number), None, "skipped"),
        chain_id=1,
        occurred_at_ms=1,
        service="test",
        subject_id=str(number),
        outcome="skipped",
        reasons=("a test",),
    )


async def eventually(condition: object, timeout_s: float = 20.0) -> None:
    for _ in range(int(timeout_s / 0.1)):
        if await condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"not within {timeout_s} s")


async def tell(journal: Journal, *facts: Event) -> None:
    async with journal.transaction() as tx:
        for fact in facts:
            await tx.emit(fact)


async def test_everything_that_was_published_comes_again_and_what_is_new_with_it(
    journal: Journal, broker: Broker, lost_bus: Bus
) -> None:
    relay = asyncio.create_task(journal.relay(lost_bus))
    await tell(journal, *(a_decision(number) for number in range(5)))
    assert await journal.drained(5)
    await asyncio.sleep(0.3)  # until all rows are marked
    await broker.lose_everything()
    await tell(journal, a_decision(5))

    async def is_whole() -> bool:
        stored = await broker.stored("TRADING", DecisionRecorded)
        return {event.subject_id for event in stored if isinstance(event, DecisionRecorded)} == set("012345")

    await eventually(is_whole)
    await cancelled([relay])


async def test_of_a_last_value_only_the_newest_comes_again(journal: Journal, broker: Broker, lost_bus: Bus) -> None:
    relay = asyncio.create_task(journal.relay(lost_bus))
    versions = [an_exposure(exposure_version=n, id=ExposureChanged.make_id("b", "fast", n)) for n in (1, 2, 3)]
    await tell(journal, *versions)
    assert await journal.drained(5)
    await asyncio.sleep(0.3)
    await broker.lose_everything()

    async def is_there() -> bool:
        return await broker.stored("STATE", ExposureChanged) == versions[-1:]

    await eventually(is_there)
    await cancelled([relay])


async def test_a_journal_that_starts_after_the_loss_publishes_everything_again(
    journal: Journal, broker: Broker, lost_bus: Bus, database_url: str, log: Log
) -> None:
    relay = asyncio.create_task(journal.relay(lost_bus))
    await tell(journal, a_decision(1), a_decision(2))
    assert await journal.drained(5)
    await cancelled([relay])
    await journal.stop()
    await broker.lose_everything()
    bus = Bus(broker.url, "main", "again", log)
    await bus.start()
    again = Journal(database_url, clock=SystemClock(), log=log)
    relay = asyncio.create_task(again.relay(bus))

    async def is_whole() -> bool:
        return len(await broker.stored("TRADING", DecisionRecorded)) == 2

    await eventually(is_whole)
    await cancelled([relay])
    await again.stop()
    await bus.stop()


async def test_a_reader_begins_anew_in_a_stream_that_was_made_anew(broker: Broker, lost_bus: Bus) -> None:
    seen: list[str] = []

    async def take(message: Msg) -> None:
        seen.append(DecisionRecorded.from_wire(message.data).subject_id)

    follower = Follower(lost_bus, "TRADING", DecisionRecorded.pattern("main", 1), start="all")
    follower.IDLE_CHECK_S = 0.5  # type: ignore[misc]
    reading = asyncio.create_task(follower.run(take))
    for number in range(3):
        await lost_bus.publish(a_decision(number))

    async def has_seen(last: str) -> bool:
        return seen[-1:] == [last]

    await eventually(lambda: has_seen("2"))
    await broker.lose_everything()
    async with broker.js() as js:
        fact = a_decision(7)
        await js.publish(fact.subject(), fact.to_wire())
    await eventually(lambda: has_seen("7"))
    await cancelled([reading])


async def test_a_durable_consumer_that_the_server_lost_is_made_anew(
    broker: Broker, lost_bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dexlane.runtime.watchdogs.PROGRESS_CHECK_S", 0.1)
    consumer = ("TRADING", DecisionRecorded.pattern("main", 1), "some-durable")
    watchdog = ProgressWatchdog(lost_bus, Metrics("test"), [consumer], decision_config())
    watching = asyncio.create_task(watchdog.run())

    async def is_there() -> bool:
        async with broker.js() as js:
            return [info.name for info in await js.consumers_info("TRADING")] == ["some-durable"]

    await eventually(is_there)
    await broker.lose_everything()
    await eventually(is_there)
    await cancelled([watching])
