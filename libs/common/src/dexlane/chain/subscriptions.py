"""A subscription on a connection of its own, which never loses anything silently."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypeAlias

from dexlane.chain.link import Link, LinkPolicy, RpcError, RpcUnavailable, check_chain, host_of

CAPACITY = 1024


@dataclass(frozen=True, slots=True)
class Gap:
    """Notifications may be missing at this point of the stream; the reader must look at the chain itself."""

    reason: str


Notification: TypeAlias = "dict[str, Any] | str | Gap"
"""A hash where only hashes were subscribed to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionPolicy:
    """``silence_s``: without any notification for so long the connection is given up. ``capacity``: bound of the
    queue; when it is full everything in it is given up for one gap."""

    link: LinkPolicy
    silence_s: float = 60.0
    capacity: int = CAPACITY


class Subscription:
    """``eth_subscribe`` for ever. Whatever breaks, the reader gets a ``Gap`` where notifications may be missing.

    The first thing a reader gets is a ``Gap`` as well: what happened before the subscription is not in it.
    """

    def __init__(
        self,
        url: str,
        *topic: Any,
        policy: SubscriptionPolicy,
        chain_id: int | None = None,
    ) -> None:
        self._url = url
        self._topic = topic
        self._chain_id = chain_id
        self._policy = policy
        self._queue: asyncio.Queue[Notification] = asyncio.Queue(self._policy.capacity)
        self._heard = asyncio.Event()
        self._overflowed = asyncio.Event()
        self._subscribed = False
        self._ends_in_gap = False

    @property
    def subscribed(self) -> bool:
        """Whether notifications can arrive at this moment."""
        return self._subscribed

    async def next(self) -> Notification:
        """The next notification, or a gap."""
        return await self._queue.get()

    async def run(self) -> None:
        """Subscribe again and again. Raises ``Fatal`` when the node serves another chain."""
        attempt = 0
        while True:
            try:
                reason = await self._follow_once()
                attempt = 0
            except (RpcUnavailable, RpcError) as error:
                reason = str(error)
            await asyncio.sleep(self._policy.link.wait_s(attempt))
            attempt += 1
            self._mark_gap(reason)

    async def _follow_once(self) -> str:
        """One connection from opening to its end; the reason of the end."""
        link = await Link.open(self._url, self._policy.link, self._take)
        try:
            await check_chain(link, self._chain_id, self._url, self._policy.link)
            self._overflowed.clear()
            await link.request("eth_subscribe", self._topic, self._policy.link.call_timeout_s)
            self._mark_gap(f"subscribed to {host_of(self._url)}")
            self._subscribed = True
            return await self._watch(link)
        finally:
            self._subscribed = False
            await link.close()

    async def _watch(self, link: Link) -> str:
        closed = asyncio.create_task(link.wait_closed())
        overflowed = asyncio.create_task(self._overflowed.wait())
        try:
            while True:
                self._heard.clear()
                heard = asyncio.create_task(self._heard.wait())
                done, _ = await asyncio.wait(
                    (closed, overflowed, heard), timeout=self._policy.silence_s, return_when=asyncio.FIRST_COMPLETED
                )
                heard.cancel()
                if closed in done:
                    return "the connection was lost"
                if overflowed in done:
                    return "notifications came faster than they were read"
                if heard not in done:
                    return f"nothing came for {self._policy.silence_s} s"
        finally:
            closed.cancel()
            overflowed.cancel()

    def _take(self, notification: dict[str, Any] | str) -> None:
        self._heard.set()
        if self._overflowed.is_set():
            return  # behind the gap; the connection is about to be given up
        try:
            self._queue.put_nowait(notification)
            self._ends_in_gap = False
        except asyncio.QueueFull:
            self._mark_gap("notifications came faster than they were read")
            self._overflowed.set()

    def _mark_gap(self, reason: str) -> None:
        """Leave one gap at the end of the queue. A full queue is emptied: after a gap the reader asks the chain."""
        if self._ends_in_gap and not self._queue.empty():
            return
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
        self._queue.put_nowait(Gap(reason))
        self._ends_in_gap = True
