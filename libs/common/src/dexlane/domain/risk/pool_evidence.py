"""Evidence about pools, kept ready block by block so that judging an opportunity costs no search."""

from __future__ import annotations

from dexlane.domain.amm.quoting import InsufficientLiquidity, price_impact_bps, quote_route, spot_price_ratio
from dexlane.domain.pool_table import PoolTable
from dexlane.domain.risk.depth import TokenDepth, depth_of
from dexlane.domain.risk.evidence import Impact, PoolDepth, Seen, Volatility
from dexlane.domain.risk.price_history import Price, PriceHistory
from dexlane.events.market import BlockApplied
from dexlane.values.pools import Pool, PoolState
from dexlane.values.routes import Route


class PoolEvidence:
    """Depth and volatility of every pool of a book, as of its tip; a state machine without a clock.

    Amounts are given in units of ``quote_token``; a token without a pool against it has no value here, and its pools
    have no depth evidence.
    """

    def __init__(self, quote_token: str, window: int = 32) -> None:
        self._quote_token = quote_token
        self._history = PriceHistory(window)
        self._measured: dict[str, PoolState] = {}
        self._depths: dict[str, TokenDepth] = {}
        self._prices: dict[str, Price] = {}
        self._moved: set[str] = set()
        """Measured anew since the last block."""
        self._valuing: dict[str, Pool | None] = {}
        self._block = -1
        self._at_ms = 0

    @property
    def block(self) -> int:
        """Number of the last block taken in; -1 before the first."""
        return self._block

    def applied(self, event: BlockApplied, pools: PoolTable, at_ms: int) -> None:
        """Take in the pool states after a block. ``at_ms`` is when the block was received."""
        if event.block.number <= self._block:
            self.undone(event.block.number - 1, pools)
        self._measure(pools)
        self._block, self._at_ms = event.block.number, at_ms
        self._history.record(self._block, self._prices, self._moved)
        self._moved.clear()

    def undone(self, ancestor: int, pools: PoolTable) -> None:
        """Go back to a block. The next block gives the evidence its date again."""
        self._history.undo_to(ancestor)
        self._block = min(self._block, ancestor)
        self._measure(pools)

    def depth(self, pool: Pool, pools: PoolTable) -> Seen[PoolDepth] | None:
        """Both sides of a pool in units of the quote token."""
        depth = self._depths.get(pool.key.address)
        if depth is None:
            return None
        side0 = self._quote_value(pool.key.token0.address, depth.out0, pools)
        side1 = self._quote_value(pool.key.token1.address, depth.out1, pools)
        if side0 is None or side1 is None:
            return None
        return Seen(PoolDepth(side0, side1), self._block, self._at_ms)

    def volatility(self, pool: str) -> Seen[Volatility] | None:
        """Moves of a pool's price over the window; of an older block when the pool has lost its price since."""
        volatility = self._history.volatility(pool)
        return None if volatility is None else Seen(volatility, self._history.newest(pool), self._at_ms)

    def impact(self, route: Route, amount_in: int, pools: PoolTable) -> Seen[Impact] | None:
        """The route quoted again on the newest state; None when a pool is unknown or cannot carry the amount."""
        try:
            quote = quote_route(pools, route, amount_in)
        except (InsufficientLiquidity, KeyError):
            return None
        impact = Impact(quote.amount_out, price_impact_bps(pools, route, quote))
        return Seen(impact, self._block, self._at_ms)

    def _measure(self, pools: PoolTable) -> None:
        """Measure every pool whose state is another value than the one measured last, however it came to change, and
        forget those that have left."""
        self._valuing.clear()
        for address, state in pools.states.items():
            if self._measured.get(address) is state:
                continue
            pool = pools[address]
            depth = depth_of(pool)
            self._measured[address], self._depths[address] = state, depth
            self._moved.add(address)
            if depth.out0 and depth.out1:
                self._prices[address] = Price(*spot_price_ratio(pool, pool.key.token0.address, pool.key.token1.address))
            else:
                self._prices.pop(address, None)
        if len(self._measured) > len(pools):
            for address in self._measured.keys() - pools.states.keys():
                for kept in (self._measured, self._depths, self._prices):
                    kept.pop(address, None)
                self._moved.discard(address)
                self._history.forget(address)

    def _quote_value(self, token: str, amount: int, pools: PoolTable) -> int | None:
        if token == self._quote_token:
            return amount
        if token not in self._valuing:
            self._valuing[token] = self._deepest_against_quote(token, pools)
        best = self._valuing[token]
        if best is None:
            return None
        numerator, denominator = self._prices[best.key.address]
        if best.key.token0.address == token:
            return amount * numerator // denominator
        return amount * denominator // numerator

    def _deepest_against_quote(self, token: str, pools: PoolTable) -> Pool | None:
        """The pool that values a token: of those against the quote token, the one deepest in the quote token;
        of equal ones that with the lowest address."""
        best: Pool | None = None
        best_depth = 0
        for address in pools.between(token, self._quote_token):
            key = pools.key(address)
            if address not in self._prices or {key.token0.address, key.token1.address} != {token, self._quote_token}:
                continue
            pool, depth = pools[address], self._depths[address]
            quote_depth = depth.out0 if pool.key.token0.address == self._quote_token else depth.out1
            if quote_depth > best_depth:
                best, best_depth = pool, quote_depth
        return best
