"""From a measured quantity to a score between 0 and 100, by straight lines between fixed points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Points = Sequence[tuple[int, int]]
"""``(quantity, score)``, sorted by quantity, scores all rising or all falling."""


def score(points: Points, quantity: int) -> int:
    """The score of a quantity; flat beyond the first and the last point. Monotone whenever the points are."""
    if quantity <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if quantity <= x1:
            return y0 + (y1 - y0) * (quantity - x0) // (x1 - x0)
    return points[-1][1]
