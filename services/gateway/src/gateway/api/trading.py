"""``/status``, ``/halt`` and ``/resume``: whether trading goes on."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends
from pydantic import Field

from dexlane.events.control import Status, TradingStatus
from dexlane.values.base import Value
from gateway.api.desk import ChainFilter, Desk
from gateway.api.envelope import Envelope, Problem
from gateway.projections.picture import StatusView
from gateway.statuses import OPERATOR


class HaltRequest(Value):
    """Stop entries (``reducing``) or everything but cancels (``halted``), on one chain or on all."""

    scope: Literal["reducing", "halted"]
    reason: str = Field(min_length=1, max_length=500, description="kept with the halt and shown")
    chain_id: int | None = Field(default=None, description="every chain when left out")


class ResumeRequest(Value):
    """Release the operator's halt, or the halt of a service that failed and was looked at."""

    reason: str = Field(min_length=1, max_length=500, description="why trading may go on")
    to: Literal["active", "reducing"] = Field(default="active", description="what to go back to")
    source: str = Field(default=OPERATOR, pattern="^[a-z][a-z0-9-]{0,47}$", description="whose halt to release")
    chain_id: int | None = Field(default=None, description="every chain when left out")


def router(desk: Desk) -> APIRouter:
    """Read and set the trading status."""
    api = APIRouter(tags=["trading"])

    def told(words: list[TradingStatus], chains: tuple[int, ...]) -> Envelope[list[StatusView]]:
        for word in words:
            desk.display.show(word)
        return desk.wrap([desk.display.picture.status(chain_id) for chain_id in chains])

    @api.get("/status", dependencies=[Depends(desk.may_read)])
    async def read_status(chain_id: ChainFilter = None) -> Envelope[list[StatusView]]:
        """What holds on each chain, and which source says what."""
        return told([], desk.chain_ids(chain_id))

    @api.post("/halt", dependencies=[Depends(desk.may_write)])
    async def halt(request: HaltRequest) -> Envelope[list[StatusView]]:
        """Tighten at once. It never loosens: to go from halted to reducing, resume to reducing.

        Signers on this host are halted first and directly; they know no chains, and only a person on the host resumes
        them.
        """
        chains = desk.chain_ids(request.chain_id)
        await desk.emergency.halt_signers(Status(request.scope), request.reason)
        words = await desk.statuses.halt(Status(request.scope), request.reason, chains)
        if words:
            desk.moments.halted(request.scope, request.reason)
        return told(words, chains)

    @api.post("/resume", dependencies=[Depends(desk.may_write)])
    async def resume(request: ResumeRequest) -> Envelope[list[StatusView]]:
        """Release one source's halt. Trading goes on only when no other source holds it back."""
        chains = desk.chain_ids(request.chain_id)
        if desk.emergency.is_running and request.source == OPERATOR:
            raise Problem(409, "Emergency stop", "an emergency stop is under way; resume when it says that it is done")
        words = await desk.statuses.resume(Status(request.to), request.reason, chains, request.source)
        desk.moments.resumed(request.source, request.to, request.reason)
        return told(words, chains)

    return api
