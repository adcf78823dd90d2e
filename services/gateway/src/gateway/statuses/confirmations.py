"""The queue of trades that wait for a person: asked by executors, answered here, over with their deadline.

The journal holds it, so an answer is given once, whatever restarts in between. Nothing is reserved for a waiting trade:
what is confirmed is planned again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from pydantic import Field

from dexlane.events.confirmations import ConfirmationGiven, ConfirmationRequested
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.errors import DexlaneError, Transient
from dexlane.runtime.journal import Journal, Tx
from dexlane.values.base import Value
from dexlane.values.tokens import Token
from gateway.metrics import Moments
from gateway.records import confirmations

LOOK_EVERY_S = 1.0
MOST_LISTED = 200


class ConfirmationState(StrEnum):
    """What became of a request."""

    WAITING = "waiting"
    CONFIRMED = "confirmed"
    DECLINED = "declined"
    EXPIRED = "expired"


class ConfirmationView(Value):
    """A request with what became of it."""

    state: ConfirmationState
    reason: str | None = None
    decided_ms: int | None = None
    request: ConfirmationRequested
    paid: Token | None = Field(default=None, description="what is paid; null where its decimals are not known")
    bought: Token | None = Field(default=None, description="the same of what is bought")


class UnknownConfirmation(DexlaneError):  # noqa: N818
    """Nobody asked for that."""


class ConfirmationOver(DexlaneError):  # noqa: N818
    """The request was answered already, or its chance is over."""


@dataclass(frozen=True)
class ConfirmationQueue:
    """``head_of`` is the number of the last block of a chain that was heard of; None before the first one. ``token_of``
    is what was heard of the token at an address of a chain."""

    journal: Journal
    head_of: Callable[[int], int | None]
    token_of: Callable[[int, str], Token | None]
    moments: Moments

    async def listed(self, book_id: str | None, *, everything: bool) -> list[ConfirmationView]:
        """Requests that wait, by their deadlines; with ``everything`` also the newest of the others, after them."""
        query = sa.select(confirmations)
        if book_id is not None:
            query = query.where(confirmations.c.book_id == book_id)
        waiting = confirmations.c.state == ConfirmationState.WAITING
        async with self.journal.reading() as conn:
            rows = list(await conn.execute(query.where(waiting).order_by(confirmations.c.deadline_block)))
            if everything:
                newest = confirmations.c.decided_ms.desc()
                rows += list(await conn.execute(query.where(~waiting).order_by(newest).limit(MOST_LISTED)))
        return [self._current(self._view(row)) for row in rows]

    async def confirm(self, request_id: str, reason: str) -> ConfirmationView:
        """Say that a trade may be made. ``UnknownConfirmation``, or ``ConfirmationOver`` with the reason."""
        return await self._answer(request_id, ConfirmationState.CONFIRMED, reason)

    async def decline(self, request_id: str, reason: str) -> ConfirmationView:
        """Say that it may not. Raises as ``confirm``."""
        return await self._answer(request_id, ConfirmationState.DECLINED, reason)

    async def expire(self) -> int:
        """Note which requests are over without an answer; returns how many."""
        over = [one.request for one in await self.listed(None, everything=False) if self._is_over(one.request)]
        expired = 0
        if over:
            async with self.journal.transaction() as tx:
                for request in over:
                    reason = f"nobody answered before block {request.deadline_block} was over"
                    expired += await self._settle(tx, request, ConfirmationState.EXPIRED, reason)
        return expired

    async def run(self) -> None:
        """Let requests expire, for ever."""
        while True:
            try:
                await self.expire()
            except Transient as error:
                self.moments.confirmations_wait(str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _answer(self, request_id: str, state: ConfirmationState, reason: str) -> ConfirmationView:
        async with self.journal.transaction() as tx:
            query = sa.select(confirmations).where(confirmations.c.id == request_id)
            row = (await tx.conn.execute(query)).one_or_none()
            if row is None:
                raise UnknownConfirmation(f"nothing waits under {request_id!r}; list the confirmations first")
            found = self._current(self._view(row))
            if found.state is not ConfirmationState.WAITING:
                raise ConfirmationOver(f"this request is {found.state.value}: {found.reason}")
            if self.head_of(found.request.chain_id) is None:
                raise Transient(f"no block of chain {found.request.chain_id} was seen yet; wait a moment")
            if not await self._settle(tx, found.request, state, reason):
                raise ConfirmationOver("this request was settled in this moment; list the confirmations to see how")
            if state is ConfirmationState.CONFIRMED:
                await tx.emit(_given(found.request, reason, tx.now_ms))
        self.moments.confirmation_answered(request_id, state.value, reason)
        return found.model_copy(update={"state": state, "reason": reason, "decided_ms": tx.now_ms})

    async def _settle(self, tx: Tx, request: ConfirmationRequested, state: ConfirmationState, reason: str) -> bool:
        """Note what became of a request; False when somebody else did in the meantime."""
        waits = sa.and_(confirmations.c.id == request.id, confirmations.c.state == ConfirmationState.WAITING)
        values = {"state": state.value, "decided_ms": tx.now_ms, "reason": reason}
        if (await tx.conn.execute(confirmations.update().where(waits).values(**values))).rowcount != 1:
            return False
        await tx.emit(_recorded(request, state, reason, tx.now_ms))
        return True

    def _view(self, row: sa.Row[tuple[object, ...]]) -> ConfirmationView:
        request = ConfirmationRequested.from_wire(row.body)
        return ConfirmationView(
            state=ConfirmationState(row.state),
            reason=row.reason,
            decided_ms=row.decided_ms,
            request=request,
            paid=self.token_of(request.chain_id, request.plan.paid_token),
            bought=self.token_of(request.chain_id, request.plan.bought_token),
        )

    def _current(self, view: ConfirmationView) -> ConfirmationView:
        """As it is now, though nobody may have noted yet that it is over."""
        if view.state is not ConfirmationState.WAITING or not self._is_over(view.request):
            return view
        reason = f"block {view.request.deadline_block} is over"
        return view.model_copy(update={"state": ConfirmationState.EXPIRED, "reason": reason})

    def _is_over(self, request: ConfirmationRequested) -> bool:
        """A trade needs a block of its own: from the deadline block on none is left."""
        head = self.head_of(request.chain_id)
        return head is not None and head >= request.deadline_block


def _given(request: ConfirmationRequested, reason: str, now_ms: int) -> ConfirmationGiven:
    return ConfirmationGiven(
        id=ConfirmationGiven.make_id(request.id),
        chain_id=request.chain_id,
        occurred_at_ms=now_ms,
        request_id=request.id,
        book_id=request.book_id,
        mode=request.mode,
        lane=request.lane,
        verdict=request.verdict,
        max_amount_in=request.plan.amount_in,
        reason=reason,
    )


def _recorded(request: ConfirmationRequested, state: ConfirmationState, reason: str, now_ms: int) -> DecisionRecorded:
    outcome = f"confirmation_{state.value}"
    return DecisionRecorded(
        id=DecisionRecorded.make_id("gateway", request.verdict.id, request.book_id, outcome),
        chain_id=request.chain_id,
        occurred_at_ms=now_ms,
        service="gateway",
        subject_id=request.verdict.id,
        book_id=request.book_id,
        outcome=outcome,
        reasons=(reason,),
        inputs={"request": request.id, "amount_in": str(request.plan.amount_in)},
    )
