"""Facts in an unbroken row on a real server: none missing, none doubled, no second writer in between."""

from __future__ import annotations

import pytest
import pytest_asyncio

from dexlane.events.base import Event
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Transient
from dexlane.runtime.sequenced import Displaced, SequencedPublisher
from dexlane.values.chains import BlockRef

pytestmark = pytest.mark.integration


def block_hash(number: int, branch: int = 0) -> str:
    return f"0x{number:060x}{branch:04x}"


def block(number: int, branch: int = 0) -> BlockApplied:
    made = block_hash(number, branch)
    return BlockApplied(
        id=BlockApplied.make_id(1, made),
        chain_id=1,
        occurred_at_ms=1,
        block=BlockRef(number=number, hash=made),
        parent_hash=block_hash(number - 1, branch),
        timestamp_s=1,
        base_fee_per_gas_wei=1,
        next_base_fee_per_gas_wei=1,
        gas_used=0,
        gas_limit=1,
        received_at_ns=1,
    )


def reorg(number: int) -> BlockReorged:
    old, new = block(number).block, block(number, 1).block
    return BlockReorged(
        id=BlockReorged.make_id(1, old.hash, new.hash),
        chain_id=1,
        occurred_at_ms=1,
        old_tip=old,
        ancestor=BlockRef(number=number - 1, hash=block_hash(number - 1)),
        new_tip=new,
        depth=1,
    )


def publisher(bus: Bus, chain_id: int = 1) -> SequencedPublisher:
    return SequencedPublisher(bus, chain_id, (BlockApplied, BlockReorged))


@pytest_asyncio.fixture
async def first(bus: Bus) -> SequencedPublisher:
    made = publisher(bus)
    assert await made.recent(100) == []
    return made


async def stored(bus: Bus) -> list[str]:
    return [event.id for event in await publisher(bus).recent(1_000)]


async def test_facts_of_several_types_are_read_back_in_their_order(bus: Bus, first: SequencedPublisher) -> None:
    events: list[Event] = [block(1), block(2), reorg(2), block(2, 1)]
    for event in events:
        await first.publish(event)
    assert await publisher(bus).recent(1_000) == events
    assert await publisher(bus).recent(0) == events[-1:]


async def test_a_second_writer_that_did_not_look_is_refused(bus: Bus, first: SequencedPublisher) -> None:
    second = publisher(bus)
    await second.recent(10)
    await first.publish(block(1))
    with pytest.raises(Displaced):
        await second.publish(reorg(1))
    await second.recent(10)
    await second.publish(block(2))
    with pytest.raises(Displaced):
        await first.publish(block(3))
    assert await stored(bus) == [block(1).id, block(2).id]


async def test_a_fact_whose_answer_was_lost_is_not_stored_twice(bus: Bus, first: SequencedPublisher) -> None:
    await first.publish(block(1))
    first._last = 0
    await first.publish(block(1))  # within the duplicate window: the server says that it has it
    await first.publish(block(2))
    assert await stored(bus) == [block(1).id, block(2).id]


async def test_a_fact_whose_answer_was_lost_is_recognised_after_the_duplicate_window(
    bus: Bus, first: SequencedPublisher
) -> None:
    await first.publish(block(1))
    first._last = 0
    await first._check_displaced(block(1))
    await first.publish(block(2))
    assert await stored(bus) == [block(1).id, block(2).id]


async def test_a_block_that_comes_back_is_refused_only_while_the_server_takes_it_for_a_repetition(
    first: SequencedPublisher,
) -> None:
    await first.publish(block(1))
    await first.publish(reorg(1))
    with pytest.raises(Transient, match="repetition"):
        await first.publish(block(1))


async def test_other_chains_do_not_matter(bus: Bus, first: SequencedPublisher) -> None:
    await first.publish(block(1))
    other = publisher(bus, 8_453)
    assert await other.recent(10) == []
    await first.publish(block(2))
    assert await stored(bus) == [block(1).id, block(2).id]
