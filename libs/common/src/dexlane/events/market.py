"""What the chain did: applied blocks, reorganisations, pools that are watched from now on or no longer."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dexlane.events.base import Event
from dexlane.values.amounts import Amount
from dexlane.values.base import digest
from dexlane.values.chains import Address, BlockRef, Hash32
from dexlane.values.pools import Pool, PoolDelta


class BlockApplied(Event):
    """A block joined the canonical chain; ``deltas`` are all changes of watched pools in it, absolute.

    ``next_base_fee_per_gas_wei`` is exact (EIP-1559 with the chain's parameters). ``received_at_ns`` is the Unix
    time at which the node's logs of this block reached us: the start of every latency figure.
    """

    NAME: ClassVar[str] = "block.applied"

    block: BlockRef
    parent_hash: Hash32
    timestamp_s: int = Field(ge=0, description="the block's own time, Unix seconds")
    base_fee_per_gas_wei: Amount
    next_base_fee_per_gas_wei: Amount
    gas_used: int = Field(ge=0)
    gas_limit: int = Field(gt=0)
    deltas: tuple[PoolDelta, ...] = ()
    received_at_ns: int = Field(ge=0)

    @staticmethod
    def make_id(chain_id: int, block_hash: str) -> str:
        """One id per block hash."""
        return digest("block.applied", chain_id, block_hash)


class BlockReorged(Event):
    """The chain replaced recent blocks: everything above ``ancestor`` is undone."""

    NAME: ClassVar[str] = "block.reorged"

    old_tip: BlockRef
    ancestor: BlockRef
    new_tip: BlockRef
    depth: int = Field(ge=1, description="number of blocks undone")

    @staticmethod
    def make_id(chain_id: int, old_tip_hash: str, new_tip_hash: str) -> str:
        """One id per pair of competing tips."""
        return digest("block.reorged", chain_id, old_tip_hash, new_tip_hash)


class PoolDiscovered(Event):
    """A pool is watched from this block on; its state is in ``pool`` as of ``block``."""

    NAME: ClassVar[str] = "pool.discovered"

    block: BlockRef
    pool: Pool

    @staticmethod
    def make_id(chain_id: int, pool: str, block_hash: str) -> str:
        """One id per pool and block: after a reorganisation it is discovered again."""
        return digest("pool.discovered", chain_id, pool, block_hash)


class PoolsWatched(Event):
    """From ``block`` on exactly these pools are watched; whoever mirrors another one forgets it.

    Published when the feed begins, begins anew, or stops watching a pool: nobody reports that pool's changes any more.
    """

    NAME: ClassVar[str] = "pools.watched"

    block: BlockRef
    pools: tuple[Address, ...]

    @staticmethod
    def make_id(chain_id: int, block_hash: str, pools: tuple[str, ...]) -> str:
        """One id per block and set of pools."""
        return digest("pools.watched", chain_id, block_hash, sorted(pools))
