"""What to tip with so many blocks left, when an offer that fails may be raised in the next block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """A tip per gas, and what will have been tipped in the end on average, later and higher offers included; in wei."""

    tip_wei: int
    expected_tip_wei: int


def offers(tips_wei: Sequence[int], empty_blocks: int, surest_wei: int, blocks: int) -> tuple[Offer, ...]:
    """The best offer for each number of blocks left, from one to ``blocks``, by backward induction.

    ``tips_wei`` are the inclusion tips of recent blocks in rising order, ``empty_blocks`` how many beside them took
    nobody. The k-th lowest of n tips is taken to succeed in k of n + 1 blocks. With one block left the offer is
    ``surest_wei``; with more it is the tip that makes ``chance * tip + (1 - chance) * expected tip later`` least, so
    the fewer blocks are left, the higher it is. Sums are exact; the expectation is rounded down.
    """
    trials = len(tips_wei) + empty_blocks + 1
    corners = _lower_hull([(rank, rank * tip) for rank, tip in enumerate(tips_wei, 1)])
    found = [Offer(surest_wei, surest_wei)]
    best = len(corners) - 1
    while len(found) < blocks:
        later = found[-1].expected_tip_wei
        # The lower what comes later, the lower the best offer: the search never goes back up.
        while best > 0 and corners[best - 1][1] - corners[best][1] <= (corners[best - 1][0] - corners[best][0]) * later:
            best -= 1
        rank, product = corners[best] if corners else (0, 0)
        if product >= rank * later:
            return (*found, *[found[-1]] * (blocks - len(found)))
        found.append(Offer(product // rank, (product + (trials - rank) * later) // trials))
    return tuple(found)


def _lower_hull(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The corners from below, left to right: only they can be the least for some price of failing."""
    hull: list[tuple[int, int]] = []
    for x, y in points:
        while len(hull) > 1:
            (left_x, left_y), (middle_x, middle_y) = hull[-2:]
            if (middle_y - left_y) * (x - left_x) < (y - left_y) * (middle_x - left_x):
                break
            hull.pop()
        hull.append((x, y))
    return hull
