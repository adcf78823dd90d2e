"""Savings per gas over paired trades, with intervals from a moving-block bootstrap (Künsch 1989)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from dexlane_cli.fee_replay import Outcomes

RESAMPLES = 2_000
SEED = 20_251_017
LEAST_RUN = 25
"""Trades of a run that is drawn together; twice the deadline when that is more, as their blocks overlap."""


@dataclass(frozen=True, slots=True)
class Saving:
    """``1 - paid / paid by the baseline`` over the trades both had included; negative when dearer."""

    share: float
    trades: int
    interval: tuple[float, float]


def pairs(one: Outcomes, *others: Outcomes) -> list[tuple[int, ...]]:
    """What was paid in the trades that all of them had included, in the order of the arguments."""
    rows = zip(one.paid_wei, *(other.paid_wei for other in others), strict=True)
    return [tuple(paid for paid in row if paid is not None) for row in rows if None not in row]


def saving(rows: Sequence[tuple[int, ...]], deadline: int) -> Saving | None:
    """Of the first of each row against the second; None without a row, or when the baseline paid nothing."""
    ours, theirs = _running_sum([row[0] for row in rows]), _running_sum([row[1] for row in rows])
    if not rows or theirs[-1] <= 0:
        return None
    length = max(1, min(max(LEAST_RUN, 2 * deadline), len(rows) // 4))
    chance = random.Random(SEED)  # noqa: S311 - resampling, no secret; the seed makes the interval reproducible
    starts = range(len(rows) - length + 1)
    draws = -(-len(rows) // length)
    found = []
    for _ in range(RESAMPLES):
        drawn = chance.choices(starts, k=draws)
        paid = sum(ours[start + length] - ours[start] for start in drawn)
        base = sum(theirs[start + length] - theirs[start] for start in drawn)
        found.append(1 - paid / base if base else 0.0)
    found.sort()
    low, high = found[round(RESAMPLES * 0.025)], found[round(RESAMPLES * 0.975) - 1]
    return Saving(1 - ours[-1] / theirs[-1], len(rows), (low, high))


def share_of(rows: Sequence[tuple[int, ...]]) -> float | None:
    """What the first of each row saves against the second, over what the third saves; None when that is nothing."""
    ours, theirs, least = (sum(row[column] for row in rows) for column in range(3))
    return (theirs - ours) / (theirs - least) if theirs > least else None


def _running_sum(values: Sequence[int]) -> list[int]:
    return list(itertools.accumulate(values, initial=0))


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return sum(values) / len(values) if values else None


def quantile(values: Sequence[int], share: float) -> int | None:
    """The nearest rank; None of nothing."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else None
