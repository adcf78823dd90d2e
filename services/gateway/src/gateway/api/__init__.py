"""REST under ``/api/v1``, the live stream, the status page and its description. One module per resource."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from gateway.api import (
    books,
    breakers,
    confirmations,
    docs,
    emergency,
    history,
    market,
    markets,
    positions,
    stream,
    thoughts,
    trading,
)
from gateway.api.access import Guard
from gateway.api.desk import Desk
from gateway.api.envelope import PROBLEM_RESPONSES, install_problem_handlers

STATIC = Path(__file__).parent.parent / "static"
PREFIX = "/api/v1"


def build_routes(desk: Desk) -> FastAPI:
    """The application without the guard at its door."""
    app = FastAPI(
        title="dexlane gateway",
        version="1",
        description="Books, positions, trades and reasons; halt, resume, close, confirm; breakers; emergency stop.",
        docs_url=None,
        redoc_url=None,
        responses=PROBLEM_RESPONSES,
    )
    install_problem_handlers(app)
    for module in (
        market,
        markets,
        books,
        positions,
        history,
        thoughts,
        trading,
        confirmations,
        breakers,
        emergency,
        stream,
    ):
        app.include_router(module.router(desk), prefix=PREFIX)
    app.include_router(docs.router(app))

    @app.get("/", include_in_schema=False)
    async def read_page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def build_api(desk: Desk) -> ASGIApp:
    """The application as it is served."""
    return Guard(build_routes(desk), desk.settings, desk.clock, desk.moments, desk.token)
