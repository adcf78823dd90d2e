"""Ending tasks that may not hear the first request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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
