"""The breakers of the feed: how far the chain's reference price moved, and whether nodes answer.

Only the writer of a chain speaks. A new writer takes up what was said last; prices from before it are not known to it,
so it holds entries until it has seen enough blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median_low

from dexlane.domain.amm.quoting import spot_price_ratio
from dexlane.domain.breakers.machine import BREAKER_ERRORS
from dexlane.domain.breakers.policy import policies
from dexlane.domain.gas_value import WRAPPED_NATIVE
from dexlane.events.breakers import BreakerKind, BreakerReset
from dexlane.runtime.breaker_board import BoardPlace, BreakerMoments, BreakerSpec
from dexlane.runtime.service import Service
from dexlane.runtime.spoken_breakers import RENEWED_WITHIN_MS, SpokenBreakers
from dexlane.values.pools import Pool
from market_feed.settings import Settings

PRICE_UNIT = 10**18
VOLATILITY = BreakerSpec(source="breaker-volatility", kind=BreakerKind.VOLATILITY, renewed_within_ms=RENEWED_WITHIN_MS)
READING = BreakerSpec(source="breaker-rpc-read", kind=BreakerKind.RPC, renewed_within_ms=RENEWED_WITHIN_MS)


@dataclass(frozen=True, slots=True)
class Reference:
    """Which price of a chain is watched: that of the wrapped native coin in the quote token, in configured pools."""

    chain_id: int
    quote: str
    pools: frozenset[str]

    def price(self, pools: Mapping[str, Pool]) -> int | None:
        """The median over the configured pools, so that one pool alone can be moved without moving it; None when there
        is none. Without a pool of the native coin it is the price in the first pool of the quote token."""
        own = [pool for address, pool in sorted(pools.items()) if address in self.pools and self.quote in _tokens(pool)]
        native = WRAPPED_NATIVE.get(self.chain_id)
        chosen = [pool for pool in own if native in _tokens(pool)] or own[:1]
        prices = []
        for pool in chosen:
            base = native if native in _tokens(pool) else next(one for one in _tokens(pool) if one != self.quote)
            above, below = spot_price_ratio(pool, base or "", self.quote)
            if below:
                prices.append(above * PRICE_UNIT // below)
        return median_low(prices) if prices else None


def _tokens(pool: Pool) -> list[str]:
    return [token.address for token in pool.key.tokens]


@dataclass(frozen=True)
class FeedBreakers:
    """The breakers of one chain, which speak while this process writes."""

    reference: Reference
    spoken: SpokenBreakers

    async def applied(self, pools: Mapping[str, Pool]) -> None:
        """A new block is applied."""
        try:
            price = self.reference.price(pools)
        except BREAKER_ERRORS:
            price = None  # what cannot be computed is a price that cannot be read: it holds
        await self.spoken.see((VOLATILITY.source, price), (READING.source, 0))

    async def troubled(self) -> None:
        """A call to the nodes failed."""
        await self.spoken.see((READING.source, 1))

    async def reset(self, word: BreakerReset) -> None:
        """An operator's word."""
        await self.spoken.reset(word)


class BreakerAssembly:
    """Puts breakers beside the feed of each chain."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self.chains: dict[int, FeedBreakers] = {}
        self._service = service
        self._settings = settings
        self._moments = BreakerMoments(service.metrics, service.log)

    def add_chain(self, chain_id: int, seated: Callable[[], bool]) -> FeedBreakers:
        """The breakers of a chain; they speak while this process writes."""
        place = BoardPlace(
            service=self._service.name,
            chain_id=chain_id,
            policies=policies(self._settings.breakers),
            clock=self._service.clock,
            moments=self._moments,
        )
        pools = frozenset(pool.address for pool in self._settings.pools[chain_id])
        reference = Reference(chain_id, self._settings.quote_tokens[chain_id], pools)
        spoken = SpokenBreakers(self._service.bus, place, (VOLATILITY, READING), seated)
        made = self.chains[chain_id] = FeedBreakers(reference, spoken)
        return made
