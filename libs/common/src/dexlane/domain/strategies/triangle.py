"""Triangle: three pools whose prices do not agree; around them and back to the quote token at once."""

from __future__ import annotations

from collections.abc import Mapping

from dexlane.domain.routing import PoolGraph
from dexlane.domain.routing.cycles import Cycle, CycleQuestion, gaining_cycles
from dexlane.domain.strategies.base import BlockContext, Finding, found
from dexlane.domain.strategies.price_gap import PriceGapParameters
from dexlane.events.opportunity import OpportunityFound
from dexlane.values.amounts import decimal_text
from dexlane.values.pools import Pool
from dexlane.values.tokens import Token


class TriangleParameters(PriceGapParameters):
    """When a triangle counts; the same terms as of a price gap."""


class Triangle:
    """Looks at every cycle of three pools through the quote token of which the block touched at least one.

    Triangles are ranked by virtual reserves and sized by exact quotes. Of triangles that share a pool only the most
    profitable is emitted: after it the others are not what they were. Between blocks it keeps only who trades what.
    """

    name = "triangle"
    version = 1

    def __init__(self, parameters: TriangleParameters, quote: Token) -> None:
        self._parameters = parameters
        self._quote = quote
        self._graph = PoolGraph()

    def on_block(self, context: BlockContext) -> list[OpportunityFound]:
        """Triangles that share no pool, most profitable first."""
        pools = context.book.pools
        if not context.touched:
            return []
        if len(self._graph) != len(pools) or not all(address in self._graph for address in context.touched):
            self._graph.follow(pools)
        chosen: list[Cycle] = []
        taken: set[str] = set()
        for cycle in self._worth_it(pools, context.touched):
            if taken.isdisjoint(cycle.pools):
                chosen.append(cycle)
                taken |= cycle.pools
        return [found(self, context, self._finding(cycle, pools)) for cycle in chosen]

    def _worth_it(self, pools: Mapping[str, Pool], touched: frozenset[str]) -> list[Cycle]:
        question = CycleQuestion(self._quote.address, 3, self._parameters.max_size)
        return [
            cycle
            for cycle in gaining_cycles(self._graph, pools, question, sorted(touched))
            if cycle.profit >= self._parameters.min_profit and cycle.edge_bps >= self._parameters.min_edge_bps
        ]

    def _finding(self, cycle: Cycle, pools: Mapping[str, Pool]) -> Finding:
        tokens = [pools[leg.pool].key.token(leg.token_in).symbol for leg in cycle.route.legs]
        signals = {
            "triangle": " > ".join((*tokens, self._quote.symbol)),
            "size": f"{self._text(cycle.size)} is the best size up to {self._text(self._parameters.max_size)}",
            "profit": f"{self._text(cycle.profit)} ({cycle.edge_bps} bps) by exact quotes, before gas",
        }
        return Finding(
            route=cycle.route,
            size_hint=cycle.size,
            expected_out=cycle.size + cycle.profit,
            edge_bps=cycle.edge_bps,
            deadline_blocks=self._parameters.deadline_blocks,
            signals=signals,
        )

    def _text(self, amount: int) -> str:
        return f"{decimal_text(amount, self._quote.decimals)} {self._quote.symbol}"
