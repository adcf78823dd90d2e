"""Taking over a chain: what a new writer publishes first, so that readers notice nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.events.base import Event
from dexlane.events.market import BlockApplied, BlockReorged, PoolDiscovered
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.observability import Log, Metrics
from dexlane.runtime.sequenced import Displaced
from dexlane.values.chains import BlockRef
from market_feed.feed.writer import Branch, MarketWriter, Publisher
from market_feed.metrics import FeedMoments


def ref(number: int, fork: int = 0) -> BlockRef:
    return BlockRef(number=number, hash=f"0x{number:032x}{fork:032x}")


def block(number: int, fork: int = 0, parent_fork: int | None = None) -> BlockApplied:
    made = ref(number, fork)
    return BlockApplied(
        id=BlockApplied.make_id(1, made.hash),
        chain_id=1,
        occurred_at_ms=1,
        block=made,
        parent_hash=ref(number - 1, fork if parent_fork is None else parent_fork).hash,
        timestamp_s=1,
        base_fee_per_gas_wei=1,
        next_base_fee_per_gas_wei=1,
        gas_used=0,
        gas_limit=1,
        received_at_ns=1,
    )


def reorg(old: BlockRef, ancestor: BlockRef, new: BlockRef) -> BlockReorged:
    return BlockReorged(
        id=BlockReorged.make_id(1, old.hash, new.hash),
        chain_id=1,
        occurred_at_ms=1,
        old_tip=old,
        ancestor=ancestor,
        new_tip=new,
        depth=old.number - ancestor.number,
    )


def branch_of(root: BlockRef, *events: Event) -> Branch:
    branch = Branch(64)
    branch.begin(root)
    for event in events:
        branch.take(event)
    return branch


def events_after(branch: Branch, stored: Sequence[Event], *, patient: bool = False) -> list[Event] | None:
    plan = branch.after(stored, now_ms=1, patient=patient)
    if plan is None:
        return None
    assert not plan.is_gap
    return list(plan.events)


def test_the_blocks_above_the_end_of_the_stream_are_missing() -> None:
    branch = branch_of(ref(0), block(1), block(2), block(3))
    assert events_after(branch, [block(1)]) == [block(2), block(3)]
    assert events_after(branch, [block(1), block(2), block(3)]) == []


def test_a_stream_that_ended_with_a_reorganisation_goes_on_from_its_ancestor() -> None:
    branch = branch_of(ref(0), block(1), block(2, 1, parent_fork=0))
    stored = [block(1), block(2), reorg(ref(2), ref(1), ref(2, 1))]
    assert events_after(branch, stored) == [block(2, 1, parent_fork=0)]


def test_a_stream_on_an_undone_branch_is_led_back_first() -> None:
    undone = [block(1), block(2), block(3)]
    branch = branch_of(ref(0), *undone, reorg(ref(3), ref(1), ref(2, 1)), block(2, 1, parent_fork=0), block(3, 1))
    [left, *rest] = events_after(branch, undone) or []
    assert isinstance(left, BlockReorged)
    assert (left.old_tip, left.ancestor, left.new_tip, left.depth) == (ref(3), ref(1), ref(3, 1), 2)
    assert rest == [block(2, 1, parent_fork=0), block(3, 1)]


def test_a_branch_that_only_the_stream_knew_is_walked_back_over_its_own_messages() -> None:
    branch = branch_of(ref(0), block(1), block(2), block(3))
    stored = [block(1), block(2, 7, parent_fork=0), block(3, 7)]
    [left, *rest] = events_after(branch, stored) or []
    assert isinstance(left, BlockReorged)
    assert left.ancestor == ref(1)
    assert rest == [block(2), block(3)]


def test_a_stream_that_is_ahead_is_waited_for_and_led_back_when_its_blocks_never_come() -> None:
    branch = branch_of(ref(0), block(1))
    stored = [block(1), block(2)]
    assert events_after(branch, stored, patient=True) is None
    [left] = events_after(branch, stored) or []
    assert isinstance(left, BlockReorged)
    assert (left.ancestor, left.new_tip) == (ref(1), ref(1))


def test_without_a_common_block_readers_have_to_begin_anew() -> None:
    for stored in ([], [block(3)]):
        plan = branch_of(ref(9), block(10)).after(stored, now_ms=1, patient=False)
        assert plan is not None
        assert plan.is_gap


def test_a_branch_keeps_no_more_than_its_depth() -> None:
    branch = Branch(8)
    branch.begin(ref(0))
    for number in range(1, 1_000):
        branch.take(block(number))
    assert (len(branch.blocks), branch.root, len(branch._parents)) == (8, ref(991), 16)


class Readers:
    """What readers of the stream hold: refuses, as they do, whatever does not connect."""

    def __init__(self) -> None:
        self.held: list[BlockRef] = [ref(0)]
        self.stored: list[Event] = []

    def take(self, event: Event) -> None:
        self.stored.append(event)
        if isinstance(event, BlockApplied):
            assert self.held[-1].hash == event.parent_hash, "a gap"
            self.held.append(event.block)
        elif isinstance(event, BlockReorged):
            assert event.ancestor in self.held, "a reorganisation to where nobody stands"
            while self.held[-1] != event.ancestor:
                self.held.pop()


class Row:
    """One writer's view of the stream: positions are compared as the server does it."""

    def __init__(self, readers: Readers) -> None:
        self.readers = readers
        self.last = 0

    async def recent(self, count: int) -> list[Event]:
        self.last = len(self.readers.stored)
        return self.readers.stored[-count:]

    async def publish(self, event: Event) -> None:
        if self.last != len(self.readers.stored):
            raise Displaced
        self.readers.take(event)
        self.last += 1


class Seat:
    def __init__(self) -> None:
        self.held = False
        self.holder = ""
        self.epoch = 1
        self.changed = asyncio.Event()


class Others:
    def __init__(self) -> None:
        self.stored: list[Event] = []

    async def publish(self, event: Event) -> None:
        self.stored.append(event)


class Process:
    """A feed without a node: blocks are handed to its writer."""

    def __init__(self, readers: Readers) -> None:
        self.seat, self.others = Seat(), Others()
        self.announced: list[bool] = []
        self.writer = MarketWriter(1, self.others, Row(readers), self.seat, depth=64)  # type: ignore[arg-type]

    async def announce(self, bus: Publisher, is_gap: bool) -> None:
        self.announced.append(is_gap)

    async def take_over(self) -> None:
        self.seat.held = True
        assert await self.writer._take_over(self.announce, now_ms=1, patient=False) is not None


async def test_what_a_standby_found_besides_blocks_is_published_when_it_takes_over() -> None:
    process = Process(Readers())
    process.writer.begin(ref(0))
    found = PoolDiscovered.model_construct(id="pool")
    await process.writer.publish(found)
    assert process.others.stored == []
    await process.take_over()
    assert process.others.stored == [found]


async def test_the_last_word_of_a_writer_that_lost_its_seat_without_noticing_makes_no_double() -> None:
    readers = Readers()
    old, new = Process(readers), Process(readers)
    for process in (old, new):
        process.writer.begin(ref(0))
    await old.take_over()
    for process in (old, new):
        await process.writer.publish(block(1))
    await new.take_over()
    await old.writer.publish(block(2))  # it was frozen, and does not know yet
    await new.writer.publish(block(2))
    assert (new.writer.seated, new.seat.changed.is_set()) == (False, True)
    await new.take_over()
    for process in (new, old):
        await process.writer.publish(block(3))
    assert readers.stored == [block(1), block(2), block(3)]
    assert (old.writer.seated, new.writer.seated) == (False, True)


async def test_the_lease_decides_who_writes() -> None:
    process = Process(Readers())
    process.writer.begin(ref(0))
    moments = FeedMoments(Metrics("market-feed"), Log(logging.getLogger("test")))
    running = asyncio.create_task(process.writer.run(process.announce, moments, ManualClock()))
    try:
        process.seat.held = True
        process.seat.changed.set()
        await asyncio.sleep(0.01)
        assert (process.writer.seated, process.announced) == (True, [True])
        process.seat.held = False
        process.seat.changed.set()
        await asyncio.sleep(0.01)
        assert not process.writer.seated
    finally:
        running.cancel()


class TwoFeeds:
    """Two processes that see one chain with its forks, each in its own time, and readers of the stream."""

    def __init__(self) -> None:
        self.readers = Readers()
        self.chain = [block(1)]
        self.fork = 0
        self.feeds = {name: Process(self.readers) for name in "ab"}
        self._seen: dict[str, list[BlockApplied]] = {name: [] for name in self.feeds}
        for process in self.feeds.values():
            process.writer.begin(ref(0))

    def mine(self, blocks: int) -> None:
        for _ in range(blocks):
            parent = int(self.chain[-1].block.hash[-4:], 16) if self.chain else 0
            self.chain = [*self.chain, block(len(self.chain) + 1, self.fork, parent_fork=parent)]

    def replace(self, blocks: int) -> None:
        if len(self.chain) > blocks:
            self.fork += 1
            self.chain = self.chain[:-blocks]
            self.mine(blocks)

    async def look(self, name: str) -> None:
        held, chain, writer = self._seen[name], self.chain, self.feeds[name].writer
        common = next(
            (at for at, (x, y) in enumerate(zip(held, chain, strict=False)) if x != y), min(len(held), len(chain))
        )
        if common < len(held):
            ancestor = held[common - 1].block if common else ref(0)
            await writer.publish(reorg(held[-1].block, ancestor, chain[-1].block))
        for event in chain[common:]:
            await writer.publish(event)
        self._seen[name] = list(chain)

    async def seat(self, name: str) -> None:
        for other, process in self.feeds.items():
            process.seat.held = other == name
            process.writer.seated = process.writer.seated and process.seat.held
        await self.feeds[name].take_over()


steps = st.lists(
    st.tuples(st.sampled_from(["a sees", "b sees", "mine", "fork", "a writes", "b writes"]), st.integers(1, 5)),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps)
async def test_however_writers_change_readers_never_see_a_gap(script: list[tuple[str, int]]) -> None:
    world = TwoFeeds()
    await world.seat("a")
    await world.look("a")
    for step, amount in script:
        if step == "mine":
            world.mine(amount)
        elif step == "fork":
            world.replace(amount)
        elif step.endswith("sees"):
            await world.look(step[0])
        else:
            await world.seat(step[0])
    for name in world.feeds:
        await world.look(name)
    assert not any(any(process.announced[1:]) for process in world.feeds.values())
    assert world.readers.held[1:] == [event.block for event in world.chain]
