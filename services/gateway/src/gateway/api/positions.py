"""``/positions`` and ``/exposures``: what is held, and closing it by hand."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from dexlane.events.control import Status
from dexlane.events.portfolio import ExitTriggered, ExposureChanged, PositionChanged
from dexlane.values.amounts import Amount
from dexlane.values.base import Value
from dexlane.values.chains import Address
from gateway.api.desk import DEFAULT_LIMIT, BookFilter, Cursor, Desk, Limit
from gateway.api.envelope import Envelope, Problem
from gateway.statuses.closing import manual_exit

CLOSE_AGAIN_AFTER_MS = 30_000
"""Within this time a second request to close the same position is taken for the first one."""


class CloseRequest(Value):
    """Close a position, or a part of it. ``account`` is needed only where both lanes hold the token."""

    book_id: str
    token: Address
    account: Address | None = None
    quantity: Amount | None = Field(default=None, gt=0, description="smallest units; all of it when left out")
    reason: str = Field(min_length=1, max_length=500)


class CloseAccepted(Value):
    """The exit that was triggered; ``repeated`` when it had been already."""

    exit: ExitTriggered
    repeated: bool


def router(desk: Desk) -> APIRouter:
    """Read positions and exposures; close positions."""
    api = APIRouter(tags=["positions"])
    picture = desk.display.picture

    @api.get("/positions", dependencies=[Depends(desk.may_read)])
    async def list_positions(
        book_id: BookFilter = None,
        closed: Annotated[bool, Query(description="also those that hold nothing any more")] = False,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Envelope[list[PositionChanged]]:
        """The newest version of each position, by book, account and token."""
        found = {
            ".".join(key): position
            for key, position in sorted(picture.positions.items())
            if (closed or position.quantity != 0) and book_id in {None, position.book_id}
        }
        keys = [key for key in found if cursor is None or key > cursor]
        page = [found[key] for key in keys[:limit]]
        return desk.wrap(page, keys[limit - 1] if len(keys) > limit else None)

    @api.get("/exposures", dependencies=[Depends(desk.may_read)])
    async def list_exposures(book_id: BookFilter = None) -> Envelope[list[ExposureChanged]]:
        """What each book has at work in each lane."""
        found = [exposure for _, exposure in sorted(picture.exposures.items())]
        return desk.wrap([exposure for exposure in found if book_id in {None, exposure.book_id}])

    @api.post("/positions/close", status_code=202, dependencies=[Depends(desk.may_write)])
    async def close_position(request: CloseRequest) -> Envelope[CloseAccepted]:
        """Trigger an exit by hand. It does not ask the risk-scorer and works while entries are stopped."""
        exit_ = _exit(desk, _held(desk, request), request)
        async with desk.journal.transaction() as tx:
            first = await tx.first_time("manual-close", exit_.id)
            if first:
                await tx.emit(exit_)
        if first:
            desk.moments.close_requested(request.book_id, request.token)
        return desk.wrap(CloseAccepted(exit=exit_, repeated=not first))

    return api


def _held(desk: Desk, request: CloseRequest) -> PositionChanged:
    desk.books.get(request.book_id)
    found = [
        position
        for position in desk.display.picture.open_positions()
        if (position.book_id, position.token.address) == (request.book_id, request.token)
        and request.account in {None, position.account}
    ]
    if not found:
        raise Problem(404, "Nothing to close", f"book {request.book_id!r} holds no {request.token} there")
    if len(found) > 1:
        accounts = ", ".join(position.account for position in found)
        raise Problem(409, "Not clear which", f"several accounts hold this token; name one of them: {accounts}")
    return found[0]


def _exit(desk: Desk, position: PositionChanged, request: CloseRequest) -> ExitTriggered:
    head = desk.display.picture.heads.get(position.chain_id)
    if head is None:
        raise Problem(503, "Not possible at this moment", f"no block of chain {position.chain_id} was seen yet; wait")
    if desk.display.picture.status(position.chain_id).effective is Status.HALTED:
        raise Problem(409, "Trading is halted", "nothing is sent while trading is halted; resume to 'reducing' first")
    quantity = position.quantity if request.quantity is None else request.quantity
    if position.quantity < 0 or quantity > position.quantity:
        raise Problem(409, "Too much", f"the position holds {position.quantity} smallest units")
    now_ns = desk.clock.now_ns()
    occasion = str(now_ns // 1_000_000 // CLOSE_AGAIN_AFTER_MS)
    exit_ = manual_exit(position, head.event, occasion, request.reason, now_ns)
    if quantity != position.quantity:
        exit_ = exit_.model_copy(update={"quantity": quantity})
    return desk.approving.exit(exit_, head.event)
