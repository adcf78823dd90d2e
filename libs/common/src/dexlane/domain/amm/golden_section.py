"""The greatest value of a function with one peak, over integers (golden-section search, Kiefer 1953)."""

from __future__ import annotations

from collections.abc import Callable

_SCANNED = 4
"""A bracket of so few units is tried unit by unit."""


def peak_between(value: Callable[[int], int], low: int, high: int, *, bits: int = 12) -> int:
    """Where ``value`` is greatest from ``low`` to ``high``, within one part in ``2 ** bits`` of ``high``; of equals
    the smallest that was tried. ``value`` is asked some 20 times.
    """
    seen: dict[int, int] = {}

    def tried(at: int) -> int:
        if at not in seen:
            seen[at] = value(at)
        return seen[at]

    left, right = high - _golden(high - low), low + _golden(high - low)
    while high - low > max(_SCANNED, high >> bits) and left < right:
        if tried(left) < tried(right):
            low, left = left, right
            right = low + _golden(high - low)
        else:
            high, right = right, left
            left = high - _golden(high - low)
    for at in range(low, high + 1) if high - low <= _SCANNED else (low, high):
        tried(at)
    return max(seen, key=lambda at: (seen[at], -at))


def _golden(width: int) -> int:
    return width * 618_034 // 1_000_000
