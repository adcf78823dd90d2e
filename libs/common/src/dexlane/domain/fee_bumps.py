"""The fees of a slot's next attempt: a replacement of the trade, and a cancel. Wei per gas; pure arithmetic.

A node takes a replacement only when both fee fields rise enough: 10 % in go-ethereum (``legacypool`` ``PriceBump``),
12.5 % in older parity-like clients. A tip is therefore never lowered either.
"""

from __future__ import annotations

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


def bumped(fee: FeeCap, percent: int, most_wei: int) -> FeeCap | None:
    """The fee of a replacement; None when its cap would be above ``most_wei``."""
    higher = raised(fee, percent)
    return higher if higher.max_fee_per_gas_wei <= most_wei else None


def cancel_fee(newest: FeeCap | None, next_base_fee_wei: int, percent: int, most_wei: int) -> FeeCap | None:
    """Enough to replace the newest attempt and to be included soon; None when that is above ``most_wei``."""
    soon = 2 * next_base_fee_wei + 1
    if newest is None:
        cap = min(soon, most_wei)
        return FeeCap(max_fee_per_gas_wei=cap, max_priority_fee_per_gas_wei=min(1, cap))
    fee = bumped(newest, percent, most_wei)
    if fee is None:
        return None
    return fee.model_copy(update={"max_fee_per_gas_wei": min(max(fee.max_fee_per_gas_wei, soon), most_wei)})
