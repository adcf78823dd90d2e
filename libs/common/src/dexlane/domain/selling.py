"""Selling over several pools what no single one takes: piece by piece, each where it brings most at that moment.

Everybody finds the same on the same states: pieces are exact quotes on what the pieces before them left, of equal rates
the route whose pools sort first is taken, and at most ``PIECES`` pieces and as many remainders as there are routes are
sold. Selling the amount of each route at once never brings less, but for single units of rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from dexlane.domain.amm.quoting import RouteQuote, quote_exact_in, quote_route
from dexlane.domain.pool_table import PoolTable
from dexlane.domain.routing import PoolGraph
from dexlane.values.pools import Pool
from dexlane.values.routes import Route

PIECES = 16
MOST_ROUTES = 24
"""Of more routes those are used that bring most for the first piece."""
_BISECTIONS = 12
"""What a route over two pools takes at most is found to one part in 4,096 of the piece."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is sold along one route, all its pieces together."""

    route: Route
    amount_in: int
    amount_out: int


@dataclass(frozen=True, slots=True)
class SoldInParts:
    """The parts, that which brings most first, and the ``rest`` that nobody takes."""

    parts: tuple[Part, ...]
    rest: int

    @property
    def proceeds(self) -> int:
        """What all parts bring."""
        return sum(part.amount_out for part in self.parts)


def pools_between(table: PoolTable, token: str, quote: str, max_legs: int = 2) -> dict[str, Pool]:
    """The pools of all routes of one leg and, where allowed, of two."""
    found = {address: table[address] for address in table.between(token, quote)}
    if max_legs < 2:
        return found
    for address in table.trading(token):
        for other in table.key(address).tokens:
            beyond = () if other.address in {token, quote} else table.between(other.address, quote)
            if beyond:
                found |= {one: table[one] for one in (address, *beyond)}
    return found


def routes_between(pools: Mapping[str, Pool], token: str, quote: str, max_legs: int = 2) -> list[Route]:
    """Every route of one leg, then, where allowed, every route over one other token; lowest addresses first."""
    graph = PoolGraph(pools.values())
    found = [path for legs in range(1, min(max_legs, 2) + 1) for path in graph.paths(token, quote, legs)]
    found.sort(key=lambda path: (len(path), [(edge.address, edge.token_out) for edge in path]))
    once_each = (path for path in found if len({edge.address for edge in path}) == len(path))
    return [Route(legs=tuple(edge.leg for edge in path)) for path in once_each]


def sold_in_parts(pools: Mapping[str, Pool], routes: Sequence[Route], amount: int) -> SoldInParts:
    """Sell an amount along these routes, piece by piece. A route that takes a piece in part only is full then."""
    desk = _Desk(pools, routes)
    left, step = amount, -(-amount // PIECES)
    while left:
        sold = desk.sell(min(step, left))
        if sold == 0:
            break
        left -= sold
    return SoldInParts(desk.parts(), left)


def most_taken(pools: Mapping[str, Pool], route: Route, amount: int) -> RouteQuote | None:
    """The quote of the largest part of an amount that a route takes: exact for one pool, nearly so over two. None when
    it takes nothing, or gives nothing for it."""
    whole = _whole(pools, route, amount)
    if whole is not None or len(route.legs) == 1:
        return whole or _taken_by_pool(pools, route, amount)
    best, takes, refuses = None, 0, amount
    for _ in range(_BISECTIONS):
        half = (takes + refuses) // 2
        quote = _whole(pools, route, half)
        takes, refuses = (takes, half) if quote is None else (half, refuses)
        best = quote or best
    return best


class _Desk:
    """Pool states between the pieces, and what each route would give for the next one."""

    def __init__(self, pools: Mapping[str, Pool], routes: Sequence[Route]) -> None:
        self._routes = routes
        self._states = {leg.pool: pools[leg.pool] for route in routes for leg in route.legs}
        self._open = list(range(len(routes)))
        self._offers: dict[int, tuple[Fraction, RouteQuote]] = {}
        self._piece = 0
        self._sold: dict[int, tuple[int, int]] = {}

    def sell(self, piece: int) -> int:
        """Sell a piece, or what is taken of it, along the route with the best rate; zero when all routes are full."""
        if piece != self._piece:
            self._piece = piece
            self._offers.clear()
        self._quote_open()
        if not self._open:
            return 0
        best = self._open[0]
        quote = self._offers[best][1]
        if quote.amount_in < piece:
            self._open.remove(best)
        self._apply(best, quote)
        return quote.amount_in

    def parts(self) -> tuple[Part, ...]:
        """What was sold so far."""
        ordered = sorted(self._sold.items(), key=lambda item: (-item[1][1], item[0]))
        return tuple(Part(self._routes[index], *amounts) for index, amounts in ordered)

    def _quote_open(self) -> None:
        for index in [one for one in self._open if one not in self._offers]:
            quote = most_taken(self._states, self._routes[index], self._piece)
            if quote is None:
                self._open.remove(index)
            else:
                self._offers[index] = Fraction(quote.amount_out, quote.amount_in), quote
        self._open.sort(key=lambda one: (-self._offers[one][0], one))
        del self._open[MOST_ROUTES:]

    def _apply(self, index: int, quote: RouteQuote) -> None:
        legs = self._routes[index].legs
        for leg, step in zip(legs, quote.legs, strict=True):
            self._states[leg.pool] = self._states[leg.pool].with_state(step.next_state)
        moved = {leg.pool for leg in legs}
        for other in list(self._offers):
            if any(leg.pool in moved for leg in self._routes[other].legs):
                del self._offers[other]
        paid, brought = self._sold.get(index, (0, 0))
        self._sold[index] = paid + quote.amount_in, brought + quote.amount_out


def _whole(pools: Mapping[str, Pool], route: Route, amount: int) -> RouteQuote | None:
    try:
        quote = quote_route(pools, route, amount)
    except ValueError:
        # Too little liquidity, or an amount that no order can have: a token may claim that we hold any.
        return None
    return quote if quote.amount_out > 0 else None


def _taken_by_pool(pools: Mapping[str, Pool], route: Route, amount: int) -> RouteQuote | None:
    leg = route.legs[0]
    try:
        taken = quote_exact_in(pools[leg.pool], leg.token_in, amount, leg.token_out).amount_in
    except ValueError:
        return None
    return _whole(pools, route, taken) if 0 < taken < amount else None
