"""A small JSON-RPC client over one WebSocket, for the devnet's own use."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from dexlane_devnet.errors import DevnetError

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
HEADS_KEPT = 1024
CALL_TIMEOUT_S = 60.0


class RpcError(DevnetError):
    """The node answered a request with an error."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error.get('message', error)}")
        self.code = error.get("code")


class Rpc:
    """One connection: requests are matched by id, new heads go to a bounded queue (the oldest falls out)."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._next_id = 0
        self._waiting: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self.heads: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(HEADS_KEPT)
        self._reader = asyncio.create_task(self._read(), name="devnet-rpc-reader")

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Open a connection to a ``ws://`` address.

        Raises:
            OSError: nobody listens there.
        """
        return cls(await connect(url, compression=None, max_size=MAX_MESSAGE_BYTES, proxy=None))

    @property
    def closed(self) -> bool:
        return self._reader.done()

    async def call(self, method: str, *params: object) -> Any:
        """The result of one request.

        Raises:
            RpcError: the node answered with an error.
            DevnetError: the connection is gone.
        """
        [result] = await self.batch([(method, *params)])
        if isinstance(result, RpcError):
            raise result
        return result

    async def batch(self, requests: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send requests together and wait for all answers; an error answer is returned in place as RpcError."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Any]] = []
        bodies = []
        for method, *params in requests:
            self._next_id += 1
            future: asyncio.Future[Any] = loop.create_future()
            self._waiting[self._next_id] = (method, future)
            futures.append(future)
            bodies.append({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params})
        if self.closed:
            self._fail_waiting()
        else:
            try:
                for body in bodies:
                    await self._socket.send(orjson.dumps(body), text=True)
            except ConnectionClosed:
                self._fail_waiting()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return list(await asyncio.gather(*futures))
        except TimeoutError as error:
            raise DevnetError(f"the chain did not answer within {CALL_TIMEOUT_S:.0f} s.") from error

    async def subscribe_heads(self) -> None:
        """Let new block headers arrive in ``heads``."""
        await self.call("eth_subscribe", "newHeads")

    async def next_head(self) -> dict[str, Any]:
        """The newest block header not seen yet; older unread ones are skipped.

        Raises:
            DevnetError: the connection is gone.
        """
        head = await self.heads.get()
        while not self.heads.empty():
            head = self.heads.get_nowait()
        if head is None:
            self._push_head(None)
            raise DevnetError("the connection to the chain closed while waiting for blocks.")
        return head

    async def close(self) -> None:
        await self._socket.close()
        await self._reader

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                self._dispatch(orjson.loads(message))
        except ConnectionClosed:
            pass
        finally:
            self._fail_waiting()
            self._push_head(None)

    def _dispatch(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            self._push_head(message["params"]["result"])
            return
        method, future = self._waiting.pop(message["id"], ("", None))
        if future is None or future.done():
            return
        error = message.get("error")
        future.set_result(RpcError(method, error) if error else message.get("result"))

    def _push_head(self, head: dict[str, Any] | None) -> None:
        if self.heads.full():
            self.heads.get_nowait()
        self.heads.put_nowait(head)

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for method, future in waiting.values():
            if not future.done():
                future.set_exception(DevnetError(f"the connection to the chain closed during {method}."))
