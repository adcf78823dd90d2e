"""Handing signed bytes to the providers, and what their answers mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dexlane.chain.execution.testimony import Witness
from dexlane.chain.link import WrongChain
from dexlane.chain.rpc import Rpc, RpcError, RpcUnavailable
from dexlane.domain.publish_answers import PublishAnswer, classify_refusal

GRACE_S = 1.0
"""How long a refusal waits for another provider to accept."""

OnSent = Callable[[], None]
Answer = tuple[PublishAnswer, str]
Note = Callable[[str, PublishAnswer, str], None]
"""Takes provider, answer and text; must not wait."""

WEIGHT = (
    PublishAnswer.ACCEPTED,
    PublishAnswer.ALREADY_KNOWN,
    PublishAnswer.NONCE_TOO_LOW,
    PublishAnswer.INSUFFICIENT_FUNDS,
    PublishAnswer.REPLACEMENT_UNDERPRICED,
    PublishAnswer.FEE_TOO_LOW,
    PublishAnswer.NONCE_TOO_HIGH,
    PublishAnswer.POOL_FULL,
    PublishAnswer.REVERTED,
    PublishAnswer.OVER_BLOCK_GAS,
    PublishAnswer.UNUSABLE,
    PublishAnswer.UNKNOWN,
    PublishAnswer.RATE_LIMITED,
    PublishAnswer.UNSENT,
)
"""Of several answers the first in this order counts: that it is there; what may pass; what never will; nothing said."""
SETTLING = frozenset(WEIGHT[:2])
"""Answers that the others' cannot change."""


async def submit(rpc: Rpc, raw: bytes, on_sent: OnSent | None = None) -> Answer:
    """Send once; never raises for what the node or the link says. The text is the node's own, empty when accepted.
    ``on_sent`` is called when the bytes were handed over, before the node has answered.

    A lost answer is ``UNKNOWN``: the bytes may have been accepted, and only receipts can tell.
    """
    try:
        await rpc.send_raw_transaction(raw, on_sent=on_sent)
    except RpcError as error:
        return classify_refusal(error.message, error.code), error.message
    except (RpcUnavailable, WrongChain) as error:
        return PublishAnswer.UNKNOWN, str(error)
    return PublishAnswer.ACCEPTED, ""


def weightiest(answers: Sequence[Answer]) -> Answer:
    """The answer that counts."""
    return min(answers, key=lambda answer: WEIGHT.index(answer[0]))


async def first_settled(tasks: set[asyncio.Task[Answer]]) -> set[asyncio.Task[Answer]]:
    """Wait for the first acceptance, and for a refusal no longer than a moment after it; the tasks that are done."""
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    deadline = asyncio.get_running_loop().time() + GRACE_S
    while waiting and not any(task.result()[0] in SETTLING for task in done):
        left = deadline - asyncio.get_running_loop().time()
        more, waiting = await asyncio.wait(waiting, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
        if not more:
            break
        done |= more
    return done


class Broadcast:
    """Gives the same bytes to every provider. The first acceptance decides; what the others say later is noted."""

    def __init__(self, witnesses: Sequence[Witness]) -> None:
        self._witnesses = witnesses
        self._late: set[asyncio.Task[Answer]] = set()

    async def send(self, raw: bytes, note: Note, on_sent: OnSent | None = None) -> Answer:
        """The answer that counts. ``on_sent`` is called once, when the first provider was handed the bytes."""
        once = Once(on_sent)
        tasks: set[asyncio.Task[Answer]] = set()
        for witness in self._witnesses:
            task = asyncio.create_task(submit(witness.rpc, raw, once), name=f"send-{witness.name}")
            task.add_done_callback(_noting(witness.name, note))
            tasks.add(task)
        done = await first_settled(tasks)
        for task in tasks - done:
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        return weightiest([task.result() for task in done])

    async def stop(self) -> None:
        """Wait no longer for anybody."""
        late = list(self._late)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


class Once:
    """Passes the first call on, and no other."""

    def __init__(self, call: OnSent | None) -> None:
        self._call = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


def _noting(name: str, note: Note) -> Callable[[asyncio.Task[Answer]], None]:
    def done(task: asyncio.Task[Answer]) -> None:
        if not task.cancelled() and task.exception() is None:
            note(name, *task.result())

    return done
