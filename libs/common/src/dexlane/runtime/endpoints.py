"""The HTTP endpoints that every service answers: ``/healthz``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import asyncio
from typing import Protocol

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from dexlane.runtime.connections import MOST_CONNECTIONS, Connections, HttpConnection
from dexlane.runtime.errors import Fatal

MOST_MESSAGE_BYTES = 65_536
"""That a client may say at once over a WebSocket."""


class Described(Protocol):
    """A service, as far as its endpoints need it."""

    name: str

    def why_not_ready(self) -> dict[str, str]:
        """Every condition that does not hold, with its reason."""
        ...

    def notes(self) -> dict[str, str]:
        """What else people should see, ready or not."""
        ...


def endpoints(service: Described, registry: CollectorRegistry, mounted: ASGIApp | None) -> Starlette:
    """The application. ``/healthz`` speaks of the process alone, ``/readyz`` of everything it needs."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"service": service.name, "alive": True})

    async def readyz(_request: Request) -> Response:
        reasons = service.why_not_ready()
        body = {"service": service.name, "ready": not reasons, "reasons": reasons, "notes": service.notes()}
        return JSONResponse(body, status_code=503 if reasons else 200)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    routes: list[BaseRoute] = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    if mounted is not None:
        routes.append(Mount("/", app=mounted))
    return Starlette(routes=routes)


class _Server(uvicorn.Server):
    """Signals belong to the service, which stops this server last."""

    def __init__(self, config: uvicorn.Config, most_connections: int) -> None:
        super().__init__(config)
        self._connections = self.server_state = Connections(most_connections)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        self._connections.end_overdue(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def install_signal_handlers(self) -> None:
        """Leave the process's signal handlers alone."""


class HttpServer:
    """Serves one application on one address until ``stop``. Idle and slow clients use up neither places nor
    descriptors."""

    def __init__(self, app: ASGIApp, host: str, port: int, *, most_connections: int = MOST_CONNECTIONS) -> None:
        self._where = f"{host}:{port}"
        self._server = _Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="off",
                http=HttpConnection,
                ws="dexlane.runtime.stream_connection:StreamConnection",
                ws_max_size=MOST_MESSAGE_BYTES,
                timeout_graceful_shutdown=3,
            ),
            most_connections,
        )

    async def run(self) -> None:
        """Serve; ``Fatal`` with one sentence when the address is taken."""
        try:
            # serve() would restore and re-raise the signals it captured; _serve() leaves them to the service.
            await self._server._serve()  # noqa: SLF001
        except SystemExit as error:
            raise Fatal(f"{self._where} is taken by another program; stop it or choose another port") from error

    def stop(self) -> None:
        """Finish open requests and end ``run``."""
        self._server.should_exit = True
