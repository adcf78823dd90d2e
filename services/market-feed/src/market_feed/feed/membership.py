"""Which pools are watched: they join and leave between two blocks, never in the middle of one."""

from __future__ import annotations

from dataclasses import dataclass

from dexlane.chain.block_logs import LogsWanted
from dexlane.chain.deployments import emitter_of, singletons
from dexlane.domain.pool_book import PoolBook
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool


@dataclass(frozen=True, slots=True)
class PoolsChange:
    """Pools that are watched from the end of ``block`` on, and the addresses of those that no longer are."""

    block: BlockRef
    joined: tuple[Pool, ...] = ()
    left: tuple[str, ...] = ()


class Membership:
    """The pools that wait to join or to leave, and what the pools in the book are asked for with."""

    def __init__(self, chain_id: int) -> None:
        self.wanted = LogsWanted(())
        """What to ask a node for: the contracts that log for the pools in the book."""
        self.singletons = singletons(chain_id)
        self._chain_id = chain_id
        self._joining: dict[str, tuple[Pool, BlockRef]] = {}
        self._leaving: set[str] = set()

    def join(self, pool: Pool, block: BlockRef) -> None:
        """Let a pool with its state after ``block`` join, if that is still the tip when the next block is applied."""
        self._joining[pool.key.address] = (pool, block)

    def leave(self, address: str) -> None:
        """Let a pool leave before the next block is applied."""
        self._joining.pop(address, None)
        self._leaving.add(address)

    def begin(self, book: PoolBook) -> None:
        """Everything was read anew: nobody waits any more."""
        self._joining.clear()
        self._leaving.clear()
        self.index(book)

    def index(self, book: PoolBook) -> None:
        """Take note of the pools in the book."""
        self.wanted = LogsWanted({emitter_of(self._chain_id, pool.key) for pool in book.pools.values()})

    def change(self, book: PoolBook, tip: BlockRef) -> PoolsChange | None:
        """Let those who wait join and leave at the tip. One whose state is of another block came too late this time."""
        if not self._joining and not self._leaving:
            return None
        left = tuple(sorted(self._leaving & book.pools.keys()))
        for address in left:
            book.leave(address)
        ready = (pool for pool, at in self._joining.values() if at == tip)
        joined = tuple(pool for pool in ready if pool.key.address not in book.pools)
        for pool in joined:
            book.join(pool, tip)
        self.begin(book)
        return PoolsChange(tip, joined, left) if joined or left else None
