"""Following one chain: every canonical block once, in order, by parent hash.

A head is only a hint that there is something new; what connects it to the blocks already applied decides. So lost,
doubled or reordered heads do no harm, and a reorganisation is followed without the node announcing removed logs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dexlane.chain.answers import Header, RawLog, parse_header
from dexlane.chain.bloom import may_log
from dexlane.chain.logs import LiquidityChanged, PoolChange, PoolSwapped, UnreadableLog, after_change, decode_log
from dexlane.chain.pool_loading import ChainReader, PoolUnreadable, WatchedPool, load_pool
from dexlane.chain.rpc import Rpc, RpcError, RpcUnavailable
from dexlane.chain.subscriptions import Gap, Notification
from dexlane.domain.amm.deltas import InconsistentDelta, delta_between
from dexlane.domain.fees import fee_parameters, next_base_fee
from dexlane.domain.pool_book import GapError, PoolBook
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Misconfigured
from dexlane.values.chains import BlockRef
from dexlane.values.pools import ConstantProductState, Pool, PoolState
from market_feed.feed.membership import Membership, PoolsChange
from market_feed.metrics import FeedMoments

RETRY_S = 0.25
LONGEST_RETRY_S = 2.0
LOGS_RETRY_S = 0.002
LOGS_ATTEMPTS = 4
LOAD_ATTEMPTS = 5
"""Blocks that may leave the chain while all pools are being read from them, before something else must be wrong."""


class HeadSource(Protocol):
    """Where heads come from."""

    async def next(self) -> Notification:
        """The next head, or a gap."""
        ...


@dataclass(frozen=True, slots=True)
class AppliedBlock:
    """A block in the pool book.

    ``volumes``: gross amounts of token0 and token1 that swaps moved, by pool. ``newest`` is False for a block that is
    only caught up with: what it made possible is gone.
    """

    event: BlockApplied
    volumes: Mapping[str, tuple[int, int]]
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


class BrokenAnswer(Exception):  # noqa: N818 - named for what the node gave
    """The node's answers contradict each other or what we hold: everything is to be read anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowLimits:
    """``undo_depth``: deepest reorganisation followed; ``backfill``: longest gap filled block by block."""

    undo_depth: int = 128
    backfill: int = 256


@dataclass(slots=True)
class _BlockChanges:
    states: dict[str, PoolState] = field(default_factory=dict)
    volumes: dict[str, tuple[int, int]] = field(default_factory=dict)


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
        self._members = Membership()
        self._clock = clock
        self._limits = limits
        self._fees = fee_parameters(chain_id)
        self._recent: dict[str, Header] = {}

    def watch(self, pool: Pool, block: BlockRef) -> bool:
        """Let a pool with its state after ``block`` join before the next block is applied.

        False when ``block`` is not the tip: bring the state up to the tip and try again. Whether it really joined
        shows in the book of the next applied block, because the chain may move on first. After :meth:`load` only the
        configured pools are watched.
        """
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
                retry_s = RETRY_S if retry_s is None else min(LONGEST_RETRY_S, 2 * retry_s)

    async def _take(self, notification: Notification, handlers: ChainHandlers, moments: FeedMoments) -> None:
        head = await self._rpc.block("latest") if isinstance(notification, Gap) else parse_header(notification)
        if head is None:
            raise RpcUnavailable("the node has no newest block")
        try:
            reason = "start" if self.tip is None else await self.follow(head, handlers)
        except (BrokenAnswer, UnreadableLog, InconsistentDelta, GapError) as error:
            reason = f"{type(error).__name__}: {error}"
        if reason:
            tip = await self.load(handlers)
            moments.pools_loaded(self.chain_id, tip.number, len(self.book.pools), reason)

    async def load(self, handlers: ChainHandlers) -> Header:
        """Read all pools at the newest block and begin from there.

        Raises ``Fatal`` when a watched address is no pool, ``RpcError`` or ``RpcUnavailable`` when the node fails.
        """
        tip, book = await self._read_newest()
        self.book, self.tip, self._recent = book, tip, {tip.hash: tip}
        self._members.begin(book)
        self.applied_at_ms = self._clock.now_ms()
        await handlers.loaded(book, tip)
        return tip

    async def _read_newest(self) -> tuple[Header, PoolBook]:
        for attempt in range(LOAD_ATTEMPTS):
            tip = await self._rpc.block("latest")
            if tip is None:
                break
            try:
                return tip, await self._read_pools(tip)
            except RpcError:  # the block left the chain while it was read
                if attempt == LOAD_ATTEMPTS - 1:
                    raise
        raise RpcUnavailable("the node has no newest block")

    async def _read_pools(self, tip: Header) -> PoolBook:
        book = PoolBook(self._limits.undo_depth)
        reader = await ChainReader.at(self._rpc, tip.hash)
        for watched in self._watched:
            try:
                book.put(await load_pool(reader, watched), tip.ref)
            except PoolUnreadable as error:
                raise Misconfigured(f"{error}; correct DEXLANE_MARKET_FEED_POOLS") from error
        return book

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
            return f"block {head.number} leaves the chain below the last {len(self._recent)} blocks"
        ancestor = self._recent[branch[0].parent_hash]
        if ancestor.hash != tip.hash:
            await self._undo(tip, ancestor, head, handlers)
        for header in branch:
            await self._apply(header, handlers, newest=header is head)
        return ""

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
        changes = self._changes_in(logs)
        pools = self.book.pools
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
            deltas=tuple(
                delta_between(address, pools[address].state, state) for address, state in changes.states.items()
            ),
            received_at_ns=received_at_ns,
        )
        self.book.apply(event)
        self._remember(header)
        await handlers.applied(AppliedBlock(event, changes.volumes, newest), self.book)

    async def _logs_while_pools_change(self, header: Header, handlers: ChainHandlers) -> list[RawLog]:
        """Let pools join and leave, and fetch the logs of the block meanwhile, already of the new set."""
        change = self._members.change(self.book, BlockRef(number=header.number - 1, hash=header.parent_hash))
        if change is None:
            return await self._logs(header)
        logs, told = await asyncio.gather(
            self._logs(header), handlers.pools_changed(change, self.book), return_exceptions=True
        )
        if isinstance(told, BaseException):
            raise told
        if isinstance(logs, BaseException):
            raise logs
        return logs

    async def _logs(self, header: Header) -> list[RawLog]:
        """The block's logs of our pools.

        A node may announce a head before its logs can be read, and then answers with none of them. The header's bloom
        tells: it names every pool that has logs (and by chance one that has none, hence the bound).
        """
        if not self._members.addresses:  # a node takes no addresses for all of them
            return []
        wait_s = LOGS_RETRY_S
        for attempt in range(LOGS_ATTEMPTS):
            logs = list(await self._rpc.logs(header.hash, self._members.addresses))
            if logs or not any(may_log(header.logs_bloom, mask) for mask in self._members.blooms.values()):
                break
            if attempt < LOGS_ATTEMPTS - 1:
                await asyncio.sleep(wait_s)
                wait_s *= 2
        return logs

    def _remember(self, header: Header) -> None:
        self.tip = header
        self._recent[header.hash] = header
        while len(self._recent) > self._limits.undo_depth:
            del self._recent[next(iter(self._recent))]
        self.applied_at_ms = self._clock.now_ms()

    def _changes_in(self, logs: Sequence[RawLog]) -> _BlockChanges:
        found = _BlockChanges()
        for log in sorted(logs, key=lambda log: log.log_index):
            change = decode_log(log)
            if change is None:
                continue
            address = log.address
            if address not in self.book.pools:
                raise BrokenAnswer(f"the node gave a log of {address}, which was not asked for")
            before = found.states.get(address, self.book.pools[address].state)
            found.states[address] = after_change(before, change)
            moved0, moved1 = swapped_amounts(before, change)
            total0, total1 = found.volumes.get(address, (0, 0))
            found.volumes[address] = (total0 + moved0, total1 + moved1)
        return found

    def why_not_current(self, max_age_ms: int) -> Callable[[], bool | str]:
        """A readiness probe: True, or why this chain's book is behind."""

        def probe() -> bool | str:
            if self.tip is None:
                return f"the pools of chain {self.chain_id} are not loaded yet"
            age = self._clock.now_ms() - self.applied_at_ms
            return True if age <= max_age_ms else f"the last block of chain {self.chain_id} came {age} ms ago"

        return probe


def swapped_amounts(before: PoolState, change: PoolChange) -> tuple[int, int]:
    """Gross amounts of token0 and token1 that one event traded; zeros for changes of liquidity.

    A V2 swap moves the reserves in opposite directions, minting and burning move both the same way.
    """
    if isinstance(change, PoolSwapped):
        return abs(change.amount0), abs(change.amount1)
    if isinstance(change, LiquidityChanged) or not isinstance(before, ConstantProductState):
        return 0, 0
    moved0, moved1 = change.reserve0 - before.reserve0, change.reserve1 - before.reserve1
    return (abs(moved0), abs(moved1)) if moved0 * moved1 < 0 else (0, 0)
