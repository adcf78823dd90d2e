"""Recording asks for logs in ranges that the node will answer, and keeps each log once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.chain.answers import RawLog
from dexlane.chain.logs import V3_MINT_TOPIC, V3_SWAP_TOPIC, UnreadableLog
from dexlane.chain.rpc import RpcError, RpcUnavailable
from dexlane.chain.tape_logs import V3_INITIALIZE_TOPIC, record_of
from dexlane.chain.tape_recording import LONGEST_RANGE, logs_between
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick
from dexlane.domain.tapes.tape import LiquidityRecord, PoolStart, SwapRecord

ANYONE = "0x" + "00" * 31 + "01"


def log(number: int, *topics: str, data: bytes = b"") -> RawLog:
    return RawLog("0x" + "11" * 20, topics, data, number, "0x" + "22" * 32, "0x" + "33" * 32, 4)


def words(*values: int) -> bytes:
    return b"".join((value % (1 << 256)).to_bytes(32, "big") for value in values)


def topic(value: int) -> str:
    return "0x" + words(value).hex()


class Node:
    """Gives one log a block; refuses ranges that are too long, and sometimes for no reason."""

    def __init__(self, longest: int, moods: list[bool]) -> None:
        self.longest, self.moods, self.asked = longest, moods, list[int]()

    async def get(self, first: int, last: int) -> list[RawLog]:
        length = last - first + 1
        self.asked.append(length)
        if length > self.longest:
            raise RpcError(-32005, "query returned more than 10000 results")
        if length > 1 and self.moods and self.moods.pop():
            raise RpcUnavailable("out of time")
        return [log(number) for number in range(first, last + 1)]


@given(st.integers(0, 50), st.integers(0, 30_000), st.integers(1, 20_000), st.lists(st.booleans(), max_size=10))
async def test_every_log_comes_once_whatever_ranges_the_node_refuses(
    first: int, more: int, longest: int, moods: list[bool]
) -> None:
    longest = max(longest, more // 40)  # no need to ask a thousand times
    node, told = Node(longest, moods), list[int]()
    found = await logs_between(node.get, first, first + more, told.append)
    assert [one.block_number for one in found] == list(range(first, first + more + 1))
    assert sum(told) == more + 1
    assert max(node.asked) <= LONGEST_RANGE


async def test_a_node_that_refuses_even_one_block_is_an_error() -> None:
    with pytest.raises(RpcError):
        await logs_between(Node(0, []).get, 5, 500)


def test_logs_become_records() -> None:
    price = sqrt_ratio_at_tick(-10) + 1
    swapped = record_of(
        log(7, V3_SWAP_TOPIC, ANYONE, ANYONE, data=words(-5, 9, price, 77, -10)), pool=2, timestamp_s=99
    )
    assert swapped == SwapRecord(7, 4, 99, 2, -5, 9, price, 77, -10)
    minted = record_of(
        log(8, V3_MINT_TOPIC, ANYONE, topic(-20), topic(30), data=words(1, 55, 3, 4)), pool=0, timestamp_s=0
    )
    assert minted == LiquidityRecord(8, 4, 0, 0, -20, 30, 55, 3, 4)
    start = record_of(log(9, V3_INITIALIZE_TOPIC, data=words(price, -10)), pool=0, timestamp_s=0)
    assert isinstance(start, PoolStart)
    assert start.complete
    assert start.state is not None
    assert (start.state.sqrt_price_x96, start.state.tick, start.state.liquidity) == (price, -10, 0)
    assert record_of(log(9, topic(1)), pool=0, timestamp_s=0) is None


@pytest.mark.parametrize(
    "values", [(-5, 9, 1, 77, -10), (-5, 9, 1 << 100, 77, 900_000), (-5, 9, 1 << 100, 1 << 130, 5), (1, 2)]
)
def test_a_log_with_values_that_no_pool_has_is_unreadable(values: tuple[int, ...]) -> None:
    with pytest.raises(UnreadableLog):
        record_of(log(7, V3_SWAP_TOPIC, ANYONE, ANYONE, data=words(*values)), pool=0, timestamp_s=0)
