"""One WebSocket connection to a node, until it breaks: requests matched by id, notifications handed on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.uri import parse_uri

from dexlane.runtime.errors import Fatal, Transient

MAX_MESSAGE_BYTES = 128 * 1024 * 1024
Request = tuple[str, Sequence[Any]]
"""Method and parameters."""
Notify = Callable[[Any], None]
"""Takes the ``result`` of a subscription notification; must not wait."""


class RpcError(Exception):
    """The node's own answer to a request is an error: it was understood and refused, asking again changes nothing.

    ``data`` is what the node attached (for a revert the payload in hex), None without.
    """

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class RpcUnavailable(Transient):
    """No answer came: not connected, connection lost or out of time. The outcome of the request is unknown."""


class WrongChain(Fatal):
    """The node serves another chain than it was configured for. That never gets better by waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPolicy:
    """Times of a connection, in seconds. Pings find a half-open link within the sum of both ping times.

    ``jitter`` gives numbers in [0, 1) that spread the reconnects of many clients, for example ``random.random``.
    """

    jitter: Callable[[], float]
    connect_timeout_s: float = 5.0
    call_timeout_s: float = 10.0
    ping_interval_s: float = 5.0
    ping_timeout_s: float = 5.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0

    def wait_s(self, attempt: int) -> float:
        """How long to wait before attempt ``attempt`` (from 0) to connect: half to all of a doubling time."""
        ceiling = min(self.longest_wait_s, self.first_wait_s * (1 << min(attempt, 16)))
        return ceiling * (0.5 + 0.5 * self.jitter())


class Link:
    """An open connection. It never comes back by itself: whoever holds it opens another one."""

    def __init__(self, socket: ClientConnection, url: str, notify: Notify | None) -> None:
        self._socket = socket
        self._url = url
        self._notify = notify
        self._next_id = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read(), name="rpc-reader")

    @classmethod
    async def open(cls, url: str, policy: LinkPolicy, notify: Notify | None = None) -> Self:
        """Connect; ``RpcUnavailable`` when nobody answers there, ``Fatal`` when the address is none."""
        try:
            parse_uri(url)
        except InvalidURI as error:
            raise Fatal("the node URL is not a ws:// or wss:// address; correct DEXLANE_RPC_WS_URLS") from error
        try:
            socket = await connect(
                url,
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=1024,
                open_timeout=policy.connect_timeout_s,
                ping_interval=policy.ping_interval_s,
                ping_timeout=policy.ping_timeout_s,
                close_timeout=1,
                proxy=None,
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            # An invalid address at this point is where the server sent us: to a page for people, say.
            raise RpcUnavailable(f"no node answers at {host_of(url)}: {error or type(error).__name__}") from error
        return cls(socket, url, notify)

    @property
    def is_open(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return not self._reader.done()

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
        await asyncio.wait((self._reader,))

    async def close(self) -> None:
        """Close; requests that wait for an answer fail as unavailable."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()

    async def request(
        self, method: str, params: Sequence[Any], timeout_s: float, on_sent: Callable[[], None] | None = None
    ) -> Any:
        """The result of one request; ``on_sent`` is called when it was written. Raises ``RpcError`` or
        ``RpcUnavailable``."""
        [answer] = await self.batch([(method, params)], timeout_s, on_sent)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(
        self, requests: Sequence[Request], timeout_s: float, on_sent: Callable[[], None] | None = None
    ) -> list[Any]:
        """Results in the order of the requests; a refused one is an ``RpcError`` in its place."""
        if not requests:
            return []
        ids = range(self._next_id + 1, self._next_id + 1 + len(requests))
        self._next_id = ids[-1]
        bodies = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in zip(ids, requests, strict=True)
        ]
        loop = asyncio.get_running_loop()
        futures = [self._waiting.setdefault(number, loop.create_future()) for number in ids]
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(bodies)
                if on_sent is not None:
                    on_sent()
                return await asyncio.gather(*futures)
        except TimeoutError as error:
            raise RpcUnavailable(f"{requests[0][0]} was not answered within {timeout_s} s") from error
        finally:
            for number, future in zip(ids, futures, strict=True):
                self._waiting.pop(number, None)
                future.cancel()

    async def _send(self, bodies: list[dict[str, Any]]) -> None:
        if not self.is_open:
            raise RpcUnavailable("the connection to the node is closed")
        try:
            await self._socket.send(orjson.dumps(bodies if len(bodies) > 1 else bodies[0]), text=True)
        except ConnectionClosed as error:
            raise RpcUnavailable("the connection to the node was lost while sending") from error

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                answer = orjson.loads(message)
                for part in answer if isinstance(answer, list) else (answer,):
                    self._dispatch(part)
        except (ConnectionClosed, orjson.JSONDecodeError):
            pass  # both end the connection; everybody who waits is told below
        finally:
            self._fail_waiting()

    def _dispatch(self, answer: dict[str, Any]) -> None:
        if "method" in answer:
            if self._notify is not None:
                self._notify(answer["params"]["result"])
            return
        error = answer.get("error")
        if answer.get("id") is None and error is not None:
            self._refuse_all(_as_error(error))
            return
        future = self._waiting.pop(answer["id"], None)
        if future is None or future.done():
            return  # answered too late, or twice
        future.set_result(_as_error(error) if error is not None else answer.get("result"))

    def _refuse_all(self, error: RpcError) -> None:
        """An answer without an id refuses a whole batch; which one is unknown, so all waiting requests fail."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RpcUnavailable(f"the node refused a batch: {error}"))

    def _fail_waiting(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RpcUnavailable("the connection to the node was lost before it answered"))


def _as_error(error: dict[str, Any]) -> RpcError:
    return RpcError(int(error.get("code", 0)), str(error.get("message", "")), error.get("data"))


def host_of(url: str) -> str:
    """Scheme and host of a URL: its path and query may hold a provider's key and are never shown."""
    scheme, _, rest = url.partition("://")
    authority = rest.split("/", 1)[0].split("?", 1)[0]
    return f"{scheme}://{authority.rpartition('@')[2]}"


async def check_chain(link: Link, chain_id: int | None, url: str, policy: LinkPolicy) -> None:
    """``WrongChain`` when the node serves another chain than expected, ``RpcUnavailable`` when it does not say."""
    if chain_id is None:
        return
    answer = await link.request("eth_chainId", (), policy.call_timeout_s)
    try:
        found = int(answer, 16)
    except (TypeError, ValueError) as error:
        raise RpcUnavailable(f"the node at {host_of(url)} does not say which chain it serves") from error
    if found != chain_id:
        raise WrongChain(
            f"the node at {host_of(url)} serves chain {found}, not chain {chain_id}; correct DEXLANE_RPC_WS_URLS"
        )
