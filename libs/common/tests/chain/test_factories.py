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
    known_pool,
)
from dexlane.chain.logs import UnreadableLog
from dexlane.chain.pool_addresses import v4_pool_id
from dexlane.chain.pool_events.uniswap_v4 import INITIALIZE_TOPIC
from dexlane.chain.pool_loading import V4Key
from dexlane.values.pools import PoolKey, Protocol
from dexlane.values.tokens import Token

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
        "Initialize(bytes32,address,address,uint24,int24,address,uint160,int24)": INITIALIZE_TOPIC,
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


# ---------------------------------------------------------------- Uniswap V4

MANAGER = "0x000000000004444c5dc75cb358380d2e3de08a90"
MANAGERS = by_address([Factory(address=MANAGER, protocol=Protocol.UNISWAP_V4)])
NATIVE = "0x" + "0" * 40
DYNAMIC_FEE = 0x800000


def v4_log(fee: int = 500, spacing: int = 10, hooks: str = NATIVE, named: str | None = None) -> RawLog:
    pool_id = named or v4_pool_id(NATIVE, B, fee, spacing, hooks)
    data = abi.uint(fee) + abi.uint(spacing) + abi.address(hooks) + abi.uint(1 << 96) + abi.uint(0)
    return _log(MANAGER, INITIALIZE_TOPIC, pool_id, _topic(NATIVE), _topic(B), data=data)


def test_a_manager_announces_its_pools_with_what_their_id_is_made_of() -> None:
    named = V4Key(currency0=NATIVE, currency1=B, fee_pips=500, tick_spacing=10)
    found = decode_creation(v4_log(), MANAGERS)
    assert found == NewPool(named.pool_id[:42], Protocol.UNISWAP_V4, NATIVE, B, named, MANAGER)
    assert found.to_watch.emitter == MANAGER


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (v4_log(hooks=A), "has the hooks"),
        (v4_log(fee=DYNAMIC_FEE), "no static fee"),
        (v4_log(spacing=0), "impossible spacing"),
        (v4_log(named="0x" + "7" * 64), "another pool than its key names"),
    ],
)
def test_pools_that_are_more_than_their_maths_are_refused_by_name(log: RawLog, reason: str) -> None:
    with pytest.raises(UnreadableLog, match=reason):
        decode_creation(log, MANAGERS)


def test_a_manager_says_many_other_things() -> None:
    assert decode_creation(_log(MANAGER, V2_PAIR_CREATED_TOPIC, _topic(A), _topic(B), data=b""), MANAGERS) is None


def test_a_pool_that_was_read_before_is_the_one_that_was_announced() -> None:
    found = decode_creation(v4_log(), MANAGERS)
    assert found is not None
    token0, token1 = (Token(address=each, symbol="T", decimals=18) for each in (NATIVE, B))
    pool_id = v4_pool_id(NATIVE, B, 500, 10)
    key = PoolKey(
        address=pool_id[:42],
        protocol=Protocol.UNISWAP_V4,
        token0=token0,
        token1=token1,
        fee_pips=500,
        tick_spacing=10,
        pool_id=pool_id,
    )
    assert known_pool(1, key) == found
