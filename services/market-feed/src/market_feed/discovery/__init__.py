"""New pools: found, judged and watched beside the path of the blocks."""

from __future__ import annotations

from dexlane.chain.deployments import deployments
from dexlane.chain.factories import NewPool, known_pool
from dexlane.chain.rpc import Rpc
from dexlane.domain.liquidity_filter import Thresholds
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.runtime.errors import Transient
from dexlane.runtime.service import Service
from market_feed.discovery.access import Access, AccessSources
from market_feed.discovery.pools import Discovery, DiscoveryRules, Watcher
from market_feed.metrics import DiscoveryMoments
from market_feed.settings import Settings

__all__ = ["Discovery", "DiscoveryAssembly"]


class DiscoveryAssembly:
    """Puts a discovery beside the feed of each chain; all share the lists."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._moments = DiscoveryMoments(service.metrics, service.log)
        sources = AccessSources(
            blocked=settings.blocked_file,
            allowed=settings.allowed_file,
            token_lists=settings.token_lists,
            listed_only=settings.listed_tokens_only,
        )
        self._access = Access(sources, self._moments)
        if settings.discovery:
            service.on_start(self._access.start)
            service.background("lists", self._access.run)

    def add_chain(self, chain_id: int, rpc: Rpc, watcher: Watcher) -> Discovery:
        """The discovery of a chain, started and stopped with the service."""
        settings, service = self._settings, self._service
        rules = DiscoveryRules(
            chain_id=chain_id,
            quote=settings.quote_tokens[chain_id],
            wrapped_native=next((each.wrapped_native for each in deployments().chains if each.id == chain_id), None),
            factories=settings.factories.get(chain_id, ()),
            thresholds=Thresholds(settings.enter_depth, settings.leave_depth, settings.discovered_pools_max),
        )
        discovery = Discovery(rules, rpc, watcher, self._access, self._moments)

        async def start() -> None:
            discovery.remember(await self._earlier(chain_id))

        service.on_start(start)
        service.background(f"discovery {chain_id}", discovery.run)
        return discovery

    async def _earlier(self, chain_id: int) -> list[NewPool]:
        """The pools of the last checkpoint; none when the bus does not tell."""
        bus, found = self._service.bus, []
        try:
            raw = await bus.kv_get(PoolCheckpoint.key(bus.realm, chain_id))
            for address in PoolCheckpoint.model_validate_json(raw).pools if raw else ():
                entry = await bus.kv_get(PoolSnapshot.key(bus.realm, chain_id, address))
                if entry is not None:
                    found.append(known_pool(chain_id, PoolSnapshot.model_validate_json(entry).pool.key))
        except (Transient, ValueError, KeyError) as error:
            self._moments.troubled(chain_id, f"the earlier pools are not known: {error}")
        return found
