"""Events of Balancer V2: the Vault holds all pools and logs every change of their balances, topic 1 is the pool's id.

The pool's address is the first 20 bytes of its id. What a pool sets for itself (fee, amplification, rates) it logs
itself, so both contracts have to be listened to (``WatchedPool.emitters``).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dexlane.chain import abi
from dexlane.chain.answers import RawLog, UnreadableLog
from dexlane.chain.pool_events.base import PoolEvent, first_20_bytes_of_topic_1, signed, uint
from dexlane.domain.amm.changes import BalancesMoved, SwapFeeChanged, TermsChanged

SWAP_TOPIC = "0x2170c741c41531aec20e7c107c24eecfdd15e69c9bb0a8dd37b1840b9e0b207b"
"""``Swap(bytes32 indexed poolId, address indexed tokenIn, address indexed tokenOut, uint256, uint256)``."""
POOL_BALANCE_CHANGED_TOPIC = "0xe5ce249087ce04f05a957192435400fd97868dba0e6a4b4c049abf8af80dae78"
"""``PoolBalanceChanged(bytes32 indexed, address indexed, address[], int256[] deltas, uint256[] protocolFees)``."""
POOL_BALANCE_MANAGED_TOPIC = "0x6edcaf6241105b4c94c2efdbf3a6b12458eb3d07be3a0e81d24b13c44045fe7a"
"""``PoolBalanceManaged(bytes32 indexed, address indexed, address indexed token, int256 cash, int256 managed)``."""
SWAP_FEE_PERCENTAGE_CHANGED_TOPIC = "0xa9ba3ffe0b6c366b81232caab38605a0699ad5398d6cce76f91ee809e322dafc"
"""``SwapFeePercentageChanged(uint256)``, by the pool."""
RATE_CACHE_UPDATED_TOPIC = "0xb77a83204ca282e08dc3a65b0a1ca32ea4e6875c38ef0bf5bf75e52a67354fac"
"""``TokenRateCacheUpdated(uint256 indexed, uint256)``, by the pool."""
AMP_UPDATE_STARTED_TOPIC = "0x1835882ee7a34ac194f717a35e09bb1d24c82a3b9d854ab6c9749525b714cdf2"
"""``AmpUpdateStarted(uint256, uint256, uint256, uint256)``, by the pool."""
AMP_UPDATE_STOPPED_TOPIC = "0xa0d01593e47e69d07e0ccd87bece09411e07dd1ed40ca8f2e7af2976542a0233"
"""``AmpUpdateStopped(uint256)``, by the pool."""


def read_swap(log: RawLog) -> BalancesMoved:
    """Amounts are whole: the fee stays in the pool."""
    paid, bought = _address_in(log.topics[2]), _address_in(log.topics[3])
    return BalancesMoved(((paid, uint(log.data, 0, 112)), (bought, -uint(log.data, 1, 112))), traded=True)


def read_pool_balance_changed(log: RawLog) -> BalancesMoved:
    """Of a join or an exit; protocol fees leave the pool on top (``PoolBalances._callPoolBalanceChange``)."""
    frame = abi.Frame(log.data)
    tokens, deltas, fees = frame.words(0), frame.words(1), frame.words(2)
    if not len(tokens) == len(deltas) == len(fees):
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} has lists of different lengths")
    moves = tuple(
        (f"0x{token:040x}", _as_signed(delta) - fee) for token, delta, fee in zip(tokens, deltas, fees, strict=True)
    )
    return BalancesMoved(moves, traded=False)


def read_pool_balance_managed(log: RawLog) -> BalancesMoved:
    """What an asset manager takes into its hands or reports: the sum of both parts is the pool's balance."""
    moved = signed(log.data, 0) + signed(log.data, 1)
    return BalancesMoved(((_address_in(log.topics[3]), moved),), traded=False)


def read_swap_fee(log: RawLog) -> SwapFeeChanged:
    """A fee with eighteen places."""
    return SwapFeeChanged(uint(log.data, 0, 64))


def read_terms_changed(_log: RawLog) -> TermsChanged:
    """Rates and ramps: only the pool itself can say what it works with now."""
    return TermsChanged("its rates or its amplification changed")


def _address_in(topic: str) -> str:
    if len(topic) != 66 or int(topic[2:26], 16):
        raise UnreadableLog(f"{topic} is no address in a topic")
    return "0x" + topic[26:].lower()


def _as_signed(word: int) -> int:
    return word - (1 << 256) if word >> 255 else word


EVENTS: Mapping[str, PoolEvent] = MappingProxyType(
    {
        SWAP_TOPIC: PoolEvent(topics=4, words=2, decode=read_swap, pool_in=first_20_bytes_of_topic_1),
        POOL_BALANCE_CHANGED_TOPIC: PoolEvent(
            topics=3, words=None, decode=read_pool_balance_changed, pool_in=first_20_bytes_of_topic_1
        ),
        POOL_BALANCE_MANAGED_TOPIC: PoolEvent(
            topics=4, words=2, decode=read_pool_balance_managed, pool_in=first_20_bytes_of_topic_1
        ),
        SWAP_FEE_PERCENTAGE_CHANGED_TOPIC: PoolEvent(topics=1, words=1, decode=read_swap_fee),
        RATE_CACHE_UPDATED_TOPIC: PoolEvent(topics=2, words=1, decode=read_terms_changed),
        AMP_UPDATE_STARTED_TOPIC: PoolEvent(topics=1, words=4, decode=read_terms_changed),
        AMP_UPDATE_STOPPED_TOPIC: PoolEvent(topics=1, words=1, decode=read_terms_changed),
    }
)
