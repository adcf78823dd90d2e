"""What makes the stack trade without a pause: approvals of small purchases in both lanes, some twice, some too late."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from crash_stack import CrashStack
from dexlane.domain.approvals import Moment, of_verdict
from dexlane.events.risk import VerdictApproved
from dexlane.testing.devnet_verdicts import Purchase, approval
from dexlane.values.books import Lane
from dexlane.values.chains import BlockRef

EVERY_S = (0.1, 0.9)
REPEATED = 0.1
PUBLISH_TIMEOUT_S = 2.0
APPROVED_FOR_S = 600


@dataclass
class Flow:
    """Publishes while ``flowing`` is set, and survives whatever happens to the broker."""

    stack: CrashStack
    seed: int
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    published: int = 0
    not_published: int = 0

    async def run(self) -> None:
        """For ever."""
        client = await nats.connect(
            self.stack.nats_url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=_keep_quiet
        )
        try:
            await asyncio.gather(*(self._lane(client, lane) for lane in Lane))
        finally:
            await client.close()

    async def _lane(self, client: Client, lane: Lane) -> None:
        chance = random.Random(f"{self.seed} {lane}")
        while True:
            await self.flowing.wait()
            block = await self.stack.rpc("eth_getBlockByNumber", "latest", False)
            at = BlockRef(number=int(block["number"], 16), hash=block["hash"])
            purchase = Purchase(
                lane=lane,
                spend=chance.randrange(100, 4_000) * 10**6 + chance.randrange(10**6),
                blocks_to_live=chance.choice((2, 8, 16, 30)),
                edge_bps=400,
            )
            verdict = approval(at, purchase, time.time_ns())
            moment = Moment(at.number, int(block["timestamp"], 16), APPROVED_FOR_S)
            verdict = verdict.model_copy(update={"seal": self.stack.sealer().seal(of_verdict(verdict, moment))})
            await self._publish(client, verdict, twice=chance.random() < REPEATED)
            await asyncio.sleep(chance.uniform(*EVERY_S))

    async def _publish(self, client: Client, verdict: VerdictApproved, *, twice: bool) -> None:
        js = client.jetstream(timeout=PUBLISH_TIMEOUT_S)
        headers = {"Nats-Msg-Id": f"main:{verdict.id}"}
        try:
            await js.publish(verdict.subject(), verdict.to_wire(), stream="TRADING", headers=headers)
            self.published += 1
            if twice:  # past the broker's own protection: only the inbox knows it
                await js.publish(verdict.subject(), verdict.to_wire(), stream="TRADING")
        except (NatsError, JetStreamError, TimeoutError):
            self.not_published += 1


async def _keep_quiet(_error: Exception) -> None:
    return


@contextlib.asynccontextmanager
async def flowing(flow: Flow):  # type: ignore[no-untyped-def]
    """The flow as a task."""
    task = asyncio.create_task(flow.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
