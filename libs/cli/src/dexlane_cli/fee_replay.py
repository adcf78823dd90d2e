"""Trades lived through on a recorded fee history: what was paid, when, and what was missed.

A trade may begin before every block. What lies in the pool is included in the first block where ``min(tip, cap - base
fee)`` (EIP-1559) reaches the block's inclusion tip, and pays the base fee and that. A block that took nobody takes
nobody here either. Without recorded tips every block takes what covers its base fee.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dexlane.domain.fees import inclusion_tip
from dexlane.events.base import FeeCap
from dexlane_cli.fee_histories import FeeHistory
from dexlane_cli.fee_senders import Sender, wallet_price

WARM_UP_BLOCKS = 20
"""No trade begins in the first blocks: every baseline has its whole window by then."""
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """One entry per trade: what it paid per gas in wei (None: missed), and how many blocks after the first."""

    paid_wei: tuple[int | None, ...]
    delays: tuple[int, ...]
    """Of the trades that were included."""

    @property
    def missed(self) -> int:
        """How many were never included."""
        return sum(paid is None for paid in self.paid_wei)


@dataclass(frozen=True, slots=True)
class Replay:
    """A history with what it took to be included in each of its blocks (None: it took nobody)."""

    history: FeeHistory
    least_tips_wei: tuple[int | None, ...]

    @classmethod
    def of(cls, history: FeeHistory, inclusion_percentile: int) -> Replay:
        """Read the inclusion rule off every block."""
        if history.has_tips:
            return cls(history, tuple(inclusion_tip(block, inclusion_percentile) for block in history.blocks))
        return cls(history, tuple(0 if block.gas_used_ratio > 0 else None for block in history.blocks))

    def trades(self, deadline: int) -> range:
        """The first blocks of all trades whose deadline lies in the history."""
        return range(WARM_UP_BLOCKS, len(self.history.blocks) - deadline + 1)

    def send(self, sender: Sender, deadline: int, advance: Advance) -> Outcomes:
        """Every trade, sent so."""
        paid: list[int | None] = []
        delays: list[int] = []
        for first in self.trades(deadline):
            price, delay = self._live(sender, first, deadline)
            paid.append(price)
            if price is not None:
                delays.append(delay)
            advance(1)
        return Outcomes(tuple(paid), tuple(delays))

    def _live(self, sender: Sender, first: int, deadline: int) -> tuple[int | None, int]:
        pending: FeeCap | None = None
        for delay in range(deadline):
            block = first + delay
            pending = sender(block, deadline - delay, pending)
            price = None if pending is None else self._included(pending, block)
            if price is not None:
                return price, delay
        return None, deadline

    def _included(self, fee: FeeCap, block: int) -> int | None:
        base_fee, least = self.history.base_fee(block), self.least_tips_wei[block]
        tip = min(fee.max_priority_fee_per_gas_wei, fee.max_fee_per_gas_wei - base_fee)
        return base_fee + tip if least is not None and tip >= max(least, 0) else None

    def foresight(self, deadline: int) -> Outcomes:
        """The cheapest block of each deadline at exactly what it took."""
        prices = [
            None if least is None else self.history.base_fee(block) + least
            for block, least in enumerate(self.least_tips_wei)
        ]
        return _cheapest([prices[first : first + deadline] for first in self.trades(deadline)])

    def median_wallet(self, deadline: int) -> Outcomes:
        """The median-tip wallet: included at once by definition."""
        paid = tuple(wallet_price(self.history, first) for first in self.trades(deadline))
        return Outcomes(paid, (0,) * len(paid))


def _cheapest(windows: Sequence[Sequence[int | None]]) -> Outcomes:
    paid: list[int | None] = []
    delays: list[int] = []
    for window in windows:
        known = [(price, delay) for delay, price in enumerate(window) if price is not None]
        if not known:
            paid.append(None)
            continue
        price, delay = min(known)
        paid.append(price)
        delays.append(delay)
    return Outcomes(tuple(paid), tuple(delays))
