"""Exact quotes of pools and routes: amounts to the wei, gas, and the pool's state afterwards.

Quotes know no provider: pools are values and come in as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

from dexlane.domain.amm.adapters import ADAPTERS, Pair, Quote
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.golden_section import peak_between
from dexlane.values.amounts import BPS_DENOMINATOR, PIPS_DENOMINATOR
from dexlane.values.pools import Pool, PoolState, Protocol
from dexlane.values.routes import Leg, Route

__all__ = [
    "InsufficientLiquidity",
    "Quote",
    "RouteQuote",
    "optimal_cycle_size",
    "price_impact_bps",
    "quote_exact_in",
    "quote_exact_out",
    "quote_route",
    "spot_price_ratio",
    "virtual_reserves",
]

ROUTE_GAS = 40_000
"""Gas of a transaction around its legs: 21,000 intrinsic, call data, router dispatch, payment."""

_SIZE_PRECISION_BITS = 12
"""The size search ends within 1/4,096 of the best size: its profit then misses the best by some 10 ** -7 of it."""


@dataclass(frozen=True, slots=True)
class RouteQuote:
    """What a route gives for its full ``amount_in``. ``gas`` is the whole transaction."""

    amount_in: int
    amount_out: int
    gas: int
    legs: tuple[Quote, ...]


def quote_exact_in(pool: Pool, token_in: str, amount_in: int, token_out: str | None = None) -> Quote:
    """Sell exactly ``amount_in`` of ``token_in``; a pool with ticks that cannot take all of it fills in part.

    ``token_out`` may be left out where the pool has two tokens. Raises ``KeyError`` when the pool does not trade the
    pair, ``ValueError`` for an amount below one and ``InsufficientLiquidity`` when the contract would revert or no
    token would move.
    """
    pair = _pair(pool, token_in, token_out, amount_in)
    return ADAPTERS[pool.key.protocol].exact_in(pool, pair, amount_in)


def quote_exact_out(pool: Pool, token_in: str, amount_out: int, token_out: str | None = None) -> Quote:
    """Buy exactly ``amount_out`` with ``token_in``; a pool with ticks that holds less fills in part.

    Raises as :func:`quote_exact_in` does.
    """
    pair = _pair(pool, token_in, token_out, amount_out)
    return ADAPTERS[pool.key.protocol].exact_out(pool, pair, amount_out)


def quote_route(pools: Mapping[str, Pool], route: Route, amount_in: int) -> RouteQuote:
    """Sell ``amount_in`` along the legs; a pool used twice sees its own impact.

    Raises ``InsufficientLiquidity`` also when a leg could take only a part: the routers would leave the rest behind.
    """
    changed: dict[str, PoolState] = {}
    quotes: list[Quote] = []
    amount, gas = amount_in, ROUTE_GAS
    for leg in route.legs:
        pool = pools[leg.pool]
        if leg.pool in changed:
            pool = pool.with_state(changed[leg.pool])
        quote = _whole_leg(pool, leg, amount)
        changed[leg.pool] = quote.next_state
        quotes.append(quote)
        amount = quote.amount_out
        gas += quote.gas
    return RouteQuote(amount_in=amount_in, amount_out=amount, gas=gas, legs=tuple(quotes))


def spot_price_ratio(pool: Pool, token_in: str, token_out: str | None = None) -> tuple[int, int]:
    """The marginal price before fee as (numerator, denominator): units of the other token per unit of ``token_in``.

    Raises ``KeyError`` when the pool does not trade the pair, ``InsufficientLiquidity`` when it has no price.
    """
    ratio = ADAPTERS[pool.key.protocol].spot_price(pool, _pair(pool, token_in, token_out))
    if 0 in ratio:
        raise InsufficientLiquidity(f"pool {pool.key.address} has no price")
    return ratio


def virtual_reserves(pool: Pool, token_in: str, token_out: str | None = None) -> tuple[int, int]:
    """Reserves of ``token_in`` and of the other token of the constant-product pool that prices alike at the present
    price; zero where there is no liquidity. The measure for "deeper" among pools.
    """
    return ADAPTERS[pool.key.protocol].virtual_reserves(pool, _pair(pool, token_in, token_out))


def price_impact_bps(pools: Mapping[str, Pool], route: Route, quote: RouteQuote) -> int:
    """How much less the route gives than its spot prices less pool fees, in basis points, to the nearest.

    ``pools`` must be the states that were quoted. This is our own effect, not that of others (slippage).
    """
    expected, scale = quote.amount_in, 1
    for leg in route.legs:
        numerator, denominator = spot_price_ratio(pools[leg.pool], leg.token_in, leg.token_out)
        expected *= numerator * (PIPS_DENOMINATOR - leg.fee_pips)
        scale *= denominator * PIPS_DENOMINATOR
    shortfall = expected - quote.amount_out * scale
    return max(0, (shortfall * BPS_DENOMINATOR * 2 + expected) // (2 * expected))


def optimal_cycle_size(pools: Mapping[str, Pool], route: Route, max_in: int) -> tuple[int, int] | None:
    """The best input of a cyclic route up to ``max_in``, and its profit before gas; None when no size profits.

    Profit is concave in the input but for the last unit's rounding. Constant products have a closed form, and the sizes
    around it are tried. Elsewhere the search starts from that form (each V3 pool taken by its virtual reserves),
    doubles a bracket around it and closes it by golden section on exact quotes: usually 25 of them, some 60 at worst,
    two when the spot prices show no gap. A V3 pool without liquidity at its own price counts as showing none. Raises
    ``ValueError`` for a route that is no cycle.
    """
    if not route.is_cycle:
        raise ValueError("only a route that returns to its first token has a profit")
    if max_in < 1:
        return None
    search = _SizeSearch(pools, route, max_in)
    size = search.best()
    profit = search.profit(size)
    return (size, profit) if profit > 0 else None


class _SizeSearch:
    """Search for the best input, remembering every exact quote it took."""

    def __init__(self, pools: Mapping[str, Pool], route: Route, max_in: int) -> None:
        self._pools = pools
        self._route = route
        self._max_in = max_in
        self._seen: dict[int, int] = {}

    def profit(self, amount_in: int) -> int:
        """Output less input; a size that the pools cannot carry loses all of it."""
        if amount_in not in self._seen:
            try:
                gained = quote_route(self._pools, self._route, amount_in).amount_out
            except InsufficientLiquidity:
                gained = 0
            self._seen[amount_in] = gained - amount_in
        return self._seen[amount_in]

    def best(self) -> int:
        """The most profitable size found; of equals the smallest."""
        guess = min(max(_closed_form(self._pools, self._route), 1), self._max_in)
        if self._has_closed_form():
            self.profit(self._around(guess))
        else:
            low, high = self._bracket(guess)
            peak_between(self.profit, max(low, 1), high, bits=_SIZE_PRECISION_BITS)
        return max(self._seen, key=lambda size: (self._seen[size], -size))

    def _has_closed_form(self) -> bool:
        legs = self._route.legs
        return all(leg.protocol is Protocol.UNISWAP_V2 for leg in legs) and len({leg.pool for leg in legs}) == len(legs)

    def _around(self, guess: int) -> int:
        """The best size next to the closed form, by ``UniswapV2Library.getAmountOut``; of equals the smallest."""
        chain = [
            (*virtual_reserves(self._pools[leg.pool], leg.token_in, leg.token_out), PIPS_DENOMINATOR - leg.fee_pips)
            for leg in self._route.legs
        ]

        def profit(size: int) -> int:
            amount = size
            for reserve_in, reserve_out, keep in chain:
                kept = amount * keep
                amount = kept * reserve_out // (reserve_in * PIPS_DENOMINATOR + kept) if reserve_in else 0
            return amount - size

        return max(range(max(guess - 1, 1), min(guess + 2, self._max_in) + 1), key=profit)

    def _bracket(self, guess: int) -> tuple[int, int]:
        """Two sizes with the optimum between them, doubling or halving from the first guess."""
        low, high = guess // 2, min(guess * 2, self._max_in)
        while high < self._max_in and self.profit(high) > self.profit(max(high // 2, 1)):
            low, high = high // 2, min(high * 2, self._max_in)
        while low > 0 and self.profit(low) >= self.profit(min(low * 2, self._max_in)):
            low, high = low // 2, low * 2
        return low, min(high, self._max_in)


def _closed_form(pools: Mapping[str, Pool], route: Route) -> int:
    """Best input when every pool keeps its present (virtual) reserves; zero when the spot prices show no gap.

    Constant-product legs chain to ``out = a * x / (b + c * x)``, whose profit is greatest at ``(sqrt(a * b) - b) / c``.
    """
    gain, base, slope = 1, 1, 0
    for leg in route.legs:
        reserve_in, reserve_out = virtual_reserves(pools[leg.pool], leg.token_in, leg.token_out)
        keep = PIPS_DENOMINATOR - leg.fee_pips
        base, slope = base * reserve_in * PIPS_DENOMINATOR, slope * reserve_in * PIPS_DENOMINATOR + keep * gain
        gain *= keep * reserve_out
    return max(0, (isqrt(gain * base) - base) // slope) if slope else 0


def _pair(pool: Pool, token_in: str, token_out: str | None, amount: int = 1) -> Pair:
    if amount < 1:
        raise ValueError("an amount to quote is at least one unit")
    if token_out is None:
        return Pair(token_in, pool.key.other(token_in).address)
    if not pool.key.trades(token_in, token_out):
        raise KeyError(f"pool {pool.key.address} does not trade {token_in} for {token_out}")
    return Pair(token_in, token_out)


def _whole_leg(pool: Pool, leg: Leg, amount_in: int) -> Quote:
    if amount_in < 1:
        raise InsufficientLiquidity(f"nothing is left to sell in pool {leg.pool}")
    quote = quote_exact_in(pool, leg.token_in, amount_in, leg.token_out)
    if quote.partial:
        raise InsufficientLiquidity(f"pool {leg.pool} takes only {quote.amount_in} of {amount_in}")
    return quote
