"""Fewer faults that still break a rule: delta debugging over the list of those that happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def shrink(faults: Sequence[str], fails: Callable[[Sequence[str]], bool], tries: int = 200) -> list[str]:
    """A short sublist with which ``fails`` still holds; at most so many tries.

    Halves are left out first, then quarters and so on (Zeller and Hildebrandt, "Simplifying and isolating
    failure-inducing input", 2002), until no single fault can go.
    """
    kept, parts = list(faults), 2
    while kept and tries > 0:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            without = kept[:start] + kept[start + size :]
            tries -= 1
            if fails(without):
                kept, parts = without, max(parts - 1, 2)
                break
            if tries <= 0:
                break
        else:
            if size == 1:
                break
            parts = min(len(kept), parts * 2)
    return kept
