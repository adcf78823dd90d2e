"""What a sandwich of our trade would be worth to whoever makes it: buy before us, sell after us.

The front runner buys what we buy, up to the size at which our trade would still bring its minimum out; we then pay the
worse price, and he sells into what we paid. One pool of the route is taken at a time, with all of the tolerance of its
path, and the values are added: no less than what an attack on several pools at once could take. His capital is not
limited, and he pays gas for two swaps and no bribe. All of that errs towards a higher value, never towards a lower one.

Source of the formulas: the exact-input swap of a constant product (``UniswapV2Library.getAmountOut``), three times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isqrt

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.golden_section import peak_between
from dexlane.domain.amm.quoting import quote_exact_in, quote_exact_out, spot_price_ratio, virtual_reserves
from dexlane.domain.gas_value import NativePrice
from dexlane.domain.trade_quotes import Taxes, quote_taxed
from dexlane.events.execution import Plan
from dexlane.values.amounts import PIPS_DENOMINATOR
from dexlane.values.pools import Pool, PoolState, Protocol
from dexlane.values.routes import Leg, PlannedPath, Route

TRANSACTION_GAS = 21_000
"""Around each of his swaps; his own contract needs no router."""
BOUND_BITS = 14
"""A searched bound lies within one part in 16,384 of the true one."""
MOST_DOUBLINGS = 128
PEAK_HALVINGS = 12


@dataclass(frozen=True, slots=True)
class Victim:
    """A trade along one route, with the least that it accepts at the end."""

    route: Route
    amount_in: int
    minimum_out: int


@dataclass(frozen=True, slots=True)
class Sandwich:
    """The best sandwich in one pool. Amounts are in ``token``, what the victim pays with there; ``profit`` is before
    gas, which is that of both swaps and their transactions."""

    pool: str
    token: str
    front_in: int
    profit: int
    gas: int


def sandwich_value_wei(pools: Mapping[str, Pool], plan: Plan, chain_id: int, gas_price_wei: int) -> int | None:
    """Most that sandwiches of a plan on these states could take, net of their gas at ``gas_price_wei``, in wei.

    None when it cannot be known: the trade is not carried by these states, or no pool gives a token's price in the
    native coin. Who asks must then take it for too much.
    """
    taxes = {tax.token: tax.bps for tax in plan.taxes}
    value, natives = 0, dict[str, NativePrice]()
    try:
        states = {leg.pool: pools[leg.pool] for path in plan.paths for leg in path.route.legs}
    except KeyError:
        return None
    for path in plan.paths:
        try:
            found = list(sandwiches(states, Victim(path.route, path.amount_in, path.minimum_out), taxes))
            states = _after(states, path, taxes)
        except InsufficientLiquidity:
            return None
        for sandwich in found:
            native = natives.setdefault(sandwich.token, NativePrice(pools, chain_id, sandwich.token))
            gained = native.in_wei(sandwich.profit)
            if gained is None:
                return None
            value += max(0, gained - sandwich.gas * gas_price_wei)
    return value


def sandwiches(pools: Mapping[str, Pool], victim: Victim, taxes: Taxes) -> Iterator[Sandwich]:
    """The best sandwich in each pool of the victim's route where one pays, before gas.

    Raises ``InsufficientLiquidity`` when the pools cannot carry the victim's trade at all.
    """
    quote_taxed(pools, victim.route, victim.amount_in, taxes)
    pairs = {(leg.pool, leg.token_in): leg for leg in victim.route.legs}
    for leg in pairs.values():
        attack = _Attack(pools, victim, leg, taxes)
        best = max(attack.candidates(), key=attack.profit, default=0)
        if attack.profit(best) > 0:
            yield Sandwich(leg.pool, leg.token_in, best, attack.profit(best), attack.gas(best))


@dataclass(frozen=True, slots=True)
class _Front:
    """What a front run of one size leaves: what it bought, the pool after the victim's trade, and what that brought
    (None where the victim's trade cannot be carried at all). ``state`` is None when it bought nothing."""

    bought: int
    brought: int | None
    state: PoolState | None
    gas: int


class _Attack:
    """Front runs of one victim in one pool, by size."""

    def __init__(self, pools: Mapping[str, Pool], victim: Victim, leg: Leg, taxes: Taxes) -> None:
        self._pools = {step.pool: pools[step.pool] for step in victim.route.legs}
        self._pool = pools[leg.pool]
        self._victim = victim
        self._leg = leg
        self._taxes = taxes
        self._price = spot_price_ratio(self._pool, leg.token_in, leg.token_out)
        fair = quote_taxed(self._pools, victim.route, victim.amount_in, taxes).amount_out
        self._fronts: dict[int, _Front] = {0: _Front(0, fair, None, 0)}
        self._ends: dict[int, tuple[int, int]] = {0: (0, 0)}

    def profit(self, size: int) -> int:
        """His gain from a front run of this size, before gas; below nothing when our trade would fail."""
        return self._end(size)[0]

    def gas(self, size: int) -> int:
        """Gas of both transactions."""
        return self._end(size)[1]

    def candidates(self) -> Iterator[int]:
        """Sizes among which the best one is."""
        if self._has_closed_form():
            reserves = _Reserves.of(self._pool, self._leg)
            bound = self._exact_bound(reserves.bound(self._victim.amount_in, self._victim.minimum_out))
            roots = reserves.turning_points(self._victim.amount_in)
            for size in (bound, *(root for root in roots if root < bound)):
                yield from self._cheapest_around(size)
        else:
            bound = self._searched_bound()
            if bound > 0:
                yield from self._peak(bound)

    def _cheapest_around(self, size: int) -> Iterator[int]:
        """The least payments for what a front run of this size buys, and for a unit more or less of it."""
        bought = self._front(size).bought
        for amount in range(max(bought - 1, 1), bought + 2):
            with suppress(InsufficientLiquidity):
                yield quote_exact_out(self._pool, self._leg.token_in, amount, self._leg.token_out).amount_in

    def _front(self, size: int) -> _Front:
        if size not in self._fronts:
            self._fronts[size] = self._made(size)
        return self._fronts[size]

    def _made(self, size: int) -> _Front:
        leg, victim = self._leg, self._victim
        if size * self._price[0] < 2 * self._price[1]:
            return _Front(0, self._fronts[0].brought, None, 0)  # too little to buy anything with
        try:
            front = quote_exact_in(self._pool, leg.token_in, size, leg.token_out)
            pools = {**self._pools, leg.pool: self._pool.with_state(front.next_state)}
            fill = quote_taxed(pools, victim.route, victim.amount_in, self._taxes)
        except InsufficientLiquidity:
            return _Front(0, None, None, 0)
        after = max(index for index, step in enumerate(victim.route.legs) if step.pool == leg.pool)
        brought = None if front.partial else fill.amount_out
        return _Front(front.amount_out, brought, fill.legs[after].next_state, front.gas)

    def _end(self, size: int) -> tuple[int, int]:
        if size not in self._ends:
            self._ends[size] = self._sold(size)
        return self._ends[size]

    def _sold(self, size: int) -> tuple[int, int]:
        front, leg = self._front(size), self._leg
        if front.state is None or front.bought < 1 or not self._fits(size):
            return -size, 2 * TRANSACTION_GAS
        try:
            back = quote_exact_in(self._pool.with_state(front.state), leg.token_out, front.bought, leg.token_in)
        except InsufficientLiquidity:
            return -size, 2 * TRANSACTION_GAS
        return back.amount_out - size, front.gas + back.gas + 2 * TRANSACTION_GAS

    def _slack(self, size: int) -> int | None:
        """What our trade brings above its minimum after such a front run; None when it cannot be carried."""
        brought = self._front(size).brought
        return None if brought is None else brought - self._victim.minimum_out

    def _fits(self, size: int) -> bool:
        slack = self._slack(size)
        return slack is not None and slack >= 0

    def _has_closed_form(self) -> bool:
        route = self._victim.route
        untaxed = not any(self._taxes.get(token) for token in (route.token_in, route.token_out))
        return len(route.legs) == 1 and self._leg.protocol is Protocol.UNISWAP_V2 and untaxed

    def _exact_bound(self, guess: int) -> int:
        """The largest size that our trade survives, from one that is off by roundings. Where the bought token has few
        decimals many sizes buy the same, so the steps double."""
        low = high = max(guess, 0)
        step = 1
        while low > 0 and not self._fits(low):
            low, high, step = max(low - step, 0), low, step * 2
        while self._fits(high):
            low, high, step = high, high + step, step * 2
        return self._between(low, high, 1)

    def _searched_bound(self) -> int:
        """The largest size that our trade survives, within a part in 16,384; zero when there is none."""
        fair = self._fronts[0].brought or 0
        spare = fair - self._victim.minimum_out
        if spare <= 0:
            return 0
        # A constant product gives up twice the relative size of a front run; half as much again is tried first.
        reserve, _ = virtual_reserves(self._pool, self._leg.token_in, self._leg.token_out)
        low, high = 0, max(reserve * spare * 3 // (4 * fair), 2)
        for _ in range(MOST_DOUBLINGS):
            if not self._fits(high):
                break
            low, high = high, high * 2
        return self._between(low, high, max(1, high >> BOUND_BITS))

    def _between(self, low: int, high: int, width: int) -> int:
        """The largest size that fits, within ``width``, between one that does and one that does not: on the line
        between the two slacks as long as that closes in from both sides, else in the middle."""
        halve = False
        while high - low > width:
            over, under = self._slack(low), self._slack(high)
            at = (low + high) // 2
            if not halve and over is not None and under is not None and over > under:
                on_line = low + (high - low) * over // (over - under)
                # A little beyond the crossing on the near side, so that the next bracket is narrow.
                at = on_line + width // 2 if on_line - low < high - on_line else on_line - width // 2
            at = min(max(at, low + 1), high - 1)
            before = high - low
            low, high = (at, high) if self._fits(at) else (low, at)
            halve = (high - low) * 2 > before
        return low

    def _peak(self, bound: int) -> Iterator[int]:
        """The bound itself; and, when a little less of it brings more, the peak before it. A profit that is anywhere
        above nothing is so at one of the sizes that halve the bound again and again: it begins to fall once."""
        yield bound
        if self.profit(bound - max(bound // 100, 1)) < self.profit(bound):
            return
        halved = [bound >> shift for shift in range(1, PEAK_HALVINGS) if bound >> shift]
        top = max(halved, key=self.profit, default=0)
        if top and self.profit(top) > 0:
            yield peak_between(self.profit, top // 2, min(top * 2, bound))


@dataclass(frozen=True, slots=True)
class _Reserves:
    """A constant-product pool as the victim meets it; the fee keeps ``keep`` of a million.

    With reserves X and Y, the kept share k, the victim's payment a and a front run x, he ends with::

        x * (A * x + B) / (k^2 * x^2 + C * x + X^2)
        A = k^2 (X + a) - X,   B = k^2 (X + a)(X + k a) - X^2,   C = X + k^2 (X + k a)
    """

    paid: int
    bought: int
    keep: int

    @classmethod
    def of(cls, pool: Pool, leg: Leg) -> _Reserves:
        """The side of the pool that a leg trades."""
        paid, bought = virtual_reserves(pool, leg.token_in, leg.token_out)
        return cls(paid, bought, PIPS_DENOMINATOR - pool.key.fee_pips)

    def bound(self, amount: int, minimum_out: int) -> int:
        """The front run after which the victim's ``amount`` brings just ``minimum_out``: the positive root of
        ``k m x^2 + m (X + k X + k^2 a) x + m X (X + k a) - k a X Y``, rounded down."""
        x, y, k, one = self.paid, self.bought, self.keep, PIPS_DENOMINATOR
        square = k * one * minimum_out
        linear = minimum_out * (x * one * one + k * one * x + k * k * amount)
        constant = minimum_out * x * (x * one * one + k * one * amount) - k * one * amount * x * y
        roots = _roots(square, linear, constant)
        return max([0, *roots])

    def turning_points(self, amount: int) -> list[int]:
        """Sizes at which the profit rises or falls no more: positive roots of its derivative's numerator, the quadratic
        ``(A C - k^2 B) x^2 + 2 A X^2 x + B X^2``, rounded down."""
        x, one, k2 = self.paid, PIPS_DENOMINATOR, self.keep * self.keep
        paid = x * one + self.keep * amount  # one * (X + k a)
        a = k2 * (x + amount) - x * one**2  # one^2 * A
        b = k2 * (x + amount) * paid - x * x * one**3  # one^3 * B
        c = x * one**3 + k2 * paid  # one^3 * C
        return _roots(a * c - k2 * b, 2 * a * one**3 * x * x, b * one**2 * x * x)


def _roots(square: int, linear: int, constant: int) -> list[int]:
    """Positive real roots of a quadratic with integer coefficients, rounded down to within one."""
    if square == 0:
        root = -constant // linear if linear else 0
        return [root] if root > 0 else []
    if square < 0:
        square, linear, constant = -square, -linear, -constant
    inside = linear * linear - 4 * square * constant
    if inside < 0:
        return []
    width = isqrt(inside)
    return [root for root in ((-linear - width) // (2 * square), (-linear + width) // (2 * square)) if root > 0]


def _after(pools: Mapping[str, Pool], path: PlannedPath, taxes: Taxes) -> dict[str, Pool]:
    """The states that the next path of a split meets."""
    quote = quote_taxed(pools, path.route, path.amount_in, taxes)
    states = dict(pools)
    for leg, step in zip(path.route.legs, quote.legs, strict=True):
        states[leg.pool] = states[leg.pool].with_state(step.next_state)
    return states
