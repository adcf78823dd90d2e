"""The market feed: chains in, facts and opportunities out."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dexlane.chain.providers import Providers
from dexlane.runtime.service import Service, run
from market_feed.discovery import DiscoveryAssembly
from market_feed.feed.breakers import BreakerAssembly
from market_feed.feed.chain import Beside, add_chain
from market_feed.handlers import routes
from market_feed.metrics import FeedMoments, NodeMoments, TripwireMoments
from market_feed.settings import Settings


def build(settings: Settings) -> Service:
    """The service with one follower, and one lease, per chain."""
    service = Service("market-feed", settings)
    metrics, log = service.metrics, service.log
    moments = FeedMoments(metrics, log), NodeMoments(metrics, log), TripwireMoments(metrics, log)
    beside = Beside(DiscoveryAssembly(service, settings), BreakerAssembly(service, settings))
    chains = {chain_id: add_chain(service, settings, chain_id, moments, beside) for chain_id in settings.chains}
    service.include(routes(beside.breakers.chains, beside.discoveries.holdings))
    service.mount(_provider_page(chains))
    return service


def _provider_page(chains: Mapping[int, Providers]) -> Starlette:
    """``/providers``: which one is in use, and what is wrong with each of the others."""

    async def providers(_request: Request) -> Response:
        return JSONResponse({str(chain_id): providers.state() for chain_id, providers in chains.items()})

    return Starlette(routes=[Route("/providers", providers)])


def main() -> None:
    """Console entry."""
    run(build, Settings)
