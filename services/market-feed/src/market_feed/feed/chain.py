"""One chain of the service, built top to bottom: providers, follower, writer, and what happens with each step."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from dexlane.chain.checked_node import CheckedNode
from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.pending import PendingSwaps
from dexlane.chain.provider_health import HealthPolicy
from dexlane.chain.providers import ProviderPolicy, Providers
from dexlane.chain.subscriptions import SubscriptionPolicy
from dexlane.chain.swap_calls import ROUTERS
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.runtime.lease import BusLeaseStore, Lease, LeasePolicy, instance_name
from dexlane.runtime.market_cache import MarketCache
from dexlane.runtime.market_cache.forms import Keys
from dexlane.runtime.sequenced import SequencedPublisher
from dexlane.runtime.service import Service
from market_feed.discovery import DiscoveryAssembly
from market_feed.feed.breakers import BreakerAssembly
from market_feed.feed.follower import BlockFollower, FollowLimits
from market_feed.feed.tripwire import Tripwire, TripwirePolicy
from market_feed.feed.writer import MarketWriter
from market_feed.handlers import FeedHandlers, OpportunityFinder
from market_feed.metrics import FeedMoments, NodeMoments, TripwireMoments
from market_feed.settings import Settings
from market_feed.snapshots import SnapshotWriter, last_market_sequence

Moments = tuple[FeedMoments, NodeMoments, TripwireMoments]


@dataclass(frozen=True)
class Beside:
    """What stands beside the feed of every chain."""

    discoveries: DiscoveryAssembly
    breakers: BreakerAssembly


def add_chain(service: Service, settings: Settings, chain_id: int, moments: Moments, beside: Beside) -> Providers:
    """Follow a chain and, while its lease is held, publish it."""
    providers, node = _providers(service, settings, chain_id, moments[1])
    follower = BlockFollower(
        chain_id,
        node,
        settings.pools[chain_id],
        clock=service.clock,
        limits=FollowLimits(undo_depth=settings.undo_depth_blocks, backfill=settings.backfill_max_blocks),
    )
    _listen_to_pending(service, settings, node, moments[1])
    follower.logs.doubt, follower.logs.suspect, node.on_lie = node.doubt, node.suspect, follower.distrust
    lease = _lease(service, settings, chain_id, lambda: providers.why_not_ready() is True)
    row = SequencedPublisher(service.bus, chain_id, (BlockApplied, BlockReorged))
    writer = MarketWriter(chain_id, service.bus, row, lease, depth=2 * settings.undo_depth_blocks)
    snapshots = SnapshotWriter(chain_id, service.bus, functools.partial(last_market_sequence, service.bus))
    cache = _market_cache(service, settings, chain_id, moments[0])
    discovery = beside.discoveries.add_chain(chain_id, NodeRpc(providers), follower) if settings.discovery else None
    if discovery is not None:
        snapshots.awaited = lambda: discovery.awaited
    handlers = FeedHandlers(
        chain_id=chain_id,
        writer=writer,
        snapshots=snapshots,
        cache=cache,
        finder=OpportunityFinder(settings.strategies, settings.quote_tokens[chain_id]),
        clock=service.clock,
        moments=moments[0],
        snapshot_every_blocks=settings.snapshot_every_blocks,
        discovery=discovery,
        breakers=beside.breakers.add_chain(chain_id, lambda: writer.seated),
    )
    service.on_stop(cache.close)
    service.on_stop(lease.retire)
    service.background(f"lease {chain_id}", lease.run)
    service.background(
        f"writer {chain_id}", functools.partial(writer.run, handlers.announce, moments[0], service.clock)
    )
    service.background(f"follow {chain_id}", functools.partial(follower.run, providers, handlers, moments[0]))
    service.background(f"tripwire {chain_id}", _tripwire(settings, follower, node, moments[2]).run)
    service.background(f"snapshots {chain_id}", snapshots.run)
    service.background(f"prices {chain_id}", cache.run)
    service.ready_when(f"blocks {chain_id}", follower.why_not_current(int(settings.head_max_age_s * 1000)))
    service.ready_when(f"writer {chain_id}", _why_not_placed(chain_id, writer, lease))
    return providers


def _providers(
    service: Service, settings: Settings, chain_id: int, moments: NodeMoments
) -> tuple[Providers, CheckedNode]:
    policy = ProviderPolicy(
        link=LinkPolicy(jitter=random.random, call_timeout_s=settings.call_timeout_s),
        head_silence_s=settings.head_silence_s,
        health=HealthPolicy(
            max_lag_blocks=settings.provider_max_lag_blocks,
            silence_ms=int(settings.head_silence_s * 1000),
            cool_down_ms=int(settings.provider_cool_down_s * 1000),
            settle_ms=int(settings.provider_settle_s * 1000),
        ),
    )
    providers = Providers(chain_id, settings.rpc_ws_urls[chain_id], policy, clock=service.clock, moments=moments)
    node = CheckedNode(providers, audit_every=settings.audit_every_blocks)
    service.on_start(providers.start)
    service.on_stop(providers.stop)
    for name, run in providers.tasks().items():
        service.background(name, run)
    service.background(f"audit {chain_id}", node.audit)
    service.ready_when(f"providers {chain_id}", providers.why_not_ready)
    return providers, node


def _listen_to_pending(service: Service, settings: Settings, node: CheckedNode, moments: NodeMoments) -> None:
    chain_id = node.providers.chain_id
    mode = settings.pending_transactions.get(chain_id)
    if mode is None:
        return
    pending = PendingSwaps(
        chain_id, ROUTERS.get(chain_id, frozenset()), source=node, clock=service.clock, moments=moments
    )
    policy = SubscriptionPolicy(link=LinkPolicy(jitter=random.random), silence_s=3_600.0, capacity=8_192)
    url = settings.rpc_ws_urls[chain_id][0]
    service.background(f"pending {chain_id}", functools.partial(pending.run, url, mode, policy))


def _lease(service: Service, settings: Settings, chain_id: int, willing: Callable[[], bool]) -> Lease:
    return Lease(
        BusLeaseStore(service.bus, f"{settings.realm}.{chain_id}.market-feed"),
        instance_name(),
        clock=service.clock,
        policy=LeasePolicy(ttl_s=settings.lease_ttl_s, margin_s=settings.lease_ttl_s / 4),
        willing=willing,
    )


def _tripwire(settings: Settings, follower: BlockFollower, node: CheckedNode, moments: TripwireMoments) -> Tripwire:
    policy = TripwirePolicy(settings.tripwire_every_s, settings.tripwire_confirmations)
    return Tripwire(follower, node, policy, moments)


def _why_not_placed(chain_id: int, writer: MarketWriter, lease: Lease) -> Callable[[], bool | str]:
    """A readiness probe: True for the writer, and for a standby that knows who writes."""

    def probe() -> bool | str:
        if writer.seated or (lease.holder and not lease.held):
            return True
        return f"taking over chain {chain_id}" if lease.held else f"nobody is known to write for chain {chain_id}"

    return probe


def _market_cache(service: Service, settings: Settings, chain_id: int, moments: FeedMoments) -> MarketCache:
    redis = Redis.from_url(settings.redis_url, socket_timeout=1, socket_connect_timeout=1)
    keys, quote = Keys(settings.realm, chain_id), settings.quote_tokens[chain_id]

    def on_state(up: bool, reason: str) -> None:
        moments.cache_state(chain_id, up=up, reason=reason)

    return MarketCache(redis, keys, quote, service.clock, on_state)
