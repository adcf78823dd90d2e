"""The garbage collector in services: out of the way of what lives long.

Values are immutable trees, so counting references frees them; the collector is for the few cycles of tasks and errors.
With Python's defaults it walks every young object of every block and, each time the survivors have grown by a quarter,
all pools: a third of the cost of applying a block, rising with the number of pools, and pauses of a second at 100,000.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG_OBJECTS = 50_000
"""Net new objects before a collection: several blocks' worth, so that what one block needs for a moment is gone."""


def keep_for_good() -> None:
    """Everything that lives now is never walked again; call it when all pools were loaded. Process-wide, repeatable.

    Cyclic garbage is collected first; what is freed by its last reference still is.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is collected while this lasts: one collection takes as long as a whole trade. Whoever switched it off
    switches it on again, so of those that overlap the first decides when."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
