"""Blocks, reorganisations, fee quotes, and the market that planning sees."""

from __future__ import annotations

from typing import Any

from dexlane.domain.circumstances import Market
from dexlane.domain.pool_book import PoolBook
from dexlane.events.base import FeeCap
from dexlane.events.control import Status
from dexlane.events.fees import FeeQuoted, FeeTier
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.testing.builders.pools import CHAIN_ID, NOW_MS, V2_POOL, a_block_ref, a_pool_v2, a_pool_v3
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool, PoolDelta, ReservesDelta


def a_reserves_delta(**fields: Any) -> ReservesDelta:
    """New reserves of the V2 pool."""
    usual: dict[str, Any] = {"pool": V2_POOL, "reserve0": 20_000_000 * 10**6, "reserve1": 10_000 * 10**18}
    return ReservesDelta(**(usual | fields))


def a_block(
    number: int = 100, *deltas: PoolDelta, fork: str = "main", parent_fork: str | None = None, **fields: Any
) -> BlockApplied:
    """A block one second after its parent, which is on ``parent_fork`` (default: the same fork)."""
    block = a_block_ref(number, fork)
    at_ms = NOW_MS + (number - 100) * 1_000
    defaults: dict[str, Any] = {
        "id": BlockApplied.make_id(CHAIN_ID, block.hash),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": at_ms,
        "block": block,
        "parent_hash": a_block_ref(number - 1, parent_fork or fork).hash,
        "timestamp_s": at_ms // 1_000,
        "base_fee_per_gas_wei": 10 * 10**9,
        "next_base_fee_per_gas_wei": 10 * 10**9,
        "gas_used": 15_000_000,
        "gas_limit": 30_000_000,
        "deltas": deltas,
        "received_at_ns": at_ms * 10**6,
    }
    return BlockApplied(**(defaults | fields))


def a_reorg(old_tip: BlockRef, ancestor: BlockRef, new_tip: BlockRef, **fields: Any) -> BlockReorged:
    """A reorganisation from ``old_tip`` back to ``ancestor``."""
    defaults: dict[str, Any] = {
        "id": BlockReorged.make_id(CHAIN_ID, old_tip.hash, new_tip.hash),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "old_tip": old_tip,
        "ancestor": ancestor,
        "new_tip": new_tip,
        "depth": old_tip.number - ancestor.number,
    }
    return BlockReorged(**(defaults | fields))


def a_fee_cap(**fields: Any) -> FeeCap:
    """At most 30 gwei, of which 1 gwei tip."""
    return FeeCap(**({"max_fee_per_gas_wei": 30 * 10**9, "max_priority_fee_per_gas_wei": 10**9} | fields))


def a_fee_quote(block: BlockRef | None = None, **fields: Any) -> FeeQuoted:
    """A fee quote for the block after ``block``: 10 gwei base fee, the same cap in every tier."""
    block = block or a_block_ref()
    defaults: dict[str, Any] = {
        "id": FeeQuoted.make_id(CHAIN_ID, block.hash),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "block": block,
        "next_base_fee_per_gas_wei": 10 * 10**9,
        "tiers": {tier: a_fee_cap() for tier in FeeTier},
        "sampled_blocks": 20,
    }
    return FeeQuoted(**(defaults | fields))


def a_market(*pools: Pool, **fields: Any) -> Market:
    """What planning sees at block 100: the V2 and the V3 pool unless others are given, a base fee of 1 gwei."""
    book, block = PoolBook(), fields.get("block", a_block_ref())
    for pool in pools or (a_pool_v2(), a_pool_v3()):
        book.put(pool, a_block_ref())
    base_fee_wei = fields.get("next_base_fee_wei", 10**9)
    cap = FeeCap(max_fee_per_gas_wei=2 * 10**9, max_priority_fee_per_gas_wei=10**8)
    defaults: dict[str, Any] = {
        "chain_id": CHAIN_ID,
        "block": block,
        "timestamp_s": NOW_MS // 1_000,
        "next_base_fee_wei": base_fee_wei,
        "age_ms": 5,
        "block_time_s": 12,
        "pool_book": book,
        "fee_quote": a_fee_quote(block, next_base_fee_per_gas_wei=base_fee_wei, tiers=dict.fromkeys(FeeTier, cap)),
        "status": Status.ACTIVE,
    }
    return Market(**(defaults | fields))
