"""The route that gives most for an amount, by exact quotes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dexlane.domain.amm.quoting import InsufficientLiquidity, RouteQuote, quote_route
from dexlane.values.pools import Pool, PoolKey
from dexlane.values.routes import Leg, Route


@dataclass(frozen=True, slots=True)
class QuotedRoute:
    """A route with its exact quote."""

    route: Route
    quote: RouteQuote


def best_route(
    pools: Mapping[str, Pool], token_in: str, token_out: str, amount_in: int, *, max_legs: int = 1
) -> QuotedRoute | None:
    """The route of at most ``max_legs`` (1 or 2) legs that gives most for the whole amount, or None when none can
    take it. Of equal routes the shorter one, then the one whose pool addresses sort first, so that everybody finds
    the same. Gas is not looked at: it is the caller's to weigh.
    """
    best: QuotedRoute | None = None
    for route in _routes(pools, token_in, token_out, max_legs):
        try:
            quote = quote_route(pools, route, amount_in)
        except InsufficientLiquidity:
            continue
        if quote.amount_out > (0 if best is None else best.quote.amount_out):
            best = QuotedRoute(route, quote)
    return best


def rotated_to(route: Route, token: str) -> Route | None:
    """The same cycle beginning (and ending) with ``token``; None when the cycle does not touch it."""
    for position, leg in enumerate(route.legs):
        if leg.token_in == token:
            return Route(legs=route.legs[position:] + route.legs[:position])
    return None


def _routes(pools: Mapping[str, Pool], token_in: str, token_out: str, max_legs: int) -> Iterator[Route]:
    legs = [leg for address in sorted(pools) for leg in _legs_at(pools[address].key, token_in, token_out)]
    first = [leg for leg in legs if leg.token_in == token_in]
    yield from (Route(legs=(leg,)) for leg in first if leg.token_out == token_out)
    if max_legs < 2:
        return
    last: defaultdict[str, list[Leg]] = defaultdict(list)
    for leg in legs:
        if leg.token_out == token_out and leg.token_in != token_in:
            last[leg.token_in].append(leg)
    for leg in first:
        yield from (Route(legs=(leg, second)) for second in last[leg.token_out])


def _legs_at(key: PoolKey, token_in: str, token_out: str) -> tuple[Leg, ...]:
    """The legs of a pool that begin with one token or end with the other."""
    if {token_in, token_out}.isdisjoint((key.token0.address, key.token1.address)):
        return ()
    return tuple(leg for leg in _legs(key) if leg.token_in == token_in or leg.token_out == token_out)


def _legs(key: PoolKey) -> tuple[Leg, Leg]:
    common = {"pool": key.address, "protocol": key.protocol, "fee_pips": key.fee_pips}
    token0, token1 = key.token0.address, key.token1.address
    return (
        Leg.model_validate({**common, "token_in": token0, "token_out": token1}),
        Leg.model_validate({**common, "token_in": token1, "token_out": token0}),
    )
