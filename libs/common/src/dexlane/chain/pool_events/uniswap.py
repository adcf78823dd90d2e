"""Events of ``IUniswapV2Pair`` (v2-core 1.0.1) and ``IUniswapV3PoolEvents`` (v3-core 1.0.1)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dexlane.chain.answers import RawLog, UnreadableLog
from dexlane.chain.pool_events.base import MAX_TICK, PoolEvent, tick_topic, uint
from dexlane.domain.amm.changes import LiquidityChanged, PoolSwapped, ReservesSynced

V2_SYNC_TOPIC = "0x1c411e9a96e071241c2f21f7726b17ae89e3cab4c78be50e062b03a9fffbbad1"
V3_SWAP_TOPIC = "0xc42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67"
V3_MINT_TOPIC = "0x7a53080ba414158be7ec69b987b5fb7d07dee101fe85488f0853ae16239d0bde"
V3_BURN_TOPIC = "0x0c396cd989a39f4459b5fa1aed6a9a8dcdbc45908acfd67e028cd568da98982c"

MAX_UINT112, MAX_UINT128, MAX_UINT160 = 2**112 - 1, 2**128 - 1, 2**160 - 1

_number = int.from_bytes
_new = tuple.__new__
"""Half the cost of a named tuple's own constructor, for the two events that nearly all logs are."""


def read_sync(log: RawLog) -> ReservesSynced:
    """``Sync(uint112 reserve0, uint112 reserve1)``."""
    data = log.data
    reserve0, reserve1 = _number(data[:32]), _number(data[32:64])
    if reserve0 > MAX_UINT112 or reserve1 > MAX_UINT112:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} has reserves above 112 bits")
    return _new(ReservesSynced, (reserve0, reserve1))


def read_swap(log: RawLog) -> PoolSwapped:
    """``Swap(…, int256 amount0, int256 amount1, uint160 sqrtPriceX96, uint128 liquidity, int24 tick, …)``.

    Also reads longer events that begin with the same words.
    """
    data = log.data
    price, liquidity, tick = _number(data[64:96]), _number(data[96:128]), _number(data[128:160], signed=True)
    if price > MAX_UINT160 or liquidity > MAX_UINT128 or not -MAX_TICK <= tick <= MAX_TICK:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} has a price, liquidity or tick out of range")
    amount0, amount1 = _number(data[:32], signed=True), _number(data[32:64], signed=True)
    return _new(PoolSwapped, (amount0, amount1, price, liquidity, tick))


def read_mint(log: RawLog) -> LiquidityChanged:
    """``Mint(address, address indexed, int24 indexed tickLower, int24 indexed tickUpper, uint128 amount, …)``."""
    topics = log.topics
    return LiquidityChanged(tick_topic(topics[2]), tick_topic(topics[3]), uint(log.data, 1, 128))


def read_burn(log: RawLog) -> LiquidityChanged:
    """``Burn(address indexed, int24 indexed tickLower, int24 indexed tickUpper, uint128 amount, …)``."""
    topics = log.topics
    return LiquidityChanged(tick_topic(topics[2]), tick_topic(topics[3]), -uint(log.data, 0, 128))


EVENTS: Mapping[str, PoolEvent] = MappingProxyType(
    {
        V2_SYNC_TOPIC: PoolEvent(topics=1, words=2, decode=read_sync),
        V3_SWAP_TOPIC: PoolEvent(topics=3, words=5, decode=read_swap),
        V3_MINT_TOPIC: PoolEvent(topics=4, words=4, decode=read_mint),
        V3_BURN_TOPIC: PoolEvent(topics=4, words=3, decode=read_burn),
    }
)
