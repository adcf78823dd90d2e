"""How much tip buys inclusion within a number of blocks, with a stated probability."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction


def tip_within(tips_wei: Iterable[int | None], blocks: int, probability: Fraction, minimum_wei: int) -> int:
    """The least tip per gas, in wei, that is included within so many blocks with that probability, from the inclusion
    tips of recent blocks, oldest first; None for a block that took nobody.

    Every run of ``blocks`` of them asks for its lowest tip; the answer is the empirical quantile of these, with
    the rank rounded up in favour of being included, and at least the chain's minimum. With fewer runs than the
    probability needs it is the dearest run; without any, the minimum. Raises ``ValueError`` for a probability outside
    ``0 < p < 1`` or fewer blocks than one.
    """
    if not 0 < probability < 1 or blocks < 1:
        raise ValueError(f"no tip is included within {blocks} blocks with probability {probability}")
    runs = sorted(_cheapest_of_each_run(list(tips_wei), blocks))
    if not runs:
        return minimum_wei
    rank = -(-(len(runs) + 1) * probability.numerator // probability.denominator)
    return max(runs[min(rank, len(runs)) - 1], minimum_wei)


def _cheapest_of_each_run(tips: list[int | None], length: int) -> list[int]:
    """Runs without a block that took anybody count as the dearest block of the history."""
    known = [tip for tip in tips if tip is not None]
    if not known:
        return []
    dearest = max(known)
    lowest = [dearest if tip is None else tip for tip in tips]
    length, span = min(length, len(lowest)), 1
    while span < length:
        # Two overlapping runs make a longer one, so a run of fifty takes six passes.
        step = min(span, length - span)
        lowest = list(map(min, lowest, lowest[step:]))
        span += step
    return lowest
