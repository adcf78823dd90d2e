"""Events of ``IPoolManager`` (v4-core 1.0.2): one contract holds all pools, topic 1 is the pool's id."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dexlane.chain.answers import RawLog, UnreadableLog
from dexlane.chain.pool_events.base import PoolEvent, first_20_bytes_of_topic_1, signed, tick_in_range, uint
from dexlane.domain.amm.changes import LiquidityChanged, PoolSwapped, ProtocolFeeChanged

SWAP_TOPIC = "0x40e9cecb9f5f1f1c5b9c97dec2917b7ee92e57ba5563708daca94dd84ad7112f"
"""``Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)``; the last word is the fee that was charged."""
MODIFY_LIQUIDITY_TOPIC = "0xf208f4912782fd25c7f114ca3723a2d5dd6f3bcc3ac8db5af63baa85f711d5ec"
"""``ModifyLiquidity(bytes32,address,int24,int24,int256,bytes32)``."""
PROTOCOL_FEE_UPDATED_TOPIC = "0xe9c42593e71f84403b84352cd168d693e2c9fcd1fdbcc3feb21d92b43e6696f9"
"""``ProtocolFeeUpdated(bytes32,uint24)``."""
INITIALIZE_TOPIC = "0xdd466e674ea557f56295e2d0218a125ea4b4f0f6f3307b95f85e6110838d6438"
"""``Initialize(bytes32,address,address,uint24,int24,address,uint160,int24)``: a pool begins; for discovery."""


def read_swap(log: RawLog) -> PoolSwapped:
    """Amounts are the swapper's here (negative: paid in), the pool's in ``PoolSwapped``."""
    data = log.data
    return PoolSwapped(
        amount0=-signed(data, 0),
        amount1=-signed(data, 1),
        sqrt_price_x96=uint(data, 2, 160),
        liquidity=uint(data, 3, 128),
        tick=tick_in_range(signed(data, 4)),
    )


def read_modify_liquidity(log: RawLog) -> LiquidityChanged:
    """A position grew, shrank, or was only touched."""
    delta = signed(log.data, 2)
    if abs(delta) >> 128:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} changes liquidity by more than 128 bits")
    return LiquidityChanged(tick_in_range(signed(log.data, 0)), tick_in_range(signed(log.data, 1)), delta)


def read_protocol_fee_updated(log: RawLog) -> ProtocolFeeChanged:
    """The fee of token0 paid in stands in the lower twelve bits (``ProtocolFeeLibrary``)."""
    packed = uint(log.data, 0, 24)
    return ProtocolFeeChanged(packed & 0xFFF, packed >> 12)


EVENTS: Mapping[str, PoolEvent] = MappingProxyType(
    {
        SWAP_TOPIC: PoolEvent(topics=3, words=6, decode=read_swap, pool_in=first_20_bytes_of_topic_1),
        MODIFY_LIQUIDITY_TOPIC: PoolEvent(
            topics=3, words=4, decode=read_modify_liquidity, pool_in=first_20_bytes_of_topic_1
        ),
        PROTOCOL_FEE_UPDATED_TOPIC: PoolEvent(
            topics=2, words=1, decode=read_protocol_fee_updated, pool_in=first_20_bytes_of_topic_1
        ),
    }
)
