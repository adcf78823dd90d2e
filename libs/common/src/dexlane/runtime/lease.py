"""One holder at a time: a lease in the bucket LEASES, taken and renewed by compare-and-set on its revision.

No clock is compared with another machine's. The holder counts from the moment it *sent* its last successful renewal
and stops a margin before the lease ends; everybody else counts from the moment it *saw* the last renewal, which is
later. A process that was frozen in between finds its lease over. What it sends at that very moment is not stopped by a
lease; use the positions of ``dexlane.runtime.sequenced`` where that matters.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import orjson
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from nats.js.errors import KeyDeletedError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from dexlane.events.streams import LEASES
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import Clock

RENEWALS_PER_LEASE = 4
LOOKS_PER_LEASE = 8


class Conflict(Exception):  # noqa: N818
    """Somebody else wrote the entry first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A lease as stored: who holds it, under which epoch (grows by one with every change of holder), for how long after
    its last renewal. An empty holder released it."""

    holder: str
    epoch: int
    ttl_ms: int
    revision: int = 0

    def to_wire(self) -> bytes:
        """As JSON; the revision is the store's."""
        return orjson.dumps({"holder": self.holder, "epoch": self.epoch, "ttl_ms": self.ttl_ms})


class LeaseStore(Protocol):
    """Where a lease is kept. Any method may raise ``OSError`` or ``TimeoutError`` when the store does not answer."""

    async def read(self) -> Entry | None:
        """The entry, or None."""
        ...

    async def write(self, entry: Entry) -> int:
        """Replace the revision that ``entry`` names (zero: there is none). The new revision, or ``Conflict``."""
        ...


class BusLeaseStore:
    """One key of the bucket LEASES."""

    def __init__(self, bus: Bus, key: str) -> None:
        self._bus = bus
        self._key = key
        self._bucket: KeyValue | None = None

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self._bus.js.key_value(LEASES.name)
        return self._bucket

    async def read(self) -> Entry | None:
        """The entry, or None."""
        try:
            found = await (await self._open()).get(self._key)
        except (KeyNotFoundError, KeyDeletedError):
            return None
        except (NatsError, JetStreamError) as error:
            raise OSError(str(error)) from error
        return Entry(**orjson.loads(found.value or b"{}"), revision=found.revision or 0)

    async def write(self, entry: Entry) -> int:
        """Replace the revision that ``entry`` names."""
        try:
            return await (await self._open()).update(self._key, entry.to_wire(), last=entry.revision)
        except KeyWrongLastSequenceError as error:
            raise Conflict(self._key) from error
        except (NatsError, JetStreamError) as error:
            raise OSError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePolicy:
    """``ttl_s``: how long a dead holder keeps others waiting. ``margin_s``: how much earlier a holder stops by itself;
    it covers clocks that run at different speeds and the time between looking and acting."""

    ttl_s: float = 3.0
    margin_s: float = 0.75


def instance_name() -> str:
    """A name that no other process has, by which people find this one: host, process id, and a bit of chance."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Lease:
    """The wish to hold one lease. ``run`` pursues it; ``held`` says whether it is held at this moment. While
    ``willing`` says no, for want of what the work needs, it is given back and left to others."""

    def __init__(
        self,
        store: LeaseStore,
        holder: str,
        *,
        clock: Clock,
        policy: LeasePolicy = LeasePolicy(),
        willing: Callable[[], bool] = lambda: True,
    ) -> None:
        self.changed = asyncio.Event()
        """Set whenever the lease was won or lost; whoever waits for it clears it."""
        self.holder = ""
        """Who holds it, as last seen; empty while that is not known."""
        self.epoch = 0
        self.is_renewed_by_another = False
        """Whether another holder was seen to renew it: it is alive, and not one that died before this process began."""
        self._store = store
        self._name = holder
        self._clock = clock
        self._policy = policy
        self._willing = willing
        self._revision = 0
        self._mine_until_ns: int | None = None
        self._seen: tuple[int, int] | None = None
        """The revision last seen, and since when."""

    @property
    def held(self) -> bool:
        """Whether it is ours, with the margin left."""
        return self._mine_until_ns is not None and self._clock.monotonic_ns() < self._mine_until_ns

    async def run(self) -> None:
        """Renew it or wait for it, for ever. A store that does not answer costs a holder its lease when time is up."""
        while True:
            await self.pursue()
            mine = self._mine_until_ns is not None
            await asyncio.sleep(self._policy.ttl_s / (RENEWALS_PER_LEASE if mine else LOOKS_PER_LEASE))

    async def pursue(self) -> None:
        """One step: renew it if it is ours, take it if it is free, note who holds it otherwise."""
        if self._mine_until_ns is not None and not self.held:
            self.resign()
        if self._mine_until_ns is not None and not self._willing():
            await self.release()
        try:
            async with asyncio.timeout(self._policy.ttl_s / RENEWALS_PER_LEASE):
                if self._mine_until_ns is not None:
                    await self._write(self.epoch)
                else:
                    await self._take_if_free()
        except Conflict:
            await self._after_conflict()
        except (OSError, TimeoutError):
            return  # it runs out by itself, and is looked at again

    def resign(self) -> None:
        """Stop holding it here and now; others wait until it runs out, or take it at once after ``release``."""
        if self._mine_until_ns is not None:
            self._mine_until_ns = None
            self.changed.set()

    async def retire(self) -> None:
        """Give it back and never take it again: the process is about to end."""
        self._willing = lambda: False
        await self.release()

    async def release(self) -> None:
        """Give it back, so that nobody has to wait."""
        if self._mine_until_ns is None:
            return
        self.resign()
        try:
            async with asyncio.timeout(self._policy.ttl_s / RENEWALS_PER_LEASE):
                await self._store.write(Entry("", self.epoch, 0, self._revision))
        except (Conflict, OSError, TimeoutError):
            return  # then it runs out by itself

    async def _take_if_free(self) -> None:
        entry, now_ns = await self._store.read(), self._clock.monotonic_ns()
        if entry is None:
            if self._willing():
                await self._write(1)
            return
        if self._seen is None or self._seen[0] != entry.revision:
            self.is_renewed_by_another = self._seen is not None and entry.holder == self.holder
            self._seen = (entry.revision, now_ns)
        self.holder, self._revision = entry.holder, entry.revision
        if not self._willing():
            return
        if not entry.holder or now_ns - self._seen[1] >= entry.ttl_ms * 1_000_000:
            await self._write(entry.epoch + 1)

    async def _write(self, epoch: int) -> None:
        sent_ns, policy = self._clock.monotonic_ns(), self._policy
        entry = Entry(self._name, epoch, int(policy.ttl_s * 1000), self._revision)
        self._revision = await self._store.write(entry)
        won = self._mine_until_ns is None
        self._mine_until_ns = sent_ns + int((policy.ttl_s - policy.margin_s) * 1e9)
        self.holder, self.epoch, self.is_renewed_by_another = self._name, epoch, False
        if won:
            self.changed.set()

    async def _after_conflict(self) -> None:
        """Another revision is there: ours, when only the answer to our last write was lost; else somebody took it."""
        try:
            entry = await self._store.read()
        except (OSError, TimeoutError):
            return
        if (
            entry is not None
            and self._mine_until_ns is not None
            and (entry.holder, entry.epoch)
            == (
                self._name,
                self.epoch,
            )
        ):
            self._revision = entry.revision
            return
        if entry is not None:
            self.holder, self._revision = entry.holder, entry.revision
            self._seen = (entry.revision, self._clock.monotonic_ns())
        else:
            self._revision = 0
        self.resign()
