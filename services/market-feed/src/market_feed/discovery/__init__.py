"""New pools: found, judged and watched beside the path of the blocks."""

from __future__ import annotations

import asyncio

from dexlane.chain.deployments import deployments
from dexlane.chain.factories import NewPool, known_pool
from dexlane.chain.rpc import Rpc
from dexlane.domain.liquidity_filter import Thresholds
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.runtime.errors import Transient
from dexlane.runtime.service import Service
from market_feed.discovery.access import Access, AccessSources
from market_feed.discovery.holdings import Holdings
from market_feed.discovery.pools import Discovery, DiscoveryRules, Watcher
from market_feed.metrics import DiscoveryMoments
from market_feed.settings import Settings

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
        """The pools of the last checkpoint. Waits for the bus: what is not asked for again would be lost."""
        bus = self._service.bus
        while True:
            try:
                raw = await bus.kv_get(PoolCheckpoint.key(bus.realm, chain_id))
                addresses = PoolCheckpoint.model_validate_json(raw).pools if raw else ()
                entries = [await bus.kv_get(PoolSnapshot.key(bus.realm, chain_id, each)) for each in addresses]
            except Transient as error:
                self._moments.troubled(chain_id, f"the earlier pools are not known: {error}")
                await asyncio.sleep(RETRY_S)
            except ValueError as error:
                self._moments.troubled(chain_id, f"the earlier pools cannot be read: {error}")
                return []
            else:
                return [new for entry in entries if entry for new in self._readable(chain_id, entry)]

    def _readable(self, chain_id: int, entry: bytes) -> list[NewPool]:
        """The pool of an entry; none where it cannot be read, or by a manager that is not known."""
        try:
            return [known_pool(chain_id, PoolSnapshot.model_validate_json(entry).pool.key)]
        except (ValueError, KeyError) as error:
            self._moments.troubled(chain_id, f"an earlier pool is not known: {error}")
            return []
