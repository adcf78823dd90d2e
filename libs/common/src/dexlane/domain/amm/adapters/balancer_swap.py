"""The way of a swap through Balancer V2's Vault and pool base contracts; the invariant is the caller's.

Sources: ``BaseMinimalSwapInfoPool`` and ``BaseGeneralPool`` (fee, scaling and the direction of every rounding),
``BalanceAllocation`` (balances are 112 bits).
"""

from __future__ import annotations

from collections.abc import Callable

from dexlane.domain.amm.adapters.balance_pools import SCALE, Position, state_after
from dexlane.domain.amm.adapters.base import Quote
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.fixed_point import div_up, mul_up
from dexlane.domain.amm.log_exp_math import ONE
from dexlane.values.pools import BalancesState

_MAX_BALANCE = (1 << 112) - 1

Answer = Callable[[int], int]
"""An amount with eighteen decimals to the other side's amount."""


def sell(state: BalancesState, position: Position, amount_in: int, answer: Answer, gas: int) -> Quote:
    """``_swapGivenIn``: the fee is taken off before scaling; what goes out rounds down."""
    terms = state.terms
    if amount_in > _MAX_BALANCE:
        raise InsufficientLiquidity("the balance would exceed 112 bits")
    fee_amount = mul_up(amount_in, terms.fee)
    amount_out = answer((amount_in - fee_amount) * terms.scaling[position.paid] // SCALE)
    amount_out = amount_out * SCALE // terms.scaling[position.bought]
    if amount_out == 0:
        raise InsufficientLiquidity("the order is too small to buy one unit")
    return _quote(state, position, (amount_in, amount_out, fee_amount), gas)


def buy(state: BalancesState, position: Position, amount_out: int, answer: Answer, gas: int) -> Quote:
    """``_swapGivenOut``: what comes in rounds up; the fee is put on after scaling."""
    terms = state.terms
    if amount_out > state.balances[position.bought]:
        raise InsufficientLiquidity(f"the pool holds {state.balances[position.bought]}, cannot give {amount_out}")
    before_fee = answer(amount_out * terms.scaling[position.bought] // SCALE)
    before_fee = div_up(before_fee, terms.scaling[position.paid])
    amount_in = div_up(before_fee, ONE - terms.fee)
    return _quote(state, position, (amount_in, amount_out, amount_in - before_fee), gas)


def _quote(state: BalancesState, position: Position, amounts: tuple[int, int, int], gas: int) -> Quote:
    amount_in, amount_out, fee_amount = amounts
    after = state_after(state, position, amount_in, amount_out)
    if after.balances[position.paid] > _MAX_BALANCE:
        raise InsufficientLiquidity("the balance would exceed 112 bits")
    return Quote(amount_in, amount_out, fee_amount, gas, after, partial=False)
