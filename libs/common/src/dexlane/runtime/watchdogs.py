"""Watchdogs: a service that stands still must not look alive."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Mapping
from types import MappingProxyType

from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, ConsumerInfo
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Fatal
from dexlane.runtime.observability import Log, Metrics
from dexlane.runtime.reading import Gate

LOOP_STALL_S = 10.0
PROGRESS_CHECK_S = 15.0
PROGRESS_CHECKS_BEFORE_RESTART = 4


class ProgressWatchdog:
    """Ends the service when a durable consumer takes nothing while messages wait for it, and makes one anew that the
    server has no more (its stream was lost): what was handled before is known by its id.

    ``consumers`` are (stream, subject, durable name). Their backlog is shown as a metric. While the gate of
    one is closed, as without a database, this process asks it for nothing, and its messages may wait.
    """

    def __init__(
        self,
        bus: Bus,
        metrics: Metrics,
        consumers: list[tuple[str, str, str]],
        config: ConsumerConfig,
        gates: Mapping[str, Gate] = MappingProxyType({}),
    ) -> None:
        self._gates = gates
        self._bus = bus
        self._consumers = consumers
        self._config = config
        self._pending = metrics.gauge("consumer_pending", "Messages waiting for a durable consumer", ("durable",))
        self._seen: dict[str, tuple[int, int]] = {}

    async def run(self) -> None:
        """Check for ever; ``Fatal`` when a consumer is stuck."""
        while True:
            await asyncio.sleep(PROGRESS_CHECK_S)
            for stream, subject, durable in self._consumers:
                await self._check(stream, subject, durable)

    async def _check(self, stream: str, subject: str, durable: str) -> None:
        try:
            info = await self._info(stream, subject, durable)
        except (NatsError, JetStreamError, TimeoutError):
            return  # the link is down: the bus says so, and nothing can be concluded about the consumer
        waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
        self._pending.labels(durable).set(waiting)
        delivered = info.delivered.consumer_seq if info.delivered else 0
        before, stale = self._seen.get(durable, (-1, 0))
        is_asked = durable not in self._gates or self._gates[durable].is_open
        stale = stale + 1 if info.num_pending and delivered == before and is_asked else 0
        self._seen[durable] = (delivered, stale)
        if stale >= PROGRESS_CHECKS_BEFORE_RESTART:
            raise Fatal(f"consumer {durable} made no progress while {waiting} messages wait")

    async def _info(self, stream: str, subject: str, durable: str) -> ConsumerInfo:
        try:
            info: ConsumerInfo = await self._bus.js.consumer_info(stream, durable)
        except NotFoundError:
            config = self._config.evolve(name=durable, durable_name=durable, filter_subject=subject)
            info = await self._bus.js.add_consumer(stream, config)
        return info


def watch_loop(loop: asyncio.AbstractEventLoop, log: Log) -> None:
    """End the process when its event loop stands still.

    Two missed beats in a row are needed, because after SIGSTOP this thread and the loop wake together.
    """
    beat = threading.Event()
    pause = threading.Event()

    def watch() -> None:
        missed = 0
        while True:
            beat.clear()
            try:
                loop.call_soon_threadsafe(beat.set)
            except RuntimeError:
                return  # the loop is closed: the process is ending
            missed = 0 if beat.wait(LOOP_STALL_S) else missed + 1
            if missed >= 2:
                log.error("event_loop_stalled", seconds=LOOP_STALL_S * missed)
                sys.stdout.flush()
                os._exit(70)
            pause.wait(1.0)

    threading.Thread(target=watch, name="loop-watchdog", daemon=True).start()
