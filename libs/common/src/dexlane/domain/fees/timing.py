"""When to send within a deadline: now, or in a later block that may be cheaper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from dexlane.domain.fees.base_fees import FeeParameters, highest_base_fee_after
from dexlane.domain.fees.blocks import BlockFees, inclusion_tip
from dexlane.domain.fees.inclusion import tip_for
from dexlane.events.base import FeeCap

LAST_BLOCK_PROBABILITY = Fraction(99, 100)
EARLIER_PROBABILITY = Fraction(9, 10)


@dataclass(frozen=True, slots=True)
class Timing:
    """Wait for the next block, or send now under ``cap`` (None while waiting).

    ``price_now_wei`` is what the next block would cost per gas, ``price_by_waiting_wei`` what a later one within the
    deadline is expected to cost; None when there is no later one or the history says nothing about it.
    """

    cap: FeeCap | None
    price_now_wei: int
    price_by_waiting_wei: int | None

    @property
    def waits(self) -> bool:
        """Whether nothing is sent for the next block."""
        return self.cap is None


def when_to_send(
    history: Sequence[BlockFees], *, next_base_fee_wei: int, blocks_left: int, params: FeeParameters
) -> Timing:
    """Whether to send for the next block, of ``blocks_left`` blocks in which the trade may still be included.

    In the last block it always sends, with a tip that is as sure as the history allows. Before that it waits when the
    history's runs of the remaining length brought a cheaper block on average. Raises ``ValueError`` without a block
    left.
    """
    if blocks_left < 1:
        raise ValueError("the deadline has passed; a trade must not be sent any more")
    probability = LAST_BLOCK_PROBABILITY if blocks_left == 1 else EARLIER_PROBABILITY
    tip = tip_for(history, within_blocks=1, probability=probability, params=params)
    now = next_base_fee_wei + tip
    later = _price_by_waiting(history, next_base_fee_wei, blocks_left - 1)
    if later is not None and later < now:
        return Timing(None, now, later)
    highest = highest_base_fee_after(next_base_fee_wei, blocks_left - 1, params)
    return Timing(FeeCap(max_fee_per_gas_wei=highest + tip, max_priority_fee_per_gas_wei=tip), now, later)


def _price_by_waiting(history: Sequence[BlockFees], next_base_fee_wei: int, blocks: int) -> int | None:
    """The mean, over the history, of the cheapest of the so many blocks after one, scaled to the next base fee."""
    prices = [(block.base_fee_wei, inclusion_tip(block)) for block in history]
    scaled = []
    for start, (base_fee, _) in enumerate(prices[:-blocks] if blocks else []):
        later = [
            fee + tip for fee, tip in prices[start + 1 : start + 1 + blocks] if fee is not None and tip is not None
        ]
        if base_fee and later:
            scaled.append(min(later) * next_base_fee_wei // base_fee)
    return sum(scaled) // len(scaled) if scaled else None
