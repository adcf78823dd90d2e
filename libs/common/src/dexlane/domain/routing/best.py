"""The route that gives most for an amount: found by curves, decided by exact quotes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dexlane.domain.amm.quoting import ROUTE_GAS, InsufficientLiquidity, Quote, RouteQuote, quote_exact_in
from dexlane.domain.routing.graph import Edge, PoolGraph
from dexlane.domain.routing.terms import GasTerms
from dexlane.domain.routing.walks import Care, Errand, Walk, walks
from dexlane.values.pools import Pool
from dexlane.values.routes import Route

_NEAR_PARTS = 1_000_000
"""Walks whose worth by curves misses the best by at most one part in so many are quoted exactly."""
_MOST_QUOTED = 4


@dataclass(frozen=True, slots=True)
class QuotedRoute:
    """A route with its exact quote."""

    route: Route
    quote: RouteQuote


def best_route(
    pools: Mapping[str, Pool], token_in: str, token_out: str, amount_in: int, *, max_legs: int = 1
) -> QuotedRoute | None:
    """The route of at most ``max_legs`` (1 to 4) legs that gives most for the whole amount, or None when none can
    take it. Gas is not looked at: it is the caller's to weigh, or :func:`best_on`'s.
    """
    return best_on(PoolGraph(pools.values()), Errand(token_in, token_out, amount_in, max_legs))


def best_on(
    graph: PoolGraph, errand: Errand, gas: GasTerms | None = None, care: Care | None = None
) -> QuotedRoute | None:
    """The route that gives most for the whole amount; with ``gas``, most after gas and data fee.

    Of equal routes the shorter one, then the one whose pool addresses sort first, so that everybody finds the same.
    A route may pass a token twice, but uses no pool twice. An errand that ends where it begins asks for a cycle.
    Without a word on ``care`` the quick search is made, and the thorough one when that finds nothing.
    """
    if care is None:
        care = Care.PLAIN if gas is None else Care.THRIFTY
    chain = best_chain(walks(graph, errand, care), errand.amount, gas)
    if chain is None and care < Care.THOROUGH:
        chain = best_chain(walks(graph, errand, Care.THOROUGH), errand.amount, gas)
    return None if chain is None else chain.as_route()


def best_chain(found: Iterable[Walk], amount_in: int, gas: GasTerms | None) -> QuotedChain | None:
    """The walk that is worth most by exact quotes, of those that curves cannot tell from the best."""
    best: tuple[int, QuotedChain] | None = None
    least = quoted = 0
    for worth, walk in ranked(found, gas):
        if best is not None and (worth < least or quoted == _MOST_QUOTED):
            break
        chain = quoted_chain(walk.edges, amount_in)
        if chain is None:
            continue
        quoted += 1
        exact = chain.amount_out - route_cost(gas, [chain])
        if best is None:
            least = exact - chain.amount_out // _NEAR_PARTS
        if best is None or (-exact, *order_of(chain.edges)) < (-best[0], *order_of(best[1].edges)):
            best = exact, chain
    return None if best is None else best[1]


def rotated_to(route: Route, token: str) -> Route | None:
    """The same cycle beginning (and ending) with ``token``; None when the cycle does not touch it."""
    for position, leg in enumerate(route.legs):
        if leg.token_in == token:
            return Route(legs=route.legs[position:] + route.legs[:position])
    return None


@dataclass(frozen=True, slots=True)
class QuotedChain:
    """Edges with their exact quotes, one after the other."""

    edges: tuple[Edge, ...]
    amount_in: int
    quotes: tuple[Quote, ...]

    @property
    def amount_out(self) -> int:
        """What the last leg gives."""
        return self.quotes[-1].amount_out

    @property
    def legs_gas(self) -> int:
        """Gas of the legs alone."""
        return sum(quote.gas for quote in self.quotes)

    def as_route(self) -> QuotedRoute:
        """The chain as a route of its own transaction."""
        quote = RouteQuote(self.amount_in, self.amount_out, ROUTE_GAS + self.legs_gas, self.quotes)
        return QuotedRoute(Route(legs=tuple(edge.leg for edge in self.edges)), quote)


def quoted_chain(edges: Sequence[Edge], amount_in: int, states: dict[str, Pool] | None = None) -> QuotedChain | None:
    """Sell ``amount_in`` along the edges by exact quotes; None when a leg cannot take all of what the one before gave.

    ``states`` are pools that earlier trades have changed; they are brought up to date with this chain when it can be
    traded, and left alone otherwise.
    """
    changed: dict[str, Pool] = {}
    quotes: list[Quote] = []
    amount = amount_in
    for edge in edges:
        pool = changed.get(edge.address) or (states or {}).get(edge.address) or edge.pool
        try:
            quote = quote_exact_in(pool, edge.token_in, amount, edge.token_out)
        except InsufficientLiquidity:
            return None
        if quote.partial or quote.amount_out < 1:
            return None
        if states is not None or len(edges) > 1:
            changed[edge.address] = pool.with_state(quote.next_state)
        quotes.append(quote)
        amount = quote.amount_out
    if states is not None:
        states.update(changed)
    return QuotedChain(tuple(edges), amount_in, tuple(quotes))


def route_cost(gas: GasTerms | None, chains: Sequence[QuotedChain]) -> int:
    """What one transaction with these chains costs in the out token; nothing without terms."""
    if gas is None:
        return 0
    spent = ROUTE_GAS + sum(chain.legs_gas for chain in chains)
    return gas.cost(spent, [chain.edges for chain in chains])


def estimated_worth(walk: Walk, gas: GasTerms | None) -> int:
    """What a walk brings after its cost, by curves."""
    if gas is None:
        return walk.amount
    return walk.amount - gas.cost(ROUTE_GAS + walk.gas, [walk.edges])


def ranked(found: Iterable[Walk], gas: GasTerms | None) -> list[tuple[int, Walk]]:
    """Walks with their estimated worth, best first; of equals the shorter, then the one whose pools sort first."""
    valued = [(estimated_worth(walk, gas), walk) for walk in found]
    valued.sort(key=lambda item: (-item[0], *order_of(item[1].edges)))
    return valued


def order_of(edges: Sequence[Edge]) -> tuple[int, tuple[str, ...]]:
    """What decides between equals."""
    return len(edges), tuple(edge.address for edge in edges)
