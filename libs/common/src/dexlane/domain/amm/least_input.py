"""The least input that buys enough, where a contract only knows exact input and its formula has no inverse."""

from __future__ import annotations

from collections.abc import Callable


def least_input(guess: int, suffices: Callable[[int], bool]) -> int:
    """The least positive input that ``suffices``, which must stay true for all greater ones.

    Gallops from ``guess`` to a bracket and bisects it, so a guess that is a few units off costs a few calls. Whatever
    ``suffices`` raises ends the search; it must raise, or be true, for some input.
    """
    high, step = max(1, guess), 1
    while not suffices(high):
        high, step = high + step, 2 * step
    low, step = high - 1, 1
    while low > 0 and suffices(low):
        high, low, step = low, max(0, low - step), 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high
