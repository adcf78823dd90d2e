"""What turned out to be wrong with the pools of a chain, until the follower has put it right."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from dexlane.chain.answers import Header
from dexlane.chain.pool_loading import ChainReader, PoolUnreadable, WatchedPool, load_pool
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.values.pools import PoolKey, PoolState


class Corrections:
    """Wishes of the tripwire. One that is lost to a failing node comes again: the pool is still wrong then."""

    def __init__(self, rpc: Rpc, watched: Sequence[WatchedPool]) -> None:
        self.to_reread: dict[str, WatchedPool] = {}
        self._rpc = rpc
        self._configured = {pool.address: pool for pool in watched}
        self._reason = ""

    def as_watched(self, key: PoolKey) -> WatchedPool:
        """How a pool is read from the chain: as it was configured, or as it was discovered."""
        return self._configured.get(key.address) or WatchedPool(address=key.address, protocol=key.protocol)

    def reread(self, key: PoolKey) -> None:
        """The state of this pool is wrong: it is read from the chain with the next block, and that block's event
        carries the difference to every mirror."""
        self.to_reread[key.address] = self.as_watched(key)

    def begin_anew(self, reason: str) -> None:
        """The blocks that are held are wrong: at the next head all pools are read anew."""
        self._reason = reason

    def reason(self) -> str:
        """Why all pools are to be read anew, told once; else an empty text."""
        reason, self._reason = self._reason, ""
        return reason

    async def states_at(self, header: Header) -> dict[str, PoolState]:
        """The states of the pools that are to be read anew, after this block. Raises ``RpcError``, ``RpcUnavailable``.

        A pool that cannot be read as one, or that the node refuses to read, stays wanted and holds up no block.
        """
        found: dict[str, PoolState] = {}
        if self.to_reread:
            reader = await ChainReader.at(self._rpc, header.hash)
            for address, pool in list(self.to_reread.items()):
                with contextlib.suppress(PoolUnreadable, RpcError):
                    found[address] = (await load_pool(reader, pool)).state
        for address in found:
            del self.to_reread[address]
        return found
