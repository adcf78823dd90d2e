"""Tasks end when they are asked to, whatever they do with the first request."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from dexlane.runtime import cancelling


async def test_a_task_that_lost_its_first_cancellation_is_ended_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "CANCEL_AGAIN_S", 0.1)
    began = asyncio.Event()

    async def deaf_once() -> None:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(deaf_once())
    await began.wait()
    await asyncio.wait_for(cancelling.cancelled([task]), 5)
    assert task.cancelled()


async def test_what_a_task_failed_with_before_its_end_is_kept() -> None:
    async def failing() -> None:
        raise ConnectionError("the bus is gone")

    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    await cancelling.cancelled([task])
    with pytest.raises(ConnectionError, match="the bus is gone"):
        task.result()
