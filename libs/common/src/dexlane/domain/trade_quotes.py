"""What a whole trade gives: one path or several, in their order, with what tokens keep of their transfers.

Paths see what those before them did to the pools, as the chain carries them out. A taxed token is traded in pools that
are paid by balance only (Uniswap V2): a pool that is paid in a callback refuses less than the whole amount, and the
minimum of such a swap counts what the pool sends and not what arrives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dexlane.domain.amm.quoting import (
    ROUTE_GAS,
    InsufficientLiquidity,
    Quote,
    RouteQuote,
    quote_exact_in,
    quote_route,
    spot_price_ratio,
)
from dexlane.domain.amm.transfer_tax import arriving
from dexlane.events.execution import Plan
from dexlane.values.amounts import BPS_DENOMINATOR, PIPS_DENOMINATOR
from dexlane.values.pools import Pool, Protocol
from dexlane.values.routes import Route

Taxes = Mapping[str, int]
"""Token to what it keeps of a transfer, in basis points. A token that is not there keeps nothing."""


@dataclass(frozen=True, slots=True)
class TradeQuote:
    """What a trade gives for all that is paid. ``gas`` is the whole transaction; ``impact_bps`` is our own effect."""

    amount_in: int
    amount_out: int
    gas: int
    impact_bps: int
    paths: tuple[tuple[Route, RouteQuote], ...]


def quote_plan(pools: Mapping[str, Pool], plan: Plan) -> TradeQuote:
    """The plan's paths on these states, with the taxes it was planned with. Raises as ``quote_trade``."""
    taxes = {tax.token: tax.bps for tax in plan.taxes}
    return quote_trade(pools, [(path.route, path.amount_in) for path in plan.paths], taxes)


def quote_trade(pools: Mapping[str, Pool], paths: Sequence[tuple[Route, int]], taxes: Taxes) -> TradeQuote:
    """Sell an amount along each route, in order.

    Raises ``InsufficientLiquidity`` when a path cannot take its amount, or a taxed token would pass a pool that is not
    paid by balance; ``KeyError`` for a pool that is not there.
    """
    states = {leg.pool: pools[leg.pool] for route, _ in paths for leg in route.legs}
    quoted: list[tuple[Route, RouteQuote]] = []
    expected = 0
    for route, amount_in in paths:
        quote = quote_taxed(states, route, amount_in, taxes)
        if len(paths) > 1:
            for leg, step in zip(route.legs, quote.legs, strict=True):
                states[leg.pool] = states[leg.pool].with_state(step.next_state)
        quoted.append((route, quote))
        expected += _at_spot(pools, route, amount_in, taxes)
    amount_out = sum(quote.amount_out for _, quote in quoted)
    return TradeQuote(
        amount_in=sum(amount for _, amount in paths),
        amount_out=amount_out,
        gas=ROUTE_GAS + sum(quote.gas - ROUTE_GAS for _, quote in quoted),
        impact_bps=_nearest_bps(expected - amount_out, expected),
        paths=tuple(quoted),
    )


def quote_taxed(pools: Mapping[str, Pool], route: Route, amount_in: int, taxes: Taxes) -> RouteQuote:
    """As ``quote_route``, with what the tokens of the route keep: ``amount_out`` is what arrives."""
    if not taxes or not any(taxes.get(token) for leg in route.legs for token in (leg.token_in, leg.token_out)):
        return quote_route(pools, route, amount_in)
    amount, gas = amount_in, ROUTE_GAS
    quotes: list[Quote] = []
    seen: set[str] = set()
    for leg in route.legs:
        if leg.protocol is not Protocol.UNISWAP_V2 or leg.pool in seen:
            raise InsufficientLiquidity(f"pool {leg.pool} does not measure what arrives of a taxed token")
        seen.add(leg.pool)
        arrived = arriving(amount, taxes.get(leg.token_in, 0))
        if arrived < 1:
            raise InsufficientLiquidity("the tax leaves nothing to sell")
        quote = quote_exact_in(pools[leg.pool], leg.token_in, arrived, leg.token_out)
        quotes.append(quote)
        amount, gas = quote.amount_out, gas + quote.gas
    return RouteQuote(
        amount_in=amount_in,
        amount_out=arriving(amount, taxes.get(route.token_out, 0)),
        gas=gas,
        legs=tuple(quotes),
    )


def _at_spot(pools: Mapping[str, Pool], route: Route, amount_in: int, taxes: Taxes) -> int:
    """What the spot prices give, less pool fees and taxes: what is missing beyond that is price impact."""
    expected, scale = amount_in, 1
    for leg in route.legs:
        numerator, denominator = spot_price_ratio(pools[leg.pool], leg.token_in, leg.token_out)
        expected *= numerator * (PIPS_DENOMINATOR - leg.fee_pips) * (BPS_DENOMINATOR - taxes.get(leg.token_in, 0))
        scale *= denominator * PIPS_DENOMINATOR * BPS_DENOMINATOR
    return expected * (BPS_DENOMINATOR - taxes.get(route.token_out, 0)) // (scale * BPS_DENOMINATOR)


def _nearest_bps(part: int, whole: int) -> int:
    return max(0, (part * BPS_DENOMINATOR * 2 + whole) // (2 * whole)) if whole else 0
