"""Leaving the processors of a small machine to the fast lane for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class GivingWay:
    """A pause before the first message after a silence. Whatever comes in it waits for its end, too. While messages
    are handled one after the other nothing waits, so a backlog is not slowed down."""

    def __init__(self, pause_ms: int) -> None:
        """Without a pause, with 0, nothing ever waits."""
        self._pause_s = pause_ms / 1_000
        self._until_s = 0.0
        self._handled_s = 0.0
        """When the handling of a message ended last."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Begins when the message that just came may be handled; the block is its handling."""
        clock = asyncio.get_running_loop().time
        now_s = clock()
        if now_s >= self._until_s and now_s - self._handled_s > self._pause_s:
            self._until_s = now_s + self._pause_s
        if now_s < self._until_s:
            await asyncio.sleep(self._until_s - now_s)
        try:
            yield
        finally:
            self._handled_s = clock()
