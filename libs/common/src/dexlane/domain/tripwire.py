"""The tripwire's judgement: does the local state of a pool equal the chain's, and if not, what went wrong?

The chain is read at a finished block. What its logs explain is computed from the chain's own state at an earlier block,
so three accounts of the pool stand beside each other: what we hold, what the logs lead to, and what the storage says.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from dexlane.domain.pool_book import PoolHistory, StateAfter
from dexlane.values.chains import BlockRef
from dexlane.values.pools import PoolState


class Defect(StrEnum):
    """Why a local pool state differs from the chain's."""

    MISSED_LOG = "missed_log"
    """The chain has logs of the pool in a block whose change the local history lacks."""

    UNHANDLED_REORG = "unhandled_reorg"
    """The local history holds a block that is not canonical."""

    STORAGE_CHANGED = "storage_changed"
    """The logs agree, yet the chain's state is another: the contract was changed without an event."""

    LATE_DELIVERY = "late_delivery"
    """The local state is the chain's of an earlier block, and what is missing is on its way or came meanwhile."""

    UNEXPLAINED_CHANGE = "unexplained_change"
    """The local history changed the pool in a block in which no log of the chain does: the node made it up."""

    UNTRACEABLE = "untraceable"
    """The states differed before the first block that is remembered, or the node no longer tells what was then."""


REPAIRED_BY_SNAPSHOT = frozenset(Defect) - {Defect.LATE_DELIVERY}
"""Late delivery heals by itself; everything else stays wrong until the pool is read anew."""


class ChainEvidence(NamedTuple):
    """What the chain says about one pool.

    ``state`` is after the finished ``block``, ``base`` is the chain's own state some blocks before. ``explained`` are
    the states that the logs between lead to from there, one for each block that holds logs. ``hash_at_tip`` is the
    canonical hash at the height of the local tip, None where that height has no block yet.
    """

    block: BlockRef
    state: PoolState
    base: StateAfter
    explained: tuple[StateAfter, ...]
    hash_at_tip: str | None


class Finding(NamedTuple):
    """A named defect and where it shows first. ``storage_changed``: the chain's state is moreover not explained by its
    logs."""

    defect: Defect
    block: BlockRef
    storage_changed: bool = False


def judge(local: PoolHistory, chain: ChainEvidence, later: PoolHistory) -> Finding | None:
    """The defect of a pool, None when there is none.

    ``local`` is the history as it was when the chain was asked, ``later`` the same after all of ``chain`` was read:
    a difference that healed meanwhile was late delivery. Both cover the chain's ``base``.
    """
    found = _compare(local, chain)
    if found is None or found.defect is Defect.LATE_DELIVERY:
        return found
    if _compare(later, chain) is None:
        return found._replace(defect=Defect.LATE_DELIVERY)
    return found


def agrees(local: PoolHistory, block: BlockRef, state: PoolState) -> bool:
    """Whether the local history has this state after this block; the cheap look that comes before any evidence."""
    return local.covers(block.number) and local.hash_at(block.number) == block.hash and local.at(block.number) == state


def _compare(local: PoolHistory, chain: ChainEvidence) -> Finding | None:
    reorg = _foreign_block(local, chain)
    if reorg is not None:
        return Finding(Defect.UNHANDLED_REORG, reorg)
    if local.tip.number >= chain.block.number and local.at(chain.block.number) == chain.state:
        return None
    if local.at(chain.base.block.number) != chain.base.state:
        return Finding(Defect.UNTRACEABLE, chain.base.block)
    return _compare_since_base(local, chain)


def _compare_since_base(local: PoolHistory, chain: ChainEvidence) -> Finding | None:
    seen = min(local.tip.number, chain.block.number)
    lead_to = _at(chain.explained, chain.block.number, chain.base.state)
    if local.at(seen) != _at(chain.explained, seen, chain.base.state):
        defect, block = _first_divergence(local, chain, seen)
        return Finding(defect, block, storage_changed=lead_to != chain.state)
    if lead_to != chain.state:
        return Finding(Defect.STORAGE_CHANGED, chain.block, storage_changed=True)
    if local.at(seen) != chain.state:
        return Finding(Defect.LATE_DELIVERY, _first_after(chain.explained, seen))
    return None


def _foreign_block(local: PoolHistory, chain: ChainEvidence) -> BlockRef | None:
    """A local block that is not canonical: at the finished block's height, or at the tip when that is lower.

    Blocks are connected by their parents' hashes, so one look tells for all blocks below it too.
    """
    if local.tip.number < chain.block.number:
        return local.tip if chain.hash_at_tip is not None and local.tip.hash != chain.hash_at_tip else None
    held = local.hash_at(chain.block.number)
    return BlockRef(number=chain.block.number, hash=held) if held not in (None, chain.block.hash) else None


def _first_divergence(local: PoolHistory, chain: ChainEvidence, seen: int) -> tuple[Defect, BlockRef]:
    """The first block in which the local history and the chain's logs disagree, and on what."""
    start = chain.base.block.number
    held = {after.block.number: after for after in local.changes if start < after.block.number <= seen}
    logged = {after.block.number: after for after in chain.explained if after.block.number <= seen}
    for number in sorted(held.keys() | logged.keys()):
        explained = _at(chain.explained, number, chain.base.state)
        if local.at(number) != explained:
            if number in logged:
                return Defect.MISSED_LOG, logged[number].block
            return Defect.UNEXPLAINED_CHANGE, held[number].block
    raise ValueError("two histories that start alike and change alike do not end apart")


def _at(states: Iterable[StateAfter], number: int, before: PoolState) -> PoolState:
    """The state after a block: that of the last change up to it."""
    found = before
    for after in states:
        if after.block.number > number:
            break
        found = after.state
    return found


def _first_after(states: Iterable[StateAfter], number: int) -> BlockRef:
    return next(after.block for after in states if after.block.number > number)
