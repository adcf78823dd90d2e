"""Events of Solidly-style pools (``IPool`` of aerodrome-finance/contracts; Velodrome V2 has the same).

``Sync`` follows every change of the reserves, so nothing else is needed for the state. Its reserves are what is left
after the fee has moved out; volumes that are taken from it are therefore net of the fee.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dexlane.chain.answers import RawLog
from dexlane.chain.pool_events.base import PoolEvent
from dexlane.domain.amm.changes import ReservesSynced

SYNC_TOPIC = "0xcf2aa50876cdfbb541206f89af0ee78d44a2abf8d328e37fa4917f982149848a"
"""``Sync(uint256,uint256)``: Uniswap V2's has ``uint112``, and so another topic."""

SWAP_TOPIC = "0xb3e2773606abfd36b5bd91394b3a54d1398336c65005baf7bf7a05efeffaf75b"
"""``Swap(address indexed sender, address indexed to, uint256 amount0In, uint256 amount1In, uint256 amount0Out,
uint256 amount1Out)``: amounts in include the fee."""


def read_sync(log: RawLog) -> ReservesSynced:
    """``Sync(uint256 reserve0, uint256 reserve1)``."""
    return ReservesSynced(int.from_bytes(log.data[:32]), int.from_bytes(log.data[32:64]))


EVENTS: Mapping[str, PoolEvent] = MappingProxyType({SYNC_TOPIC: PoolEvent(topics=1, words=2, decode=read_sync)})
