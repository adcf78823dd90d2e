"""Creation events: believed from known factories only, and only in their exact shape."""

from __future__ import annotations

import pytest
from eth_utils.crypto import keccak

from dexlane.chain import abi
from dexlane.chain.answers import RawLog
from dexlane.chain.factories import (
    FACTORIES,
    SOLIDLY_POOL_CREATED_TOPIC,
    V2_PAIR_CREATED_TOPIC,
    V3_POOL_CREATED_TOPIC,
    Factory,
    NewPool,
    by_address,
    decode_creation,
)
from dexlane.chain.logs import UnreadableLog
from dexlane.values.pools import Protocol

V2, V3 = FACTORIES[1]
SOLIDLY = Factory(address="0x420dd381b31aef6683db6b902084cb0ffece40da", protocol=Protocol.SOLIDLY_VOLATILE)
KNOWN = by_address(FACTORIES[1])
A, B, POOL = ("0x" + digit * 40 for digit in "123")


def _topic(address: str) -> str:
    return "0x" + abi.address(address).hex()


def _log(address: str, *topics: str, data: bytes) -> RawLog:
    return RawLog(address, topics, data, 1, "0x" + "0" * 64, "0x" + "1" * 64, 0)


def v2_log(token0: str = A, token1: str = B, address: str = V2.address) -> RawLog:
    data = abi.address(POOL) + abi.uint(7)
    return _log(address, V2_PAIR_CREATED_TOPIC, _topic(token0), _topic(token1), data=data)


def v3_log() -> RawLog:
    data = abi.uint(60) + abi.address(POOL)
    return _log(V3.address, V3_POOL_CREATED_TOPIC, _topic(A), _topic(B), "0x" + abi.uint(3_000).hex(), data=data)


def test_topics_are_the_hashes_of_the_signatures() -> None:
    signatures = {
        "PairCreated(address,address,address,uint256)": V2_PAIR_CREATED_TOPIC,
        "PoolCreated(address,address,uint24,int24,address)": V3_POOL_CREATED_TOPIC,
        "PoolCreated(address,address,bool,address,uint256)": SOLIDLY_POOL_CREATED_TOPIC,
    }
    assert {text: "0x" + keccak(text=text).hex() for text in signatures} == signatures


def test_both_kinds_of_factory_announce_their_pools() -> None:
    assert decode_creation(v2_log(), KNOWN) == NewPool(POOL, Protocol.UNISWAP_V2, A, B)
    assert decode_creation(v3_log(), KNOWN) == NewPool(POOL, Protocol.UNISWAP_V3, A, B)


@pytest.mark.parametrize(("flag", "protocol"), [(0, Protocol.SOLIDLY_VOLATILE), (1, Protocol.SOLIDLY_STABLE)])
def test_a_solidly_factory_says_which_curve_its_pool_has(flag: int, protocol: Protocol) -> None:
    topics = (SOLIDLY_POOL_CREATED_TOPIC, _topic(A), _topic(B), "0x" + abi.uint(flag).hex())
    log = _log(SOLIDLY.address, *topics, data=abi.address(POOL) + abi.uint(9))
    assert decode_creation(log, by_address([SOLIDLY])) == NewPool(POOL, protocol, A, B)


def test_the_same_event_of_any_other_contract_is_nothing() -> None:
    assert decode_creation(v2_log(address="0x" + "9" * 40), KNOWN) is None
    assert decode_creation(_log(V2.address, "0x" + "5" * 64, data=b""), KNOWN) is None
    assert decode_creation(_log(V2.address, data=b""), KNOWN) is None


@pytest.mark.parametrize(
    "log",
    [
        _log(V2.address, V2_PAIR_CREATED_TOPIC, _topic(A), data=b""),
        _log(V2.address, V2_PAIR_CREATED_TOPIC, _topic(A), _topic(B), data=bytes(63)),
        _log(V2.address, V2_PAIR_CREATED_TOPIC, "0x" + "f" * 64, _topic(B), data=bytes(64)),
        _log(V2.address, V2_PAIR_CREATED_TOPIC, _topic(A), _topic(B), data=b"\xff" * 64),
        v2_log(token0=B, token1=A),
        v2_log(token0=A, token1=A),
    ],
    ids=["topics", "length", "token", "pool", "order", "twin"],
)
def test_an_event_without_its_shape_is_refused(log: RawLog) -> None:
    with pytest.raises(UnreadableLog):
        decode_creation(log, KNOWN)
