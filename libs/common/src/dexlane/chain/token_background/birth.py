"""How old a contract is: a search over blocks for the first that has its code."""

from __future__ import annotations

from dexlane.chain.link import Request, RpcError
from dexlane.chain.token_check.asking import Head, Node, bytes_of, timestamp_of
from dexlane.domain.risk.token_background import Birth

_AT_ONCE = 15
"""Blocks that are asked about in one batch: each divides what is left by sixteen."""
_MOST_ROUNDS = 10


async def read_birth(node: Node, contract: str, head: Head) -> Birth:
    """When a contract began that has code at the head. A node without older states tells a least age only.

    A contract that was destroyed and made anew may count as older than it is.
    """
    low, high, exact = 0, head.number, True  # the code is there at ``high``; the first such block is not below ``low``
    for _ in range(_MOST_ROUNDS):
        if low >= high:
            break
        step = max(1, -(-(high - low) // (_AT_ONCE + 1)))
        asked = list(range(low, high, step))[: _AT_ONCE + 1]
        requests: list[Request] = [("eth_getCode", (contract, hex(number))) for number in asked]
        there: int | None = None
        for number, answer in zip(asked, await node.batch(requests), strict=True):
            if isinstance(answer, RpcError):
                exact, low = False, number + 1
            elif bytes_of(answer):
                there = number
                break
            else:
                exact, low = True, number + 1
        high = high if there is None else there
    return Birth(high, head.timestamp_s if high == head.number else await _time(node, high), exact and low >= high)


async def _time(node: Node, number: int) -> int | None:
    """The timestamp of a block; None where the node does not tell it."""
    [header] = await node.batch([("eth_getBlockByNumber", (hex(number), False))])
    return timestamp_of(header)
