"""Pending swaps: what routers are asked for, read from real calldata; bounded, counted, never a reason to stop."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from eth_abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.chain.abi import AbiError
from dexlane.chain.answers import ChainTransaction
from dexlane.chain.link import RpcUnavailable
from dexlane.chain.pending import KEPT_MS, SWAPS_KEPT, PendingSwaps
from dexlane.chain.subscriptions import Gap
from dexlane.chain.swap_calls import ROUTERS, Hop, WantedSwap, wanted_swaps
from dexlane.runtime.clock import ManualClock
from dexlane_signer import keccak256

A, B, C = ("0x" + digit * 40 for digit in "abc")
ME = "0x" + "1" * 40
ROUTER = "0x7a250d5630b4cf539739df2c5dacb4c659f2488d"


def call(signature: str, *values: Any) -> bytes:
    types = signature[signature.index("(") + 1 : -1]
    return keccak256(signature.encode())[:4] + encode(_split(types), values)


def _split(types: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for at, sign in enumerate(types + ","):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append(types[start:at])
            start = at + 1
    return parts


def packed(*parts: str | int) -> bytes:
    return b"".join(bytes.fromhex(part[2:]) if isinstance(part, str) else part.to_bytes(3, "big") for part in parts)


V2 = (Hop(A, B, None), Hop(B, C, None))
V3 = (Hop(A, B, 500), Hop(B, C, 3_000))
IN_V2 = call("swapExactTokensForTokens(uint256,uint256,address[],address,uint256)", 7, 5, [A, B, C], ME, 9)
IN_ONE = call("exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))", (A, B, 500, ME, 7, 5, 0))
CALLS = {
    "V2 exact in": (IN_V2, [WantedSwap("in", 7, 5, V2)]),
    "V2 exact out": (
        call("swapTokensForExactTokens(uint256,uint256,address[],address,uint256)", 7, 9, [A, B, C], ME, 9),
        [WantedSwap("out", 7, 9, V2)],
    ),
    "V2 with value": (
        call("swapExactETHForTokens(uint256,address[],address,uint256)", 5, [A, B, C], ME, 9),
        [WantedSwap("in", 1_000, 5, V2)],
    ),
    "V2 with value, exact out": (
        call("swapETHForExactTokens(uint256,address[],address,uint256)", 5, [A, B, C], ME, 9),
        [WantedSwap("out", 5, 1_000, V2)],
    ),
    "V3 in one pool": (IN_ONE, [WantedSwap("in", 7, 5, V3[:1])]),
    "V3 in one pool with a deadline": (
        call(
            "exactOutputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))",
            (A, B, 500, ME, 99, 7, 5, 0),
        ),
        [WantedSwap("out", 7, 5, V3[:1])],
    ),
    "V3 along a path": (
        call("exactInput((bytes,address,uint256,uint256))", (packed(A, 500, B, 3_000, C), ME, 7, 5)),
        [WantedSwap("in", 7, 5, V3)],
    ),
    "V3 along a path, exact out, written backwards": (
        call("exactOutput((bytes,address,uint256,uint256,uint256))", (packed(C, 3_000, B, 500, A), ME, 99, 7, 9)),
        [WantedSwap("out", 7, 9, V3)],
    ),
    "several in one": (
        call("multicall(uint256,bytes[])", 99, [IN_ONE, keccak256(b"refundETH()")[:4], IN_V2]),
        [WantedSwap("in", 7, 5, V3[:1]), WantedSwap("in", 7, 5, V2)],
    ),
    "the Universal Router": (
        call(
            "execute(bytes,bytes[],uint256)",
            bytes([0x0B, 0x80, 0x08, 0x01]),
            [
                b"",
                encode(["address", "uint256", "uint256", "bytes", "bool"], (ME, 7, 5, packed(A, 500, B), True)),
                encode(["address", "uint256", "uint256", "address[]", "bool"], (ME, 7, 5, [A, B, C], True)),
                encode(["address", "uint256", "uint256", "bytes", "bool"], (ME, 7, 9, packed(B, 500, A), True)),
            ],
            99,
        ),
        [WantedSwap("in", 7, 5, V3[:1]), WantedSwap("in", 7, 5, V2), WantedSwap("out", 7, 9, V3[:1])],
    ),
    "something else": (call("transfer(address,uint256)", ME, 1), []),
    "nothing": (b"", []),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_read_as_the_swaps_it_wants(name: str) -> None:
    data, expected = CALLS[name]
    assert wanted_swaps(data, 1_000) == expected


def test_calls_inside_calls_are_followed_only_so_far() -> None:
    data = IN_ONE
    for _ in range(50):
        data = call("multicall(bytes[])", [data, data][:1])
    assert wanted_swaps(data) == []


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(CALLS)),
    st.lists(st.tuples(st.integers(4, 2_000), st.integers(0, 255)), max_size=8),
    st.integers(0, 2_000),
)
def test_broken_calldata_is_a_named_error_or_nothing(name: str, changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(CALLS[name][0][:length])
    for at, value in changes:
        if at < len(data):
            data[at] = value
    with contextlib.suppress(AbiError):
        assert len(wanted_swaps(bytes(data))) <= 32


class Counted:
    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}

    def pending_seen(self, chain_id: int, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class NoSource:
    async def transaction(self, tx_hash: str) -> ChainTransaction | None:
        raise RpcUnavailable("lost")


class World:
    def __init__(self) -> None:
        self.clock, self.counted = ManualClock(), Counted()
        self.pending = PendingSwaps(1, ROUTERS[1], source=NoSource(), clock=self.clock, moments=self.counted)


def announced(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "hash": f"0x{number:064x}",
        "from": ME,
        "nonce": hex(number),
        "to": ROUTER,
        "value": "0x0",
        "input": "0x" + IN_V2.hex(),
        "gas": "0x30000",
        "maxFeePerGas": "0x9",
        "maxPriorityFeePerGas": "0x1",
        "blockHash": None,
        **changes,
    }


def test_only_swaps_through_known_routers_are_kept_and_everything_is_counted() -> None:
    world = World()
    world.pending.take(announced(1))
    world.pending.take(announced(2, to="0x" + "9" * 40))
    world.pending.take(announced(3, to=None))
    world.pending.take(announced(4, input="0x" + IN_V2[:40].hex()))
    world.pending.take(announced(5, nonce="-"))
    world.pending.take({"hash": "0x"})
    world.pending.take(Gap("lost"))
    assert [swap.nonce for swap in world.pending.waiting()] == [1]
    assert world.counted.outcomes == {"swap": 1, "other": 2, "unreadable": 3}


def test_swaps_are_forgotten_after_a_minute_and_never_more_than_allowed_are_kept() -> None:
    world = World()
    slow = world.pending.listen(capacity=10)
    for number in range(SWAPS_KEPT + 50):
        world.pending.take(announced(number))
    assert (len(world.pending.waiting()), len(slow)) == (SWAPS_KEPT, 10)
    assert slow[-1].nonce == SWAPS_KEPT + 49
    world.clock.advance(KEPT_MS + 1)
    assert world.pending.waiting() == ()


def test_hashes_that_come_faster_than_they_are_looked_up_are_dropped_and_counted() -> None:
    world = World()
    for number in range(1_100):
        world.pending.take(f"0x{number:064x}")
    assert world.counted.outcomes == {"dropped": 1_100 - 1_024}
