"""The price collar: an entry's price is compared with one that its own pools have no say in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dexlane.domain.amm.adapters import Pair
from dexlane.domain.circumstances import Market, Objection
from dexlane.domain.controls.bounds import Bound
from dexlane.domain.pool_table import PoolTable
from dexlane.domain.risk.depth import Priced, priced
from dexlane.values.amounts import BPS_DENOMINATOR, apply_bps, decimal_text
from dexlane.values.books import Book
from dexlane.values.controls import WithoutReference
from dexlane.values.routes import Route

PRICE_SCALE_BITS = 192
"""Prices are whole numbers of 2^-192 units out per unit in: exact enough for any two tokens, and quick to compare."""
NO_REFERENCE = "no other pool or way gives a price that this one could be compared with"
REFERENCE_LEGS = 2
"""A way through one other token is the longest that a price is compared with."""


def independent_price(pools: PoolTable, token_in: str, token_out: str, own: frozenset[str], amount: int) -> int | None:
    """Units of ``token_out`` per unit of ``token_in``, scaled, before fees, for a trade of ``amount``.

    The median over the other pools of the pair; where there is none, over the ways through one other token, each hop
    in its deepest pool. A pool counts that gives as much within two per cent of its price, on both sides: one that
    holds less costs little to move, and then says what somebody wants it to say. None when nothing is left.
    """
    direct = [_scaled(one) for one in _others(pools, Pair(token_in, token_out), own) if one.depth >= amount]
    return _median(direct or list(_through_another(pools, Pair(token_in, token_out), own, amount)))


def _others(pools: PoolTable, pair: Pair, own: frozenset[str]) -> Iterator[Priced]:
    """What the pools of two tokens say that are not the entry's own."""
    for address in pools.between(*pair):
        if address not in own and not pools.key(address).more_tokens:
            found = priced(pools[address], *pair)
            if found is not None:
                yield found


def _through_another(pools: PoolTable, pair: Pair, own: frozenset[str], amount: int) -> Iterator[int]:
    ends = sorted(pair, key=lambda token: len(pools.trading(token)))
    keys = [key for key in map(pools.key, pools.trading(ends[0])) if not key.more_tokens]
    for token in sorted({key.other(ends[0]).address for key in keys} - {ends[1]}):
        first = _deepest(pools, Pair(pair.token_in, token), own, amount)
        second = _deepest(pools, Pair(token, pair.token_out), own, (amount * first) >> PRICE_SCALE_BITS) if first else 0
        price = (first * second) >> PRICE_SCALE_BITS
        if price:
            yield price


def _deepest(pools: PoolTable, pair: Pair, own: frozenset[str], amount: int) -> int:
    """The scaled price in the deepest pool of a hop; zero where none is deep enough."""
    deepest = max(_others(pools, pair, own), default=None)
    return 0 if deepest is None or deepest.depth < max(1, amount) else _scaled(deepest)


def _scaled(found: Priced) -> int:
    return (found.numerator << PRICE_SCALE_BITS) // found.denominator


def _median(prices: list[int]) -> int | None:
    """The middle one; of an even number the mean of both, rounded down."""
    if not prices:
        return None
    prices.sort()
    middle = len(prices) // 2
    return prices[middle] if len(prices) % 2 else (prices[middle - 1] + prices[middle]) // 2


@dataclass(slots=True)
class Collar:
    """The collar of one entry. ``ceiling`` is the most that any level could put in: a reference must be deep enough for
    that, so that a smaller size is never judged by a shallower pool. ``largest`` is the most that this book would put
    in: an entry without a reference is shrunk to a share of that."""

    book: Book
    market: Market
    ceiling: int
    largest: int
    _known: dict[frozenset[str], int | None] = field(default_factory=dict)

    def bounds(self, route: Route) -> Iterator[Bound]:
        """What an entry without a reference may still put in."""
        if self.book.controls_in_force.collar_bps is None or route.is_cycle or self.ceiling < 1:
            return
        if self._reference(route, _own([route])) is None:
            yield Bound("no_reference", self._without_reference, lambda: NO_REFERENCE)

    def objection(self, paths: list[Route], amount_in: int, amount_out: int) -> Objection | None:
        """What speaks against the price of a quoted entry: it lies too far from the independent one, on either side. A
        price that is far too good is no gift, it is a pool that somebody moved."""
        limit = self.book.controls_in_force.collar_bps
        if limit is None or paths[0].is_cycle:
            return None
        # A split over all pools of a pair is compared with those that its first path leaves out.
        reference = self._reference(paths[0], _own(paths)) or self._reference(paths[0], _own(paths[:1]))
        if reference is None:
            return None if amount_in <= self._without_reference else Objection("no_reference", NO_REFERENCE)
        now, expected = amount_out << PRICE_SCALE_BITS, reference * amount_in
        if abs(now - expected) * BPS_DENOMINATOR <= expected * limit:
            return None
        apart = abs(now - expected) * BPS_DENOMINATOR // expected
        side = "below" if now < expected else "above"
        sentence = (
            f"the price lies {decimal_text(apart, 2)} % {side} that of the other pools; "
            f"the collar is {decimal_text(limit, 2)} %"
        )
        return Objection("price_collar", sentence)

    @property
    def _without_reference(self) -> int:
        controls = self.book.controls_in_force
        if controls.without_reference is WithoutReference.REFUSE:
            return 0
        return apply_bps(self.largest, controls.shrink_bps)

    def _reference(self, route: Route, own: frozenset[str]) -> int | None:
        if own not in self._known:
            self._known[own] = independent_price(self.market.pools, route.token_in, route.token_out, own, self.ceiling)
        return self._known[own]


def _own(paths: list[Route]) -> frozenset[str]:
    return frozenset(leg.pool for route in paths for leg in route.legs)
