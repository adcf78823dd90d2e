"""Cycles that gain: out of a token and back to it over two or three pools that disagree.

Found by virtual reserves, sized and judged by exact quotes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

from dexlane.domain.amm.quoting import optimal_cycle_size, quote_route, virtual_reserves
from dexlane.domain.routing.graph import Edge, PoolGraph
from dexlane.values.amounts import BPS_DENOMINATOR, PIPS_DENOMINATOR
from dexlane.values.pools import Pool
from dexlane.values.routes import Route

_SIZED_PER_CALL = 16
"""At most so many cycles, those with the greatest profit by virtual reserves, are sized exactly."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """A cycle at its best size. ``profit`` is before gas, in the token it starts with; ``gas`` is the transaction's."""

    route: Route
    size: int
    profit: int
    gas: int

    @property
    def edge_bps(self) -> int:
        """Gain over the size, rounded down."""
        return self.profit * BPS_DENOMINATOR // self.size

    @property
    def pools(self) -> frozenset[str]:
        """Addresses of its pools."""
        return frozenset(leg.pool for leg in self.route.legs)


@dataclass(frozen=True, slots=True)
class CycleQuestion:
    """Which cycles are looked for: from which token, over how many pools (2 or 3), up to which size."""

    start: str
    legs: int
    max_in: int


def gaining_cycles(
    graph: PoolGraph, pools: Mapping[str, Pool], question: CycleQuestion, touched: Iterable[str]
) -> list[Cycle]:
    """Cycles through at least one of the touched pools that gain at their best size, greatest profit first.

    The graph only says who trades what; states are taken from ``pools``. Of equal profits the one whose pool addresses
    sort first.
    """
    screened: dict[tuple[str, ...], tuple[float, tuple[Edge, ...]]] = {}
    slopes: dict[Edge, tuple[float, float]] = {}
    for edges in _cycles(graph, question, touched):
        for edge in edges:
            if edge not in slopes:
                slopes[edge] = _slopes(pools.get(edge.address), edge)
        profit = _profit_by_reserves([slopes[edge] for edge in edges])
        if profit > 0:
            screened[tuple(edge.address for edge in edges)] = (profit, edges)
    order = sorted(screened, key=lambda addresses: (-screened[addresses][0], addresses))
    found = (_sized(pools, screened[addresses][1], question.max_in) for addresses in order[:_SIZED_PER_CALL])
    gaining = [cycle for cycle in found if cycle is not None]
    gaining.sort(key=lambda cycle: (-cycle.profit, tuple(leg.pool for leg in cycle.route.legs)))
    return gaining


def _sized(pools: Mapping[str, Pool], edges: tuple[Edge, ...], max_in: int) -> Cycle | None:
    route = Route(legs=tuple(edge.leg for edge in edges))
    best = optimal_cycle_size(pools, route, max_in)
    if best is None:
        return None
    size, profit = best
    return Cycle(route, size, profit, quote_route(pools, route, size).gas)


def _cycles(graph: PoolGraph, question: CycleQuestion, touched: Iterable[str]) -> Iterator[tuple[Edge, ...]]:
    """Every cycle of that length through a touched pool, each pool once; a cycle may come up more than once."""
    start = question.start
    for address in touched:
        for edge in graph.directions(address):
            for position in range(question.legs):
                for before in graph.paths(start, edge.token_in, position):
                    for after in graph.paths(edge.token_out, start, question.legs - position - 1):
                        edges = (*before, edge, *after)
                        if len({one.address for one in edges}) == question.legs:
                            yield edges


def _slopes(pool: Pool | None, edge: Edge) -> tuple[float, float]:
    """What the first unit buys after the fee, and how much of a unit after the fee moves the price by the whole."""
    if pool is None:
        return 0.0, 0.0
    reserve_in, reserve_out = virtual_reserves(pool, edge.token_in, edge.token_out)
    if not reserve_in:
        return 0.0, 0.0
    keep = (PIPS_DENOMINATOR - pool.key.fee_pips) / PIPS_DENOMINATOR
    return keep * (reserve_out / reserve_in), keep / reserve_in


def _profit_by_reserves(legs: Iterable[tuple[float, float]]) -> float:
    """The greatest profit when every pool keeps its virtual reserves: constant products chain to
    ``g * a / (1 + s * a)``, whose profit is at most ``(sqrt(g) - 1) ** 2 / s``."""
    gain, slope = 1.0, 0.0
    for rate, resistance in legs:
        slope += resistance * gain
        gain *= rate
    surplus = sqrt(gain) - 1.0
    return surplus * surplus / slope if surplus > 0 else 0.0
