"""Swaps in weighted pools, equal to the wei to Balancer V2 (``WeightedMath``): eighteen decimals, before fee."""

from __future__ import annotations

from typing import NamedTuple

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.fixed_point import div_down, div_up, mul_down, mul_up, pow_up
from dexlane.domain.amm.log_exp_math import ONE

_MAX_RATIO = 3 * 10**17
"""``_MAX_IN_RATIO`` and ``_MAX_OUT_RATIO``: a swap moves at most 30 % of a balance."""


class Side(NamedTuple):
    """One token of a pair: its balance with eighteen decimals and its normalised weight."""

    balance: int
    weight: int


def out_given_in(paid: Side, bought: Side, amount_in: int, *, shortcuts: bool) -> int:
    """``_calcOutGivenIn``. Raises ``InsufficientLiquidity`` above 30 % of the balance, as the contract reverts."""
    if amount_in > mul_down(paid.balance, _MAX_RATIO) or paid.balance == 0:
        raise InsufficientLiquidity("the order is more than 30 % of the balance it pays into")
    base = div_up(paid.balance, paid.balance + amount_in)
    power = pow_up(base, div_down(paid.weight, bought.weight), shortcuts=shortcuts)
    return mul_down(bought.balance, max(0, ONE - power))


def in_given_out(paid: Side, bought: Side, amount_out: int, *, shortcuts: bool) -> int:
    """``_calcInGivenOut``. Raises ``InsufficientLiquidity`` above 30 % of the balance, as the contract reverts."""
    if amount_out > mul_down(bought.balance, _MAX_RATIO) or bought.balance == 0:
        raise InsufficientLiquidity("the order is more than 30 % of the balance it takes from")
    base = div_up(bought.balance, bought.balance - amount_out)
    power = pow_up(base, div_up(bought.weight, paid.weight), shortcuts=shortcuts)
    return mul_up(paid.balance, power - ONE)
