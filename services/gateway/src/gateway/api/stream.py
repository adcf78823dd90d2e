"""``/stream``: live events over WebSocket.

The client says which it wants, as often as it likes: ``{"subscribe": ["fill.included", "feed"]}``. Beyond loopback its
first message must also carry ``"token"``, at once: few connections may wait for it, and the oldest goes. A client that
reads too slowly loses its oldest messages and is told so by
``{"event": "gap", "data": {"dropped": n}}``; it should then read the REST resources again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from fastapi import APIRouter, WebSocket
from pydantic import Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from dexlane.values.base import Value
from gateway.api.desk import Desk
from gateway.projections.display import SUBSCRIBABLE
from gateway.projections.hub import OVERVIEW, Client

MAX_REQUEST_CHARS = 4_096
TOKEN_WITHIN_S = 5.0
MOST_WAITING, MOST_WAITING_PER_ADDRESS = 20, 5
POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013


class Subscribe(Value):
    """A client's wish; it replaces the one before."""

    subscribe: tuple[str, ...] = Field(max_length=64)
    token: str | None = Field(default=None, max_length=200)


class _Refused(Exception):  # noqa: N818
    """The connection must end, with this reason."""


def router(desk: Desk) -> APIRouter:
    """The one WebSocket."""
    api = APIRouter()

    waiting = Waiting()

    @api.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        address = socket.client.host if socket.client else ""
        client, wish = None, None
        try:
            if desk.door.is_open and not desk.settings.is_loopback:
                await socket.accept()
                wish = await _authenticated(desk, socket, waiting.place(address))
            client = desk.display.hub.join(address) if desk.door.is_open else None
            if client is None:
                await socket.close(TRY_AGAIN_LATER, "starting, or too many clients; try again later")
                return
            if wish is None:
                await socket.accept()
            else:
                _follow(desk, client, wish)
            await _serve(desk, socket, client)
        except _Refused as refusal:
            await socket.close(POLICY_VIOLATION, str(refusal))
        except WebSocketDisconnect:
            pass
        finally:
            if client is not None:
                desk.display.hub.leave(client)

    return api


class Waiting:
    """Connections whose token was not heard yet, oldest first. The owner says it at once, so it is never the newest who
    has to go."""

    def __init__(self) -> None:
        self._limits: dict[asyncio.Timeout, str] = {}

    @asynccontextmanager
    async def place(self, address: str) -> AsyncIterator[None]:
        """Wait a few seconds at most; ``TimeoutError`` when they are over, or others need the place."""
        async with asyncio.timeout(TOKEN_WITHIN_S) as limit:
            self._limits[limit] = address
            self._make_room(address)
            try:
                yield
            finally:
                self._limits.pop(limit, None)

    def _make_room(self, address: str) -> None:
        same = [limit for limit, other in self._limits.items() if other == address]
        many = same if len(same) > MOST_WAITING_PER_ADDRESS else list(self._limits)
        if many is same or len(many) > MOST_WAITING:
            del self._limits[many[0]]
            with suppress(RuntimeError):  # its own time is over in this moment
                many[0].reschedule(asyncio.get_running_loop().time())


async def _serve(desk: Desk, socket: WebSocket, client: Client) -> None:
    sending = asyncio.create_task(_send(desk, socket, client))
    reading = asyncio.create_task(_read(desk, socket, client))
    done, pending = await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


async def _authenticated(desk: Desk, socket: WebSocket, place: AbstractAsyncContextManager[None]) -> Subscribe:
    try:
        async with place:
            wish = await _wish(socket)
    except TimeoutError as error:
        raise _Refused("the first message must carry the token") from error
    if wish.token is None or not desk.token.accepts(wish.token):
        desk.moments.denied("Token needed", "/stream")
        raise _Refused("the first message must carry the token")
    return wish


async def _wish(socket: WebSocket) -> Subscribe:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    text = message.get("text")
    if text is None or len(text) > MAX_REQUEST_CHARS:
        raise _Refused(f"a message is text of at most {MAX_REQUEST_CHARS} characters")
    try:
        wish = Subscribe.model_validate_json(text)
    except ValidationError as error:
        raise _Refused('send {"subscribe": ["<name>", ...]}') from error
    unknown = sorted(set(wish.subscribe) - SUBSCRIBABLE)
    if unknown:
        raise _Refused(f"unknown name {unknown[0][:40]!r}; /docs lists the names")
    return wish


def _follow(desk: Desk, client: Client, wish: Subscribe) -> None:
    client.names = frozenset(wish.subscribe)
    if OVERVIEW in client.names:
        desk.display.send_overview()


async def _read(desk: Desk, socket: WebSocket, client: Client) -> None:
    while True:
        _follow(desk, client, await _wish(socket))


async def _send(desk: Desk, socket: WebSocket, client: Client) -> None:
    while True:
        message = await client.next(desk.clock.now_ms)
        await socket.send_text(message.decode())
