"""Ending tasks that may not hear the first request."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

CANCEL_AGAIN_S = 2.0


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended: a client library can take a cancellation for one of its own and go on, and
    ``asyncio.wait_for`` of Python 3.11 drops one that meets the answer. What a task failed with stays with it."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


async def done_or_stopped(work: Coroutine[Any, Any, None], stopped: asyncio.Event) -> bool:
    """Whether it was done before all was over; else it is cancelled. What it raises is raised here."""
    working, waiting = asyncio.create_task(work), asyncio.create_task(stopped.wait())
    await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    is_done = working.done()
    await cancelled([waiting] if is_done else [working, waiting])
    if is_done:
        working.result()
    return is_done
