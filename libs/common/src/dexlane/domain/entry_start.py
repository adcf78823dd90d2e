"""Where an entry begins: the route as the book can trade it, and the most that any level may put in."""

from __future__ import annotations

from dexlane.domain.amm.quoting import optimal_cycle_size
from dexlane.domain.circumstances import Holdings, Market, Objection, Refused, refusal
from dexlane.domain.routing import rotated_to
from dexlane.events.opportunity import OpportunityFound
from dexlane.values.amounts import apply_bps
from dexlane.values.books import Book, LaneLimits
from dexlane.values.routes import Route


def route_for(opportunity: OpportunityFound, book: Book, market: Market) -> Route | Refused:
    """The route as this book can trade it: it is paid with the book's quote token."""
    route, quote = opportunity.route, book.quote
    paid_with = market.traded_as(quote.address)
    if route.is_cycle and route.token_in != paid_with:
        rotated = rotated_to(route, paid_with)
        if rotated is None:
            return refusal([Objection("other_quote", f"the cycle does not pass through {quote.symbol}")])
        route = rotated
    if route.token_in != paid_with:
        return refusal([Objection("other_quote", f"the trade is not paid with {quote.symbol}")])
    unknown = [leg.pool for leg in route.legs if leg.pool not in market.pools]
    if unknown:
        return refusal([Objection("unknown_pool", f"the state of pool {pool} is not known") for pool in unknown])
    return route


def entry_ceiling(
    opportunity: OpportunityFound, route: Route, limits: LaneLimits, holdings: Holdings, market: Market
) -> int:
    """The most that any level may put in: the hint, the largest trade, what capital and balance leave."""
    at_work = 0 if holdings.exposure is None else holdings.exposure.at_work
    ceiling = min(
        apply_bps(limits.max_trade, market.entry_size_bps), limits.capital - at_work - holdings.reserved.capital
    )
    if holdings.quote_balance is not None:
        ceiling = min(ceiling, holdings.quote_balance - holdings.reserved.capital)
    if route is opportunity.route or route == opportunity.route:
        return max(0, min(ceiling, opportunity.size_hint))
    # The hint is in another token: what the rotated cycle earns most with takes its place.
    best = optimal_cycle_size(market.pools, route, ceiling) if ceiling > 0 else None
    return 0 if best is None else best[0]
