"""The price collar: an entry's price is compared with one that its own pools have no say in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dexlane.domain.amm.quoting import InsufficientLiquidity, spot_price_ratio, virtual_reserves
from dexlane.domain.circumstances import Market, Objection
from dexlane.domain.controls.bounds import Bound
from dexlane.domain.pool_table import PoolTable
from dexlane.values.amounts import BPS_DENOMINATOR, apply_bps, decimal_text
from dexlane.values.books import Book
from dexlane.values.controls import WithoutReference
from dexlane.values.pools import Pool
from dexlane.values.routes import Route

PRICE_SCALE_BITS = 192
"""Prices are whole numbers of 2^-192 units out per unit in: exact enough for any two tokens, and quick to compare."""
NO_REFERENCE = "no other pool or way gives a price that this one could be compared with"
REFERENCE_LEGS = 2
"""A way through one other token is the longest that a price is compared with."""
DEPTH_FACTOR = 10
"""A pool counts as a reference when what it holds of the token paid is this multiple of the trade: a shallow one costs
little to move, and then says what somebody wants it to say."""


def independent_price(pools: PoolTable, token_in: str, token_out: str, own: frozenset[str], amount: int) -> int | None:
    """Units of ``token_out`` per unit of ``token_in``, scaled, before fees, for a trade of ``amount``.

    The median over the other pools of the pair; where there is none, over the ways through one other token, each hop
    in its deepest pool. None when nothing deep enough is left.
    """
    from_in, into_out = _neighbours(pools, token_in, token_out, own)
    least = amount * DEPTH_FACTOR
    direct = [price for pool in from_in.get(token_out, ()) if (price := _price(pool, token_in, token_out, least))]
    return _median(direct or list(_through_another(from_in, into_out, (token_in, token_out), least)))


def _neighbours(
    pools: PoolTable, token_in: str, token_out: str, own: frozenset[str]
) -> tuple[dict[str, list[Pool]], dict[str, list[Pool]]]:
    """Pools of ``token_in`` and of ``token_out``, by their other token."""
    from_in: dict[str, list[Pool]] = {}
    into_out: dict[str, list[Pool]] = {}
    for token, by_other in ((token_in, from_in), (token_out, into_out)):
        for address in pools.trading(token):
            key = pools.key(address)
            if address not in own and not key.more_tokens:
                by_other.setdefault(key.other(token).address, []).append(pools[address])
    return from_in, into_out


def _through_another(
    from_in: dict[str, list[Pool]], into_out: dict[str, list[Pool]], ends: tuple[str, str], least: int
) -> Iterator[int]:
    for token in from_in.keys() & into_out.keys():
        first = _deepest_price(from_in[token], ends[0], token, least)
        second = _deepest_price(into_out[token], token, ends[1], (least * first) >> PRICE_SCALE_BITS)
        price = (first * second) >> PRICE_SCALE_BITS
        if price:
            yield price


def _deepest_price(pools: list[Pool], token_in: str, token_out: str, least: int) -> int:
    deepest = max(pools, key=lambda pool: (virtual_reserves(pool, token_in, token_out)[0], pool.key.address))
    return _price(deepest, token_in, token_out, least)


def _price(pool: Pool, token_in: str, token_out: str, least: int) -> int:
    """The scaled spot price; zero where the pool has none, or holds less than ``least`` of the token paid."""
    try:
        if virtual_reserves(pool, token_in, token_out)[0] < least:
            return 0
        numerator, denominator = spot_price_ratio(pool, token_in, token_out)
    except InsufficientLiquidity:
        return 0
    return (numerator << PRICE_SCALE_BITS) // denominator


def _median(prices: list[int]) -> int | None:
    """The middle one; of an even number the mean of both, rounded down."""
    if not prices:
        return None
    prices.sort()
    middle = len(prices) // 2
    return prices[middle] if len(prices) % 2 else (prices[middle - 1] + prices[middle]) // 2


@dataclass(slots=True)
class Collar:
    """The collar of one entry. ``ceiling`` is the most that the trade could put in: a reference must be deep enough for
    that, so that a smaller size is never judged by a shallower pool."""

    book: Book
    market: Market
    ceiling: int
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
        return apply_bps(self.ceiling, controls.shrink_bps)

    def _reference(self, route: Route, own: frozenset[str]) -> int | None:
        if own not in self._known:
            pools = self.market.pool_book.pools
            self._known[own] = independent_price(pools, route.token_in, route.token_out, own, self.ceiling)
        return self._known[own]


def _own(paths: list[Route]) -> frozenset[str]:
    return frozenset(leg.pool for route in paths for leg in route.legs)
