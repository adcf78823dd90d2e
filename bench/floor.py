"""The bare floor of a trade's path: stored hops with plain nats-py, and one write that is on disk when it returns."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nats
from nats.js.api import ConsumerConfig, StreamConfig

from dexlane.events.risk import VerdictApproved
from dexlane.testing.servers import nats_server


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


async def _hops(url: str, hops: int, rate: int, count: int) -> Spread:
    client = await nats.connect(url)
    js = client.jetstream()
    await js.add_stream(StreamConfig(name="FLOOR", subjects=["floor.>"]))
    samples: list[float] = []
    done = asyncio.Event()

    async def relay(number: int) -> None:
        link = await nats.connect(url)
        stage = link.jetstream()
        subscription = await stage.pull_subscribe(
            f"floor.{number}", durable=f"stage-{number}", config=ConsumerConfig(ack_wait=30)
        )
        while True:
            try:
                (message,) = await subscription.fetch(1, timeout=5)
            except (nats.errors.TimeoutError, TimeoutError):
                continue
            if number == hops:
                samples.append((time.perf_counter_ns() - int(message.data[:20])) / 1e6)
                if len(samples) == count:
                    done.set()
            else:
                await stage.publish(f"floor.{number + 1}", message.data)
            await message.ack()

    stages = [asyncio.create_task(relay(number)) for number in range(1, hops + 1)]
    await asyncio.sleep(0.3)
    for _ in range(count):
        await js.publish("floor.1", str(time.perf_counter_ns()).rjust(20, "0").encode() + b"x" * 1_000)
        await asyncio.sleep(1 / rate)
    await asyncio.wait_for(done.wait(), 30)
    for stage in stages:
        stage.cancel()
    await client.close()
    return spread(samples)


def hops_floor(hops: int = 2, rate: int = 50, count: int = 500) -> Spread:
    """End to end over stored hops with one durable pull consumer each, all in one process."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as store, nats_server(Path(store)) as url:
        return asyncio.run(_hops(url, hops, rate, count))
