"""Everything that is drawn: each place has a stream of its own, so leaving out one fault changes no other draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random


class Chance:
    """Draws of one seed. A fault is named ``<site>#<n>``: the n-th time its site was passed.

    ``allowed`` restricts which faults may fire (None: all); ``fired`` lists those that did, in order. While ``active``
    is False no fault fires.
    """

    def __init__(self, seed: int | str, allowed: frozenset[str] | None = None) -> None:
        self.seed = seed
        self.active = False
        self.fired: list[str] = []
        self.on_fault: Callable[[str], object] = lambda site: None
        self._allowed = allowed
        self._streams: dict[str, Random] = {}
        self._passed: Counter[str] = Counter()

    def of(self, site: str) -> Random:
        """The stream of a site."""
        stream = self._streams.get(site)
        if stream is None:
            stream = self._streams[site] = Random(f"{self.seed}/{site}")  # noqa: S311
        return stream

    def fault(self, site: str, probability: float) -> Random | None:
        """Whether a fault happens here now: a stream for its particulars, or None."""
        if not self.active or probability <= 0:
            return None
        if self.of(site).random() >= probability:
            self._passed[site] += 1
            return None
        name = f"{site}#{self._passed[site]}"
        self._passed[site] += 1
        if self._allowed is not None and name not in self._allowed:
            return None
        self.fired.append(name)
        self.on_fault(site)
        return Random(f"{self.seed}/{name}")  # noqa: S311
