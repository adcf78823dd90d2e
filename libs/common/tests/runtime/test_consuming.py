"""What becomes of messages, on the real server."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from nats.js import JetStreamContext

from dexlane.events.control import Status, TradingStatus
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime import consuming
from dexlane.runtime.bus import Bus
from dexlane.runtime.consuming import Delivery, Later, Routes
from dexlane.runtime.errors import Fatal, InvalidEvent, Postponed, Transient
from dexlane.runtime.service import Service
from dexlane.runtime.settings import ServiceSettings

pytestmark = pytest.mark.integration


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


def a_status(version: int, source: str = "operator") -> TradingStatus:
    return TradingStatus(
        id=TradingStatus.make_id(1, source, version),
        chain_id=1,
        occurred_at_ms=1,
        source=source,
        status=Status.HALTED,
        status_version=version,
        reason="a test",
    )


@asynccontextmanager
async def consuming_service(nats_url: str, routes: Routes) -> AsyncIterator[Service]:
    service = Service("test", ServiceSettings(nats_url=nats_url, port=0))
    service.include(routes)
    running = asyncio.create_task(service.run())
    while service.why_not_ready() and not running.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield service
    finally:
        service.stop()
        await asyncio.wait_for(running, 15)


async def until(condition: Callable[[], bool], timeout_s: float = 8.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture(params=[False, True], ids=["through FastStream", "direct"])
def direct(request: pytest.FixtureRequest) -> bool:
    """Both ways to read a durable consumer keep the same policy."""
    return bool(request.param)


@pytest.fixture
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consuming, "BACKOFF_S", (0.02, 0.05))
    monkeypatch.setattr(consuming, "MAX_DELIVERIES", 3)


async def dead_letters(js: JetStreamContext) -> list[tuple[str, str]]:
    info = await js.stream_info("DEAD_LETTERS")
    found = []
    for sequence in range(1, info.state.messages + 1):
        message = await js.get_msg("DEAD_LETTERS", sequence)
        found.append((str(message.subject), (message.headers or {})["Dexlane-Error"]))
    return found


async def test_a_decision_is_handled_once_and_acknowledged(
    nats_url: str, js: JetStreamContext, bus: Bus, direct: bool
) -> None:
    seen: list[str] = []
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-once", direct=direct)
    async def handle(event: DecisionRecorded) -> None:
        seen.append(event.subject_id)

    async with consuming_service(nats_url, routes):
        await bus.publish(a_decision(1))
        await bus.publish(a_decision(1))
        await bus.publish(a_decision(2))
        await until(lambda: len(seen) == 2)
        await asyncio.sleep(0.1)
        info = await js.consumer_info("TRADING", "test-once-1")
    assert seen == ["1", "2"]
    assert info.num_ack_pending == 0


@pytest.mark.usefixtures("_quick_retries")
async def test_a_transient_error_redelivers_until_it_succeeds(
    nats_url: str, js: JetStreamContext, bus: Bus, direct: bool
) -> None:
    deliveries: list[int] = []
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-transient", direct=direct)
    async def handle(_event: DecisionRecorded, delivery: Delivery) -> None:
        deliveries.append(delivery.deliveries)
        if delivery.deliveries < 5:
            raise Transient("the node is down")

    async with consuming_service(nats_url, routes):
        await bus.publish(a_decision(1))
        await until(lambda: deliveries[-1:] == [5])
    assert deliveries == [1, 2, 3, 4, 5]
    assert await dead_letters(js) == []


@pytest.mark.usefixtures("_quick_retries")
async def test_nothing_is_collected_while_a_trade_is_waited_for_and_everything_is_again_after_it(
    nats_url: str, js: JetStreamContext, bus: Bus, direct: bool
) -> None:
    collects: list[bool] = []
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-collector", direct=direct)
    async def handle(_event: DecisionRecorded, delivery: Delivery) -> None:
        await asyncio.sleep(0)
        collects.append(gc.isenabled())
        if delivery.deliveries == 1:
            raise Transient("the node is down")

    async with consuming_service(nats_url, routes):
        await bus.publish(a_decision(1))
        await until(lambda: len(collects) == 2)
        await until(gc.isenabled)
    assert collects == [not direct, not direct]


async def test_what_is_postponed_comes_again_when_it_asked_for_it(
    nats_url: str, js: JetStreamContext, bus: Bus, direct: bool
) -> None:
    seen_at: list[float] = []
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-postponed", direct=direct)
    async def handle(_event: DecisionRecorded) -> None:
        seen_at.append(asyncio.get_running_loop().time())
        if len(seen_at) < 5:
            raise Postponed("a later block is cheaper", 0.2)

    async with consuming_service(nats_url, routes):
        await bus.publish(a_decision(1))
        await until(lambda: len(seen_at) == 5)
    # The usual back-off would be at one second by now and still growing.
    assert min(later - before for before, later in pairwise(seen_at)) >= 0.19
    assert seen_at[-1] - seen_at[-2] < 0.9
    assert await dead_letters(js) == []


@pytest.mark.usefixtures("_quick_retries")
async def test_an_unforeseen_error_goes_to_the_dead_letters_after_the_last_delivery(
    nats_url: str, js: JetStreamContext, bus: Bus, direct: bool
) -> None:
    seen: list[str] = []
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-unforeseen", direct=direct)
    async def handle(event: DecisionRecorded) -> None:
        seen.append(event.subject_id)
        if event.subject_id == "1":
            raise ZeroDivisionError("a bug")

    async with consuming_service(nats_url, routes):
        await bus.publish(a_decision(1))
        await bus.publish(a_decision(2))
        await until(lambda: seen.count("1") == 3 and "2" in seen)
        await asyncio.sleep(0.2)
    assert seen.count("1") == 3
    assert await dead_letters(js) == [("dlq.main.1.decision.recorded", "ZeroDivisionError: a bug")]


async def test_what_breaks_the_contract_is_set_aside_with_the_reason_and_stops_nothing(
    nats_url: str, js: JetStreamContext, bus: Bus, direct: bool
) -> None:
    seen: list[str] = []
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-contract", direct=direct)
    async def handle(event: DecisionRecorded) -> None:
        seen.append(event.subject_id)
        if event.subject_id == "2":
            raise InvalidEvent("never")

    async with consuming_service(nats_url, routes):
        await js.publish("main.1.decision.recorded", b"{nonsense")
        await js.publish("main.1.decision.recorded", a_decision(7).to_wire().replace(b'"service"', b'"servant"'))
        await bus.publish(a_decision(2))
        await bus.publish(a_decision(3))
        await until(lambda: "3" in seen)
        await asyncio.sleep(0.1)
    letters = await dead_letters(js)
    assert seen == ["2", "3"]
    assert [error.split(":")[0] for _, error in letters] == ["ValidationError", "ValidationError", "InvalidEvent"]


async def test_an_event_under_a_foreign_subject_is_refused(nats_url: str, js: JetStreamContext, direct: bool) -> None:
    seen: list[str] = []
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-foreign", direct=direct)
    async def handle(event: DecisionRecorded) -> None:
        seen.append(event.subject_id)

    forged = a_decision(1).model_copy(update={"chain_id": 8453})
    async with consuming_service(nats_url, routes):
        await js.publish("main.1.decision.recorded", forged.to_wire())
        async with asyncio.timeout(5):
            while not await dead_letters(js):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert seen == []


async def test_a_fatal_error_stops_the_service_and_keeps_the_message(
    nats_url: str, js: JetStreamContext, bus: Bus, direct: bool
) -> None:
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-fatal", direct=direct)
    async def handle(_event: DecisionRecorded) -> None:
        raise Fatal("the books do not balance")

    service = Service("test", ServiceSettings(nats_url=nats_url, port=0), handles_money=True)
    service.include(routes)
    running = asyncio.create_task(service.run())
    await bus.publish(a_decision(1))
    assert await asyncio.wait_for(running, 15) == 1
    halt = TradingStatus.from_wire((await js.get_last_msg("STATE", "main.1.trading.status.test")).data or b"")
    assert halt.status is Status.HALTED
    assert "the books do not balance" in halt.reason
    assert (await js.consumer_info("TRADING", "test-fatal-1")).num_ack_pending == 1


async def test_a_late_starter_receives_the_last_value_of_every_subject_and_then_what_comes(
    nats_url: str, js: JetStreamContext, bus: Bus
) -> None:
    assert js is not None
    seen: list[tuple[str, int]] = []
    routes = Routes()

    @routes.follow(TradingStatus, from_="last")
    async def handle(event: TradingStatus) -> None:
        seen.append((event.source, event.status_version))

    for version in (1, 2, 3):
        await bus.publish(a_status(version))
    await bus.publish(a_status(9, source="breaker-gas"))
    async with consuming_service(nats_url, routes):
        await until(lambda: len(seen) == 2)
        await bus.publish(a_status(4))
        await until(lambda: len(seen) == 3)
    assert seen == [("operator", 3), ("breaker-gas", 9), ("operator", 4)]


async def test_a_follower_goes_on_after_its_consumer_was_deleted(nats_url: str, js: JetStreamContext, bus: Bus) -> None:
    seen: list[int] = []
    routes = Routes()

    @routes.follow(TradingStatus, from_="all")
    async def handle(event: TradingStatus) -> None:
        seen.append(event.status_version)

    from dexlane.runtime.reading import Follower

    Follower.IDLE_CHECK_S, before = 0.2, Follower.IDLE_CHECK_S
    try:
        async with consuming_service(nats_url, routes):
            await bus.publish(a_status(1))
            await until(lambda: seen == [1])
            for consumer in await js.consumers_info("STATE"):
                await js.delete_consumer("STATE", consumer.name)
            await bus.publish(a_status(2))
            await until(lambda: seen == [1, 2])
    finally:
        Follower.IDLE_CHECK_S = before


@pytest.mark.parametrize("error", [InvalidEvent("unusable"), RuntimeError("unforeseen")], ids=str)
async def test_a_follower_goes_on_when_what_it_sets_aside_cannot_be_stored(
    nats_url: str, bus: Bus, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    routes, seen = Routes(), list[int]()

    @routes.follow(TradingStatus)
    async def handle(event: TradingStatus) -> None:
        seen.append(event.status_version)
        if event.status_version == 1:
            raise error

    async def refused(*_args: object) -> None:
        raise Transient("the dead letter was not stored")

    async with consuming_service(nats_url, routes) as service:
        monkeypatch.setattr(service.bus, "dead_letter", refused)
        for number in range(100):  # the reader begins with what comes after it
            await bus.publish(a_status(1, f"source-{number}"))
            await asyncio.sleep(0.05)
            if seen:
                break
        await bus.publish(a_status(2))
        await until(lambda: 2 in seen)
        assert not service.why_not_ready()


async def test_a_slow_handler_keeps_its_message(
    nats_url: str, js: JetStreamContext, bus: Bus, monkeypatch: pytest.MonkeyPatch, direct: bool
) -> None:
    assert js is not None
    monkeypatch.setattr(consuming, "ACK_WAIT_S", 0.6)
    deliveries: list[int] = []
    finished: list[str] = []
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-slow", direct=direct)
    async def handle(event: DecisionRecorded, delivery: Delivery) -> None:
        deliveries.append(delivery.deliveries)
        await asyncio.sleep(2)
        finished.append(event.subject_id)

    async with consuming_service(nats_url, routes):
        await bus.publish(a_decision(1))
        await until(lambda: finished == ["1"])
    assert deliveries == [1]


async def test_a_direct_reader_goes_on_after_its_consumer_was_deleted(
    nats_url: str, js: JetStreamContext, bus: Bus
) -> None:
    seen: list[str] = []
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-gone", direct=True)
    async def handle(event: DecisionRecorded) -> None:
        seen.append(event.subject_id)

    async with consuming_service(nats_url, routes):
        await bus.publish(a_decision(1))
        await until(lambda: seen == ["1"])
        await js.delete_consumer("TRADING", "test-gone-1")
        await bus.publish(a_decision(2))
        await until(lambda: "2" in seen)


class Shut:
    """A gate that stays closed, as of an executor whose database does not answer."""

    is_open = False

    async def until_open(self) -> None:
        await asyncio.Event().wait()


async def test_messages_that_nobody_may_ask_for_are_no_sign_of_a_stuck_consumer(
    nats_url: str, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dexlane.runtime.watchdogs.PROGRESS_CHECK_S", 0.02)
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-gated", gate=lambda chain_id: Shut())
    async def handle(event: DecisionRecorded) -> None:
        raise AssertionError("the gate is closed")

    async with consuming_service(nats_url, routes) as service:
        await bus.publish(a_decision(1))
        await asyncio.sleep(1)
        assert not service.why_not_ready()


async def test_two_direct_readers_share_the_work(nats_url: str, js: JetStreamContext, bus: Bus) -> None:
    assert js is not None
    seen: list[str] = []
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-shared", direct=True)
    async def handle(event: DecisionRecorded) -> None:
        await asyncio.sleep(0.01)
        seen.append(event.subject_id)

    async with consuming_service(nats_url, routes), consuming_service(nats_url, routes):
        for number in range(20):
            await bus.publish(a_decision(number))
        await until(lambda: len(seen) == 20)
        await asyncio.sleep(0.1)
    assert sorted(seen, key=int) == [str(number) for number in range(20)]


async def test_a_stopping_direct_reader_finishes_what_it_handles(nats_url: str, js: JetStreamContext, bus: Bus) -> None:
    finished: list[str] = []
    began = asyncio.Event()
    routes = Routes()

    @routes.decide(DecisionRecorded, durable="test-last", direct=True)
    async def handle(event: DecisionRecorded) -> None:
        began.set()
        await asyncio.sleep(0.5)
        finished.append(event.subject_id)

    async with consuming_service(nats_url, routes):
        await bus.publish(a_decision(1))
        await asyncio.wait_for(began.wait(), 5)
    assert finished == ["1"]
    assert (await js.consumer_info("TRADING", "test-last-1")).num_ack_pending == 0


async def test_what_is_left_for_later_keeps_nobody_waiting_and_is_acknowledged_when_it_is_done(
    nats_url: str, js: JetStreamContext, bus: Bus
) -> None:
    routes, begun, ended, free = Routes(), list[str](), list[str](), asyncio.Event()

    @routes.decide(DecisionRecorded, durable="test-later", direct=True)
    async def handle(event: DecisionRecorded) -> Later:
        begun.append(event.id)

        async def later() -> None:
            await free.wait()
            ended.append(event.id)

        return later

    async with consuming_service(nats_url, routes):
        for number in range(3):
            await bus.publish(a_decision(number))
        await until(lambda: len(begun) == 3)
        assert ended == []
        assert (await js.consumer_info("TRADING", "test-later-1")).num_ack_pending == 3
        free.set()
        await until(lambda: len(ended) == 3)
    assert (await js.consumer_info("TRADING", "test-later-1")).num_ack_pending == 0
    assert sorted(begun) == sorted(ended)


async def test_what_fails_later_comes_again(nats_url: str, bus: Bus, direct: bool) -> None:
    routes, deliveries = Routes(), list[int]()

    @routes.decide(DecisionRecorded, durable="test-later-again", direct=direct)
    async def handle(_event: DecisionRecorded, delivery: Delivery) -> Later:
        async def later() -> None:
            deliveries.append(delivery.deliveries)
            if delivery.deliveries == 1:
                raise Transient("not yet")

        return later

    async with consuming_service(nats_url, routes):
        await bus.publish(a_decision(1))
        await until(lambda: deliveries == [1, 2])


async def test_a_stopping_service_finishes_what_was_left_for_later(
    nats_url: str, js: JetStreamContext, bus: Bus, direct: bool
) -> None:
    routes, begun, ended = Routes(), asyncio.Event(), list[str]()

    @routes.decide(DecisionRecorded, durable="test-later-stop", direct=direct)
    async def handle(event: DecisionRecorded) -> Later:
        async def later() -> None:
            begun.set()
            await asyncio.sleep(0.3)
            ended.append(event.id)

        return later

    async with consuming_service(nats_url, routes):
        await bus.publish(a_decision(1))
        await asyncio.wait_for(begun.wait(), 8)
    assert ended == [a_decision(1).id]
    assert (await js.consumer_info("TRADING", "test-later-stop-1")).num_ack_pending == 0
