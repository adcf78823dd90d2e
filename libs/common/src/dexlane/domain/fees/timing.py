"""When to send within a deadline: for the next block, or for a later one that should be cheaper.

Three rules, each as simple as it can be:

1. With more than three blocks left it sends when the next base fee, which is exact, is among the lowest
   ``1 / (blocks left - 2)`` of the recent ones. Of so many chances that share holds one on average.
2. It still waits when the recent blocks give evidence that the base fee goes on falling, by more than a lost block
   makes the tip dearer.
3. The last three blocks are for being included. The tip of every block comes from backward induction over recent
   inclusion tips (:mod:`dexlane.domain.fees.offers`); in the very last it is as sure as the data allow.

What is sent under rule 1 is capped at the price it was decided for. If that block is missed and the base fee rises, it
lies still in the pool until a later decision replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dexlane.domain.fee_bumps import LEAST_BUMP_PERCENT, raised
from dexlane.domain.fees.base_fee_window import BaseFeeView
from dexlane.domain.fees.base_fees import FeeParameters, highest_base_fee_after
from dexlane.domain.fees.offers import Offer
from dexlane.events.base import FeeCap

LONGEST_DEADLINE_BLOCKS = 50
"""Beyond it more patience brings no lower tip: the offer for so many blocks is taken."""
LAST_BLOCKS = 3
"""In so many last blocks nobody waits for a lower base fee."""
LEAST_HISTORY_BLOCKS = 20
"""With fewer base fees known nobody waits."""


class TimingReason(StrEnum):
    """Why a trade is sent or waits."""

    LAST_BLOCKS = "last_blocks"
    """The deadline is near: send."""
    LITTLE_HISTORY = "little_history"
    """Nothing is known that would be worth waiting for: send."""
    LOW_BASE_FEE = "low_base_fee"
    """The next base fee is low for the time that is left: send."""
    BASE_FEE_NOT_LOW = "base_fee_not_low"
    """There will be a lower one more likely than not: wait."""
    BASE_FEE_FALLING = "base_fee_falling"
    """It is low and should be lower in the block after: wait."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Wait for the next block, or send now under ``cap`` (None while waiting).

    While waiting, whatever is in the pool already stays there as it is. ``price_now_wei`` is what the next block would
    cost per gas, ``price_by_waiting_wei`` what the block after is expected to cost by the recent movement, with the tip
    that the blocks left then allow; None in the last block.
    """

    cap: FeeCap | None
    price_now_wei: int
    price_by_waiting_wei: int | None
    reason: TimingReason

    @property
    def waits(self) -> bool:
        """Whether nothing is sent for the next block."""
        return self.cap is None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextBlock:
    """What is known before a block: its exact base fee among recent ones, and the best offer per blocks left."""

    params: FeeParameters
    base_fee: BaseFeeView
    offers: tuple[Offer, ...]

    def timing(self, blocks_left: int, pending: FeeCap | None = None) -> Timing:
        """Whether to send for this block, the first of ``blocks_left`` in which the trade may be included.

        ``pending`` is what was sent before and is not included: it is kept (and given back) when it pays the tip
        wanted, else replaced by more, as nodes ask for. Raises ``ValueError`` without a block left.
        """
        if blocks_left < 1:
            raise ValueError("the deadline has passed; a trade must not be sent any more")
        offer, reason = self._offer(blocks_left), self._reason(blocks_left)
        waits = reason in {TimingReason.BASE_FEE_NOT_LOW, TimingReason.BASE_FEE_FALLING}
        later = None
        if blocks_left > 1:
            after = self.base_fee.next_wei + self.base_fee.expected_change_wei
            later = max(after, 0) + self._offer(blocks_left - 1).expected_tip_wei
        return Timing(
            cap=None if waits else self._cap(blocks_left, offer.tip_wei, pending),
            price_now_wei=self.base_fee.next_wei + offer.tip_wei,
            price_by_waiting_wei=later,
            reason=reason,
        )

    def _offer(self, blocks_left: int) -> Offer:
        return self.offers[min(blocks_left, len(self.offers)) - 1]

    def _reason(self, blocks_left: int) -> TimingReason:
        if blocks_left <= LAST_BLOCKS:
            return TimingReason.LAST_BLOCKS
        if self.base_fee.seen < LEAST_HISTORY_BLOCKS:
            return TimingReason.LITTLE_HISTORY
        if self.base_fee.lower * (blocks_left - LAST_BLOCKS + 1) > self.base_fee.seen:
            return TimingReason.BASE_FEE_NOT_LOW
        dearer = self._offer(blocks_left - 1).expected_tip_wei - self._offer(blocks_left).expected_tip_wei
        if self.base_fee.expected_change_wei + dearer < 0:
            return TimingReason.BASE_FEE_FALLING
        return TimingReason.LOW_BASE_FEE

    def _cap(self, blocks_left: int, tip_wei: int, pending: FeeCap | None) -> FeeCap:
        base_fee = self.base_fee.next_wei
        highest = highest_base_fee_after(base_fee, blocks_left - 1, self.params) if blocks_left <= LAST_BLOCKS else 0
        wanted = max(highest, base_fee) + tip_wei
        if pending is None:
            return FeeCap(max_fee_per_gas_wei=wanted, max_priority_fee_per_gas_wei=tip_wei)
        paid = min(pending.max_priority_fee_per_gas_wei, pending.max_fee_per_gas_wei - base_fee)
        if paid >= tip_wei:
            return pending
        higher = raised(pending, LEAST_BUMP_PERCENT)
        return FeeCap(
            max_fee_per_gas_wei=max(wanted, higher.max_fee_per_gas_wei),
            max_priority_fee_per_gas_wei=max(tip_wei, higher.max_priority_fee_per_gas_wei),
        )
