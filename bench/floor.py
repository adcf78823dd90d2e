"""The bare floor of a trade's path: stored hops with plain nats-py, and one write that is on disk when it returns."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, StreamConfig

from dexlane.events.market import BlockApplied
from dexlane.events.risk import VerdictApproved
from dexlane.runtime.cancelling import cancelled
from dexlane.testing.servers import nats_server

SUMMANDS = 50_000
"""About as long as a trade takes between its verdict and its bytes."""
BLOCKS_APART = 2
"""The floor beside a running system is begun by every so many blocks."""


@dataclass(frozen=True)
class Spread:
    """A distribution in milliseconds."""

    count: int
    p50: float
    p99: float
    worst: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f} ms, p99 {self.p99:.2f} ms, worst {self.worst:.1f} ms, n={self.count}"


def spread(samples_ms: list[float]) -> Spread:
    """Median, 99th percentile and maximum; nearest rank."""
    ordered = sorted(samples_ms)
    last = len(ordered) - 1
    return Spread(len(ordered), ordered[last // 2], ordered[min(last, round(last * 0.99))], ordered[last])


def fsync_floor(count: int = 500, pause_s: float = 0.0) -> Spread:
    """A 4 KiB append that is on disk when it returns. A disk that rested answers later than one that is kept busy."""
    samples = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        descriptor = os.open(Path(folder) / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for _ in range(count):
            began = time.perf_counter_ns()
            os.write(descriptor, b"x" * 4096)
            os.fsync(descriptor)
            samples.append((time.perf_counter_ns() - began) / 1e6)
            time.sleep(pause_s)
        os.close(descriptor)
    return spread(samples)


def reading_floor(data: bytes, count: int = 500, pause_s: float = 0.0) -> Spread:
    """Reading one verdict: the same work each time, so that what a rest adds is what the processor forgot in it."""
    samples = []
    for _ in range(count):
        began = time.perf_counter_ns()
        VerdictApproved.from_wire(data)
        samples.append((time.perf_counter_ns() - began) / 1e6)
        time.sleep(pause_s)
    return spread(samples)


def arithmetic_floor(count: int = 500, pause_s: float = 0.0) -> Spread:
    """Sums that fit into the smallest cache and touch no disk: what they take at times is the machine's own doing."""
    samples = []
    for _ in range(count):
        began = time.perf_counter_ns()
        total = 0
        for number in range(SUMMANDS):
            total += number * 3
        samples.append((time.perf_counter_ns() - began) / 1e6)
        time.sleep(pause_s)
    return spread(samples)


@asynccontextmanager
async def _relayed(url: str, hops: int, arrived: Callable[[bytes], None]) -> AsyncIterator[Client]:
    """Stored hops from ``floor.1`` on, with a durable pull consumer and a link each; what comes out is handed over."""
    client = await nats.connect(url)
    await client.jetstream().add_stream(StreamConfig(name="FLOOR", subjects=["floor.>"]))

    async def relay(number: int) -> None:
        link = await nats.connect(url)
        stage = link.jetstream()
        subscription = await stage.pull_subscribe(
            f"floor.{number}", durable=f"stage-{number}", config=ConsumerConfig(ack_wait=30)
        )
        try:
            while True:
                try:
                    (message,) = await subscription.fetch(1, timeout=5)
                except (nats.errors.TimeoutError, TimeoutError):
                    continue
                if number == hops:
                    arrived(message.data)
                else:
                    await stage.publish(f"floor.{number + 1}", message.data)
                await message.ack()
        finally:
            await link.close()

    relays = [asyncio.create_task(relay(number)) for number in range(1, hops + 1)]
    await asyncio.sleep(0.3)
    try:
        yield client
    finally:
        await cancelled(relays)
        await client.close()


def _stamped() -> bytes:
    return str(time.perf_counter_ns()).rjust(20, "0").encode() + b"x" * 1_000


def _ms_since(data: bytes) -> float:
    return (time.perf_counter_ns() - int(data[:20])) / 1e6


async def _hops(url: str, hops: int, rate: int, count: int) -> Spread:
    samples: list[float] = []
    done = asyncio.Event()

    def arrived(data: bytes) -> None:
        samples.append(_ms_since(data))
        if len(samples) == count:
            done.set()

    async with _relayed(url, hops, arrived) as client:
        js = client.jetstream()
        for _ in range(count):
            await js.publish("floor.1", _stamped())
            await asyncio.sleep(1 / rate)
        await asyncio.wait_for(done.wait(), 30)
    return spread(samples)


def hops_floor(hops: int = 2, rate: int = 50, count: int = 500) -> Spread:
    """End to end over stored hops with one durable pull consumer each, all in one process."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as store, nats_server(Path(store)) as url:
        return asyncio.run(_hops(url, hops, rate, count))


async def floor_beside(url: str, folder: Path, seconds: float) -> Spread | None:
    """Two stored hops and a write on disk over the broker of a running system, begun by every second block that it
    tells: at the moment at which trades begin, and nearly as rarely. None when it told none."""
    samples: list[float] = []
    heard = itertools.count(1)
    with (folder / "floor").open("ab", buffering=0) as file:

        def arrived(data: bytes) -> None:
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            samples.append(_ms_since(data))

        async with _relayed(url, 2, arrived) as client:
            js = client.jetstream()

            async def begin(_block: Msg) -> None:
                if next(heard) % BLOCKS_APART == 0:
                    await js.publish("floor.1", _stamped())

            await client.subscribe(BlockApplied.pattern(), cb=begin)
            await asyncio.sleep(seconds)
    return spread(samples) if samples else None
