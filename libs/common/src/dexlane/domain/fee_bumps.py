"""The fees of a slot's next attempt: a replacement of the trade, and a cancel. Wei per gas; pure arithmetic.

An exit has three blocks: the fee it was planned with, then more, then all that its budget allows. Its first fee leaves
room for the two replacements.

A node takes a replacement only when both fee fields rise enough: 10 % in go-ethereum (``legacypool`` ``PriceBump``),
12.5 % in older parity-like clients. A tip is therefore never lowered either.
"""

from __future__ import annotations

from math import isqrt

from dexlane.events.base import FeeCap

LEAST_BUMP_PERCENT = 13
"""The smallest whole number that every client's rule accepts."""


def raised(fee: FeeCap, percent: int) -> FeeCap:
    """Both fields higher by ``percent``, rounded up, and by at least one wei."""

    def up(value: int) -> int:
        return max(value + 1, -(-value * (100 + percent) // 100))

    return FeeCap(
        max_fee_per_gas_wei=up(fee.max_fee_per_gas_wei),
        max_priority_fee_per_gas_wei=up(fee.max_priority_fee_per_gas_wei),
    )


def at_most(fee: FeeCap, most_wei: int) -> FeeCap:
    """The fee, with neither field above a bound."""
    if fee.max_fee_per_gas_wei <= most_wei and fee.max_priority_fee_per_gas_wei <= most_wei:
        return fee
    return FeeCap(
        max_fee_per_gas_wei=min(fee.max_fee_per_gas_wei, most_wei),
        max_priority_fee_per_gas_wei=min(fee.max_priority_fee_per_gas_wei, most_wei),
    )


def bumped(fee: FeeCap, percent: int, most_wei: int) -> FeeCap | None:
    """The fee of a replacement; None when its cap would be above ``most_wei``."""
    higher = raised(fee, percent)
    return higher if higher.max_fee_per_gas_wei <= most_wei else None


def first_exit_fee(fee: FeeCap, next_base_fee_wei: int, percent: int, budget_wei: int) -> FeeCap:
    """The fee for an exit's first block: lowered where the budget could not pay for it after two replacements; and all
    of the budget where what is left by that would not buy the next block."""
    room = _before(_before(budget_wei, percent), percent)
    if room < next_base_fee_wei + fee.max_priority_fee_per_gas_wei:
        return FeeCap(max_fee_per_gas_wei=budget_wei, max_priority_fee_per_gas_wei=budget_wei)
    return fee.model_copy(update={"max_fee_per_gas_wei": min(fee.max_fee_per_gas_wei, room)})


def second_exit_fee(fee: FeeCap, next_base_fee_wei: int, percent: int, budget_wei: int) -> FeeCap | None:
    """The fee for an exit's second block: a tip half-way, by ratio, to all that the budget allows; None when a
    replacement would leave no room for the third."""
    most = _before(budget_wei, percent)
    least = raised(fee, percent)
    if least.max_fee_per_gas_wei > most:
        return None
    tip = max(
        least.max_priority_fee_per_gas_wei,
        isqrt(fee.max_priority_fee_per_gas_wei * max(0, most - next_base_fee_wei)),
    )
    cap = min(most, max(least.max_fee_per_gas_wei, next_base_fee_wei + tip))
    return FeeCap(max_fee_per_gas_wei=cap, max_priority_fee_per_gas_wei=min(tip, cap))


def last_exit_fee(fee: FeeCap, percent: int, budget_wei: int) -> FeeCap | None:
    """All that the budget allows; None when nodes would refuse it as a replacement."""
    least = raised(fee, percent)
    if least.max_fee_per_gas_wei > budget_wei:
        return None
    return FeeCap(max_fee_per_gas_wei=budget_wei, max_priority_fee_per_gas_wei=budget_wei)


def _before(most_wei: int, percent: int) -> int:
    """The highest fee per gas whose replacement is within ``most_wei``: rounded down, and a wei less for ``raised``."""
    return max(0, min(most_wei - 1, most_wei * 100 // (100 + percent)))


def cancel_fee(
    newest: FeeCap | None, next_base_fee_wei: int, percent: int, most_wei: int, tip_wei: int = 1
) -> FeeCap | None:
    """Enough to replace the newest attempt and to be included soon; None when that is above ``most_wei``. A first
    attempt pays ``tip_wei``, what block producers of the chain take at least."""
    soon = 2 * next_base_fee_wei + tip_wei
    if newest is None:
        cap = min(soon, most_wei)
        return FeeCap(max_fee_per_gas_wei=cap, max_priority_fee_per_gas_wei=min(tip_wei, cap))
    fee = bumped(newest, percent, most_wei)
    if fee is None:
        return None
    return fee.model_copy(update={"max_fee_per_gas_wei": min(max(fee.max_fee_per_gas_wei, soon), most_wei)})
