"""How an event of a pool is described to the decoder, and the slices that decoding is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dexlane.chain.answers import RawLog, UnreadableLog
from dexlane.domain.amm.changes import PoolChange

MAX_TICK = 887_272
"""``TickMath.MAX_TICK`` (v3-core)."""


class PoolEvent(NamedTuple):
    """One event, keyed by its topic 0 in ``POOL_EVENTS``.

    ``topics``: number of topics, topic 0 included. ``words``: number of 32-byte words of data, checked before
    ``decode`` is called; None when it varies (arrays), then ``decode`` checks. ``decode`` reads the log by slices and
    raises ``UnreadableLog`` (or any ``ValueError``) for a field outside its Solidity type: states are built from the
    result without further checks.

    ``pool_in``: None when the emitter is the pool (Uniswap V2 and V3 and their forks). Otherwise the pool lives in a
    singleton (Uniswap V4 PoolManager, Balancer Vault): ``pool_in`` gives the address under which the pool is watched
    (for both: the first 20 bytes of topic 1), and the log counts only when a singleton of the chain emitted it.
    """

    topics: int
    words: int | None
    decode: Callable[[RawLog], PoolChange]
    pool_in: Callable[[RawLog], str] | None = None


def first_20_bytes_of_topic_1(log: RawLog) -> str:
    """The address under which a pool with a 32-byte id is watched, for ``PoolEvent.pool_in``."""
    if len(log.topics) < 2:
        raise UnreadableLog(f"log {log.log_index} of {log.tx_hash} names no pool")
    return log.topics[1][:42].lower()


def uint(data: bytes, word: int, bits: int = 256) -> int:
    """An unsigned integer of so many bits. Raises ``UnreadableLog`` when the word holds more."""
    value = int.from_bytes(data[32 * word : 32 * word + 32])
    if value >> bits:
        raise UnreadableLog(f"word {word} holds more than {bits} bits")
    return value


def signed(data: bytes, word: int) -> int:
    """An ``int256`` (or a narrower one, sign-extended)."""
    return int.from_bytes(data[32 * word : 32 * word + 32], signed=True)


def tick_in_range(tick: int) -> int:
    """The tick itself. Raises ``UnreadableLog`` when no price has such a tick."""
    if not -MAX_TICK <= tick <= MAX_TICK:
        raise UnreadableLog(f"there is no tick {tick}")
    return tick


def tick_topic(topic: str) -> int:
    """A tick in an indexed ``int24``."""
    if len(topic) != 66:
        raise UnreadableLog(f"{topic} is no topic of 32 bytes")
    return tick_in_range(int.from_bytes(bytes.fromhex(topic[2:]), signed=True))
