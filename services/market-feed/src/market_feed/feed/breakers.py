"""The breakers of the feed: how far the chain's reference price moved, and whether nodes answer.

Only the writer of a chain speaks. A new writer takes up what was said last; prices from before it are not known to it,
so it holds entries until it has seen enough blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median_low

from dexlane.domain.amm.quoting import spot_price_ratio
from dexlane.domain.breakers.machine import BREAKER_ERRORS
from dexlane.domain.breakers.policy import policies
from dexlane.domain.gas_value import WRAPPED_NATIVE
from dexlane.events.breakers import BreakerKind, BreakerReset
from dexlane.runtime.breaker_board import BoardPlace, BreakerBoard, BreakerMoments, BreakerSpec, last_facts
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Transient
from dexlane.runtime.service import Service
from dexlane.values.pools import Pool
from market_feed.settings import Settings

RENEWED_WITHIN_MS = 120_000
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


@dataclass
class FeedBreakers:
    """The board of one chain, which exists while this process writes."""

    reference: Reference
    bus: Bus
    seated: Callable[[], bool]
    make_board: Callable[[], BreakerBoard]
    _board: BreakerBoard | None = None
    _resets: dict[str, BreakerReset] = field(default_factory=dict)

    async def applied(self, pools: Mapping[str, Pool]) -> None:
        """A new block is applied."""
        board = await self._taken_up()
        if board is None:
            return
        try:
            price = self.reference.price(pools)
        except BREAKER_ERRORS:
            price = None  # what cannot be computed is a price that cannot be read: it holds
        board.see(VOLATILITY.source, price)
        board.see(READING.source, 0)
        await self._tend(board)

    async def troubled(self) -> None:
        """A call to the nodes failed."""
        board = await self._taken_up()
        if board is not None:
            board.see(READING.source, 1)
            await self._tend(board)

    async def reset(self, word: BreakerReset) -> None:
        """An operator's word; the newest of each source is kept for the time when this process writes."""
        self._resets[word.source] = word
        if self._board is not None and self.seated():
            await self._tend(self._board)

    async def _taken_up(self) -> BreakerBoard | None:
        if not self.seated():
            self._board = None
        elif self._board is None:
            board = self.make_board()
            try:
                board.restore((), await last_facts(self.bus, "market-feed", self.reference.chain_id))
            except Transient:
                return None  # the next block asks again; what was said last holds meanwhile, and gets old
            board.add(VOLATILITY)
            board.add(READING)
            self._board = board
        return self._board

    async def _tend(self, board: BreakerBoard) -> None:
        for word in self._resets.values():
            board.take(word)
        board.judge()
        told = board.changes()
        try:
            for one in told:
                for event in one.events:
                    await self.bus.publish(event)
        except Transient:
            return  # the same facts go out with the next block
        board.stored(told)


class BreakerAssembly:
    """Puts breakers beside the feed of each chain."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self.chains: dict[int, FeedBreakers] = {}
        self._service = service
        self._settings = settings
        self._moments = BreakerMoments(service.metrics, service.log)

    def add_chain(self, chain_id: int, seated: Callable[[], bool]) -> FeedBreakers:
        """The breakers of a chain; they exist while this process writes."""
        place = BoardPlace(
            service=self._service.name,
            chain_id=chain_id,
            policies=policies(self._settings.breakers),
            clock=self._service.clock,
            moments=self._moments,
        )
        pools = frozenset(pool.address for pool in self._settings.pools[chain_id])
        reference = Reference(chain_id, self._settings.quote_tokens[chain_id], pools)
        made = self.chains[chain_id] = FeedBreakers(reference, self._service.bus, seated, lambda: BreakerBoard(place))
        return made
