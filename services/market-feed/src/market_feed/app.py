"""The market feed: chains in, facts and opportunities out."""

from __future__ import annotations

import functools
import random

from redis.asyncio import Redis

from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.rpc import RpcClient
from dexlane.chain.subscriptions import Subscription, SubscriptionPolicy
from dexlane.runtime.market_cache import MarketCache
from dexlane.runtime.market_cache.forms import Keys
from dexlane.runtime.service import Service, run
from market_feed.discovery import DiscoveryAssembly
from market_feed.feed import BlockFollower, FollowLimits
from market_feed.handlers import FeedHandlers, OpportunityFinder
from market_feed.metrics import FeedMoments
from market_feed.settings import Settings
from market_feed.snapshots import SnapshotWriter, last_market_sequence


def build(settings: Settings) -> Service:
    """The service with one follower per chain."""
    service = Service("market-feed", settings)
    moments, discovery = FeedMoments(service.metrics, service.log), DiscoveryAssembly(service, settings)
    for chain_id in settings.chains:
        follower, handlers = _add_chain(service, settings, chain_id, moments)
        if settings.discovery:
            handlers.discovery = discovery.add_chain(chain_id, follower)
    return service


def _add_chain(
    service: Service, settings: Settings, chain_id: int, moments: FeedMoments
) -> tuple[BlockFollower, FeedHandlers]:
    url, link = settings.rpc_ws_urls[chain_id], LinkPolicy(jitter=random.random)
    client = RpcClient(url, name=f"feed-{chain_id}", policy=link, chain_id=chain_id)
    heads = Subscription(
        url,
        "newHeads",
        policy=SubscriptionPolicy(link=link, silence_s=settings.head_silence_s),
        chain_id=chain_id,
    )
    follower = BlockFollower(
        chain_id,
        NodeRpc(client),
        settings.pools[chain_id],
        clock=service.clock,
        limits=FollowLimits(undo_depth=settings.undo_depth_blocks, backfill=settings.backfill_max_blocks),
    )
    snapshots = SnapshotWriter(chain_id, service.bus, functools.partial(last_market_sequence, service.bus))
    cache = _market_cache(service, settings, chain_id, moments)
    handlers = FeedHandlers(
        chain_id=chain_id,
        bus=service.bus,
        snapshots=snapshots,
        cache=cache,
        finder=OpportunityFinder(settings.strategies, settings.quote_tokens[chain_id]),
        clock=service.clock,
        moments=moments,
        snapshot_every_blocks=settings.snapshot_every_blocks,
    )
    service.on_start(client.start)
    service.on_stop(client.stop)
    service.on_stop(cache.close)
    service.background(f"heads {chain_id}", heads.run)
    service.background(f"follow {chain_id}", functools.partial(follower.run, heads, handlers, moments))
    service.background(f"snapshots {chain_id}", snapshots.run)
    service.background(f"prices {chain_id}", cache.run)
    service.ready_when(f"node {chain_id}", lambda: client.connected or f"no connection to the node of chain {chain_id}")
    service.ready_when(f"heads {chain_id}", lambda: heads.subscribed or f"not subscribed to heads of chain {chain_id}")
    service.ready_when(f"blocks {chain_id}", follower.why_not_current(int(settings.head_max_age_s * 1000)))
    service.ready_when(
        f"snapshots {chain_id}", lambda: snapshots.published is not None or f"no snapshot of chain {chain_id} yet"
    )
    return follower, handlers


def _market_cache(service: Service, settings: Settings, chain_id: int, moments: FeedMoments) -> MarketCache:
    redis = Redis.from_url(settings.redis_url, socket_timeout=1, socket_connect_timeout=1)
    keys, quote = Keys(settings.realm, chain_id), settings.quote_tokens[chain_id]

    def on_state(up: bool, reason: str) -> None:
        moments.cache_state(chain_id, up=up, reason=reason)

    return MarketCache(redis, keys, quote, service.clock, on_state)


def main() -> None:
    """Console entry."""
    run(build, Settings)
