"""A WebSocket in front of a node that treats its JSON-RPC messages badly, by seed.

async with FaultProxy(node_url, seed=7) as proxy:
    proxy.faults = Faults(drop=0.02, duplicate=0.1, reorder=0.1, delay=0.2, disconnect=0.01)
    proxy.frozen_heads = True                  # answers, but announces nothing and says the same newest block
    proxy.lie = lambda method, answer: ...     # changes what a method (or "newHeads") gives
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake

Lie = Callable[[str, Any], Any]
"""Takes the method (``newHeads`` for a notification) and the true result; what it returns is passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Chances, from zero to one, of what happens to a message from the node; ``delay_s`` is the longest delay."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    delay_s: float = 0.05
    disconnect: float = 0.0


@dataclass(eq=False)
class Pair:
    """A client's connection and its own connection to the node."""

    client: ServerConnection
    node: ClientConnection
    methods: dict[Any, str] = field(default_factory=dict)
    held_back: list[bytes] = field(default_factory=list)


class FaultProxy:
    """A node as seen through a bad line, or a bad provider."""

    def __init__(self, node_url: str, *, seed: int) -> None:
        self.faults = Faults()
        self.frozen_heads = False
        self.refuses = False
        """Whether connections are closed at once."""
        self.lie: Lie = lambda method, result: result
        self.count: dict[str, int] = {}
        """How often each fault happened, by its name."""
        self._node_url = node_url
        self._random = random.Random(seed)  # noqa: S311  faults, not secrets
        self._frozen: dict[str, Any] = {}
        self._server: Server | None = None
        self._pairs: set[Pair] = set()

    @property
    def url(self) -> str:
        """Where clients connect."""
        if self._server is None:
            raise RuntimeError("the proxy was not started")
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}"

    async def __aenter__(self) -> Self:
        self._server = await serve(self._serve, "127.0.0.1", 0, max_size=None, ping_interval=None)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def disconnect(self) -> None:
        """Cut every connection."""
        self._note("disconnect")
        for pair in list(self._pairs):
            pair.client.transport.abort()

    def thaw(self) -> None:
        """No longer frozen."""
        self.frozen_heads = False
        self._frozen.clear()

    async def _serve(self, client: ServerConnection) -> None:
        if self.refuses:
            return
        try:
            async with connect(self._node_url, max_size=None, ping_interval=None, proxy=None) as node:
                pair = Pair(client, node)
                self._pairs.add(pair)
                down = asyncio.create_task(self._down(pair))
                try:
                    await self._up(pair)
                finally:
                    self._pairs.discard(pair)
                    down.cancel()
                    await asyncio.gather(down, return_exceptions=True)
        except (ConnectionClosed, OSError, InvalidHandshake):
            return  # the client sees its own connection close

    async def _up(self, pair: Pair) -> None:
        async for message in pair.client:
            asked = orjson.loads(message)
            requests = asked if isinstance(asked, list) else [asked]
            passed = [kept for request in requests if (kept := self.passed_up(pair, request)) is not None]
            for request in passed:
                pair.methods[request["id"]] = request["method"]
            if passed:
                await pair.node.send(orjson.dumps(passed if isinstance(asked, list) else passed[0]), text=True)

    def passed_up(self, pair: Pair, request: dict[str, Any]) -> dict[str, Any] | None:
        """What the node is asked instead of a client's request; None when it is not asked at all. For subclasses."""
        del pair
        return request

    async def _down(self, pair: Pair) -> None:
        try:
            async for message in pair.node:
                told = orjson.loads(message)
                parts = told if isinstance(told, list) else [told]
                kept = [part for part in parts if self._changed(pair, part)]
                if kept:
                    await self._pass_on(pair, orjson.dumps(kept if isinstance(told, list) else kept[0]))
        except ConnectionClosed:
            pass
        finally:
            await pair.client.close()

    def _changed(self, pair: Pair, part: dict[str, Any]) -> bool:
        """Change a message in place; False when it is swallowed."""
        if "method" in part:
            if self.frozen_heads:
                self._note("freeze")
                return False
            part["params"]["result"] = self._told("newHeads", part["params"]["result"])
        elif "result" in part:
            method = pair.methods.pop(part["id"], "")
            part["result"] = self._told(method, part["result"])
            if self.frozen_heads and method in ("eth_getBlockByNumber", "eth_blockNumber"):
                self._note("freeze")
                part["result"] = self._frozen.setdefault(method, part["result"])
        return True

    def _told(self, method: str, result: Any) -> Any:
        told = self.lie(method, result)
        if told != result:
            self._note("lie")
        return told

    async def _pass_on(self, pair: Pair, message: bytes) -> None:
        faults, chance = self.faults, self._random.random
        if chance() < faults.disconnect:
            self._note("disconnect")
            pair.client.transport.abort()
            return
        if chance() < faults.drop:
            self._note("drop")
            return
        if chance() < faults.delay:
            self._note("delay")
            await asyncio.sleep(self._random.random() * faults.delay_s)
        if chance() < faults.reorder and not pair.held_back:
            self._note("reorder")
            pair.held_back.append(message)
            return
        await pair.client.send(message, text=True)
        if chance() < faults.duplicate:
            self._note("duplicate")
            await pair.client.send(message, text=True)
        while pair.held_back:
            await pair.client.send(pair.held_back.pop(), text=True)

    def _note(self, fault: str) -> None:
        self.count[fault] = self.count.get(fault, 0) + 1
