"""A service says when it is ready, drains in order, and refuses what cannot work."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx
import nats
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import TokenFlagged
from dexlane.events.streams import BUCKETS, STREAMS
from dexlane.runtime import bus as bus_module
from dexlane.runtime.bus import Bus
from dexlane.runtime.consuming import Routes
from dexlane.runtime.declare import declare
from dexlane.runtime.errors import Fatal, Transient
from dexlane.runtime.service import Service
from dexlane.runtime.settings import ServiceSettings
from dexlane.testing.builders import WETH, a_block_ref, an_opportunity
from dexlane.testing.servers import free_port

pytestmark = pytest.mark.integration


def token_flagged(number: int) -> TokenFlagged:
    flag, block = f"flag_{'abc'[number]}", a_block_ref(number + 1)
    return TokenFlagged(
        id=TokenFlagged.make_id(1, WETH.address, flag, block.number),
        chain_id=1,
        occurred_at_ms=1,
        token=WETH.address,
        flag=flag,
        reason="told long ago",
        block=block,
    )


async def started(service: Service) -> asyncio.Task[int]:
    running = asyncio.create_task(service.run())
    while "service" in service.why_not_ready() and not running.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return running


async def test_endpoints_speak_of_process_readiness_and_metrics(nats_url: str, js: JetStreamContext) -> None:
    assert js is not None
    port = free_port()
    service = Service("test", ServiceSettings(nats_url=nats_url, port=port))
    state: dict[str, bool | str] = {"answer": "the pools are not loaded"}
    service.ready_when("mirror", lambda: state["answer"])
    running = await started(service)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        not_ready = await client.get("/readyz")
        state["answer"] = True
        ready = await client.get("/readyz")
        health = await client.get("/healthz")
        metrics = await client.get("/metrics")
    service.stop()
    assert await asyncio.wait_for(running, 10) == 0
    assert (not_ready.status_code, not_ready.json()["reasons"]) == (503, {"mirror": "the pools are not loaded"})
    assert (ready.status_code, ready.json()["ready"], health.status_code) == (200, True, 200)
    assert "dexlane_test_messages" in metrics.text


async def test_hooks_run_in_order_and_stop_hooks_in_reverse(nats_url: str, js: JetStreamContext) -> None:
    assert js is not None
    steps: list[str] = []

    def step(name: str) -> None:
        steps.append(name)

    service = Service("test", ServiceSettings(nats_url=nats_url, port=0))
    for name in ("first", "second"):

        async def start(name: str = name) -> None:
            step(f"start {name}")

        async def stop(name: str = name) -> None:
            step(f"stop {name}")

        service.on_start(start)
        service.on_stop(stop)
    running = await started(service)
    service.stop()
    assert await asyncio.wait_for(running, 10) == 0
    assert steps == ["start first", "start second", "stop second", "stop first"]


async def test_a_background_task_that_ends_with_an_error_ends_the_service(nats_url: str, js: JetStreamContext) -> None:
    assert js is not None
    service = Service("test", ServiceSettings(nats_url=nats_url, port=0))

    async def broken() -> None:
        raise KeyError("lost")

    service.background("reader", broken)
    assert await asyncio.wait_for(asyncio.create_task(service.run()), 10) == 1


async def test_a_background_task_that_ends_because_something_is_out_of_reach_halts_nobody(
    nats_url: str, js: JetStreamContext
) -> None:
    service = Service("test", ServiceSettings(nats_url=nats_url, port=0), handles_money=True)

    async def out_of_reach() -> None:
        raise Transient("the database does not answer")

    service.background("reader", out_of_reach)
    assert await asyncio.wait_for(asyncio.create_task(service.run()), 10) == 1
    assert (await js.stream_info("STATE")).state.messages == 0


async def test_a_task_that_loses_its_cancellation_does_not_hold_up_a_stop(nats_url: str, js: JetStreamContext) -> None:
    assert js is not None
    service = Service("test", ServiceSettings(nats_url=nats_url, port=0))

    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    service.background("deaf", deaf)
    running = await started(service)
    await asyncio.sleep(0)
    service.stop()
    assert await asyncio.wait_for(running, 10) == 0


async def test_nothing_is_decided_before_what_was_told_until_now_was_read(nats_url: str, js: JetStreamContext) -> None:
    for number in range(3):
        flag = token_flagged(number)
        await js.publish(flag.subject(), flag.to_wire())
    chance = an_opportunity()
    await js.publish(chance.subject(), chance.to_wire())
    service = Service("test", ServiceSettings(nats_url=nats_url, port=0))
    routes, seen, decided = Routes(), list[str](), asyncio.Event()

    @routes.follow(TokenFlagged, from_="all")
    async def note(flag: TokenFlagged) -> None:
        await asyncio.sleep(0.1)
        seen.append(flag.flag)

    @routes.decide(OpportunityFound, durable="test", direct=True)
    async def judge(_chance: OpportunityFound) -> None:
        seen.append("judged")
        decided.set()

    service.include(routes)
    running = await started(service)
    await asyncio.wait_for(decided.wait(), 10)
    service.stop()
    assert await asyncio.wait_for(running, 10) == 0
    assert seen == ["flag_a", "flag_b", "flag_c", "judged"]


async def test_a_service_that_is_stopped_while_it_reads_what_was_told_ends(nats_url: str, js: JetStreamContext) -> None:
    flag = token_flagged(0)
    await js.publish(flag.subject(), flag.to_wire())
    service = Service("test", ServiceSettings(nats_url=nats_url, port=0))
    routes, reading = Routes(), asyncio.Event()

    @routes.follow(TokenFlagged, from_="all")
    async def note(_flag: TokenFlagged) -> None:
        reading.set()
        await asyncio.Event().wait()

    service.include(routes)
    running = asyncio.create_task(service.run())
    await asyncio.wait_for(reading.wait(), 10)
    service.stop()
    assert await asyncio.wait_for(running, 10) == 0


async def test_a_taken_port_ends_the_service(nats_url: str, js: JetStreamContext) -> None:
    assert js is not None
    port = free_port()
    first = Service("test", ServiceSettings(nats_url=nats_url, port=port))
    running = await started(first)
    await asyncio.sleep(0.2)
    second = Service("test", ServiceSettings(nats_url=nats_url, port=port))
    assert await asyncio.wait_for(asyncio.create_task(second.run()), 10) == 1
    first.stop()
    assert await asyncio.wait_for(running, 10) == 0


async def test_without_declared_streams_a_service_refuses_to_start(
    nats_url: str, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    await js.delete_stream("TRADING")
    monkeypatch.setattr(bus_module, "DECLARED_WITHIN_S", 2 * bus_module.ASK_AGAIN_S)
    bus = Bus(nats_url, "main", "test", Service("test", ServiceSettings(nats_url=nats_url, port=0)).log)
    with pytest.raises(Fatal, match="missing: stream TRADING; declare the streams with `make streams`"):
        await bus.start()
    await bus.stop()


async def test_a_start_waits_for_streams_that_are_being_declared_and_says_which(
    nats_url: str, js: JetStreamContext, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("TRADING", "KV_POOLS"):
        await js.delete_stream(name)
    service = Service("test", ServiceSettings(nats_url=nats_url, port=0), handles_money=True)
    running = asyncio.create_task(service.run())
    await asyncio.sleep(0.5)
    assert not running.done()
    assert "service" in service.why_not_ready()
    assert "missing: stream TRADING, bucket POOLS; declare the streams with `make streams`" in capsys.readouterr().out
    await declare(js, apply=True)
    async with asyncio.timeout(10):
        while service.why_not_ready():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    service.stop()
    assert await asyncio.wait_for(running, 10) == 0
    with pytest.raises(NotFoundError):
        await js.get_last_msg("STATE", "main.*.trading.status.>")


async def test_a_start_that_waits_for_streams_can_be_ended_at_once(nats_url: str, js: JetStreamContext) -> None:
    await js.delete_stream("TRADING")
    service = Service("test", ServiceSettings(nats_url=nats_url, port=0))
    running = asyncio.create_task(service.run())
    await asyncio.sleep(0.5)
    service.stop()
    assert await asyncio.wait_for(running, 3) == 0


async def test_declaring_prints_the_difference_and_a_second_time_nothing(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    js = client.jetstream()
    for info in await js.streams_info():
        await js.delete_stream(str(info.config.name))
    planned = [str(line) for line in await declare(js, apply=False)]
    declared = [*(spec.name for spec in STREAMS), *(bucket.name for bucket in BUCKETS)]
    assert [line.split(":")[0] for line in planned] == [f"+ {name}" for name in declared]
    await declare(js, apply=True)
    assert await declare(js, apply=True) == []
    config = (await js.stream_info("STATE")).config
    config.max_msgs_per_subject = 5
    await js.update_stream(config)
    assert [str(line) for line in await declare(js, apply=True)] == ["~ STATE.max_msgs_per_subject: 5 -> 1"]
    assert await declare(js, apply=False) == []
    await client.close()


async def test_what_is_not_there_yet_at_the_start_halts_nobody(js: JetStreamContext, nats_url: str) -> None:
    service = Service("test", ServiceSettings(nats_url=nats_url, port=0), handles_money=True)

    async def no_database() -> None:
        raise Transient("the journal's database does not answer")

    service.on_start(no_database)
    assert await service.run() == 1
    assert (await js.stream_info("STATE")).state.messages == 0


async def test_a_bus_that_does_not_answer_at_the_start_halts_nobody(
    js: JetStreamContext, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence(*_: object, **__: object) -> None:
        raise nats.errors.TimeoutError

    service = Service("test", ServiceSettings(nats_url=nats_url, port=0), handles_money=True)
    with monkeypatch.context() as patch:
        patch.setattr(JetStreamContext, "stream_info", silence)
        assert await service.run() == 1
    assert (await js.stream_info("STATE")).state.messages == 0
