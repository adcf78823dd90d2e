"""The one writer of a chain, or its standby: the same book in both, but only the writer's facts are stored.

A standby keeps what it would have published. When it takes over it reads where the stream ends, publishes the blocks
that the stream misses and goes on from there, so that readers notice nothing. Deterministic ids and exact positions
make a second writer, should there ever be one for a moment, harmless.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dexlane.events.base import Event
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.events.opportunity import OpportunityFound
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Transient
from dexlane.runtime.lease import Lease
from dexlane.runtime.sequenced import Displaced
from dexlane.values.chains import BlockRef
from market_feed.metrics import FeedMoments

READ_BACK = 2_048
"""Messages of the stream that are looked through for the blocks that its readers hold; all chains share it."""
PATIENCE_S = 5.0
"""How long a new writer waits for blocks that the last one knew before it takes them for undone."""
LOOK_S = 0.05
RETRY_S = 0.25
OTHERS_KEPT = 256


class Publisher(Protocol):
    """The bus, as far as the feed needs it."""

    async def publish(self, event: Event) -> object:
        """Store a fact; ``Transient`` when it is unknown whether it was stored."""
        ...


Announce = Callable[[Publisher, bool], Awaitable[None]]
"""Tells readers about pools that they do not know; about all of them, with snapshots, after a gap."""


class BlockRow(Protocol):
    """The row of block facts of one chain (``dexlane.runtime.sequenced``)."""

    async def recent(self, count: int) -> list[Event]:
        """What was published last, in order; what is published next follows it."""
        ...

    async def publish(self, event: Event) -> None:
        """Store a fact behind the last one. Raises ``Transient`` or ``Displaced``."""
        ...


@dataclass(frozen=True, slots=True)
class TakeOver:
    """What the stream misses. After a gap its readers have to begin anew from a snapshot."""

    events: tuple[Event, ...] = ()
    is_gap: bool = False


class Branch:
    """The last blocks of one branch, oldest first, and the parents of blocks that left it. Bounded."""

    def __init__(self, depth: int) -> None:
        self.blocks: deque[BlockApplied] = deque(maxlen=depth)
        self.root: BlockRef | None = None
        """What the oldest block stands on; None before anything is known."""
        self._parents: OrderedDict[str, BlockRef] = OrderedDict()
        self._depth = depth

    @property
    def tip(self) -> BlockRef | None:
        """The newest block; the root while there is none."""
        return self.blocks[-1].block if self.blocks else self.root

    def begin(self, root: BlockRef) -> None:
        """Forget everything; the branch begins on this block."""
        self.blocks.clear()
        self._parents.clear()
        self.root = root

    def take(self, event: Event) -> None:
        """Follow a block or a reorganisation."""
        if isinstance(event, BlockApplied):
            if self.tip is not None and self.tip.hash == event.block.hash:
                return
            if len(self.blocks) == self._depth:
                self.root = self.blocks[0].block
            self.blocks.append(event)
            self._parents[event.block.hash] = BlockRef(number=event.block.number - 1, hash=event.parent_hash)
            while len(self._parents) > 2 * self._depth:
                self._parents.popitem(last=False)
        elif isinstance(event, BlockReorged):
            while self.blocks and self.blocks[-1].block.number > event.ancestor.number:
                self.blocks.pop()

    def position(self, block: BlockRef) -> int | None:
        """How many of the blocks end with this one: zero for the root; None when it is not on the branch."""
        if self.root is not None and block.hash == self.root.hash:
            return 0
        return next((at + 1 for at, known in enumerate(self.blocks) if known.block.hash == block.hash), None)

    def after(self, stored: Sequence[Event], *, now_ms: int, patient: bool) -> TakeOver | None:
        """What follows the end of the stream on this branch, with a reorganisation first when the stream ended on
        another one. None while ``patient``, when the stream is ahead: most likely the blocks arrive here in a moment.
        """
        end, tip = _end_of(stored), self.tip
        if tip is None:
            return None
        if end is None:
            return TakeOver(is_gap=True)
        at = self.position(end)
        if at is not None:
            return TakeOver(tuple(self.blocks)[at:])
        if patient and end.number > tip.number:
            return None
        ancestor = self.ancestor_of(end, [event for event in stored if isinstance(event, BlockApplied)])
        if ancestor is None:
            return TakeOver(is_gap=True)
        left = BlockReorged(
            id=BlockReorged.make_id(stored[-1].chain_id, end.hash, tip.hash),
            chain_id=stored[-1].chain_id,
            occurred_at_ms=now_ms,
            old_tip=end,
            ancestor=ancestor,
            new_tip=tip,
            depth=end.number - ancestor.number,
        )
        return TakeOver((left, *tuple(self.blocks)[self.position(ancestor) :]))

    def ancestor_of(self, block: BlockRef, parents: Sequence[BlockApplied]) -> BlockRef | None:
        """The newest block of the branch below ``block``, walking over its own memory and ``parents``; None when the
        walk ends before."""
        known = {event.block.hash: BlockRef(number=event.block.number - 1, hash=event.parent_hash) for event in parents}
        known |= self._parents
        below: BlockRef | None = block
        while below is not None and self.position(below) is None:
            below = known.get(below.hash)
        return below


def _end_of(stored: Sequence[Event]) -> BlockRef | None:
    """The block that readers of these events stand on."""
    if not stored:
        return None
    last = stored[-1]
    return last.block if isinstance(last, BlockApplied) else last.ancestor if isinstance(last, BlockReorged) else None


class MarketWriter:
    """Publishes the facts of one chain while its lease is held, keeps them otherwise. Implements ``Publisher``."""

    def __init__(self, chain_id: int, bus: Publisher, row: BlockRow, lease: Lease, *, depth: int) -> None:
        self.chain_id = chain_id
        self.seated = False
        """Whether facts are stored."""
        self._bus = bus
        self._row = row
        self._lease = lease
        self._branch = Branch(depth)
        self._others: deque[Event] = deque(maxlen=OTHERS_KEPT)
        self._one_at_a_time = asyncio.Lock()

    def begin(self, tip: BlockRef) -> None:
        """All pools were read anew at ``tip``; what was before is not known."""
        self._branch.begin(tip)
        self._others.clear()

    async def publish(self, event: Event) -> None:
        """Store a fact, or keep it while another process writes. Raises ``Transient``."""
        async with self._one_at_a_time:
            self._branch.take(event)
            if self.seated and not self._lease.held:
                self.seated = False
            if not self.seated:
                self._keep(event)
            elif isinstance(event, BlockApplied | BlockReorged):
                try:
                    await self._row.publish(event)
                except Displaced:  # the last writer's very last word; take over once more, from behind it
                    self.seated = False
                    self._lease.changed.set()
            else:
                await self._bus.publish(event)

    async def offer(self, found: OpportunityFound) -> None:
        """Store an opportunity beside the block that it was found in, without waiting for it. A standby drops it: when
        it takes over, the chance is gone. Raises ``Transient``."""
        if self.seated and self._lease.held:
            await self._bus.publish(found)

    async def run(self, announce: Announce, moments: FeedMoments, clock: Clock) -> None:
        """Take over whenever the lease is won, for ever."""
        while True:
            await self._lease.changed.wait()
            self._lease.changed.clear()
            if not self._lease.held:
                self.seated = False
                moments.lease_lost(self.chain_id, self._lease.holder)
                continue
            won_ns = clock.monotonic_ns()
            while self._lease.held and not self.seated:
                patient = clock.monotonic_ns() - won_ns < PATIENCE_S * 1e9
                try:
                    plan = await self._take_over(announce, now_ms=clock.now_ms(), patient=patient)
                except (Transient, Displaced) as error:
                    moments.publish_retried(self.chain_id, str(error))
                    await asyncio.sleep(RETRY_S)
                    continue
                if plan is None:
                    await asyncio.sleep(LOOK_S)
                else:
                    moments.lease_taken(self.chain_id, self._lease.epoch, plan, clock.monotonic_ns() - won_ns)

    async def _take_over(self, announce: Announce, *, now_ms: int, patient: bool) -> TakeOver | None:
        """Publish what the stream misses and sit down; None when it is too early for that."""
        async with self._one_at_a_time:
            plan = self._branch.after(await self._row.recent(READ_BACK), now_ms=now_ms, patient=patient)
            if plan is None:
                return None
            for event in plan.events:
                await self._row.publish(event)
            for event in list(self._others):
                await self._bus.publish(event)
            self._others.clear()
            await announce(self._bus, plan.is_gap)
            self.seated = self._lease.held
            return plan

    def _keep(self, event: Event) -> None:
        """Keep what is neither in the branch already nor worthless later."""
        if not isinstance(event, BlockApplied | BlockReorged):
            self._others.append(event)
