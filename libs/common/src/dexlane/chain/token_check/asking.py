"""Asking a node about contracts, and reading its answers: strictly, whatever a contract may say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dexlane.chain.abi import AbiError, Frame
from dexlane.chain.link import Request, RpcError

_ADDRESS_MASK = (1 << 160) - 1
VIEW_GAS = 200_000


class Node(Protocol):
    """Requests to a node; a refused one raises, or stands in its place in a batch, as ``RpcError``."""

    async def call(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        """The result of one request."""
        ...

    async def batch(self, requests: Sequence[Request], *, timeout_s: float | None = None) -> list[Any]:
        """Results in the order of the requests."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """The block that everything is simulated on, and what its successors inherit."""

    number: int
    hash: str
    timestamp_s: int
    base_fee_wei: int
    gas_limit: int
    miner: str
    randomness: str


class NoSubjectError(Exception):
    """The token cannot be tried; the sentence says why. ``is_token`` is False where no contract speaks as a token
    does."""

    def __init__(self, sentence: str, *, is_token: bool = True) -> None:
        super().__init__(sentence)
        self.is_token = is_token


async def read_head(node: Node, block: int | None, timeout_s: float) -> Head:
    """The header to stand on: the newest, or a given number. ``NoSubjectError`` when the node does not have it."""
    answer = await node.call(
        "eth_getBlockByNumber", "latest" if block is None else hex(block), False, timeout_s=timeout_s
    )
    if not isinstance(answer, dict):
        raise NoSubjectError(f"the node does not have block {block}")
    return Head(
        number=int(answer["number"], 16),
        hash=str(answer["hash"]),
        timestamp_s=int(answer["timestamp"], 16),
        base_fee_wei=int(answer.get("baseFeePerGas") or "0x0", 16),
        gas_limit=int(answer["gasLimit"], 16),
        miner=str(answer["miner"]).lower(),
        randomness=str(answer.get("mixHash") or "0x" + "0" * 64),
    )


def views(at: str, *calls: tuple[str, bytes], gas: int = VIEW_GAS) -> list[Request]:
    """Calls of functions that only tell something."""
    return [("eth_call", ({"to": to, "data": "0x" + data.hex(), "gas": hex(gas)}, at)) for to, data in calls]


def bytes_of(answer: Any) -> bytes:
    """What a request returned; nothing when it was refused or returned no data in hex."""
    if isinstance(answer, RpcError) or not isinstance(answer, str):
        return b""
    try:
        return bytes.fromhex(answer[2:])
    except ValueError:
        return b""


def word_of(answer: Any, index: int) -> int | None:
    """A word of what a call returned; None when it was refused or returned fewer."""
    try:
        return Frame(bytes_of(answer)).uint(index)
    except AbiError:
        return None


def number_of(answer: Any) -> int | None:
    """The number that a call returned; None when it was refused or returned none."""
    return word_of(answer, 0)


def timestamp_of(header: Any) -> int | None:
    """The time of a header in Unix seconds; None when it is none."""
    told = header.get("timestamp") if isinstance(header, dict) else None
    try:
        return int(told, 16) if isinstance(told, str) else None
    except ValueError:
        return None


def address_of(answer: Any) -> str | None:
    """The address that a call returned; None for zero, and for what is none."""
    value = word_of(answer, 0)
    return f"0x{value:040x}" if value and value <= _ADDRESS_MASK else None
