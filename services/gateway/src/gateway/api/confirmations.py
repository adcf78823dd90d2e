"""``/confirmations``: trades that wait for a person, and the person's word."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from dexlane.values.base import Value
from gateway.api.desk import BookFilter, Desk
from gateway.api.envelope import Envelope
from gateway.statuses.confirmations import ConfirmationView

RequestId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="id of the request, as it is listed")]


class Answer(Value):
    """Why a trade may be made, or may not."""

    reason: str = Field(min_length=1, max_length=500, description="kept with the answer and shown")


def router(desk: Desk) -> APIRouter:
    """List what waits, confirm it or decline it."""
    api = APIRouter(tags=["trading"])

    @api.get("/confirmations", dependencies=[Depends(desk.may_read)])
    async def list_confirmations(
        book_id: BookFilter = None,
        everything: Annotated[bool, Query(alias="all", description="also what was answered or expired")] = False,
    ) -> Envelope[list[ConfirmationView]]:
        """What waits, the nearest deadline first."""
        return desk.wrap(await desk.confirmations.listed(book_id, everything=everything))

    @api.post("/confirmations/{request_id}/confirm", status_code=202, dependencies=[Depends(desk.may_write)])
    async def confirm(request_id: RequestId, answer: Answer) -> Envelope[ConfirmationView]:
        """The trade is planned again on the state of now: it may still be refused, and is never larger."""
        return desk.wrap(await desk.confirmations.confirm(request_id, answer.reason))

    @api.post("/confirmations/{request_id}/decline", dependencies=[Depends(desk.may_write)])
    async def decline(request_id: RequestId, answer: Answer) -> Envelope[ConfirmationView]:
        """The trade is not made; the same chance is not asked about again."""
        return desk.wrap(await desk.confirmations.decline(request_id, answer.reason))

    return api
