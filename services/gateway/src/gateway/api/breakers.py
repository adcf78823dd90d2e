"""``/breakers``: what each circuit breaker says, and resetting one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import Field

from dexlane.events.breakers import SOURCE_PATTERN, BreakerChanged
from dexlane.values.base import Value
from gateway.api.desk import ChainFilter, Desk
from gateway.api.envelope import Envelope, Problem
from gateway.statuses.resets import openings, reset_breakers

Source = Annotated[str, Path(pattern=SOURCE_PATTERN, description="source of the breaker, as it is listed")]


class ResetRequest(Value):
    """Reset a breaker after its cause was understood."""

    reason: str = Field(min_length=1, max_length=500, description="kept with the reset and shown")
    chain_id: int | None = Field(default=None, description="every chain when left out")
    seen: dict[int, int] | None = Field(
        default=None,
        description="by chain id, the `opened_at_ms` of the breaker that was looked at, 0 for null; refused without it",
    )


class ResetAccepted(Value):
    """The reset is on its way to the service that hosts the breaker, which closes it; or opens it again at once where
    what opened it still holds. ``before`` is what the breaker said until now."""

    before: tuple[BreakerChanged, ...]


def _require_seen(request: ResetRequest, chosen: list[BreakerChanged]) -> None:
    if request.seen is None:
        hint = "say what you saw: `seen` has by chain id the `opened_at_ms` that GET /breakers shows, 0 for null"
        raise Problem(428, "Not seen", f"{hint}; now {openings(chosen)}")
    if unseen := [one for one in chosen if request.seen.get(one.chain_id) != (one.opened_at_ms or 0)]:
        raise Problem(409, "Changed", f"this is not what you saw, look at it and reset again: {openings(unseen)}")


def router(desk: Desk) -> APIRouter:
    """Read breakers, and reset one."""
    api = APIRouter(tags=["trading"])

    @api.get("/breakers", dependencies=[Depends(desk.may_read)])
    async def list_breakers(chain_id: ChainFilter = None) -> Envelope[list[BreakerChanged]]:
        """Every breaker, those that hold something first."""
        return desk.wrap(desk.display.picture.breakers_of(desk.chain_ids(chain_id)))

    @api.post("/breakers/{source}/reset", status_code=202, dependencies=[Depends(desk.may_write)])
    async def reset(source: Source, request: ResetRequest) -> Envelope[ResetAccepted]:
        """Forgive what happened. A condition that still holds, such as a drawdown, opens the breaker again at once.

        What is released must have been seen: 428 without ``seen``, 409 when it opened since, each with what it says. An
        opening that the gateway has not heard of yet stays open, too.
        """
        known = desk.display.picture.breakers_of(desk.chain_ids(request.chain_id))
        chosen = [breaker for breaker in known if breaker.source == source]
        if not chosen:
            raise Problem(404, "Unknown breaker", f"no breaker {source!r} was heard of there; list them first")
        _require_seen(request, chosen)
        await reset_breakers(desk.journal, chosen, request.reason)
        desk.brakes.breaker_reset(source, request.reason)
        return desk.wrap(ResetAccepted(before=tuple(chosen)))

    return api
