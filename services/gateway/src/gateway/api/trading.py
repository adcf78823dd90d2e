"""``/status``, ``/halt`` and ``/resume``: whether trading goes on."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from dexlane.events.control import Status, TradingStatus
from dexlane.values.base import Value
from gateway.api.desk import ChainFilter, Desk
from gateway.api.envelope import Envelope, Problem
from gateway.projections.picture import StatusView, Told
from gateway.statuses import OPERATOR
from gateway.statuses.keeper import told


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
    seen: dict[int, int] | None = Field(
        default=None,
        description="by chain id, the `version` of that source in the status that was looked at; refused without it",
    )


class HaltAnswer(Value):
    """What holds now on each chain, and on which paths the halt arrived."""

    chains: tuple[StatusView, ...]
    paths: tuple[Told, ...]


NOT_EVERYWHERE: dict[int | str, dict[str, object]] = {
    207: {
        "model": Envelope[HaltAnswer],
        "description": "Halted, but not everywhere: `paths` says who did not confirm, and what to do by hand",
    }
}


def _seen(request: ResumeRequest, desk: Desk, chains: tuple[int, ...]) -> dict[int, int]:
    """The version that was seen on each chain, 0 for none."""
    held = desk.statuses.held(Status(request.to), chains, request.source)
    if request.seen is None:
        hint = "say what you saw: `seen` has by chain id the `version` that GET /status shows of the source"
        raise Problem(428, "Not seen", f"{hint}; now {told(held)}")
    return {chain: request.seen.get(chain, 0) for chain in chains}


def router(desk: Desk) -> APIRouter:
    """Read and set the trading status."""
    api = APIRouter(tags=["trading"])

    def shown(words: list[TradingStatus], chains: tuple[int, ...]) -> list[StatusView]:
        for word in words:
            desk.display.show(word)
        return [desk.display.picture.status(chain_id) for chain_id in chains]

    @api.get("/status", dependencies=[Depends(desk.may_read)])
    async def read_status(chain_id: ChainFilter = None) -> Envelope[list[StatusView]]:
        """What holds on each chain, and which source says what."""
        return desk.wrap(shown([], desk.chain_ids(chain_id)))

    @api.post("/halt", dependencies=[Depends(desk.may_write)], responses=NOT_EVERYWHERE)
    async def halt(request: HaltRequest, response: Response) -> Envelope[HaltAnswer]:
        """Tighten at once. It never loosens: to go from halted to reducing, resume to reducing.

        Signers on this host are halted first and directly; they know no chains, and only a person on the host resumes
        them. 200 means that all of them and the bus confirmed it; 207 that somebody must act by hand. A signer that did
        not is told again every two seconds until it does or people resume; saying it again tells all of them again.
        """
        chains, scope = desk.chain_ids(request.chain_id), Status(request.scope)
        signers = await desk.paths.signers(scope, request.reason)
        async with desk.paths.stored(signers):
            words = await desk.statuses.halt(scope, request.reason, chains)
        if words:
            desk.moments.halted(scope, request.reason)
        paths = (*signers, await desk.paths.bus())
        response.status_code = 200 if all(path.confirmed for path in paths) else 207
        return desk.wrap(HaltAnswer(chains=tuple(shown(words, chains)), paths=paths))

    @api.post("/resume", dependencies=[Depends(desk.may_write)])
    async def resume(request: ResumeRequest) -> Envelope[list[StatusView]]:
        """Release one source's halt. Trading goes on only when no other source holds it back.

        What is released must have been seen: 428 without ``seen``, 409 when another word holds, each with what holds.
        """
        chains = desk.chain_ids(request.chain_id)
        if desk.emergency.is_running and request.source == OPERATOR:
            raise Problem(409, "Emergency stop", "an emergency stop is under way; resume when it says that it is done")
        seen = _seen(request, desk, chains)
        words = await desk.statuses.resume(Status(request.to), request.reason, seen, request.source)
        desk.moments.resumed(request.source, request.to, request.reason)
        if request.source == OPERATOR:
            await desk.paths.resumed(desk.statuses.operator_level)
        return desk.wrap(shown(words, chains))

    return api
