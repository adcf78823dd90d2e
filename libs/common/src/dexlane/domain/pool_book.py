"""The pool book: every watched pool's exact state at the tip, with per-block undo for reorganisations."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from dexlane.domain.amm.deltas import state_after
from dexlane.domain.pool_table import PoolTable
from dexlane.events.market import BlockApplied
from dexlane.values.base import digest
from dexlane.values.chains import BlockRef
from dexlane.values.pools import (
    BalancesState,
    ConcentratedState,
    ConstantProductState,
    Pool,
    PoolDelta,
    PoolState,
    Tick,
)


class GapError(ValueError):
    """The block does not connect to what the book holds, or lies deeper than it remembers: load snapshots again."""


@dataclass(frozen=True, slots=True)
class _Applied:
    """A block in the book's memory, its parent, and the states of the touched pools before it.

    None stands for a pool whose state before the block is not known: it was unwatched, or its snapshot is as new as
    the block. States alone, because a pool that is kept for so long is cold memory again when it is forgotten.
    """

    block: BlockRef
    parent_hash: str
    before: Mapping[str, PoolState | None]


class StateAfter(NamedTuple):
    """A pool's state at the end of a block."""

    block: BlockRef
    state: PoolState


class PoolHistory(NamedTuple):
    """What a book remembers of one pool: its state after ``since``, and after each later block that changed it.

    ``blocks`` are all blocks the book remembers, from ``since`` to its tip.
    """

    since: StateAfter
    changes: tuple[StateAfter, ...]
    blocks: tuple[BlockRef, ...]

    @property
    def tip(self) -> BlockRef:
        """The newest block that the history speaks of."""
        return self.blocks[-1]

    def covers(self, number: int) -> bool:
        """Whether the state after that block is remembered."""
        return self.since.block.number <= number <= self.tip.number

    def at(self, number: int) -> PoolState:
        """The state after a block that is covered."""
        state = self.since.state
        for change in self.changes:
            if change.block.number > number:
                break
            state = change.state
        return state

    def hash_at(self, number: int) -> str | None:
        """The hash of the remembered block at a height; None when it is not remembered."""
        return next((block.hash for block in self.blocks if block.number == number), None)


class PoolBook:
    """Current pool states with undo of the last ``undo_depth`` blocks.

    Pools are immutable values: applying a block replaces the touched ones and remembers their states, so undoing
    is exact and memory is bounded by the changes of ``undo_depth`` blocks. Not thread-safe; one owner mutates it.
    """

    def __init__(self, undo_depth: int = 128, pools: PoolTable | None = None) -> None:
        if undo_depth < 1:
            raise ValueError("a pool book remembers at least one block")
        self._pools = PoolTable() if pools is None else pools
        self._snapshots: dict[str, BlockRef] = {}
        self._applied: deque[_Applied] = deque()
        self._hashes: set[str] = set()
        self._undo_depth = undo_depth
        self._newest_snapshot = 0
        self._joined: dict[str, int] = {}
        self._tip: BlockRef | None = None
        self._tick_digests: dict[str, tuple[tuple[Tick, ...], str]] = {}

    @classmethod
    def of(cls, pools: Mapping[str, Pool]) -> PoolBook:
        """A book of these pools alone, without a tip and without memory: what a recorded decision saw."""
        return cls(pools=PoolTable(pools.values()))

    def frozen(self) -> PoolBook:
        """A book of the same pools that later blocks do not change."""
        book = PoolBook(pools=self._pools.copied())
        book._tick_digests = self._tick_digests  # of tuples that never change, so whoever computes one does it for both
        return book

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read from a mapping of pools by address."""
        return core_schema.no_info_after_validator_function(cls.of, handler(dict[str, Pool]))

    @property
    def tip(self) -> BlockRef | None:
        """The block whose end the pools show; None before the first block was applied."""
        return self._tip

    @property
    def pools(self) -> PoolTable:
        """The pools by address, to read only. A pool taken from it never changes; the table does, per block."""
        return self._pools

    def put(self, pool: Pool, block: BlockRef) -> None:
        """Watch a pool from its state after ``block``, or replace a watched one by a newer snapshot.

        Deltas of blocks up to ``block`` are skipped for this pool. A snapshot older than what the book already holds
        of that pool is ignored. Raises ``GapError`` for an unwatched pool whose changes after ``block`` went by.
        """
        address = pool.key.address
        if address in self._pools and self._holds_newer(address, block):
            return
        if self._changed_since(address, block):
            raise GapError(f"pool {address} may have changed after its snapshot of block {block.number}")
        self._pools.put(pool)
        self._snapshots[address] = block
        self._newest_snapshot = max(self._newest_snapshot, block.number)

    def join(self, pool: Pool, block: BlockRef) -> None:
        """Begin to watch a pool at the tip, from its state after ``block``, which must be the tip.

        Nobody watched it before, so undoing ``block`` takes the pool out of the book again. Raises ``GapError`` when
        the tip is another block. A pool that is watched already stays as it is.
        """
        address = pool.key.address
        if self._tip is not None and block.hash != self._tip.hash:
            raise GapError(f"pool {address} joins at block {block.number}, the tip is {self._tip.number}")
        if address not in self._pools:
            self.put(pool, block)
            self._joined[address] = block.number

    def leave(self, address: str) -> None:
        """Watch a pool no longer; an unwatched one is ignored. Undoing blocks does not bring it back."""
        self._pools.remove(address)
        self._snapshots.pop(address, None)
        self._joined.pop(address, None)
        self._tick_digests.pop(address, None)

    def apply(self, event: BlockApplied) -> None:
        """Apply the deltas of the next block; a block that is already in the book is ignored.

        Raises ``GapError`` when the block's parent is not the tip (or, for the first block, when it leaves a gap after
        the oldest snapshot), and ``InconsistentDelta`` when a delta contradicts its pool; the book is then unchanged.
        """
        if event.block.hash in self._hashes:
            return
        self._check_connects(event)
        before: dict[str, PoolState | None] = {}
        after: dict[str, PoolState] = {}
        number = event.block.number
        for delta in event.deltas:
            self._replace(delta, number, before, after)
        self._pools.update_states(after)
        self._remember(_Applied(event.block, event.parent_hash, before))
        self._tip = event.block

    def undo_to(self, ancestor: BlockRef) -> int:
        """Go back to the end of ``ancestor`` and return how many blocks were undone (zero when it is the tip).

        Raises ``GapError`` when the book does not remember that far, or when a pool changed in the undone blocks
        before its snapshot was taken, so that its earlier state is unknown; the book is then unchanged. Pools that
        joined in an undone block leave.
        """
        undone = self._blocks_above(ancestor)
        gone = {address for address, number in self._joined.items() if number > ancestor.number}
        inside, ahead = self._snapshots_against(undone, ancestor)
        restored: dict[str, PoolState] = {}
        for applied in undone:
            for address, state in applied.before.items():
                if address in gone or address not in self._pools:
                    continue
                if address in inside and applied.block.number <= inside[address]:
                    raise GapError(f"pool {address} is not known before block {applied.block.number}")
                if state is not None and address not in ahead:
                    restored[address] = state
        for _ in undone:
            self._hashes.discard(self._applied.pop().block.hash)
        self._pools.update_states(restored)
        # Nothing touched these pools between the ancestor and their snapshot: it stands for the ancestor's state too.
        self._snapshots.update(dict.fromkeys(inside, ancestor))
        for address in gone:
            self.leave(address)
        self._tip = ancestor if undone else self._tip
        return len(undone)

    def state_digest(self, addresses: Iterable[str]) -> str:
        """A digest of the named pools' states, the same in every process. ``KeyError`` for an unwatched pool."""
        return digest("pools", *(self._digest_parts(address) for address in sorted(set(addresses))))

    def history(self, address: str) -> PoolHistory:
        """What the book remembers of a pool, as far back as it could undo. ``KeyError`` for an unwatched pool."""
        state, snapshot = self._pools.states[address], self._snapshots[address]
        since = snapshot if self._tip is None or snapshot.number > self._tip.number else self._tip
        changes: list[StateAfter] = []
        blocks = [since]
        for applied in reversed(self._applied):
            if applied.block.number <= snapshot.number:
                break
            if address in applied.before:
                before = applied.before[address]
                if before is None:
                    break
                changes.append(StateAfter(applied.block, state))
                state = before
            since = BlockRef(number=applied.block.number - 1, hash=applied.parent_hash)
            blocks.append(since)
        return PoolHistory(StateAfter(since, state), tuple(reversed(changes)), tuple(reversed(blocks)))

    def _remember(self, applied: _Applied) -> None:
        self._applied.append(applied)
        self._hashes.add(applied.block.hash)
        if len(self._applied) > self._undo_depth:
            self._hashes.discard(self._applied.popleft().block.hash)

    def _check_connects(self, event: BlockApplied) -> None:
        number = event.block.number
        if self._tip is not None:
            if event.parent_hash != self._tip.hash:
                raise GapError(f"block {number} does not follow the tip {self._tip.number}")
            return
        for address, snapshot in self._snapshots.items():
            follows = number <= snapshot.number or event.parent_hash == snapshot.hash
            if not follows:
                raise GapError(f"block {number} leaves a gap after the snapshot of {address} at {snapshot.number}")

    def _replace(
        self, delta: PoolDelta, number: int, before: dict[str, PoolState | None], after: dict[str, PoolState]
    ) -> None:
        address = delta.pool
        known = self._pools.states.get(address)
        if known is None or (number <= self._newest_snapshot and number <= self._snapshots[address].number):
            before[address] = None
            return
        if address not in after:
            before[address] = known
            after[address] = state_after(known, delta)
        else:
            after[address] = state_after(after[address], delta)

    def _holds_newer(self, address: str, block: BlockRef) -> bool:
        """True when the book shows this pool after a later block than ``block``."""
        tip = self._tip.number if self._tip is not None else 0
        return max(tip, self._snapshots[address].number) > block.number

    def _changed_since(self, address: str, block: BlockRef) -> bool:
        """True unless the book has not passed ``block``, or remembers that no block after it touched the pool."""
        if self._tip is None or block.number > self._tip.number or block.hash == self._tip.hash:
            return False
        for applied in reversed(self._applied):
            if address in applied.before:
                return True
            if applied.parent_hash == block.hash:
                return False
        return True

    def _blocks_above(self, ancestor: BlockRef) -> list[_Applied]:
        if self._tip is not None and self._tip.hash == ancestor.hash:
            return []
        above: list[_Applied] = []
        for applied in reversed(self._applied):
            above.append(applied)
            if applied.parent_hash == ancestor.hash:
                return above
        raise GapError(f"block {ancestor.number} is not among the last {len(self._applied)} blocks")

    def _snapshots_against(self, undone: list[_Applied], ancestor: BlockRef) -> tuple[dict[str, int], set[str]]:
        """Pools with a snapshot of one of the undone blocks (with its number), and pools with a snapshot ahead.

        A snapshot of any other later block is ahead of the book (it was read while older blocks still arrived):
        deltas up to it are skipped, so undoing them changes nothing.
        """
        if self._newest_snapshot <= ancestor.number:  # the usual case, and no look at every pool
            return {}, set()
        hashes = {applied.block.hash for applied in undone}
        later = {address: ref for address, ref in self._snapshots.items() if ref.number > ancestor.number}
        inside = {address: ref.number for address, ref in later.items() if ref.hash in hashes}
        return inside, later.keys() - inside.keys()

    def _digest_parts(self, address: str) -> list[str]:
        state = self._pools.states[address]
        if isinstance(state, ConstantProductState):
            return [address, str(state.reserve0), str(state.reserve1)]
        if isinstance(state, BalancesState):
            return [address, *map(str, state.balances), state.terms.model_dump_json()]
        return [
            address,
            str(state.sqrt_price_x96),
            str(state.tick),
            str(state.liquidity),
            self._ticks_digest(address, state),
        ]

    def _ticks_digest(self, address: str, state: ConcentratedState) -> str:
        # Swaps keep the tuple of ticks, so its digest (the costly part, up to a thousand ticks) is kept with it.
        kept = self._tick_digests.get(address)
        if kept is not None and kept[0] is state.ticks:
            return kept[1]
        computed = digest([[str(part) for part in tick] for tick in state.ticks])
        self._tick_digests[address] = (state.ticks, computed)
        return computed
