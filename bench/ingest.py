"""From parsed JSON logs to the pool book and its event, for few and for many pools; and the wire form of that event."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.market_load import Market, block_hash
from dexlane.chain.answers import parse_logs
from dexlane.chain.logs import fold_logs
from dexlane.domain.pool_book import PoolBook
from dexlane.events.market import BlockApplied
from dexlane.runtime.collector import keep_for_good
from dexlane.values.chains import BlockRef

BLOCKS, LOGS_PER_BLOCK = 400, 200
ROUNDS = 20
"""Few and many pools take turns, so that a slow minute of the machine slows both."""


@dataclass
class Timing:
    """Seconds spent on so many items."""

    seconds: float = 0.0
    items: int = 0

    @contextmanager
    def over(self, items: int) -> Iterator[None]:
        """Time what happens inside, in processor time: waiting for a processor is not counted."""
        began = time.thread_time()
        yield
        self.seconds += time.thread_time() - began
        self.items += items

    @property
    def each_us(self) -> float:
        """Microseconds for each item."""
        return 1e6 * self.seconds / max(1, self.items)

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.seconds


@dataclass
class Found:
    """What one market cost: from logs to the book, the bare slices, and the event's ways to and from the wire."""

    logs: Timing
    bare: Timing
    encode: Timing
    decode: Timing
    mirror: Timing
    wire_bytes: int = 0


def event_of(number: int, deltas: Any) -> BlockApplied:
    """The event of a block of the made-up market."""
    return BlockApplied(
        id=BlockApplied.make_id(1, block_hash(number)),
        chain_id=1,
        occurred_at_ms=0,
        block=BlockRef(number=number, hash=block_hash(number)),
        parent_hash=block_hash(number - 1),
        timestamp_s=1_700_000_000 + number,
        base_fee_per_gas_wei=10**9,
        next_base_fee_per_gas_wei=10**9,
        gas_used=15_000_000,
        gas_limit=30_000_000,
        received_at_ns=time.time_ns(),
    ).model_copy(update={"deltas": deltas})


def book_of(market: Market) -> PoolBook:
    """A book with every pool at block 0, and 128 blocks of undo."""
    book = PoolBook(128)
    for pool in market.pools:
        book.put(pool, BlockRef(number=0, hash=block_hash(0)))
    return book


def bare_slices(logs: Sequence[dict[str, Any]]) -> int:
    """The floor: address, index and every word of the data as integers, and nothing else."""
    total = 0
    for log in logs:
        data = log["data"]
        words = [int(data[at : at + 64], 16) for at in range(2, len(data), 64)]
        total += len(log["address"]) + int(log["logIndex"], 16) + words[-1]
    return total


class Run:
    """One market that goes on from round to round."""

    def __init__(self, pools: int, touched: int) -> None:
        self.market = Market.of(pools)
        self.book, self.mirror = book_of(self.market), book_of(self.market)
        self.touched = touched
        self.number = 0
        self.found = Found(Timing(), Timing(), Timing(), Timing(), Timing())

    def round(self, blocks: int) -> None:
        """Some more blocks, made before anything is timed; each kind of work is timed over all of them."""
        load = list(self.market.blocks(blocks, LOGS_PER_BLOCK, self.touched, first=self.number + 1))
        with self.found.bare.over(blocks * LOGS_PER_BLOCK):
            for logs in load:
                bare_slices(logs)
        events: list[BlockApplied] = []
        with self.found.logs.over(blocks * LOGS_PER_BLOCK):
            for logs in load:
                self.number += 1
                folded = fold_logs(parse_logs(logs), self.book.pools)
                event = event_of(self.number, folded.deltas)
                self.book.apply(event)
                events.append(event)
        self._wire(events)

    def _wire(self, events: list[BlockApplied]) -> None:
        updates = sum(len(event.deltas) for event in events)
        with self.found.encode.over(updates):
            messages = [event.to_wire() for event in events]
        with self.found.decode.over(updates):
            read = [BlockApplied.from_wire(message) for message in messages]
        with self.found.mirror.over(updates):
            for event in read:
                self.mirror.apply(event)
        self.found.wire_bytes += sum(map(len, messages))


def measure(pool_counts: Sequence[int], touched: int, blocks: int = BLOCKS) -> dict[int, Found]:
    """The cost for each number of pools, with so many of them touched in each block."""
    runs = {count: Run(count, touched) for count in pool_counts}
    keep_for_good()  # as services do after loading their pools
    for _ in range(ROUNDS):
        for run in runs.values():
            run.round(blocks // ROUNDS)
    return {count: run.found for count, run in runs.items()}


def show(pool_counts: Sequence[int] = (100, 100_000), touched: Sequence[int] = (80, 100)) -> None:
    """For blocks in which pools have few or many logs each: one line for each number of pools, and how flat it is."""
    print("ingest: parsed JSON logs to a book with 128 blocks of undo, and the event; one core")
    for count in touched:
        print(f"  blocks of {LOGS_PER_BLOCK} logs over {count} pools")
        _show_costs(measure(pool_counts, count))


def _show_costs(found: dict[int, Found]) -> None:
    for pools, one in found.items():
        print(
            f"    {pools:>7,} pools: {one.logs.rate:9,.0f} logs/s ({one.logs.each_us:.2f} us; promised 100,000/s), "
            f"{one.logs.each_us / one.bare.each_us:.1f} x bare hex slices ({one.bare.each_us:.2f} us)"
        )
        print(
            f"      for each pool update: encode {one.encode.each_us:.2f} us, decode {one.decode.each_us:.2f} us, "
            f"apply {one.mirror.each_us:.2f} us, {one.wire_bytes / one.encode.items:.0f} bytes"
        )
    few, many = found[min(found)].logs.each_us, found[max(found)].logs.each_us
    print(f"    a log at {max(found):,} pools costs {many / few:.2f} of one at {min(found):,} (promised 1.2)")
