"""Two fast executors as processes on one journal: one acts, and the other takes over when it ends, however it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.js import JetStreamContext

from dexlane.events.execution import IntentCreated
from dexlane.events.streams import stream_of
from dexlane.runtime.bus import Bus
from dexlane.testing.builders import (
    a_book,
    a_book_changed,
    a_verdict,
    an_entry_opportunity,
    an_exposure,
)
from dexlane.testing.servers import free_port
from dexlane.testing.told_market import tell_market
from dexlane.values.controls import Controls

pytestmark = [pytest.mark.integration, pytest.mark.long]
TAKEOVER_BOUND_S = 10.0


class Instance:
    """A fast executor as a process of its own."""

    def __init__(self, nats_url: str, database_url: str, folder: Path) -> None:
        self.port = free_port()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DEXLANE_")},
            "DEXLANE_NATS_URL": nats_url,
            "DEXLANE_LOG_LEVEL": "ERROR",
            "DEXLANE_DATA_DIR": str(folder),
            "DEXLANE_FAST_EXECUTOR_PORT": str(self.port),
            "DEXLANE_FAST_EXECUTOR_DATABASE_URL": database_url,
            "DEXLANE_FAST_EXECUTOR_MAX_STATE_AGE_MS": "120000",
        }
        self.process = subprocess.Popen([Path(sys.executable).parent / "dexlane-fast-executor"], env=environment)

    async def said(self) -> dict[str, Any]:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            try:
                answer: dict[str, Any] = (await client.get(f"http://127.0.0.1:{self.port}/readyz")).json()
            except httpx.HTTPError:
                return {}
        return answer

    async def note(self) -> str:
        return str((await self.said()).get("notes", {}).get("chain 1", ""))

    async def until(self, beginning: str) -> float:
        """Wait until it says that it acts, or is standby, and is ready; when that was, by the monotonic clock."""
        async with asyncio.timeout(120):
            while True:
                said = await self.said()
                if said.get("ready") and said["notes"]["chain 1"].startswith(beginning):
                    return time.monotonic()
                assert self.process.poll() is None
                await asyncio.sleep(0.05)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


async def traded(bus: Bus, js: JetStreamContext, deadline_block: int) -> float:
    """Publish a verdict and wait for its intent; how many seconds that took. Verdicts differ by their deadline."""
    verdict = a_verdict(an_entry_opportunity(edge_bps=0, deadline_block=deadline_block, id=f"{deadline_block:032x}"))
    began = time.monotonic()
    await bus.publish(verdict)
    async with asyncio.timeout(120):
        while True:
            info = await js.stream_info(stream_of(IntentCreated).name, subjects_filter="main.1.intent.>")
            for subject in info.state.subjects or {}:
                last = await js.get_last_msg(stream_of(IntentCreated).name, subject)
                if IntentCreated.from_wire(last.data or b"").verdict == verdict:
                    return time.monotonic() - began
            await asyncio.sleep(0.05)


def epoch_in(note: str) -> int:
    """The epoch of one that acts. On a machine that stood still, it may have let go once and taken over again."""
    return int(note.removeprefix("acts, epoch "))


async def placed(instances: list[Instance]) -> tuple[Instance, Instance]:
    """The one that acts, and its standby."""
    for _ in range(1_200):
        notes = [await one.note() for one in instances]
        for one, other in (instances, instances[::-1]):
            if notes[instances.index(one)].startswith("acts"):
                return one, other
        await asyncio.sleep(0.1)
    raise AssertionError(f"nobody acts: {[await one.said() for one in instances]}")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
async def test_the_standby_acts_within_ten_seconds_when_the_other_one_ends(
    bus: Bus, js: JetStreamContext, database_url: str, tmp_path: Path, how: signal.Signals
) -> None:
    await bus.publish(a_book_changed(a_book(controls=Controls(collar_bps=None, duplicate_blocks=0))))
    await tell_market(bus, js, an_exposure())
    instances = [Instance(bus.url, database_url, tmp_path) for _ in range(2)]
    try:
        first, second = await placed(instances)
        await first.until("acts")
        epoch = epoch_in(await first.note())
        await second.until("standby")
        assert str(first.process.pid) in await second.note()
        await traded(bus, js, 200)
        killed = time.monotonic()
        first.process.send_signal(how)
        await second.until(f"acts, epoch {epoch + 1}")
        took_s = time.monotonic() - killed
        logging.getLogger(__name__).info("takeover after %s: %.2f s", how.name, took_s)
        assert took_s < TAKEOVER_BOUND_S
        assert await traded(bus, js, 201) < TAKEOVER_BOUND_S
        if how is signal.SIGSTOP:
            first.process.send_signal(signal.SIGCONT)
            await first.until("standby")
            await traded(bus, js, 202)
            assert (await second.note()).startswith(f"acts, epoch {epoch + 1}")
    finally:
        for one in instances:
            one.end()
