"""Amounts over several paths, by curves: how much a mix brings, and how an amount is best shared out.

Paths that pass a pool in the same direction meet its impact one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from dexlane.domain.amm.golden_section import peak_between
from dexlane.domain.routing.curves import NOTHING, Curve
from dexlane.domain.routing.graph import Edge

Path = tuple[Edge, ...]
_LEG_AGAIN_GAS = 80_000
"""A further leg in a pool, beside the ticks it crosses: between a V2 and a V3 leg."""
_SWEEPS = 6
_FINE_BITS = 10
"""A share within a thousandth of the best costs about a millionth of what comes out."""
_ROUGH_BITS = 5
_SETTLED_PARTS = 10_000_000
"""Sharing out ends when a sweep over all pairs of paths gains less than one part in so many."""


def clash(paths: Iterable[Path]) -> bool:
    """Whether one path would undo another: they pass a pool in opposite directions."""
    directions = {(edge.address, edge.token_in, edge.token_out) for path in paths for edge in path}
    return any((address, to, of) in directions for address, of, to in directions)


class Flow(NamedTuple):
    """What a mix does: what it brings in all, the gas of its legs, and what goes into each edge."""

    brought: int
    legs_gas: int
    used: dict[Edge, int]


def flow(paths: Sequence[Path], amounts: Sequence[int]) -> Flow:
    """Carry out a mix by curves. A path that cannot take its amount brings nothing."""
    used: dict[Edge, int] = {}
    total = legs_gas = 0
    for path, amount_in in zip(paths, amounts, strict=True):
        amount = amount_in
        for edge in path:
            if amount <= 0:
                break
            before = used.get(edge, 0)
            used[edge] = before + amount
            bought, gas = edge.curve(before + amount)
            if before:
                already, already_gas = edge.curve(before)
                bought, gas = bought - already, gas - already_gas + _LEG_AGAIN_GAS
            amount = bought
            legs_gas += gas
        total += max(amount, 0)
    return Flow(total, legs_gas, used)


def moved_by(used: Mapping[Edge, int]) -> dict[Edge, Curve]:
    """The curves that are left after so much has gone into each edge."""
    return {edge: _after(edge.curve, before) for edge, before in used.items() if before}


def shared_out(paths: Sequence[Path], amounts: Sequence[int]) -> tuple[list[int], int]:
    """The amounts moved between the paths, two at a time, until nothing more is gained, and what they bring."""
    best = list(amounts)
    total = flow(paths, best).brought
    groups = _sharing(paths)
    for _ in range(_SWEEPS):
        before = total
        for pair in combinations(range(len(paths)), 2):
            _balance(paths, best, pair, (groups, _FINE_BITS))
        total = flow(paths, best).brought
        if len(paths) == 2 or total - before <= total // _SETTLED_PARTS:
            break
    return best, total


def roughly_shared_out(paths: Sequence[Path], amounts: Sequence[int]) -> list[int]:
    """The amounts moved once between the last path and each other one: enough to tell whether the last is any good."""
    best = list(amounts)
    groups = _sharing(paths)
    last = len(paths) - 1
    for one in range(last):
        # The last one's share is the one searched for: a small share is found as well as a large one.
        _balance(paths, best, (last, one), (groups, _ROUGH_BITS))
    return best


def _balance(paths: Sequence[Path], amounts: list[int], pair: tuple[int, int], how: tuple[Sequence[int], int]) -> None:
    """Share out what two paths have together; only paths that share pools with them are looked at."""
    one, other = pair
    groups, bits = how
    both = amounts[one] + amounts[other]
    if both == 0:
        return
    concerned = [index for index, group in enumerate(groups) if group in {groups[one], groups[other]}]
    alone = len(concerned) == 2 and groups[one] != groups[other]
    those = [paths[index] for index in concerned]

    def brought(share: int) -> int:
        if alone:
            return _alone(paths[one], share) + _alone(paths[other], both - share)
        amounts[one], amounts[other] = share, both - share
        return flow(those, [amounts[index] for index in concerned]).brought

    share = max((amounts[one], peak_between(brought, 0, both, bits=bits)), key=brought)
    amounts[one], amounts[other] = share, both - share


def _sharing(paths: Sequence[Path]) -> list[int]:
    """A number for each path, the same for paths that share pools directly or by way of others."""
    groups = list(range(len(paths)))
    for one, other in combinations(range(len(paths)), 2):
        if groups[one] != groups[other] and not set(paths[one]).isdisjoint(paths[other]):
            old, new = groups[other], groups[one]
            groups = [new if group == old else group for group in groups]
    return groups


def _alone(path: Path, amount: int) -> int:
    for edge in path:
        if amount <= 0:
            return 0
        amount = edge.curve(amount)[0]
    return amount


def _after(curve: Curve, before: int) -> Curve:
    already = curve(before)[0]

    def rest(amount_in: int) -> tuple[int, int]:
        bought, gas = curve(before + amount_in)
        return (bought - already, gas) if bought > already else NOTHING

    return rest
