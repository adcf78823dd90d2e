"""The calls that dexlane makes to nodes, and the two ways in which they fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dexlane.chain.answers import BlockId, ChainTransaction, FeeHistory, Header, RawLog, Receipt
from dexlane.runtime.errors import Transient


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


class Rpc(Protocol):
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

    async def logs(self, block_hash: str, addresses: Sequence[str]) -> list[RawLog]:
        """``eth_getLogs`` of one block by its hash, in order; ``RpcError`` when the node does not know the block."""
        ...

    async def eth_call(
        self, to: str, data: bytes, *, block: BlockId = "latest", sender: str | None = None, value_wei: int = 0
    ) -> bytes:
        """``eth_call``; a revert is an ``RpcError`` with the payload in ``data``."""
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

    async def send_raw_transaction(self, raw: bytes) -> str:
        """``eth_sendRawTransaction``: the hash. After ``RpcUnavailable`` it may or may not have been accepted."""
        ...

    async def receipt(self, tx_hash: str) -> Receipt | None:
        """``eth_getTransactionReceipt``."""
        ...

    async def transaction(self, tx_hash: str) -> ChainTransaction | None:
        """``eth_getTransactionByHash``."""
        ...
