"""Rules of the live stream, on a real server and a real client on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dexlane.runtime.connections import MOST_CONNECTIONS
from dexlane.testing.builders import a_block, a_fill, an_opportunity

Serve = Callable[..., Any]


async def stream_of(serve: Serve, gateway: Any) -> str:
    address: str = await serve(gateway)
    return address.replace("http:", "ws:") + "/api/v1/stream"


@asynccontextmanager
async def subscribed(url: str, *names: str, **extra: Any) -> AsyncIterator[ClientConnection]:
    async with connect(url) as socket:
        await socket.send(orjson.dumps({"subscribe": names, **extra}).decode())
        yield socket


async def received(socket: ClientConnection) -> Any:
    return orjson.loads(await asyncio.wait_for(socket.recv(), 5))


async def until_subscribed(gateway: Any, name: str) -> None:
    for _ in range(200):
        if gateway.desk.display.hub.wanted(name):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"nobody subscribed to {name}")


async def test_a_client_gets_what_it_subscribed_to_in_the_one_envelope(gateway: Any, serve: Serve) -> None:
    async with subscribed(await stream_of(serve, gateway), "fill.included", "feed") as socket:
        await until_subscribed(gateway, "feed")
        await gateway.archive(an_opportunity(), a_fill())
        messages = [await received(socket) for _ in range(3)]
    assert [message["event"] for message in messages] == ["feed", "fill.included", "feed"]
    assert messages[1]["data"] == orjson.loads(a_fill().to_wire())
    assert (messages[1]["version"], messages[1]["as_of"]) == (1, {"at_ms": gateway.clock.now_ms()})


async def test_the_sums_come_at_once_and_later_wishes_replace_earlier_ones(gateway: Any, serve: Serve) -> None:
    async with subscribed(await stream_of(serve, gateway), "overview") as socket:
        overview = await received(socket)
        assert [book["book"]["id"] for book in overview["data"]["books"]] == ["live-devnet", "paper-main"]
        await socket.send('{"subscribe": ["block.applied"]}')
        await until_subscribed(gateway, "block.applied")
        assert not gateway.desk.display.hub.wanted("overview")
        gateway.desk.display.show(a_block(100))
        assert (await received(socket))["data"]["block"]["number"] == 100


@pytest.mark.parametrize(
    "message",
    [
        *(
            "",
            "{",
            "[]",
            "null",
            '{"subscribe": "feed"}',
            '{"subscribe": ["nothing"]}',
            '{"subscribe": ["feed"], "x": 1}',
        ),
        '{"subscribe": ["' + "x" * 5_000 + '"]}',
        b'{"subscribe": ["feed"]}',
    ],
)
async def test_a_message_that_is_no_wish_ends_the_connection_with_a_reason(
    gateway: Any, serve: Serve, message: str | bytes
) -> None:
    async with connect(await stream_of(serve, gateway)) as socket:
        await socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert closed.value.rcvd.reason
    assert gateway.desk.display.hub.size == 0


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_foreign_page_cannot_listen(gateway: Any, serve: Serve, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(await stream_of(serve, gateway), additional_headers=headers)
    assert refused.value.response.status_code == 403


async def test_a_foreign_host_cannot_listen(gateway: Any, serve: Serve) -> None:
    url = await stream_of(serve, gateway)
    port = int(url.split(":")[2].split("/")[0])
    with pytest.raises(InvalidStatus) as refused:
        await connect(url.replace("127.0.0.1", "evil.example"), host="127.0.0.1", port=port)
    assert refused.value.response.status_code == 403


async def test_clients_are_bounded_and_make_room_when_they_leave(open_gateway: Any, serve: Serve) -> None:
    gateway = await open_gateway(stream_clients=1)
    url = await stream_of(serve, gateway)
    async with subscribed(url, "feed"):
        await until_subscribed(gateway, "feed")
        with pytest.raises(InvalidStatus):
            await connect(url)
    for _ in range(200):
        if gateway.desk.display.hub.size == 0:
            break
        await asyncio.sleep(0.01)
    async with subscribed(url, "feed"):
        await until_subscribed(gateway, "feed")


async def test_beyond_loopback_the_first_message_must_carry_the_token(open_gateway: Any, serve: Serve) -> None:
    remote = {"host": "0.0.0.0", "allow_remote": "yes, behind TLS", "public_hosts": ("desk.example",)}
    gateway = await open_gateway(**remote)
    url = await stream_of(serve, gateway)
    for wrong in ({}, {"token": "wrong"}):
        async with subscribed(url, "overview", **wrong) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 5)
            assert closed.value.rcvd is not None
            assert "token" in closed.value.rcvd.reason
    async with subscribed(url, "overview", token="t" * 43) as socket:
        assert (await received(socket))["event"] == "overview"


REMOTE = {"host": "0.0.0.0", "allow_remote": "yes, behind TLS", "public_hosts": ("desk.example",)}


async def test_strangers_who_do_not_sign_in_take_no_place_and_the_oldest_of_them_goes(
    open_gateway: Any, serve: Serve
) -> None:
    gateway = await open_gateway(**REMOTE, stream_clients=1)
    url = await stream_of(serve, gateway)
    strangers = [await connect(url) for _ in range(12)]
    async with subscribed(url, "overview", token="t" * 43) as socket:
        assert (await received(socket))["event"] == "overview"
        for stranger in strangers[:7]:
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(stranger.recv(), 2)
            assert closed.value.rcvd is not None
            assert "token" in closed.value.rcvd.reason
        assert gateway.desk.display.hub.size == 1
    for stranger in strangers:
        await stranger.close()


async def test_one_address_does_not_take_all_places(open_gateway: Any, serve: Serve) -> None:
    gateway = await open_gateway(stream_clients=3, stream_clients_per_address=1)
    url = await stream_of(serve, gateway)
    async with subscribed(url, "feed"):
        await until_subscribed(gateway, "feed")
        with pytest.raises(InvalidStatus):
            await connect(url)
        async with connect(url, local_addr=("127.0.0.2", 0)):
            assert gateway.desk.display.hub.size == 2


async def test_idle_strangers_do_not_keep_the_owner_from_halting(gateway: Any, serve: Serve) -> None:
    url = await serve(gateway)
    port = int(url.rsplit(":", 1)[1])
    strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS + 40)]
    async with httpx.AsyncClient(base_url=url, trust_env=False) as owner:
        halt = {"scope": "halted", "reason": "strangers at the door"}
        answer = await owner.post("/api/v1/halt", json=halt, headers={"Authorization": f"Bearer {'t' * 43}"})
    assert answer.status_code == 200
    ended = [await asyncio.wait_for(reader.read(), 2) for reader, _ in strangers[:41]]
    assert ended == [b""] * 41, "they went, and not the owner"
    for _, writer in strangers:
        writer.close()


async def test_a_client_that_reads_nothing_does_not_hold_up_the_others(open_gateway: Any, serve: Serve) -> None:
    gateway = await open_gateway(stream_queue=10)
    async with subscribed(await stream_of(serve, gateway), "block.applied") as socket:
        await until_subscribed(gateway, "block.applied")
        for number in range(100, 150):
            gateway.desk.display.show(a_block(number))
        first = await received(socket)
        assert (first["event"], first["data"]["dropped"]) == ("gap", 40)
        assert [(await received(socket))["data"]["block"]["number"] for _ in range(10)] == list(range(140, 150))
