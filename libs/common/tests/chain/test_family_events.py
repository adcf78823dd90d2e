"""Events of PancakeSwap V3, Solidly-style pools and Uniswap V4, and which of their pools a log is about."""

from __future__ import annotations

import pytest

from dexlane.chain.answers import RawLog
from dexlane.chain.logs import LiquidityChanged, PoolSwapped, ReservesSynced, UnreadableLog, decode_log, fold_logs
from dexlane.chain.pool_events import POOL_EVENTS, pancakeswap, solidly, uniswap_v4
from dexlane.domain.amm.changes import ProtocolFeeChanged
from dexlane.domain.amm.deltas import InconsistentDelta
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick
from dexlane.domain.pool_table import PoolTable
from dexlane.testing.builders.pools import USDC, WETH
from dexlane.values.pools import (
    ConcentratedDelta,
    ConcentratedState,
    ConstantProductState,
    Pool,
    PoolKey,
    Protocol,
    ReservesDelta,
    Tick,
)
from dexlane_signer.keccak import keccak256

POOL_ID = "0x21c67e77068de97969ba93d4aab21826d33ca12bb9f565d8496e8fda8a82ca27"
MANAGER = "0x000000000004444c5dc75cb358380d2e3de08a90"
POOL = POOL_ID[:42]
ANYONE = "0x" + "0" * 24 + "a" * 40


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(32, "big", signed=value < 0) for value in values)


def log(emitter: str, topics: tuple[str, ...], data: bytes, index: int = 0) -> RawLog:
    return RawLog(emitter, topics, data, 1, "0x" + "1" * 64, "0x" + "2" * 64, index)


def v4_pool() -> Pool:
    key = PoolKey(
        address=POOL,
        protocol=Protocol.UNISWAP_V4,
        token0=USDC,
        token1=WETH,
        fee_pips=500,
        tick_spacing=10,
        pool_id=POOL_ID,
    )
    ticks = (Tick(-100, 7, 7), Tick(100, 7, -7))
    return Pool(key=key, state=ConcentratedState(sqrt_price_x96=1 << 96, tick=0, liquidity=7, ticks=ticks))


@pytest.mark.parametrize(
    ("topic", "signature"),
    [
        (pancakeswap.V3_SWAP_TOPIC, "Swap(address,address,int256,int256,uint160,uint128,int24,uint128,uint128)"),
        (solidly.SYNC_TOPIC, "Sync(uint256,uint256)"),
        (solidly.SWAP_TOPIC, "Swap(address,address,uint256,uint256,uint256,uint256)"),
        (uniswap_v4.SWAP_TOPIC, "Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)"),
        (uniswap_v4.MODIFY_LIQUIDITY_TOPIC, "ModifyLiquidity(bytes32,address,int24,int24,int256,bytes32)"),
        (uniswap_v4.PROTOCOL_FEE_UPDATED_TOPIC, "ProtocolFeeUpdated(bytes32,uint24)"),
        (
            uniswap_v4.INITIALIZE_TOPIC,
            "Initialize(bytes32,address,address,uint24,int24,address,uint160,int24)",
        ),
    ],
)
def test_topics_are_the_hashes_of_their_signatures(topic: str, signature: str) -> None:
    assert topic == "0x" + keccak256(signature.encode()).hex()


def test_pancakeswaps_longer_swap_event_is_read_without_its_protocol_fees() -> None:
    price = sqrt_ratio_at_tick(-5)
    data = words(100, -99, price, 1_000, -5, 16, 0)
    change = decode_log(log(POOL, (pancakeswap.V3_SWAP_TOPIC, ANYONE, ANYONE), data))
    assert change == PoolSwapped(100, -99, price, 1_000, -5)
    with pytest.raises(UnreadableLog):
        decode_log(log(POOL, (pancakeswap.V3_SWAP_TOPIC, ANYONE, ANYONE), data[:-64]))


def test_a_solidly_sync_may_hold_more_than_112_bits() -> None:
    change = decode_log(log(POOL, (solidly.SYNC_TOPIC,), words(1 << 120, 3)))
    assert change == ReservesSynced(1 << 120, 3)


def test_a_solidly_pool_has_the_reserves_of_its_last_sync() -> None:
    key = PoolKey(address=POOL, protocol=Protocol.SOLIDLY_STABLE, token0=USDC, token1=WETH, fee_pips=500)
    pool = Pool(key=key, state=ConstantProductState(reserve0=1_000, reserve1=1_000))
    logs = [
        log(POOL, (solidly.SYNC_TOPIC,), words(1_100, 901), 1),
        log(POOL, (solidly.SWAP_TOPIC, ANYONE, ANYONE), words(101, 0, 0, 99), 2),
        log(POOL, (solidly.SYNC_TOPIC,), words(1_000, 1_001), 3),
    ]
    folded = fold_logs(logs, PoolTable([pool]))
    assert folded.deltas == (ReservesDelta(pool=POOL, reserve0=1_000, reserve1=1_001),)
    assert folded.foreign is None


def test_a_v4_swap_counts_from_the_pools_side() -> None:
    price = sqrt_ratio_at_tick(3)
    topics = (uniswap_v4.SWAP_TOPIC, POOL_ID, ANYONE)
    change = decode_log(log(MANAGER, topics, words(-100, 99, price, 1_000, 3, 500)))
    assert change == PoolSwapped(100, -99, price, 1_000, 3)


def test_logs_of_the_manager_change_the_pool_whose_id_they_carry() -> None:
    price = sqrt_ratio_at_tick(20)
    other = "0x" + "9" * 64
    logs = [
        log(MANAGER, (uniswap_v4.MODIFY_LIQUIDITY_TOPIC, POOL_ID, ANYONE), words(-20, 50, 5, 0), 1),
        log(MANAGER, (uniswap_v4.SWAP_TOPIC, POOL_ID, ANYONE), words(-10, 9, price, 12, 20, 500), 2),
        log(MANAGER, (uniswap_v4.SWAP_TOPIC, other, ANYONE), words(-10, 9, price, 12, 20, 500), 3),
        log(MANAGER, (uniswap_v4.INITIALIZE_TOPIC, other, ANYONE, ANYONE), words(500, 10, 0, price, 20), 4),
    ]
    folded = fold_logs(logs, PoolTable([v4_pool()]), {MANAGER})
    ticks = (Tick(-20, 5, 5), Tick(50, 5, -5))
    assert folded.deltas == (ConcentratedDelta(pool=POOL, sqrt_price_x96=price, tick=20, liquidity=12, ticks=ticks),)
    assert folded.volumes == {POOL: (10, 9)}
    assert folded.foreign is None


def test_another_contract_cannot_speak_for_the_manager() -> None:
    forged = log(POOL, (uniswap_v4.SWAP_TOPIC, POOL_ID, ANYONE), words(-10, 9, 1 << 96, 12, 0, 500))
    assert fold_logs([forged], PoolTable([v4_pool()]), {MANAGER}).deltas == ()


def test_liquidity_that_leaves_a_v4_pool_is_negative() -> None:
    topics = (uniswap_v4.MODIFY_LIQUIDITY_TOPIC, POOL_ID, ANYONE)
    assert decode_log(log(MANAGER, topics, words(-20, 50, -5, 0))) == LiquidityChanged(-20, 50, -5)
    for impossible in (words(-20, 50, 1 << 130, 0), words(-900_000, 50, 1, 0)):
        with pytest.raises(UnreadableLog):
            decode_log(log(MANAGER, topics, impossible))


def test_a_new_protocol_fee_asks_for_the_pool_to_be_loaded_anew() -> None:
    changed = log(MANAGER, (uniswap_v4.PROTOCOL_FEE_UPDATED_TOPIC, POOL_ID), words(1_000 | 2 << 12))
    assert decode_log(changed) == ProtocolFeeChanged(1_000, 2)
    with pytest.raises(InconsistentDelta, match="ProtocolFeeChanged"):
        fold_logs([changed], PoolTable([v4_pool()]), {MANAGER})


def test_only_what_lives_in_a_singleton_is_named_by_a_topic() -> None:
    managed = {topic for topic, event in POOL_EVENTS.items() if event.pool_in is not None}
    assert managed >= set(uniswap_v4.EVENTS)
    assert not managed & {solidly.SYNC_TOPIC, pancakeswap.V3_SWAP_TOPIC}
