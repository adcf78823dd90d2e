"""The calls that dexlane makes to nodes, a client that keeps a connection for them, and the two ways they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dexlane.chain.answers import BlockId, ChainTransaction, FeeHistory, Header, RawLog, Receipt
from dexlane.chain.link import Link, LinkPolicy, Request, RpcError, RpcUnavailable, check_chain, host_of
from dexlane.chain.signed_call import SignedCall
from dexlane.runtime.errors import Fatal

__all__ = ["LinkPolicy", "Rpc", "RpcClient", "RpcError", "RpcUnavailable"]

MAX_BATCH = 500
"""Requests sent in one message; providers refuse larger batches."""


class LogRpc(Protocol):
    """The calls for logs. Each raises ``RpcError`` or ``RpcUnavailable``."""

    async def logs(self, block_hash: str, addresses: Sequence[str]) -> list[RawLog]:
        """``eth_getLogs`` of one block by its hash, in order; ``RpcError`` when the node does not know the block.

        Without addresses: the events that change pools (``POOL_EVENTS``), whoever emitted them.
        """
        ...

    async def logs_between(self, first: int, last: int, topics: Sequence[Sequence[str]]) -> list[RawLog]:
        """``eth_getLogs`` of the blocks from ``first`` to ``last`` whose n-th topic is one of the n-th alternatives."""
        ...


class Rpc(LogRpc, Protocol):
    """The node calls that dexlane uses. Each raises ``RpcError`` or ``RpcUnavailable``.

    Amounts are in wei; ``None`` means the node does not know what was asked for.
    """

    async def chain_id(self) -> int:
        """``eth_chainId``."""
        ...

    async def client_version(self) -> str:
        """``web3_clientVersion``."""
        ...

    async def block_number(self) -> int:
        """``eth_blockNumber``."""
        ...

    async def block(self, block: BlockId) -> Header | None:
        """``eth_getBlockByNumber`` for a number or tag, ``eth_getBlockByHash`` for a hash."""
        ...

    async def eth_call(
        self, to: str, data: bytes, *, block: BlockId = "latest", sender: str | None = None, value_wei: int = 0
    ) -> bytes:
        """``eth_call``; a revert is an ``RpcError`` with the payload in ``data``."""
        ...

    async def try_out(self, sender: str, call: SignedCall, *, block: BlockId = "latest") -> None:
        """``eth_call`` of exactly what was signed, on the state of a block; a revert is an ``RpcError`` as above."""
        ...

    async def eth_calls(
        self, calls: Sequence[tuple[str, bytes]], *, block: BlockId = "latest"
    ) -> list[bytes | RpcError]:
        """Many ``eth_call`` at once, answers in the order of the calls, a refused one as an error in its place."""
        ...

    async def fee_history(self, count: int, newest: BlockId, percentiles: Sequence[int]) -> FeeHistory:
        """``eth_feeHistory`` of the last ``count`` blocks up to ``newest``."""
        ...

    async def transaction_count(self, address: str, *, block: BlockId = "latest") -> int:
        """``eth_getTransactionCount``: the next nonce."""
        ...

    async def balance(self, address: str, *, block: BlockId = "latest") -> int:
        """``eth_getBalance``."""
        ...

    async def code(self, address: str, *, block: BlockId = "latest") -> bytes:
        """``eth_getCode``; empty for an account without code."""
        ...

    async def send_raw_transaction(self, raw: bytes, *, on_sent: Callable[[], None] | None = None) -> str:
        """``eth_sendRawTransaction``: the hash. After ``RpcUnavailable`` it may or may not have been accepted.
        ``on_sent`` is called when the bytes were handed over, before the node has answered."""
        ...

    async def receipt(self, tx_hash: str) -> Receipt | None:
        """``eth_getTransactionReceipt``."""
        ...

    async def transaction(self, tx_hash: str) -> ChainTransaction | None:
        """``eth_getTransactionByHash``."""
        ...


class RpcClient:
    """A JSON-RPC client that stays connected: it reconnects for ever, with a capped and jittered back-off.

    While there is no connection calls fail at once with ``RpcUnavailable``; nothing is queued or sent twice behind the
    caller's back. ``on_state`` is told of every connect and loss: ``connected``,
    ``unavailable`` or ``lost``, and a sentence. Of several URLs the first is used until it is lost; each attempt to
    connect after that goes to the next one.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        name: str,
        policy: LinkPolicy,
        chain_id: int | None = None,
        on_state: Callable[[str, str], None] | None = None,
    ) -> None:
        self._urls = (urls,) if isinstance(urls, str) else tuple(urls)
        self._at = 0
        self.name = name
        self._chain_id = chain_id
        self._policy = policy
        self._on_state = on_state or (lambda state, reason: None)
        self._link: Link | None = None
        self._connected = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self.fault: Fatal | None = None
        """Why it will never be connected; None while it tries."""

    @property
    def url(self) -> str:
        """Where it is connected, or tries to be."""
        return self._urls[self._at]

    @property
    def connected(self) -> bool:
        """Whether a checked connection stands at this moment."""
        return self._link is not None and self._link.is_open

    async def start(self) -> None:
        """Begin to connect, and return after the first attempt, whatever came of it.

        Raises ``Fatal`` when the node serves another chain: that never gets better by waiting.
        """
        await self._connect()
        self._runner = asyncio.create_task(self._keep_connected(), name=f"rpc-{self.name}")

    async def stop(self) -> None:
        """Close. Calls that wait for an answer fail."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        if self._link is not None:
            await self._link.close()
            self._link = None

    async def wait_connected(self, timeout_s: float) -> None:
        """Return when connected; ``RpcUnavailable`` when the time runs out before."""
        try:
            await asyncio.wait_for(self._connected.wait(), timeout_s)
        except TimeoutError as error:
            raise RpcUnavailable(f"no connection to {host_of(self.url)} within {timeout_s} s") from error

    async def call(
        self, method: str, *params: Any, timeout_s: float | None = None, on_sent: Callable[[], None] | None = None
    ) -> Any:
        """The result of one request; ``on_sent`` is called when it was written to the link. Raises ``RpcError`` or
        ``RpcUnavailable``."""
        return await self._open_link().request(method, params, timeout_s or self._policy.call_timeout_s, on_sent)

    async def batch(self, requests: Sequence[Request], *, timeout_s: float | None = None) -> list[Any]:
        """Results in the order of the requests, sent in as few messages as allowed; refused ones as ``RpcError``."""
        link, answers = self._open_link(), []
        for start in range(0, len(requests), MAX_BATCH):
            part = requests[start : start + MAX_BATCH]
            answers += await link.batch(part, timeout_s or self._policy.call_timeout_s)
        return answers

    def _open_link(self) -> Link:
        if self.fault is not None:
            raise self.fault
        if self._runner is not None and self._runner.done():
            self._runner.result()  # raises what ended it
        if self._link is None or not self._link.is_open:
            raise RpcUnavailable(f"not connected to {host_of(self.url)}")
        return self._link

    async def _connect(self) -> bool:
        """One attempt; whether it succeeded."""
        link: Link | None = None
        try:
            link = await Link.open(self.url, self._policy)
            await check_chain(link, self._chain_id, self.url, self._policy)
        except (RpcUnavailable, RpcError, Fatal) as error:
            if link is not None:
                await link.close()
            if isinstance(error, Fatal):
                self.fault = error
                raise
            self._on_state("unavailable", str(error))
            self._at = (self._at + 1) % len(self._urls)
            return False
        self._link = link
        self._connected.set()
        self._on_state("connected", host_of(self.url))
        return True

    async def _keep_connected(self) -> None:
        attempt = 0
        while True:
            if self._link is not None:
                await self._link.wait_closed()
                await self._link.close()
                self._link = None
                self._connected.clear()
                self._on_state("lost", host_of(self.url))
                attempt = 0
            await asyncio.sleep(self._policy.wait_s(attempt))
            attempt += 1
            await self._connect()
