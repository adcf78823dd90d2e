"""Price gap: one pair at different prices in two pools; buy the base token in one and sell it in the other at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

from pydantic import Field

from dexlane.domain.amm.quoting import InsufficientLiquidity, optimal_cycle_size, spot_price_ratio
from dexlane.domain.strategies.base import BlockContext, Finding, PoolsByBase, found, leg_through
from dexlane.events.opportunity import OpportunityFound
from dexlane.values.amounts import BPS_DENOMINATOR, PIPS_DENOMINATOR, Amount, decimal_text
from dexlane.values.base import Value
from dexlane.values.pools import Pool
from dexlane.values.routes import Route
from dexlane.values.tokens import Token

_SIZED_PER_BASE = 8
"""At most so many gaps of one base token, the widest by spot price, are sized exactly."""


class PriceGapParameters(Value):
    """When a gap counts. Amounts in the smallest unit of the quote token."""

    min_profit: Amount = Field(gt=0, description="least gain at the best size, before gas, quote units")
    min_edge_bps: int = Field(default=1, ge=0, le=10_000, description="least gain over the size, before gas")
    max_size: Amount = Field(gt=0, description="largest size looked at, quote units")
    deadline_blocks: int = Field(default=2, ge=1, le=100)


@dataclass(frozen=True, slots=True)
class _Gap:
    route: Route
    spot_edge_bps: int
    size: int
    profit: int


class PriceGap:
    """Looks at every two pools of one pair of which the block touched at least one, in both directions.

    A gap is first judged by spot prices less fees, then sized by exact quotes. Only the most profitable gap of a base
    token is emitted: the others share a pool with it or live off the same mispricing. Keeps no state between blocks.
    """

    name = "price_gap"
    version = 1

    def __init__(self, parameters: PriceGapParameters, quote: Token) -> None:
        self._parameters = parameters
        self._quote = quote
        self._index = PoolsByBase(quote.address)

    def on_block(self, context: BlockContext) -> list[OpportunityFound]:
        """The best gap of every base token whose pools the block touched, most profitable first."""
        pools = context.book.pools
        gaps: list[tuple[_Gap, int]] = []
        for base, addresses in self._index.groups(pools).items():
            if len(addresses) > 1 and not context.touched.isdisjoint(addresses):
                screened = self._screened(pools, base, context.touched)
                sized = [gap for route, edge in screened if (gap := self._sized(pools, route, edge)) is not None]
                if sized:
                    gaps.append((max(sized, key=lambda gap: gap.profit), len(sized)))
        gaps.sort(key=lambda entry: -entry[0].profit)
        return [found(self, context, self._finding(gap, count)) for gap, count in gaps]

    def _screened(self, pools: Mapping[str, Pool], base: str, touched: frozenset[str]) -> list[tuple[Route, int]]:
        """Routes whose first unit would gain at least the least edge, widest first."""
        screened: list[tuple[Route, int]] = []
        for buy, sell in self._pairs(pools, base, touched):
            edge = _spot_edge_bps(buy, sell, self._quote.address, base)
            if edge is not None and edge >= self._parameters.min_edge_bps:
                route = Route(legs=(leg_through(buy, self._quote.address), leg_through(sell, base)))
                screened.append((route, edge))
        screened.sort(key=lambda entry: -entry[1])
        return screened[:_SIZED_PER_BASE]

    def _pairs(self, pools: Mapping[str, Pool], base: str, touched: frozenset[str]) -> Iterator[tuple[Pool, Pool]]:
        for buy, sell in permutations(self._index.groups(pools)[base], 2):
            if buy in touched or sell in touched:
                yield pools[buy], pools[sell]

    def _sized(self, pools: Mapping[str, Pool], route: Route, spot_edge_bps: int) -> _Gap | None:
        best = optimal_cycle_size(pools, route, self._parameters.max_size)
        if best is None:
            return None
        gap = _Gap(route, spot_edge_bps, *best)
        worth_it = gap.profit >= self._parameters.min_profit
        return gap if worth_it and _edge_bps(gap) >= self._parameters.min_edge_bps else None

    def _finding(self, gap: _Gap, count: int) -> Finding:
        buy, sell = gap.route.legs
        signals = {
            "gap": f"after fees, pool {sell.pool} pays {gap.spot_edge_bps} bps more than pool {buy.pool} asks",
            "size": f"{self._text(gap.size)} is the best size up to {self._text(self._parameters.max_size)}",
            "profit": f"{self._text(gap.profit)} ({_edge_bps(gap)} bps) by exact quotes, before gas",
            "choice": f"the most profitable of {count} gaps of this pair in this block",
        }
        return Finding(
            route=gap.route,
            size_hint=gap.size,
            expected_out=gap.size + gap.profit,
            edge_bps=_edge_bps(gap),
            deadline_blocks=self._parameters.deadline_blocks,
            signals=signals,
        )

    def _text(self, amount: int) -> str:
        return f"{decimal_text(amount, self._quote.decimals)} {self._quote.symbol}"


def _edge_bps(gap: _Gap) -> int:
    return gap.profit * BPS_DENOMINATOR // gap.size


def _spot_edge_bps(buy: Pool, sell: Pool, quote: str, base: str) -> int | None:
    """Gain of the first unit around the cycle after fees, rounded down; None where a pool has no price."""
    try:
        bought, buy_scale = spot_price_ratio(buy, quote)
        sold, sell_scale = spot_price_ratio(sell, base)
    except InsufficientLiquidity:
        return None
    gained = bought * sold * (PIPS_DENOMINATOR - buy.key.fee_pips) * (PIPS_DENOMINATOR - sell.key.fee_pips)
    return gained * BPS_DENOMINATOR // (buy_scale * sell_scale * PIPS_DENOMINATOR**2) - BPS_DENOMINATOR
