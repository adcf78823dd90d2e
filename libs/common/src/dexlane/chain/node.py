"""The typed calls of ``Rpc`` over a JSON-RPC client."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

from dexlane.chain.answers import (
    NOT_READABLE,
    BlockId,
    ChainTransaction,
    FeeHistory,
    Header,
    RawLog,
    Receipt,
    block_parameter,
    parse_fee_history,
    parse_header,
    parse_logs,
    parse_receipt,
    parse_transaction,
)
from dexlane.chain.link import Request
from dexlane.chain.pool_events import POOL_EVENTS
from dexlane.chain.rpc import RpcError, RpcUnavailable
from dexlane.chain.signed_call import SignedCall

WITHOUT_TRANSACTIONS = False
P = ParamSpec("P")
T = TypeVar("T")


def _readable(ask: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """An answer that is not of its form tells nothing: ``RpcUnavailable``, as if none had come. A node that stammers
    for a moment is no reason to stop a service."""

    @functools.wraps(ask)
    async def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await ask(*args, **kwargs)
        except NOT_READABLE as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            raise RpcUnavailable(f"the node's answer to {ask.__name__} cannot be read ({reason})") from error

    return reading


class Calls(Protocol):
    """Requests to a node, or to one of several. Each raises ``RpcError`` or ``RpcUnavailable``."""

    async def call(self, method: str, *params: Any, on_sent: Callable[[], None] | None = None) -> Any:
        """The result of one request; ``on_sent`` is called once it is on its way."""
        ...

    async def batch(self, requests: Sequence[Request]) -> list[Any]:
        """Results in the order of the requests; a refused one is an ``RpcError`` in its place."""
        ...


class NodeLogs:
    """The logs of a node."""

    def __init__(self, client: Calls) -> None:
        self._client = client

    @_readable
    async def logs(self, block_hash: str, addresses: Sequence[str]) -> list[RawLog]:
        """``eth_getLogs`` of one block by its hash (EIP-234)."""
        return parse_logs(await self._client.call("eth_getLogs", logs_filter(block_hash, addresses)))

    @_readable
    async def logs_between(self, first: int, last: int, topics: Sequence[Sequence[str]]) -> list[RawLog]:
        """``eth_getLogs`` by topics over a range of blocks."""
        restriction = {"fromBlock": hex(first), "toBlock": hex(last), "topics": [list(each) for each in topics]}
        return parse_logs(await self._client.call("eth_getLogs", restriction))


class NodeRpc(NodeLogs):
    """A node, through a client that the caller starts and stops. Implements ``dexlane.chain.rpc.Rpc``."""

    @_readable
    async def chain_id(self) -> int:
        """``eth_chainId``."""
        return int(await self._client.call("eth_chainId"), 16)

    async def client_version(self) -> str:
        """``web3_clientVersion``."""
        return str(await self._client.call("web3_clientVersion"))

    @_readable
    async def block_number(self) -> int:
        """``eth_blockNumber``."""
        return int(await self._client.call("eth_blockNumber"), 16)

    @_readable
    async def block(self, block: BlockId) -> Header | None:
        """``eth_getBlockByNumber`` for a number or tag, ``eth_getBlockByHash`` for a hash; without transactions."""
        answer = await self._client.call(*block_request(block))
        return None if answer is None else parse_header(answer)

    @_readable
    async def eth_call(
        self, to: str, data: bytes, *, block: BlockId = "latest", sender: str | None = None, value_wei: int = 0
    ) -> bytes:
        """``eth_call``."""
        request: dict[str, Any] = {"to": to, "data": "0x" + data.hex()}
        if sender is not None:
            request["from"] = sender
        if value_wei:
            request["value"] = hex(value_wei)
        return _bytes(await self._client.call("eth_call", request, block_parameter(block)))

    async def try_out(self, sender: str, call: SignedCall, *, block: BlockId = "latest") -> None:
        """``eth_call`` with sender, value and gas limit."""
        request = {"from": sender, "to": call.to, "data": "0x" + call.data.hex()}
        request |= {"value": hex(call.value_wei), "gas": hex(call.gas_limit)}
        await self._client.call("eth_call", request, block_parameter(block))

    @_readable
    async def eth_calls(
        self, calls: Sequence[tuple[str, bytes]], *, block: BlockId = "latest"
    ) -> list[bytes | RpcError]:
        """Many ``eth_call`` in one batch."""
        at = block_parameter(block)
        requests = [("eth_call", ({"to": to, "data": "0x" + data.hex()}, at)) for to, data in calls]
        answers = await self._client.batch(requests)
        return [answer if isinstance(answer, RpcError) else _bytes(answer) for answer in answers]

    @_readable
    async def fee_history(self, count: int, newest: BlockId, percentiles: Sequence[int]) -> FeeHistory:
        """``eth_feeHistory``."""
        answer = await self._client.call("eth_feeHistory", hex(count), block_parameter(newest), list(percentiles))
        return parse_fee_history(answer)

    @_readable
    async def transaction_count(self, address: str, *, block: BlockId = "latest") -> int:
        """``eth_getTransactionCount``."""
        return int(await self._client.call("eth_getTransactionCount", address, block_parameter(block)), 16)

    @_readable
    async def balance(self, address: str, *, block: BlockId = "latest") -> int:
        """``eth_getBalance``."""
        return int(await self._client.call("eth_getBalance", address, block_parameter(block)), 16)

    @_readable
    async def code(self, address: str, *, block: BlockId = "latest") -> bytes:
        """``eth_getCode``."""
        return _bytes(await self._client.call("eth_getCode", address, block_parameter(block)))

    async def send_raw_transaction(self, raw: bytes, *, on_sent: Callable[[], None] | None = None) -> str:
        """``eth_sendRawTransaction``."""
        return str(await self._client.call("eth_sendRawTransaction", "0x" + raw.hex(), on_sent=on_sent)).lower()

    @_readable
    async def receipt(self, tx_hash: str) -> Receipt | None:
        """``eth_getTransactionReceipt``; None too while a node gives a receipt without a block."""
        answer = await self._client.call("eth_getTransactionReceipt", tx_hash)
        return None if answer is None or answer.get("blockHash") is None else parse_receipt(answer)

    @_readable
    async def transaction(self, tx_hash: str) -> ChainTransaction | None:
        """``eth_getTransactionByHash``."""
        answer = await self._client.call("eth_getTransactionByHash", tx_hash)
        return None if answer is None else parse_transaction(answer)


def block_request(block: BlockId) -> tuple[Any, ...]:
    """Method and parameters that ask for a header."""
    if isinstance(block, str) and len(block) == 66:
        return "eth_getBlockByHash", block, WITHOUT_TRANSACTIONS
    return "eth_getBlockByNumber", block_parameter(block), WITHOUT_TRANSACTIONS


def logs_filter(block_hash: str, addresses: Sequence[str]) -> dict[str, Any]:
    """What ``eth_getLogs`` is asked for about one block: see ``dexlane.chain.rpc.LogRpc.logs``."""
    restriction = {"address": list(addresses)} if addresses else {"topics": [list(POOL_EVENTS)]}
    return {"blockHash": block_hash, **restriction}


def _bytes(answer: str) -> bytes:
    if not answer.startswith("0x"):
        raise ValueError("no bytes in hex")
    return bytes.fromhex(answer[2:])
