"""Following one chain: every canonical block once, in order, by parent hash.

A head is only a hint that there is something new; what connects it to the blocks already applied decides. So lost,
doubled or reordered heads do no harm, and a reorganisation is followed without the node announcing removed logs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dexlane.chain.answers import Header, RawLog
from dexlane.chain.logs import FoldedLogs, UnreadableLog, fold_logs
from dexlane.chain.pool_loading import ChainReader, PoolUnreadable, WatchedPool, load_pool
from dexlane.chain.rpc import Rpc, RpcError, RpcUnavailable
from dexlane.chain.subscriptions import Gap
from dexlane.domain.amm.deltas import InconsistentDelta, delta_between
from dexlane.domain.fees import fee_parameters, next_base_fee
from dexlane.domain.pool_book import GapError, PoolBook
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.runtime.clock import Clock
from dexlane.runtime.collector import keep_for_good, uncollected
from dexlane.runtime.errors import Misconfigured
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool, PoolDelta
from market_feed.feed.block_logs import BlockLogs
from market_feed.feed.corrections import Corrections
from market_feed.feed.membership import Membership, PoolsChange
from market_feed.metrics import FeedMoments

RETRY_S = 0.25
LONGEST_RETRY_S = 2.0
LOAD_ATTEMPTS = 5
"""Blocks that may leave the chain while all pools are being read from them, before something else must be wrong."""


class HeadSource(Protocol):
    """Where heads come from."""

    async def next(self) -> Header | Gap:
        """The next head, or a gap."""
        ...


@dataclass(frozen=True, slots=True)
class AppliedBlock:
    """A block in the pool book.

    ``volumes``: gross amounts that swaps moved, by pool, in the order of its tokens. ``newest`` is False for a block
    that is only caught up with: what it made possible is gone.
    """

    event: BlockApplied
    volumes: Mapping[str, tuple[int, ...]]
    newest: bool = True


class ChainHandlers(Protocol):
    """What happens with each step of the chain. Called one at a time, in the order of the chain."""

    async def loaded(self, book: PoolBook, tip: Header) -> None:
        """All pools were read anew; nothing before ``tip`` is known."""
        ...

    async def applied(self, block: AppliedBlock, book: PoolBook) -> None:
        """A block was applied to the book."""
        ...

    async def pools_changed(self, change: PoolsChange, book: PoolBook) -> None:
        """Pools joined or left the book between two blocks; runs while the next block's logs are fetched."""
        ...

    async def reorged(self, event: BlockReorged) -> None:
        """Blocks were undone; the new branch follows as applied blocks."""
        ...

    async def troubled(self, reason: str) -> None:
        """A call to the node failed; it will be tried again."""
        ...


class BrokenAnswer(Exception):  # noqa: N818 - named for what the node gave
    """The node's answers contradict each other or what we hold: everything is to be read anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowLimits:
    """``undo_depth``: deepest reorganisation followed; ``backfill``: longest gap filled block by block."""

    undo_depth: int = 128
    backfill: int = 256


class BlockFollower:
    """The pool book of one chain, kept at the tip."""

    def __init__(
        self,
        chain_id: int,
        rpc: Rpc,
        watched: Sequence[WatchedPool],
        *,
        clock: Clock,
        limits: FollowLimits = FollowLimits(),
    ) -> None:
        self.chain_id = chain_id
        self.book = PoolBook(limits.undo_depth)
        self.tip: Header | None = None
        self.applied_at_ms = 0
        """When a block was last applied or loaded, Unix milliseconds."""
        self._rpc = rpc
        self._watched = tuple(watched)
        self._members = Membership(chain_id)
        self.logs = BlockLogs(rpc, lambda: self._members.wanted)
        self.corrections = Corrections(rpc, watched)
        self._clock = clock
        self._limits = limits
        self._distrusted: set[str] = set()
        self._fees = fee_parameters(chain_id)
        self._recent: dict[str, Header] = {}

    def watch(self, pool: Pool, block: BlockRef) -> bool:
        """Let a pool with its state after ``block`` join before the next block is applied; False when that is not the
        tip: bring the state up to it and try again. Whether it really joined shows in the book of the next applied
        block, because the chain may move on first. After :meth:`load` only the configured pools are watched."""
        if self.tip is None or block.hash != self.tip.hash:
            return False
        self._members.join(pool, block)
        return True

    def unwatch(self, address: str) -> None:
        """Let a pool leave before the next block is applied."""
        self._members.leave(address)

    async def run(self, heads: HeadSource, handlers: ChainHandlers, moments: FeedMoments) -> None:
        """Follow for ever. After a failed call the newest block is looked at again, heads or no heads."""
        retry_s: float | None = None
        while True:
            try:
                async with asyncio.timeout(retry_s):
                    notification = await heads.next()
            except TimeoutError:
                notification = Gap("an earlier block is still to be applied")
            else:
                if isinstance(notification, Gap):
                    moments.heads_missed(self.chain_id, notification.reason)
            try:
                await self._take(notification, handlers, moments)
                retry_s = None
            except (RpcError, RpcUnavailable) as error:
                moments.node_troubled(self.chain_id, str(error), first=retry_s is None)
                await handlers.troubled(str(error))
                retry_s = RETRY_S if retry_s is None else min(LONGEST_RETRY_S, 2 * retry_s)

    async def _take(self, notification: Header | Gap, handlers: ChainHandlers, moments: FeedMoments) -> None:
        head = await self._rpc.block("latest") if isinstance(notification, Gap) else notification
        if head is None:
            raise RpcUnavailable("the node has no newest block")
        try:
            reason = self.corrections.reason() or await self._repair(handlers) or await self.follow(head, handlers)
        except (BrokenAnswer, UnreadableLog, InconsistentDelta, GapError) as error:
            reason = f"{type(error).__name__}: {error}"
        if reason:
            self.corrections.begin_anew(reason)  # should reading fail now, what is held must not stand all the same
            tip = await self.load(handlers)
            self.corrections.reason()
            moments.pools_loaded(self.chain_id, tip.number, len(self.book.pools), reason)

    def distrust(self, block_hash: str) -> None:
        """The logs of this block turned out to be wrong: before the next block it is undone and applied anew, with all
        that came after it."""
        self._distrusted.add(block_hash)

    async def _repair(self, handlers: ChainHandlers) -> str:
        """Undo distrusted blocks. Returns a reason when that needs all pools read anew."""
        suspects = [self._recent[one] for one in self._distrusted if one in self._recent]
        self._distrusted.clear()
        if not suspects or self.tip is None:
            return ""
        lowest = min(suspects, key=lambda header: header.number)
        ancestor = self._recent.get(lowest.parent_hash)
        if ancestor is None:
            return f"block {lowest.number} was wrong, and the one before it is not remembered"
        await self._undo(self.tip, ancestor, self.tip, handlers)
        return ""

    async def load(self, handlers: ChainHandlers) -> Header:
        """Read all pools at the newest block and begin from there.

        Raises ``Fatal`` when a watched address is no pool, ``RpcError`` or ``RpcUnavailable`` when the node fails: also
        when it says that of a pool which was read before, for then the node is wrong and not the configuration.
        """
        tip, book = await self._read_newest()
        self.book, self.tip, self._recent = book, tip, {tip.hash: tip}
        self._members.begin(book)
        self.applied_at_ms = self._clock.now_ms()
        keep_for_good()
        await handlers.loaded(book, tip)
        return tip

    async def _read_newest(self) -> tuple[Header, PoolBook]:
        for attempt in range(LOAD_ATTEMPTS):
            tip = await self._rpc.block("latest")
            if tip is None:
                break
            try:
                return tip, await _read_pools(self._rpc, self._watched, tip, self._limits.undo_depth)
            except PoolUnreadable as error:
                if self.tip is None:
                    raise Misconfigured(f"{error}; correct DEXLANE_MARKET_FEED_POOLS") from error
                raise RpcUnavailable(f"a watched pool cannot be read any more: {error}") from error
            except RpcError:  # the block left the chain while it was read
                if attempt == LOAD_ATTEMPTS - 1:
                    raise
        raise RpcUnavailable("the node has no newest block")

    async def follow(self, head: Header, handlers: ChainHandlers) -> str:
        """Bring the book to ``head``. Returns a reason when that needs all pools read anew, else an empty text."""
        tip = self.tip
        if tip is None:
            return "start"
        if head.hash in self._recent:
            return ""
        if head.number - tip.number > self._limits.backfill:
            return f"{head.number - tip.number} blocks were missed"
        branch = await self._branch_to(head)
        if branch is None:
            if head.number <= tip.number and await self._still_stands(tip):
                return ""  # announced before the pools were last read
            return f"block {head.number} leaves the chain below the last {len(self._recent)} blocks"
        ancestor = self._recent[branch[0].parent_hash]
        if ancestor.hash != tip.hash:
            await self._undo(tip, ancestor, head, handlers)
        for header in branch:
            with uncollected():
                await self._apply(header, handlers, newest=header is head)
        return ""

    async def _still_stands(self, tip: Header) -> bool:
        now = await self._rpc.block(tip.number)
        return now is not None and now.hash == tip.hash

    async def _branch_to(self, head: Header) -> list[Header] | None:
        """Headers from the first unknown one up to ``head``; None when they do not meet what is remembered."""
        branch = [head]
        lowest = min(known.number for known in self._recent.values())
        while branch[-1].parent_hash not in self._recent:
            if branch[-1].number <= lowest + 1 or len(branch) > self._limits.backfill + self._limits.undo_depth:
                return None
            parent = await self._rpc.block(branch[-1].parent_hash)
            if parent is None:
                raise RpcUnavailable(f"the node no longer knows the parent of block {branch[-1].number}")
            branch.append(parent)
        return branch[::-1]

    async def _undo(self, tip: Header, ancestor: Header, head: Header, handlers: ChainHandlers) -> None:
        self.book.undo_to(ancestor.ref)
        self._members.index(self.book)
        self._recent = {known.hash: known for known in self._recent.values() if known.number <= ancestor.number}
        self.tip = ancestor
        event = BlockReorged(
            id=BlockReorged.make_id(self.chain_id, tip.hash, head.hash),
            chain_id=self.chain_id,
            occurred_at_ms=self._clock.now_ms(),
            old_tip=tip.ref,
            ancestor=ancestor.ref,
            new_tip=head.ref,
            depth=tip.number - ancestor.number,
        )
        await handlers.reorged(event)

    async def _apply(self, header: Header, handlers: ChainHandlers, *, newest: bool) -> None:
        logs = await self._logs_while_pools_change(header, handlers)
        received_at_ns = self._clock.now_ns()
        if any(log.block_hash != header.hash for log in logs):
            raise BrokenAnswer(f"the node gave logs of another block for block {header.number}")
        try:
            changes = _folded(logs, self.book, self._members)
            deltas = await self._corrected(header, changes.deltas)
        except (BrokenAnswer, UnreadableLog, InconsistentDelta) as error:
            self.logs.doubt(header, f"gave logs of block {header.number} that cannot be applied ({error})")
            raise
        event = BlockApplied(
            id=BlockApplied.make_id(self.chain_id, header.hash),
            chain_id=self.chain_id,
            occurred_at_ms=received_at_ns // 1_000_000,
            block=header.ref,
            parent_hash=header.parent_hash,
            timestamp_s=header.timestamp_s,
            base_fee_per_gas_wei=header.base_fee_per_gas_wei,
            next_base_fee_per_gas_wei=next_base_fee(
                header.base_fee_per_gas_wei, header.gas_used, header.gas_limit, self._fees
            ),
            gas_used=header.gas_used,
            gas_limit=header.gas_limit,
            received_at_ns=received_at_ns,
        ).model_copy(update={"deltas": deltas})  # each is valid already
        self.book.apply(event)
        self._remember(header)
        await handlers.applied(AppliedBlock(event, changes.volumes, newest), self.book)

    async def _logs_while_pools_change(self, header: Header, handlers: ChainHandlers) -> list[RawLog]:
        """Let pools join and leave, and fetch the logs of the block meanwhile, already of the new set."""
        change = self._members.change(self.book, BlockRef(number=header.number - 1, hash=header.parent_hash))
        if change is None:
            return await self.logs.of(header)
        logs, told = await asyncio.gather(
            self.logs.of(header), handlers.pools_changed(change, self.book), return_exceptions=True
        )
        if isinstance(told, BaseException):
            raise told
        if isinstance(logs, BaseException):
            raise logs
        return logs

    async def _corrected(self, header: Header, deltas: tuple[PoolDelta, ...]) -> tuple[PoolDelta, ...]:
        """The deltas, those of pools that are read anew with this block in the place of what the logs said."""
        read = await self.corrections.states_at(header)
        states = {pool: state for pool, state in read.items() if pool in self.book.pools}
        if not states:
            return deltas
        kept = tuple(delta for delta in deltas if delta.pool not in states)
        return kept + tuple(delta_between(pool, self.book.pools[pool].state, state) for pool, state in states.items())

    def _remember(self, header: Header) -> None:
        self.tip = header
        self._recent[header.hash] = header
        while len(self._recent) > self._limits.undo_depth:
            del self._recent[next(iter(self._recent))]
        self.applied_at_ms = self._clock.now_ms()

    def why_not_current(self, max_age_ms: int) -> Callable[[], bool | str]:
        """A readiness probe: True, or why this chain's book is behind."""

        def probe() -> bool | str:
            if self.tip is None:
                return f"the pools of chain {self.chain_id} are not loaded yet"
            age = self._clock.now_ms() - self.applied_at_ms
            return True if age <= max_age_ms else f"the last block of chain {self.chain_id} came {age} ms ago"

        return probe


async def _read_pools(rpc: Rpc, pools: Sequence[WatchedPool], tip: Header, undo_depth: int) -> PoolBook:
    book = PoolBook(undo_depth)
    reader = await ChainReader.at(rpc, tip.hash)
    for watched in pools:
        book.put(await load_pool(reader, watched), tip.ref)
    return book


def _folded(logs: Sequence[RawLog], book: PoolBook, members: Membership) -> FoldedLogs:
    changes = fold_logs(logs, book.pools, members.singletons)
    if changes.foreign is not None and not members.wanted.by_topic:
        raise BrokenAnswer(f"the node gave a log of {changes.foreign}, which was not asked for")
    return changes
