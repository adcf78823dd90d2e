"""Rules of connections, on real sockets: idle and slow clients lock nobody out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from dexlane.runtime import connections
from dexlane.runtime.endpoints import HttpServer
from dexlane.testing.servers import free_port

OWNER, STRANGER = "127.0.0.1", "127.0.0.2"
ASKING = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
STREAMED = b"GET /streamed HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADING = (
    b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
MOST = 8


class Served:
    """An application on a port, and connections to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.work = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []
        self.connections: set[Any] = set()

    async def open(
        self, said: bytes = b"", *, address: str = OWNER
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(OWNER, self.port, local_addr=(address, 0))
        self.writers.append(writer)
        writer.write(said)
        return reader, writer

    def app(self) -> Starlette:
        async def answer(request: Request) -> Response:
            await request.body()
            return PlainTextResponse("here")

        async def work(_request: Request) -> Response:
            await self.work.wait()
            return PlainTextResponse("done")

        async def large(_request: Request) -> Response:
            return PlainTextResponse("x" * 20_000_000)

        async def streamed(_request: Request) -> Response:
            return StreamingResponse("x" * 100_000 for _ in range(200))

        async def stream(socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_text("x" * 20_000_000)
            await socket.receive()

        routes = [
            Route("/", answer, methods=["GET", "POST"]),
            Route("/work", work),
            Route("/large", large),
            Route("/streamed", streamed),
        ]
        return Starlette(routes=[*routes, WebSocketRoute("/stream", stream)])


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    """A server of few places."""
    async with serving(Served(free_port())) as one:
        yield one


@asynccontextmanager
async def serving(served: Served) -> AsyncIterator[Any]:
    server = HttpServer(served.app(), OWNER, served.port, most_connections=MOST)
    running = asyncio.create_task(server.run())
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection(OWNER, served.port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            break
    served.connections = server._server.server_state.connections
    yield served
    for writer in served.writers:
        writer.transport.abort()
    server.stop()
    await running


async def is_ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends a connection soon."""
    try:
        async with asyncio.timeout(3):
            while await reader.read(65_536):
                pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


async def answered(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(3):
        head = await reader.readuntil(b"\r\n\r\n")
    return head.split(b"\r\n")[0]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        ASKING[:-2],
        HALF_A_BODY,
    ],
    ids=["nothing", "half a head", "half a body"],
)
async def test_who_does_not_finish_asking_is_ended(
    served: Served, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(connections, "EXCHANGE_S", 0.2)
    reader, _ = await served.open(said)
    assert await is_ended(reader)


async def test_who_sends_byte_by_byte_gains_no_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "EXCHANGE_S", 0.3)
    reader, writer = await served.open()
    for byte in ASKING[:20]:
        if not writer.is_closing():
            writer.write(bytes([byte]))
        await asyncio.sleep(0.05)
    assert await is_ended(reader)


@pytest.mark.parametrize(
    ("said", "later"),
    [
        (LARGE, b""),
        (b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b""),
        (UPGRADING, b"\x81\x01x"),
    ],
    ids=["kept alive", "closing", "a stream that breaks the rules"],
)
async def test_who_does_not_read_the_answer_keeps_no_descriptor(
    served: Served, monkeypatch: pytest.MonkeyPatch, said: bytes, later: bytes
) -> None:
    monkeypatch.setattr(connections, "EXCHANGE_S", 0.3)
    _, writer = await served.open(said)
    writer.transport.pause_reading()
    await asyncio.sleep(0.2)
    assert len(served.connections) == 1
    writer.write(later)
    for _ in range(150):
        await asyncio.sleep(0.02)
        if not served.connections:
            break
    assert not served.connections


@pytest.mark.parametrize("said", [b"", ASKING[:9], HALF_A_BODY, STREAMED], ids=["", "head", "body", "unread answer"])
async def test_a_newcomer_gets_in_however_many_wait(served: Served, said: bytes) -> None:
    strangers = []
    for _ in range(2 * MOST):
        strangers.append(await served.open(said))
        strangers[-1][1].transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.02)
    reader, _ = await served.open(ASKING)
    assert await answered(reader) == b"HTTP/1.1 200 OK"
    assert len(served.connections) <= MOST + 1
    strangers[0][1].transport.resume_reading()  # type: ignore[attr-defined]
    assert await is_ended(strangers[0][0])


async def test_the_address_with_most_connections_loses_them(served: Served) -> None:
    reader, writer = await served.open()
    for _ in range(5 * MOST):
        await served.open(address=STRANGER)
    await asyncio.sleep(0.1)
    writer.write(ASKING)
    assert await answered(reader) == b"HTTP/1.1 200 OK"


async def test_strangers_of_many_addresses_do_not_displace_this_machine(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_is_of_this_machine", lambda address: address == OWNER)
    own = [await served.open() for _ in range(2)]
    for last in range(2, 2 + 5 * MOST):
        await served.open(address=f"127.0.1.{last}")
    await asyncio.sleep(0.1)
    for reader, writer in own:
        writer.write(ASKING)
        assert await answered(reader) == b"HTTP/1.1 200 OK"


async def test_what_the_server_works_on_is_not_ended_for_a_newcomer(served: Served) -> None:
    reader, _ = await served.open(b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.sleep(0.1)
    for _ in range(3 * MOST):
        await served.open()
    await asyncio.sleep(0.1)
    served.work.set()
    assert await answered(reader) == b"HTTP/1.1 200 OK"


async def test_what_the_server_works_on_for_long_is_answered(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "EXCHANGE_S", 0.3)
    reader, _ = await served.open(b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.sleep(1.0)
    served.work.set()
    assert await answered(reader) == b"HTTP/1.1 200 OK"


async def test_where_all_are_worked_on_the_newcomer_goes(served: Served) -> None:
    for _ in range(MOST):
        await served.open(b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.sleep(0.1)
    reader, _ = await served.open()
    assert await is_ended(reader)
    served.work.set()


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("fe80::1", False),
        ("", False),
    ],
)
def test_this_machine_is_known_by_its_address(address: str, own: bool) -> None:
    assert connections._is_of_this_machine(address) is own
