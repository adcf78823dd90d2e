"""``/stream``: live events over WebSocket.

The client says which it wants, as often as it likes: ``{"subscribe": ["fill.included", "feed"]}``. Beyond loopback its
first message must also carry ``"token"``. A client that reads too slowly loses its oldest messages and is told so by
``{"event": "gap", "data": {"dropped": n}}``; it should then read the REST resources again.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, WebSocket
from pydantic import Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from dexlane.values.base import Value
from gateway.api.desk import Desk
from gateway.projections.display import SUBSCRIBABLE
from gateway.projections.hub import OVERVIEW, Client

MAX_REQUEST_CHARS = 4_096
TOKEN_WITHIN_S = 5.0
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

    @api.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        client = desk.display.hub.join() if desk.door.is_open else None
        if client is None:
            await socket.close(TRY_AGAIN_LATER, "starting, or too many clients; try again later")
            return
        try:
            await socket.accept()
            await _serve(desk, socket, client)
        except _Refused as refusal:
            await socket.close(POLICY_VIOLATION, str(refusal))
        except WebSocketDisconnect:
            pass
        finally:
            desk.display.hub.leave(client)

    return api


async def _serve(desk: Desk, socket: WebSocket, client: Client) -> None:
    if not desk.settings.is_loopback:
        await _authenticate(desk, socket, client)
    sending = asyncio.create_task(_send(desk, socket, client))
    reading = asyncio.create_task(_read(desk, socket, client))
    done, pending = await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


async def _authenticate(desk: Desk, socket: WebSocket, client: Client) -> None:
    try:
        wish = await asyncio.wait_for(_wish(socket), TOKEN_WITHIN_S)
    except TimeoutError as error:
        raise _Refused("the first message must carry the token") from error
    if wish.token is None or not desk.token.accepts(wish.token):
        desk.moments.denied("Token needed", "/stream")
        raise _Refused("the first message must carry the token")
    _follow(desk, client, wish)


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
