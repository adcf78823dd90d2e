"""Which pools are worth watching: enough depth to enter, clearly too little to leave, and never more than a bound."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from dexlane.domain.amm.quoting import InsufficientLiquidity, spot_price_ratio, virtual_reserves
from dexlane.domain.risk.depth import depth_of
from dexlane.values.pools import Pool


class Thresholds(NamedTuple):
    """Depths in smallest units of the quote token. A pool enters at ``enter`` and stays down to ``leave``."""

    enter: int
    leave: int
    capacity: int


class Judgement(NamedTuple):
    """Whether a pool is watched from now on, and who has to leave (perhaps to make room for it)."""

    watched: bool
    leaving: tuple[str, ...] = ()


class LiquidityFilter:
    """A state machine without a clock: measured depths in, who enters and who leaves out.

    At the bound the shallowest pool makes room for one that is deeper by the same factor that lies between leaving and
    entering, so two equal pools do not take turns. Pools that are to be kept come in whatever their depth and the bound
    say, and neither leave for their depth nor make room.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        if not 0 <= thresholds.leave <= thresholds.enter or thresholds.enter < 1 or thresholds.capacity < 0:
            raise ValueError("a pool leaves at no more depth than it enters at, and neither is negative")
        self._thresholds = thresholds
        self._depths: dict[str, int] = {}

    @property
    def watched(self) -> frozenset[str]:
        """Who is in."""
        return frozenset(self._depths)

    @property
    def shallow(self) -> frozenset[str]:
        """Who is in only because it was kept: it has too little depth to stay."""
        return frozenset(pool for pool, depth in self._depths.items() if depth < self._thresholds.leave)

    @property
    def room(self) -> int:
        """How many more come in until the bound is reached."""
        return max(0, self._thresholds.capacity - len(self._depths))

    def by_depth(self) -> list[str]:
        """Who is in, deepest first; equal ones by address."""
        return sorted(self._depths, key=lambda pool: (-self._depths[pool], pool))

    def measure(self, pool: str, depth: int, kept: Collection[str] = ()) -> Judgement:
        """Take in a pool's depth. Measuring the same depth again changes nothing, unless others are ``kept``."""
        if pool in self._depths or pool in kept:
            if depth < self._thresholds.leave and pool not in kept:
                del self._depths[pool]
                return Judgement(False, (pool,))
            self._depths[pool] = depth
            return Judgement(True)
        if depth < self._thresholds.enter:
            return Judgement(False)
        return self._enter(pool, depth, kept)

    def remove(self, pool: str) -> None:
        """Forget a pool for another reason than its depth."""
        self._depths.pop(pool, None)

    def _enter(self, pool: str, depth: int, kept: Collection[str]) -> Judgement:
        leaving: tuple[str, ...] = ()
        if not self.room:
            others = [known for known in self._depths if known not in kept]
            shallowest = min(others, key=lambda known: (self._depths[known], known), default=None)
            if shallowest is None or not self._clearly_deeper(depth, self._depths[shallowest]):
                return Judgement(False)
            del self._depths[shallowest]
            leaving = (shallowest,)
        self._depths[pool] = depth
        return Judgement(True, leaving)

    def _clearly_deeper(self, depth: int, than: int) -> bool:
        enter, leave = self._thresholds.enter, max(1, self._thresholds.leave)
        return depth > than and depth * leave >= than * enter


ENTRY_DEPTH_BPS = 200
"""Depth is what a pool gives until its price has moved by 2 %, as in ``dexlane.domain.risk.depth``."""

Ratio = tuple[int, int]


def anchor_prices(pools: Iterable[Pool], quote: str) -> dict[str, Ratio]:
    """What tokens are worth: quote units per unit as (numerator, denominator), by the pool that is deepest in quote.

    ``pools`` are those that the operator chose. Depth is counted in their tokens alone: what anybody can mint proves
    nothing. Of equally deep pools the lower address counts.
    """
    best: dict[str, tuple[int, Ratio]] = {quote: (0, (1, 1))}
    for pool in sorted(pools, key=lambda pool: pool.key.address):
        key = pool.key
        if quote not in (key.token0.address, key.token1.address):
            continue
        base = key.other(quote).address
        try:
            price = spot_price_ratio(pool, base, quote)
        except InsufficientLiquidity:
            continue
        reserve = virtual_reserves(pool, quote, base)[0]
        if base not in best or reserve > best[base][0]:
            best[base] = (reserve, price)
    return {token: price for token, (_, price) in best.items()}


def anchor_depth(pool: Pool, prices: Mapping[str, Ratio]) -> int | None:
    """The pool's depth in quote units, counted in anchor tokens; where both are anchors, on the weaker side.

    None when neither is one.
    """
    sides = zip((pool.key.token0.address, pool.key.token1.address), depth_of(pool, ENTRY_DEPTH_BPS), strict=True)
    values = [out * prices[token][0] // prices[token][1] for token, out in sides if token in prices]
    return min(values, default=None)
