"""The tripwire: in turn, each watched pool is compared with the chain at a finished block, and a difference is named.

``dexlane.domain.tripwire`` judges; this reads what it judges by, reports it, and has the follower repair the pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from dexlane.chain.answers import Header
from dexlane.chain.deployments import emitter_of
from dexlane.chain.logs import UnreadableLog, after_change, decode_log
from dexlane.chain.pool_loading import ChainReader, PoolUnreadable, load_pool
from dexlane.chain.rpc import Rpc, RpcError, RpcUnavailable
from dexlane.domain.amm.deltas import InconsistentDelta
from dexlane.domain.pool_book import PoolHistory, StateAfter
from dexlane.domain.tripwire import REPAIRED_BY_SNAPSHOT, ChainEvidence, Defect, Finding, agrees, judge
from dexlane.values.pools import PoolState
from market_feed.feed.follower import BlockFollower
from market_feed.metrics import TripwireMoments

LOOKED_BACK = 64
"""Blocks whose logs are read again when a pool differs; full nodes still have the state before them."""
FINALIZED = "finalized"


class NotComparable(Exception):  # noqa: N818 - named for what it says about the sample
    """The block is not remembered, or not there; nothing is known to be wrong."""


@dataclass(frozen=True, slots=True)
class TripwirePolicy:
    """A pool is compared every ``every_s`` seconds, ``confirmations`` below the head (0: at the finalized block)."""

    every_s: float
    confirmations: int


class Tripwire:
    """Compares the pools of one chain, one after the other, for ever."""

    def __init__(self, follower: BlockFollower, rpc: Rpc, policy: TripwirePolicy, moments: TripwireMoments) -> None:
        self._follower = follower
        self._rpc = rpc
        self._policy = policy
        self._moments = moments
        self._turn = 0

    async def run(self) -> None:
        """One pool, a pause, the next pool."""
        while True:
            await asyncio.sleep(self._policy.every_s)
            addresses = self._comparable()
            if addresses:
                self._turn += 1
                await self.sample(addresses[self._turn % len(addresses)])

    def _comparable(self) -> list[str]:
        """Pools that log for themselves; what a singleton holds has no storage of its own to read."""
        pools, chain_id = self._follower.book.pools, self._follower.chain_id
        return sorted(address for address, pool in pools.items() if emitter_of(chain_id, pool.key) == address)

    async def sample(self, address: str) -> Finding | None:
        """Compare one pool, report, and have it repaired where it does not heal by itself."""
        chain_id = self._follower.chain_id
        try:
            block = await self._finished_block()
            finding, evidence = await self._look(address, block)
        except (NotComparable, RpcError, RpcUnavailable, PoolUnreadable, UnreadableLog, InconsistentDelta) as error:
            self._moments.sample_failed(chain_id, address, f"{type(error).__name__}: {error}")
            return None
        if finding is None:
            self._moments.pool_agreed(chain_id, block.number)
            return None
        self._moments.defect_found(chain_id, address, finding, {"compared_at": block.number, **evidence})
        if finding.defect is Defect.UNHANDLED_REORG:
            self._follower.corrections.begin_anew(f"block {finding.block.number} of the local history is not canonical")
        elif finding.defect in REPAIRED_BY_SNAPSHOT and address in self._follower.book.pools:
            self._follower.corrections.reread(self._follower.book.pools[address].key)
        return finding

    async def _finished_block(self) -> Header:
        if self._policy.confirmations == 0:
            return await self._header(FINALIZED)
        head = await self._header("latest")
        return await self._header(max(head.number - self._policy.confirmations, 0))

    async def _look(self, address: str, block: Header) -> tuple[Finding | None, Mapping[str, object]]:
        local = self._history(address, block.number)
        state = await self._state(address, block)
        if agrees(local, block.ref, state):
            return None, {}
        try:
            chain = await self._evidence(address, local, StateAfter(block.ref, state))
        except RpcError as error:  # the node gave the newer state, but no longer the older one
            return Finding(Defect.UNTRACEABLE, block.ref), {"reason": str(error)}
        later = self._history(address, chain.base.block.number)
        finding = judge(local, chain, later)
        logged = [after.block.number for after in chain.explained]
        held = [after.block.number for after in local.changes if after.block.number > chain.base.block.number]
        return finding, {"since": chain.base.block.number, "blocks_with_logs": logged, "blocks_with_changes": held}

    def _history(self, address: str, number: int) -> PoolHistory:
        """What is held of the pool. Raises ``NotComparable`` when its memory begins after that block."""
        if address not in self._follower.book.pools:
            raise NotComparable("the pool is no longer watched")
        history = self._follower.book.history(address)
        if history.since.block.number > number:
            raise NotComparable(f"block {number} is older than what is remembered")
        return history

    async def _evidence(self, address: str, local: PoolHistory, last: StateAfter) -> ChainEvidence:
        number = last.block.number
        begin = await self._header(max(local.since.block.number, min(local.tip.number, number) - LOOKED_BACK))
        base = StateAfter(begin.ref, await self._state(address, begin))
        explained: list[StateAfter] = []
        state = base.state
        for later in range(begin.number + 1, number + 1):
            block = await self._header(later)
            after = await self._after_logs(address, block, state)
            if after is not None:
                state = after
                explained.append(StateAfter(block.ref, state))
        at_tip = await self._rpc.block(local.tip.number)
        return ChainEvidence(last.block, last.state, base, tuple(explained), None if at_tip is None else at_tip.hash)

    async def _after_logs(self, address: str, block: Header, state: PoolState) -> PoolState | None:
        """The state that a block's logs of the pool lead to; None when no log changes it."""
        logs = await self._rpc.logs(block.hash, [address])
        changes = [decode_log(log) for log in sorted(logs, key=lambda log: log.log_index)]
        found = [change for change in changes if change is not None]
        for change in found:
            state = after_change(state, change)
        return state if found else None

    async def _state(self, address: str, block: Header) -> PoolState:
        pool = self._follower.book.pools.get(address)
        if pool is None:
            raise NotComparable("the pool is no longer watched")
        watched = self._follower.corrections.as_watched(pool.key)
        return (await load_pool(await ChainReader.at(self._rpc, block.hash), watched)).state

    async def _header(self, block: int | str) -> Header:
        header = await self._rpc.block(block)
        if header is None:
            raise NotComparable(f"the node has no block {block}")
        return header
