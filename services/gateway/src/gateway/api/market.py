"""``/fees``, ``/services`` and ``/overview``: the surroundings."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from gateway.api.desk import ChainFilter, Desk
from gateway.api.envelope import Envelope
from gateway.projections.display import FullOverview
from gateway.projections.health import ServiceHealth
from gateway.projections.picture import ChainView


def router(desk: Desk) -> APIRouter:
    """Chains, fees, services, and everything that the page shows at once."""
    api = APIRouter(tags=["live"], dependencies=[Depends(desk.may_read)])

    @api.get("/fees")
    async def read_fees(chain_id: ChainFilter = None) -> Envelope[list[ChainView]]:
        """Head, base fee and fee tiers of each chain."""
        now_ms = desk.clock.now_ms()
        return desk.wrap([desk.display.picture.chain(chain, now_ms) for chain in desk.chain_ids(chain_id)])

    @api.get("/services")
    async def read_services() -> Envelope[list[ServiceHealth]]:
        """Which services are ready, and why not."""
        return desk.wrap(list(desk.display.health.view()))

    @api.get("/overview")
    async def read_overview() -> Envelope[FullOverview]:
        """Chains, books, open positions, latency and services."""
        return desk.wrap(desk.display.overview())

    return api
