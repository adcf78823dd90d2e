"""An amount split over several paths: chosen by curves, decided by exact quotes in the order of execution.

A local search: a path is added, taken away or exchanged while what is left after gas grows, and the amounts are shared
out anew each time. It starts from the best single route and from filling paths piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dexlane.domain.amm.quoting import ROUTE_GAS, spot_price_ratio
from dexlane.domain.routing.best import QuotedChain, best_chain, order_of, quoted_chain, ranked, route_cost
from dexlane.domain.routing.graph import PoolGraph
from dexlane.domain.routing.mixes import Path, clash, flow, moved_by, roughly_shared_out, shared_out
from dexlane.domain.routing.terms import GasTerms
from dexlane.domain.routing.walks import Care, Errand, walks
from dexlane.values.amounts import BPS_DENOMINATOR, PIPS_DENOMINATOR, less_bps
from dexlane.values.pools import Pool

_PIECES = 24
"""Pieces in which an amount is laid onto the best paths to begin with."""
_PROBES = (1, 2, 4, 16, 128)
"""Further paths are looked for with these parts of the amount."""
_MOST_PER_PROBE = 8
_MOST_KNOWN = 32
"""Further paths that are judged: the best single ones, and the best of each probe."""
_TRIED_SHARES = (24, 128, 6, 2)
"""A further path is judged by what it brings with these parts of the amount; by the first alone to begin with."""
_JUDGED_TWICE = 12
_PROMISING = 4
"""So many of the further paths are tried with amounts shared out."""
_LEAST_PART = 1_000_000
"""A path that would get less than one part in so many is left out."""


@dataclass(frozen=True, slots=True)
class Split:
    """Chains in the order of their execution, in one transaction. ``cost`` is gas and data fee in the out token."""

    chains: tuple[QuotedChain, ...]
    cost: int

    @property
    def amount_in(self) -> int:
        """All that is paid in."""
        return sum(chain.amount_in for chain in self.chains)

    @property
    def amount_out(self) -> int:
        """All that comes out."""
        return sum(chain.amount_out for chain in self.chains)

    @property
    def net_amount_out(self) -> int:
        """What is left after the cost; may be negative."""
        return self.amount_out - self.cost

    @property
    def gas(self) -> int:
        """Gas of the whole transaction."""
        return ROUTE_GAS + sum(chain.legs_gas for chain in self.chains)

    def price_impact_bps(self) -> int:
        """How much less comes out than the spot prices before the trade, less pool fees, give: in basis points, to the
        nearest. Our own effect; the gas is not in it.
        """
        expected = sum(_at_spot(chain) for chain in self.chains)
        shortfall = expected - self.amount_out
        return max(0, (shortfall * BPS_DENOMINATOR * 2 + expected) // (2 * expected)) if expected else 0

    def minimums_out(self, tolerance_bps: int) -> tuple[int, ...]:
        """The least that each chain may bring, rounded up and never below one unit: zero would accept anything."""
        return tuple(max(1, less_bps(chain.amount_out, tolerance_bps)) for chain in self.chains)


def best_split(graph: PoolGraph, errand: Errand, *, max_paths: int = 4, gas: GasTerms | None = None) -> Split | None:
    """The split of at most ``max_paths`` that brings most after ``gas``; one path when splitting does not pay.

    Paths may pass the same pool in the same direction; each is quoted on what those before it left. None when the
    pools cannot take the amount over so many paths.
    """
    if max_paths < 1:
        raise ValueError("a split has at least one path")
    search = _Search(graph, errand, max_paths, gas)
    return max(search.results(), key=lambda split: (split.net_amount_out, -len(split.chains)), default=None)


def _at_spot(chain: QuotedChain) -> int:
    expected, scale = chain.amount_in, 1
    for edge in chain.edges:
        numerator, denominator = spot_price_ratio(edge.pool, edge.token_in, edge.token_out)
        expected *= numerator * (PIPS_DENOMINATOR - edge.pool.key.fee_pips)
        scale *= denominator * PIPS_DENOMINATOR
    return expected // scale


@dataclass(frozen=True, slots=True)
class _Mix:
    """Paths with amounts, and what is left of what they bring after gas, by curves."""

    paths: tuple[Path, ...]
    amounts: tuple[int, ...]
    worth: int


class _Search:
    def __init__(self, graph: PoolGraph, errand: Errand, max_paths: int, gas: GasTerms | None) -> None:
        self._graph = graph
        self._errand = errand
        self._max_paths = max_paths
        self._gas = gas
        self._single: QuotedChain | None = None
        found = walks(graph, errand, Care.THOROUGH)
        self._known: list[Path] = [walk.edges for _, walk in ranked(found, gas)[:_MOST_KNOWN]]
        self._single = best_chain(found, errand.amount, gas)

    def results(self) -> Iterator[Split]:
        """The best single route, and the best mixes from both beginnings, as the chain will execute them."""
        if self._single is not None:
            yield Split((self._single,), route_cost(self._gas, [self._single]))
        if self._max_paths == 1:
            return
        for start in (self._from_single(), self._from_pieces()):
            if start is not None:
                split = self._exact(self._improved(start))
                if split is not None:
                    yield split

    def _from_single(self) -> _Mix | None:
        if self._single is None:
            return None
        return self._mix((self._single.edges,), (self._errand.amount,))

    def _from_pieces(self) -> _Mix | None:
        """Piece by piece onto the path that is best after the pieces before; the largest few are kept."""
        laid: dict[Path, int] = {}
        left = self._errand.amount
        size = -(-left // _PIECES)
        while left:
            piece = min(size, left)
            used = flow(list(laid), list(laid.values())).used
            found = walks(self._graph, replace(self._errand, amount=piece), moved=moved_by(used))
            found = [walk for walk in found if not clash((*laid, walk.edges))]
            if not found:
                break
            path = max(found, key=lambda walk: walk.amount).edges
            laid[path] = laid.get(path, 0) + piece
            left -= piece
        if not laid:
            return None
        paths = sorted(laid, key=lambda path: -laid[path])[: self._max_paths]
        amounts = [laid[path] for path in paths]
        amounts[0] += self._errand.amount - sum(amounts)
        return self._shared(paths, amounts)

    def _improved(self, mix: _Mix) -> _Mix:
        """The mix after the best changes of one path each, until none helps."""
        while True:
            better = next((closely for closely in self._looked_at(mix) if closely.worth > mix.worth), None)
            if better is None:
                return mix
            mix = better

    def _looked_at(self, mix: _Mix) -> Iterator[_Mix]:
        """The changes that are shared out with care: what looks best, and the further path that does. With amounts
        roughly shared out, one that would have a thousandth of them looks worse than none."""
        changes = sorted(self._changes(mix), key=lambda change: -change.worth)
        further = [change for change in changes if len(change.paths) > len(mix.paths)]
        for change in dict.fromkeys((*changes[:1], *further[:1])):
            yield self._shared(change.paths, change.amounts)

    def _changes(self, mix: _Mix) -> Iterator[_Mix]:
        """Mixes with one path fewer, one more or, when there may be no more, another one; roughly shared out."""
        for index in range(len(mix.paths)) if len(mix.paths) > 1 else ():
            yield self._without(mix, index)
        for path in self._promising(mix):
            if len(mix.paths) < self._max_paths:
                yield self._with(mix, path)
                continue
            for index in range(len(mix.paths)):
                rest = self._without(mix, index)
                if not clash((*rest.paths, path)):
                    yield self._with(rest, path)

    def _promising(self, mix: _Mix) -> list[Path]:
        """The further paths that bring most when a part of everything is moved to them."""
        moved = moved_by(flow(mix.paths, mix.amounts).used)
        further = dict.fromkeys(self._known)
        for parts in _PROBES:
            amount = self._errand.amount // parts
            if amount:
                found = walks(self._graph, replace(self._errand, amount=amount), moved=moved)
                found.sort(key=lambda walk: (-walk.amount, *order_of(walk.edges)))
                further.update(dict.fromkeys(walk.edges for walk in found[:_MOST_PER_PROBE]))
        fit = [path for path in further if path not in mix.paths and not clash((*mix.paths, path))]
        fit = self._judged(mix, fit, _TRIED_SHARES[:1])[:_JUDGED_TWICE]
        return self._judged(mix, fit, _TRIED_SHARES)[:_PROMISING]

    def _judged(self, mix: _Mix, further: Sequence[Path], parts: Sequence[int]) -> list[Path]:
        """Paths by what comes out when one of these parts of the amount is moved to them, best first."""
        gains = {path: max(self._moved(mix, path, part) for part in parts) for path in further}
        return sorted(further, key=lambda path: (-gains[path], *order_of(path)))

    def _moved(self, mix: _Mix, path: Path, part: int) -> int:
        share = self._errand.amount // part
        amounts = [amount - amount // part for amount in mix.amounts]
        amounts[0] -= sum(amounts) + share - self._errand.amount
        return flow((*mix.paths, path), [*amounts, share]).brought

    def _with(self, mix: _Mix, path: Path) -> _Mix:
        part = 4 * (len(mix.paths) + 1)
        amounts = [amount - amount // part for amount in mix.amounts]
        paths = (*mix.paths, path)
        return self._mix(paths, roughly_shared_out(paths, [*amounts, self._errand.amount - sum(amounts)]))

    def _without(self, mix: _Mix, index: int) -> _Mix:
        """The amount of the path goes to the largest of the others, and some of it on from there."""
        paths = [path for position, path in enumerate(mix.paths) if position != index]
        amounts = [amount for position, amount in enumerate(mix.amounts) if position != index]
        largest = amounts.index(max(amounts))
        paths.append(paths.pop(largest))
        amounts.append(amounts.pop(largest) + mix.amounts[index])
        return self._mix(tuple(paths), roughly_shared_out(paths, amounts))

    def _shared(self, paths: Sequence[Path], amounts: Sequence[int]) -> _Mix:
        best = shared_out(paths, amounts)[0]
        largest = best.index(max(best))
        for index, amount in enumerate(best):
            if index != largest and amount <= self._errand.amount // _LEAST_PART:
                best[largest] += amount
                best[index] = 0
        return self._mix(paths, best)

    def _mix(self, paths: Sequence[Path], amounts: Sequence[int]) -> _Mix:
        kept = [index for index, amount in enumerate(amounts) if amount]
        paths = tuple(paths[index] for index in kept)
        amounts = tuple(amounts[index] for index in kept)
        brought, legs_gas, _ = flow(paths, amounts)
        if self._gas is not None:
            brought -= self._gas.cost(ROUTE_GAS + legs_gas, paths)
        return _Mix(paths, amounts, brought)

    def _exact(self, mix: _Mix) -> Split | None:
        """The mix as the chain will execute it, the largest amount first."""
        order = sorted(range(len(mix.paths)), key=lambda index: (-mix.amounts[index], *order_of(mix.paths[index])))
        # Paths that share a pool are worth other amounts in another order.
        mix = self._shared([mix.paths[index] for index in order], [mix.amounts[index] for index in order])
        states: dict[str, Pool] = {}
        chains: list[QuotedChain] = []
        for path, amount in zip(mix.paths, mix.amounts, strict=True):
            chain = quoted_chain(path, amount, states)
            if chain is None:
                return None
            chains.append(chain)
        return Split(tuple(chains), route_cost(self._gas, chains))
