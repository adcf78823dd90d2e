"""Questions about the ways through a function's graph: which end well, which a condition closes, what leads where."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from dexlane.domain.risk.bytecode.exploration import Graph
from dexlane.domain.risk.bytecode.expressions import Word

_GOOD_ENDS = frozenset({"stop", "return", "selfdestruct", "lost"})


def end_well(graph: Graph) -> list[bool]:
    """For every node, whether some way from it ends without a revert. What was not explored may end well."""
    return _backwards(graph, [node.passage.end in _GOOD_ENDS for node in graph.nodes])


def reach_well(graph: Graph, marked: Collection[int]) -> list[bool]:
    """For every node, whether some way from it passes a marked node and then ends well."""
    well = end_well(graph)
    return _backwards(graph, [index in marked and well[index] for index in range(len(graph.nodes))])


def _backwards(graph: Graph, good: list[bool]) -> list[bool]:
    """Spread ``good`` against the direction of the edges, through unexplored edges by what is known of their block."""
    before: list[list[int]] = [[] for _ in graph.nodes]
    unexplored: list[tuple[int, int]] = []
    for index, node in enumerate(graph.nodes):
        for place, following in enumerate(node.successors):
            if following is None:
                unexplored.append((index, node.successor_offsets[place]))
            else:
                before[following].append(index)
    visited = {node.offset for node in graph.nodes}
    good = list(good)
    waiting = [index for index, value in enumerate(good) if value]
    waiting.extend(_settle(good, (index for index, offset in unexplored if offset not in visited)))
    while waiting:
        while waiting:
            waiting.extend(_settle(good, before[waiting.pop()]))
        known_good = {node.offset for index, node in enumerate(graph.nodes) if good[index]}
        waiting.extend(_settle(good, (index for index, offset in unexplored if offset in known_good)))
    return good


def _settle(good: list[bool], indices: Iterator[int] | list[int]) -> Iterator[int]:
    for index in indices:
        if not good[index]:
            good[index] = True
            yield index


def reached(
    graph: Graph, start: Collection[int] = (0,), closed: Callable[[int, int], bool] | None = None
) -> frozenset[int]:
    """Nodes that can be reached from ``start`` when edges (node, place) that ``closed`` names are not taken."""
    found = {index for index in start if index < len(graph.nodes)}
    waiting = list(found)
    while waiting:
        index = waiting.pop()
        for place, following in enumerate(graph.nodes[index].successors):
            if following is not None and following not in found and not (closed and closed(index, place)):
                found.add(following)
                waiting.append(following)
    return frozenset(found)


def ways_to(graph: Graph, targets: Collection[int], avoided: Collection[int] = ()) -> frozenset[int]:
    """Nodes from which a target can be reached without touching an avoided node, the targets included."""
    before: list[list[int]] = [[] for _ in graph.nodes]
    for index, node in enumerate(graph.nodes):
        for following in node.successors:
            if following is not None:
                before[following].append(index)
    found, waiting = set(targets), list(targets)
    while waiting:
        for earlier in before[waiting.pop()]:
            if earlier not in found and earlier not in avoided:
                found.add(earlier)
                waiting.append(earlier)
    return frozenset(found)


def good_ends(graph: Graph) -> frozenset[int]:
    """Nodes that end without a revert."""
    return frozenset(index for index, node in enumerate(graph.nodes) if node.passage.end in _GOOD_ENDS)


@dataclass(frozen=True, slots=True)
class Guard:
    """A branch of which one side can do what the function is for and the other cannot.

    ``dies_when_true`` says which. ``circumstances`` are the branches that decide whether the guard is asked at all.
    """

    node: int
    dies_when_true: bool
    circumstances: tuple[int, ...]


def guards(graph: Graph, marked: Collection[int]) -> list[Guard]:
    """Branches that decide whether a way passes a marked node and ends well, one for each block and outcome.

    Behind a marked node only the good end counts. With nothing marked only ends count from the beginning.
    """
    well = end_well(graph)
    before = reach_well(graph, marked)
    passed = reached(graph, marked) if marked else frozenset(range(len(graph.nodes)))
    not_passed = reached(graph, closed=lambda index, _: index in marked) - frozenset(marked)
    found: dict[tuple[int, bool, Word], Guard] = {}
    around: dict[int, tuple[int, ...]] = {}
    for index, node in enumerate(graph.nodes):
        if node.passage.condition is None or len(node.successors) != 2:
            continue
        for able in ([before] if index in not_passed else []) + ([well] if index in passed else []):
            sides = [_able(graph, able, index, place) for place in (0, 1)]
            key = (node.offset, not sides[0], node.passage.condition)
            if sides[0] != sides[1] and key not in found:
                if node.offset not in around:
                    around[node.offset] = _circumstances(graph, well, node.offset)
                found[key] = Guard(index, not sides[0], around[node.offset])
    return list(found.values())


def _able(graph: Graph, able: list[bool], index: int, place: int) -> bool:
    node = graph.nodes[index]
    following = node.successors[place]
    if following is not None:
        return able[following]
    same = [able[other] for other, known in enumerate(graph.nodes) if known.offset == node.successor_offsets[place]]
    return any(same) or not same


def _circumstances(graph: Graph, well: list[bool], offset: int) -> tuple[int, ...]:
    """Branches with one side that leads to the block at ``offset``, and another that avoids it and ends well."""
    targets = [index for index, node in enumerate(graph.nodes) if node.offset == offset]
    leading = ways_to(graph, targets)
    found = []
    for index in leading:
        node = graph.nodes[index]
        if node.passage.condition is None or node.offset == offset:
            continue
        avoiding = [s for s in node.successors if s is None or s not in leading]
        if len(avoiding) == 1 and (avoiding[0] is None or well[avoiding[0]]):
            found.append(index)
    return tuple(sorted(found))
