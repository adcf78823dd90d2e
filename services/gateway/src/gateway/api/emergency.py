"""``/emergency-stop``: the big red button, and how far it is."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from pydantic import Field

from dexlane.domain.emergency_stop import StopState
from dexlane.values.base import Value
from gateway.api.desk import Desk
from gateway.api.envelope import Envelope


class StopRequest(Value):
    """Stop on all chains. With ``close_positions`` everything held is sold first, as far as the time allows."""

    reason: str = Field(min_length=1, max_length=400, description="kept with the stop and shown")
    close_positions: bool = False
    exits_within_s: int = Field(default=300, ge=5, le=86_400, description="after it all is halted, closed or not")
    cancels_within_s: int = Field(default=300, ge=5, le=86_400, description="after it the report is made")


def router(desk: Desk) -> APIRouter:
    """Begin an emergency stop and follow it."""
    api = APIRouter(tags=["trading"])

    @api.get("/emergency-stop", dependencies=[Depends(desk.may_read)])
    async def read_stop() -> Envelope[StopState | None]:
        """The last emergency stop, under way or over; None when there never was one."""
        return desk.wrap(desk.emergency.state)

    @api.post("/emergency-stop", status_code=202, dependencies=[Depends(desk.may_write)])
    async def stop(request: StopRequest) -> Envelope[StopState]:
        """No entries from now on. Positions are closed if that is asked for, then all is halted and what is not in a
        block is cancelled in its own slot. It goes on by itself, also after a restart, and says what is left.
        ``unconfirmed`` names paths on which the halt may not have arrived: act there by hand."""
        state = await desk.emergency.begin(
            request.reason,
            close_positions=request.close_positions,
            exits_within_s=request.exits_within_s,
            cancels_within_s=request.cancels_within_s,
        )
        return desk.wrap(state)

    return api
