"""The search for walks through the graph: the best amount per token and number of legs, not every path.

More of a token never buys less, so of two walks to the same token over equally many legs the one that brings less is
forgotten. It is kept only where the greater one cannot stand in for it: because that costs more gas, or because a
later leg may need a pool that the greater one has used up. A pool is used at most once in a walk; a token may be passed
twice, which pays when pools disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter
from typing import NamedTuple

from dexlane.domain.routing.curves import Curve
from dexlane.domain.routing.graph import Edge, PoolGraph

MAX_LEGS = 4
_MOST_KEPT = 12
_MOST_KEPT_THOROUGH = 64
"""Walks remembered per token and number of legs."""


class Care(IntEnum):
    """What a search remembers beside the greatest amount of every token and length.

    ``PLAIN``: nothing. ``THRIFTY``: also what needs less gas. ``THOROUGH``: every walk, up to a bound; a lesser amount
    wins where the greater one is more than the next pool can take, or costs more gas there than it brings.
    """

    PLAIN = 0
    THRIFTY = 1
    THOROUGH = 2


class Walk(NamedTuple):
    """Edges in order with what they give for an amount, by curves. ``gas`` is that of the legs alone."""

    amount: int
    gas: int
    edges: tuple[Edge, ...]

    def uses(self, edge: Edge) -> bool:
        """Whether the pool of this edge is already part of the walk."""
        return any(one.address == edge.address for one in self.edges)


@dataclass(frozen=True, slots=True)
class Errand:
    """What is asked of the graph. Raises ``ValueError`` for an amount below one or a number of legs out of range."""

    token_in: str
    token_out: str
    amount: int
    max_legs: int

    def __post_init__(self) -> None:
        if self.amount < 1:
            raise ValueError("an amount to route is at least one unit")
        if not 1 <= self.max_legs <= MAX_LEGS:
            raise ValueError(f"a route has 1 to {MAX_LEGS} legs, not {self.max_legs}")


def walks(
    graph: PoolGraph, errand: Errand, care: Care = Care.PLAIN, moved: Mapping[Edge, Curve] | None = None
) -> list[Walk]:
    """Walks from the first token to the last that nothing forgotten can beat, of every length up to ``max_legs``.

    ``moved`` gives other curves to some edges, as when a part of a split has gone through them before.
    """
    rings = graph.within(errand.token_out, errand.max_legs - 1)
    frontier: dict[str, list[Walk]] = {errand.token_in: [Walk(errand.amount, 0, ())]}
    arrived: list[Walk] = []
    curve = _curves(moved or {})
    for left in range(errand.max_legs - 1, -1, -1):
        ring, reached = rings[left], dict[str, list[Walk]]()
        ahead = {other: _Ahead(other, errand.token_out, left, care) for other in ring}
        for token, known in frontier.items():
            around = graph.edges(token)
            for other in around.keys() & ring:
                found = reached.setdefault(other, [])
                for edge in around[other]:
                    if len(known) == 1:
                        _lengthen(known[0], edge, curve(edge), found)
                    else:
                        _lengthen_all(known, edge, curve(edge), (ahead[other], found))
        arrived += reached.get(errand.token_out, ())
        frontier = {token: _worth_keeping(found, ahead[token]) for token, found in reached.items() if left and found}
    return arrived


class _Ahead(NamedTuple):
    """Where a walk stands: at a token, with so many legs left to its goal."""

    token: str
    goal: str
    left: int
    care: Care

    def may_use(self, edge: Edge) -> bool:
        """Whether a walk from here to the goal could pass the pool of this edge."""
        if self.left < 2:
            return self.left == 1 and self.token in edge.tokens and self.goal in edge.tokens
        return self.left > 2 or self.token in edge.tokens or self.goal in edge.tokens


def _curves(moved: Mapping[Edge, Curve]) -> Callable[[Edge], Curve]:
    if not moved:
        return attrgetter("curve")
    return lambda edge: moved.get(edge) or edge.curve


def _lengthen(walk: Walk, edge: Edge, curve: Curve, found: list[Walk]) -> None:
    amount, gas, edges = walk
    for one in edges:
        if one.address == edge.address:
            return
    bought, leg_gas = curve(amount)
    if bought:
        found.append(Walk(bought, gas + leg_gas, (*edges, edge)))


def _lengthen_all(known: Sequence[Walk], edge: Edge, curve: Curve, onto: tuple[_Ahead, list[Walk]]) -> None:
    """Lengthen the greatest walk that does not use the pool yet, and lesser ones if they may be needed later."""
    ahead, found = onto
    first: Walk | None = None
    least_gas = 0
    for walk in known:
        if walk.uses(edge):
            continue
        if first is None:
            first, least_gas = walk, walk.gas
        elif ahead.care and walk.gas < least_gas:
            least_gas = walk.gas
        elif ahead.care < Care.THOROUGH and not any(ahead.may_use(one) for one in first.edges):
            continue
        _lengthen(walk, edge, curve, found)


def _worth_keeping(found: list[Walk], ahead: _Ahead) -> list[Walk]:
    """The greatest first. Others only while they need less gas or avoid a pool that all kept ones might be missing."""
    if not ahead.care:
        best = max(found, key=_amount)
        if not any(ahead.may_use(edge) for edge in best.edges):
            return [best]
    found.sort(key=_amount, reverse=True)
    if ahead.care == Care.THOROUGH:
        return found[:_MOST_KEPT_THOROUGH]
    kept: list[Walk] = []
    covered: int | None = None
    for walk in found:
        if covered is not None and (not ahead.care or walk.gas >= covered):
            continue
        rivals = [one for one in kept if not ahead.care or one.gas <= walk.gas]
        if rivals and not _can_block(rivals, ahead, ahead.left, walk):
            continue
        kept.append(walk)
        if len(kept) == _MOST_KEPT:
            break
        if not _can_block([*rivals, walk], ahead, ahead.left, None):
            covered = walk.gas
    return kept


def _can_block(rivals: Sequence[Walk], ahead: _Ahead, legs: int, spared: Walk | None) -> bool:
    """Whether so many legs could use a pool of every rival and none of the spared walk: then it is still needed."""
    if not rivals:
        return True
    if legs == 0:
        return False
    for edge in rivals[0].edges:
        if ahead.may_use(edge) and not (spared and spared.uses(edge)):
            others = [one for one in rivals[1:] if not one.uses(edge)]
            if _can_block(others, ahead, legs - 1, spared):
                return True
    return False


_amount = attrgetter("amount")
