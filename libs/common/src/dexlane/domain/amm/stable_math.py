"""The StableSwap invariant, equal to the wei to the contracts that carry it.

Sources: the StableSwap paper (M. Egorov, 2019) for the invariant; ``StableMath`` of Balancer V2's composable stable
pools and the published behaviour of Curve's plain pools for the order and direction of every division. Both solve the
same equations by Newton's method and round differently. Balances are scaled to eighteen decimals. ``amplification`` is
``A * n ** (n - 1)``, times ``precision``.

Where a contract would revert (a product beyond 256 bits, a division by zero, no convergence) the functions raise
``InsufficientLiquidity``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.fixed_point import word

_ROUNDS = 255
"""Both families give up after so many Newton steps."""


class Curve(NamedTuple):
    """A pool's balances with eighteen decimals and its amplification in 1 / ``precision``."""

    balances: Sequence[int]
    amplification: int
    precision: int

    @property
    def amp_times_total(self) -> int:
        """``Ann``: amplification times the number of tokens."""
        return self.amplification * len(self.balances)


Product = Callable[[Sequence[int], int], int]
"""``D ** (n + 1) / (n ** n * product of balances)`` by one family's order of divisions."""


def product_by_token(balances: Sequence[int], invariant: int) -> int:
    """Divided by n at every token: Balancer, and Curve's pools until the factories."""
    count, product = len(balances), invariant
    for balance in balances:
        product = word(product * invariant) // (balance * count)
    return product


def product_at_once(balances: Sequence[int], invariant: int) -> int:
    """Divided by n ** n at the end: Curve's factory pools."""
    product = invariant
    for balance in balances:
        product = word(product * invariant) // balance
    divisor: int = len(balances) ** len(balances)
    return product // divisor


def invariant(curve: Curve, product_of: Product = product_by_token) -> int:
    """The invariant D, rounded down (``_calculateInvariant``; ``get_D``); zero for an empty pool."""
    balances, precision = curve.balances, curve.precision
    count, total, ann = len(balances), sum(balances), curve.amp_times_total
    if total == 0:
        return 0
    if 0 in balances:
        raise InsufficientLiquidity("the pool has none of one of its tokens")
    found = total
    for _ in range(_ROUNDS):
        product, before = product_of(balances, found), found
        found = word((ann * total // precision + product * count) * found) // (
            word((ann - precision) * found) // precision + (count + 1) * product
        )
        if -1 <= found - before <= 1:
            return found
    raise InsufficientLiquidity("the invariant of the pool does not converge")


def balance_rounded_up(curve: Curve, invariant: int, index: int) -> int:
    """The balance of one token that the others imply, rounded up.

    ``_getTokenBalanceGivenInvariantAndAllOtherBalances``; the token's own entry only cancels out of a product.
    """
    balances, precision, ann = curve.balances, curve.precision, curve.amp_times_total
    count = len(balances)
    product = balances[0] * count
    for balance in balances[1:]:
        product = word(word(product * balance) * count) // invariant
    squared = word(invariant * invariant)
    if product == 0:
        raise InsufficientLiquidity("the pool has none of one of its tokens")
    c = word(-(-squared // word(ann * product)) * precision * balances[index])
    b = sum(balances) - balances[index] + invariant // ann * precision
    found = -(-word(squared + c) // (invariant + b))
    for _ in range(_ROUNDS):
        before = found
        divisor = 2 * found + b - invariant
        if divisor <= 0:
            raise InsufficientLiquidity("the order leaves the range of the invariant")
        found = -(-word(word(found * found) + c) // divisor)
        if -1 <= found - before <= 1:
            return found
    raise InsufficientLiquidity("the balance that the invariant asks for does not converge")


def balance_rounded_down(curve: Curve, invariant: int, index: int) -> int:
    """The balance of one token that the others imply, rounded down (Curve's ``get_y``)."""
    precision, ann, count = curve.precision, curve.amp_times_total, len(curve.balances)
    c, total = invariant, 0
    for position, balance in enumerate(curve.balances):
        if position == index:
            continue
        if balance == 0:
            raise InsufficientLiquidity("the pool has none of one of its tokens")
        total += balance
        c = word(c * invariant) // (balance * count)
    c = word(c * invariant * precision) // (ann * count)
    b = total + invariant * precision // ann
    found = invariant
    for _ in range(_ROUNDS):
        before = found
        divisor = 2 * found + b - invariant
        if divisor <= 0:
            raise InsufficientLiquidity("the order leaves the range of the invariant")
        found = word(found * found + c) // divisor
        if -1 <= found - before <= 1:
            return found
    raise InsufficientLiquidity("the balance that the invariant asks for does not converge")


class Slopes(NamedTuple):
    """What the invariant's partial derivatives are made of, for one pair at the present balances."""

    paid: int
    bought: int
    product: int


def slopes(curve: Curve, paid: int, bought: int) -> Slopes:
    """``Ann * x + K`` for both tokens of a pair, and K, all in 1 / precision; K = D ** (n + 1) / (n ** n * P).

    With D fixed, ``dF/dx = Ann + K / x``: the marginal price and its slope follow from these three. D is known to a
    unit of its last place, so they are good to about that.
    """
    found = invariant(curve)
    product = product_by_token(curve.balances, found) * curve.precision if found else 0
    ann = curve.amp_times_total
    return Slopes(ann * curve.balances[paid] + product, ann * curve.balances[bought] + product, product)
