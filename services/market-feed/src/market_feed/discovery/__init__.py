"""New pools: found, judged and watched beside the path of the blocks."""

from __future__ import annotations

import asyncio

from dexlane.chain.deployments import deployments
from dexlane.chain.factories import NewPool
from dexlane.chain.rpc import Rpc
from dexlane.domain.liquidity_filter import Thresholds
from dexlane.runtime.errors import Transient
from dexlane.runtime.service import Service
from market_feed.discovery.access import Access, AccessSources
from market_feed.discovery.holdings import Holdings
from market_feed.discovery.pools import Discovery, DiscoveryRules, Watcher
from market_feed.metrics import DiscoveryMoments
from market_feed.settings import Settings
from market_feed.snapshots import watched_before

__all__ = ["Discovery", "DiscoveryAssembly", "Holdings"]

RETRY_S = 0.5


class DiscoveryAssembly:
    """Puts a discovery beside the feed of each chain; all share the lists."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self.holdings = {chain_id: Holdings() for chain_id in settings.chains}
        """What is held, by chain; fed by the bus."""
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
        discovery.holdings = self.holdings[chain_id]

        async def start() -> None:
            discovery.remember(await self._earlier(chain_id))

        service.on_start(start)
        service.background(f"discovery {chain_id}", discovery.run)
        return discovery

    async def _earlier(self, chain_id: int) -> list[NewPool]:
        """The pools that were watched before. Waits for the bus: what is not asked for again would be lost."""

        def unknown(reason: str) -> None:
            self._moments.troubled(chain_id, f"an earlier pool is not known: {reason}")

        while True:
            try:
                return await watched_before(self._service.bus, chain_id, unknown)
            except Transient as error:
                unknown(str(error))
                await asyncio.sleep(RETRY_S)
