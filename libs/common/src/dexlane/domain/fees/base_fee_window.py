"""The base fees of recent blocks: how low the next one is among them, and whether it goes on as it moved."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

_BILLION = 10**9
_EVIDENCE = 4
"""A slope counts when its square is four times its variance: two standard errors."""


@dataclass(frozen=True, slots=True)
class BaseFeeView:
    """A next base fee, in wei, among ``seen`` recent ones, of which ``lower`` were lower.

    ``expected_change_wei`` is what the block after next should add to it; zero when the past gives no evidence.
    """

    next_wei: int
    lower: int
    seen: int
    expected_change_wei: int


class BaseFeeWindow:
    """The last ``size`` base fees and the sums of a regression of each relative change on the one before it.

    The regression has no constant, so it also takes a steady drift for a continuation. Its slope is shrunk by
    ``1 - 4 / z^2`` (``z``: its t-value; James and Stein 1961), to zero below two standard errors. Changes are whole
    parts per billion.
    """

    def __init__(self, size: int) -> None:
        self._fees: deque[int] = deque(maxlen=size)
        self._sorted: list[int] = []
        self._changes: deque[int] = deque()
        self._squares = self._products = 0

    def add(self, base_fee_wei: int) -> None:
        """The base fee of the next block in order."""
        if self._fees:
            self._add_change(_relative(self._fees[-1], base_fee_wei))
        if len(self._fees) == self._fees.maxlen:
            del self._sorted[bisect_left(self._sorted, self._fees[0])]
        self._fees.append(base_fee_wei)
        insort(self._sorted, base_fee_wei)

    def _add_change(self, change: int) -> None:
        if self._changes:
            self._products += self._changes[-1] * change
        self._squares += change * change
        self._changes.append(change)
        if len(self._changes) == self._fees.maxlen:
            oldest = self._changes.popleft()
            self._squares -= oldest * oldest
            self._products -= oldest * self._changes[0]

    def look_at(self, next_base_fee_wei: int) -> BaseFeeView:
        """The next base fee as the past sees it."""
        change = 0
        if self._fees and (slope := self._slope()):
            numerator, denominator = slope
            moved = _relative(self._fees[-1], next_base_fee_wei)
            change = next_base_fee_wei * moved * numerator // (denominator * _BILLION)
        lower = bisect_left(self._sorted, next_base_fee_wei)
        return BaseFeeView(next_base_fee_wei, lower, len(self._fees), change)

    def _slope(self) -> tuple[int, int] | None:
        """The shrunk slope as a fraction with a positive denominator; None without evidence for one."""
        pairs = len(self._changes) - 1
        if pairs < 2 or not self._products:
            return None
        before = self._squares - self._changes[-1] ** 2
        after = self._squares - self._changes[0] ** 2
        surplus = pairs * self._products**2 - _EVIDENCE * before * after
        if surplus <= 0:
            return None
        sign = 1 if self._products > 0 else -1
        return sign * surplus, pairs * abs(self._products) * before


def _relative(before_wei: int, after_wei: int) -> int:
    """The change in parts per billion; zero where there was no base fee."""
    return (after_wei - before_wei) * _BILLION // before_wei if before_wei else 0
