"""The market feed: chains in, facts and opportunities out."""

from __future__ import annotations

from dexlane.runtime.service import Service, run
from market_feed.feed.chain import add_chain
from market_feed.metrics import FeedMoments, NodeMoments
from market_feed.settings import Settings


def build(settings: Settings) -> Service:
    """The service with one follower, and one lease, per chain."""
    service = Service("market-feed", settings)
    moments = FeedMoments(service.metrics, service.log)
    nodes = NodeMoments(service.metrics, service.log)
    for chain_id in settings.chains:
        add_chain(service, settings, chain_id, (moments, nodes))
    return service


def main() -> None:
    """Console entry."""
    run(build, Settings)
