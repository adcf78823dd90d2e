"""How often judgements were right: shares with intervals, and how bad things were at each score.

Shares are in basis points. Their intervals are Wilson's at 95 % (E. B. Wilson, JASA 22, 1927), which stay honest for
small counts and near 0 and 1: none of five is not "0 %" but "0 to 43 %".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isqrt

from dexlane.values.amounts import BPS_DENOMINATOR

_SCALE = 10**12
_Z_SQUARED = 3_841_458_820_694
"""1.959964 squared, times ``_SCALE``: both sides of a normal distribution beyond it hold 5 %."""
BIN_WIDTH = 20


@dataclass(frozen=True, slots=True)
class Share:
    """``hits`` of ``total``, as a share with its interval. All three are None when there was nothing to hit."""

    hits: int
    total: int

    @property
    def bps(self) -> int | None:
        """The share, rounded to the nearest basis point."""
        return (2 * BPS_DENOMINATOR * self.hits + self.total) // (2 * self.total) if self.total else None

    @property
    def interval_bps(self) -> tuple[int, int] | None:
        """Wilson's interval: the lower end rounded down, the upper one up."""
        if not self.total:
            return None
        spread = 4 * self.hits * (self.total - self.hits) * _SCALE // self.total
        half = isqrt(_Z_SQUARED * (_Z_SQUARED + spread))
        middle, whole = 2 * self.hits * _SCALE + _Z_SQUARED, 2 * (self.total * _SCALE + _Z_SQUARED)
        low = max(0, BPS_DENOMINATOR * (middle - half) // whole) if self.hits else 0
        high = -(-BPS_DENOMINATOR * (middle + half) // whole) if self.hits < self.total else BPS_DENOMINATOR
        return low, min(BPS_DENOMINATOR, high)


@dataclass(frozen=True, slots=True)
class Tally:
    """Judgements of one category against labels. What has no label is in none of the four counts."""

    detected: int = 0
    missed: int = 0
    false_alarms: int = 0
    passed: int = 0

    @property
    def recall(self) -> Share:
        """Of what is labelled so, how much was flagged."""
        return Share(self.detected, self.detected + self.missed)

    @property
    def false_alarm_rate(self) -> Share:
        """Of what is labelled not so, how much was flagged all the same."""
        return Share(self.false_alarms, self.false_alarms + self.passed)

    @property
    def precision(self) -> Share:
        """Of what was flagged, how much is labelled so. It depends on how many of each kind a data set holds."""
        return Share(self.detected, self.detected + self.false_alarms)


def tally(judged: Iterable[tuple[bool, bool]]) -> Tally:
    """Count pairs of (label, flag)."""
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for pair in judged:
        counts[pair] += 1
    return Tally(counts[True, True], counts[True, False], counts[False, True], counts[False, False])


@dataclass(frozen=True, slots=True)
class Bin:
    """What scored from ``low`` to ``high``, both included: how much of it is labelled bad."""

    low: int
    high: int
    bad: Share


def reliability(scored: Sequence[tuple[int, bool]]) -> tuple[Bin, ...]:
    """The reliability curve: pairs of (score 0 to 100, labelled bad) in bins of 20."""
    bins = []
    for low in range(0, 100, BIN_WIDTH):
        high = low + BIN_WIDTH - 1 if low + BIN_WIDTH < 100 else 100
        inside = [bad for score, bad in scored if low <= score <= high]
        bins.append(Bin(low, high, Share(sum(inside), len(inside))))
    return tuple(bins)
