"""Entries of the key-value bucket POOLS: full states for late starters."""

from __future__ import annotations

from pydantic import Field

from dexlane.values.base import Value
from dexlane.values.chains import BlockRef, ChainId
from dexlane.values.pools import Pool


class PoolSnapshot(Value):
    """A pool's full state after ``block``. Key in the bucket: ``<realm>.<chain_id>.pool.<address>``."""

    chain_id: ChainId
    block: BlockRef
    pool: Pool

    @staticmethod
    def key(realm: str, chain_id: int, address: str) -> str:
        """The bucket key."""
        return f"{realm}.{chain_id}.pool.{address}"


class PoolCheckpoint(Value):
    """Where to begin: pool snapshots are at or after ``block``, and MARKET continues at ``market_sequence`` + 1.

    Written after all snapshots, while ``market_sequence`` was read before the first of them. Key in the bucket:
    ``<realm>.<chain_id>.checkpoint``.
    """

    chain_id: ChainId
    block: BlockRef
    market_sequence: int = Field(ge=0)
    pools: tuple[str, ...]

    @staticmethod
    def key(realm: str, chain_id: int) -> str:
        """The bucket key."""
        return f"{realm}.{chain_id}.checkpoint"


class PoolsAwaited(Value):
    """Pools that were watched before and may be again soon. No mirror holds them, but the next start of market-feed has
    to know them. Key in the bucket: ``<realm>.<chain_id>.awaited``."""

    chain_id: ChainId
    pools: tuple[str, ...]

    @staticmethod
    def key(realm: str, chain_id: int) -> str:
        """The bucket key."""
        return f"{realm}.{chain_id}.awaited"
