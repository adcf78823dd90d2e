"""Events of one contract in a bounded window before a block: what a node tells, and since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dexlane.chain.keccak import keccak256
from dexlane.chain.link import RpcError
from dexlane.chain.token_check.asking import Head, Node

WINDOWS = (5_000, 500, 50)
"""Blocks; a shorter one is asked for where the node refuses a longer one."""
TRANSFER = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
V3_MINT = "0x" + keccak256(b"Mint(address,address,int24,int24,uint128,uint256,uint256)").hex()
V3_BURN = "0x" + keccak256(b"Burn(address,int24,int24,uint128,uint256,uint256)").hex()


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a contract since a block, in their order."""

    logs: Sequence[Mapping[str, Any]]
    from_block: int


async def read_events(node: Node, contract: str, topics: Sequence[str], head: Head, least: int = 0) -> Events:
    """The newest events of these kinds, not before block ``least``. ``RpcError`` when the node tells none at all."""
    refusal = RpcError(0, "the node tells no events")
    for window in WINDOWS:
        first = max(least, head.number - window, 0)
        asked = {"address": contract, "topics": [list(topics)], "fromBlock": hex(first), "toBlock": hex(head.number)}
        [answer] = await node.batch([("eth_getLogs", (asked,))])
        if isinstance(answer, list):
            return Events([log for log in answer if isinstance(log, dict)], first)
        refusal = answer if isinstance(answer, RpcError) else refusal
    raise refusal


def words(log: Mapping[str, Any]) -> list[int]:
    """The words of an event's data."""
    data = bytes.fromhex(str(log.get("data") or "0x")[2:])
    return [int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data) - 31, 32)]


def topic(log: Mapping[str, Any], index: int) -> int:
    """One indexed argument; zero where there is none."""
    found = log.get("topics") or ()
    return int(found[index], 16) if len(found) > index else 0


def block_of(log: Mapping[str, Any]) -> int:
    """The block of an event."""
    return int(log["blockNumber"], 16)


def account(value: int) -> str:
    """An indexed address."""
    return f"0x{value & (1 << 160) - 1:040x}"
