"""An executor's place on one chain: taken while the lease is held, empty while another instance holds it.

Each term has an executor of its own, built from the journal: slots, nonces, reservations, accounts. Nothing of an
earlier term is carried over, so nothing of it can be forgotten or out of date. What only mirrors the market goes on
in a standby, which is why it is quick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from dexlane.chain.execution.executor import Executor
from dexlane.chain.execution.fencing import Deposed, LeaseKey, Term
from dexlane.chain.execution.market_view import MarketView
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.events.market import BlockApplied
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Transient
from dexlane.runtime.lease import Lease

RETRY_S = 0.25

TakeUp = Callable[[Term], Awaitable[Executor]]
"""Builds the executor of a term from the journal; ``Transient`` when something does not answer."""


class Seat:
    """Takes up the work of a chain whenever the lease is won, and lays it down when it is lost. Also the gate through
    which messages are asked for (``dexlane.runtime.reading.Gate``)."""

    def __init__(self, lease: Lease, key: LeaseKey, view: MarketView, take_up: TakeUp) -> None:
        self.view = view
        self.lease = lease
        self._key = key
        self._take_up = take_up
        self._executor: Executor | None = None
        self._term: Term | None = None
        self._opened = asyncio.Event()
        self._holding: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether this process acts and may be given messages."""
        return self._executor is not None and self._term is not None and self._term.runs

    async def until_open(self) -> None:
        """Return when ``is_open``."""
        while not self.is_open:
            self._opened.clear()
            await self._opened.wait()

    @property
    def executor(self) -> Executor:
        """The executor of this term; ``Deposed`` in a standby."""
        if self._executor is None or not self.is_open:
            raise Deposed(f"this instance of {self._key.service} is standby on chain {self._key.chain_id}")
        return self._executor

    def books_changed(self) -> None:
        """A book is new or different; whoever takes up the work later knows it from the side values."""
        if self._executor is not None:
            self._executor.books_changed()

    def wake(self) -> None:
        """As ``Executor.wake``."""
        if self._executor is not None:
            self._executor.wake()

    async def on_block(self, event: BlockApplied) -> None:
        """The mirror applied a block."""
        await self.view.on_block(event)
        self.wake()

    async def run(self, clock: Clock, moments: ExecutionMoments) -> None:
        """Take the seat for every term of the lease, for ever."""
        while True:
            await self._won()
            term, won_ns = Term(self.lease, self._key), clock.monotonic_ns()
            self._holding = asyncio.create_task(self._hold(term, clock, moments, won_ns))
            try:
                await self._holding
            finally:
                await self._lay_down()
            moments.lease_lost(self._key.chain_id, term.epoch, self.lease.holder)

    async def leave(self) -> None:
        """Finish: act no more, and let a standby take over at once."""
        if self._holding is not None:
            self._holding.cancel()
            await asyncio.wait({self._holding})
        await self._lay_down()
        await self.lease.retire()

    def role(self) -> str:
        """What this instance is, in words: for people."""
        if self.is_open:
            return f"acts, epoch {self.lease.epoch}"
        return f"standby; {self.lease.holder or 'nobody that is known'} acts"

    def why_not_ready(self) -> bool | str:
        """A readiness probe: as the executor says; a standby is ready when the one that acts is seen to be alive."""
        if self.is_open:
            return self.executor.why_not_ready()
        if self.lease.held:
            return "the work is being taken up from the journal"
        return True if self.lease.is_renewed_by_another else "whoever acted last does not renew its lease"

    async def _won(self) -> None:
        while not self.lease.held:
            await self.lease.changed.wait()
            self.lease.changed.clear()

    async def _hold(self, term: Term, clock: Clock, moments: ExecutionMoments, won_ns: int) -> None:
        """Act until the term is over."""
        executor = await self._built(term, moments)
        if executor is None:
            return
        self._term, self._executor = term, executor
        self._opened.set()
        moments.lease_taken(self._key.chain_id, term.epoch, (clock.monotonic_ns() - won_ns) / 1e9)
        executor.wake()
        passes = asyncio.create_task(executor.run())
        try:
            while term.runs:
                over = asyncio.create_task(self.lease.changed.wait())
                await asyncio.wait({passes, over}, return_when=asyncio.FIRST_COMPLETED)
                over.cancel()
                self.lease.changed.clear()
                if passes.done():
                    passes.result()
        finally:
            await cancelled([passes])

    async def _built(self, term: Term, moments: ExecutionMoments) -> Executor | None:
        while term.runs:
            try:
                return await self._take_up(term)
            except Transient as error:
                moments.pass_failed(self._key.chain_id, str(error))
                await asyncio.sleep(RETRY_S)
        return None

    async def _lay_down(self) -> None:
        executor, self._executor, self._term = self._executor, None, None
        if executor is not None:
            await executor.live.close()
