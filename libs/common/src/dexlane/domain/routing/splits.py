"""An amount split over several paths: chosen by curves, decided by exact quotes in the order of execution.

A local search: a path is added, taken away or exchanged while what is left after gas grows, and the amounts are shared
out anew each time. It starts from the best single route and from filling paths piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dexlane.domain.amm.quoting import ROUTE_GAS, spot_price_ratio
from dexlane.domain.routing.best import QuotedChain, best_chain, order_of, quoted_chain, route_cost
from dexlane.domain.routing.graph import PoolGraph
from dexlane.domain.routing.mixes import Path, clash, flow, moved_by, shared_out
from dexlane.domain.routing.terms import GasTerms, data_bytes
from dexlane.domain.routing.walks import Care, Errand, walks
from dexlane.values.amounts import BPS_DENOMINATOR, PIPS_DENOMINATOR
from dexlane.values.pools import Pool

_PIECES = 24
"""Pieces in which an amount is laid onto the best paths to begin with."""
_PROBES = (1, 2, 4, 16, 128)
"""Further paths are looked for with these parts of the amount."""
_TRIED_SHARES = (128, 24, 6, 2)
"""A further path is judged by what it brings with these parts of the amount."""
_PROMISING = 4
"""So many of the further paths are shared out fully."""
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
        keep = BPS_DENOMINATOR - tolerance_bps
        return tuple(max(1, -(-chain.amount_out * keep // BPS_DENOMINATOR)) for chain in self.chains)


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
        self._known: list[Path] = [walk.edges for walk in found]
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
            errand = Errand(self._errand.token_in, self._errand.token_out, piece, self._errand.max_legs)
            found = walks(self._graph, errand, moved=moved_by(used))
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
            best = max(self._changes(mix), key=lambda change: change.worth, default=mix)
            if best.worth <= mix.worth:
                return mix
            mix = best

    def _changes(self, mix: _Mix) -> Iterator[_Mix]:
        for index in range(len(mix.paths)) if len(mix.paths) > 1 else ():
            yield self._without(mix, index)
        for path in self._promising(mix):
            if len(mix.paths) < self._max_paths:
                yield self._with(mix, path)
            for index in range(len(mix.paths)):
                rest = self._without(mix, index) if len(mix.paths) > 1 else None
                if rest is not None and not clash((*rest.paths, path)):
                    yield self._with(rest, path)

    def _promising(self, mix: _Mix) -> list[Path]:
        """The further paths that bring most when a part of everything is moved to them."""
        used = flow(mix.paths, mix.amounts).used
        moved = moved_by(used)
        further = dict.fromkeys(self._known)
        for parts in _PROBES:
            if self._errand.amount // parts:
                amount = self._errand.amount // parts
                errand = Errand(self._errand.token_in, self._errand.token_out, amount, self._errand.max_legs)
                further.update(dict.fromkeys(walk.edges for walk in walks(self._graph, errand, moved=moved)))
        judged = [(self._gain(mix, path), path) for path in further if not clash((*mix.paths, path))]
        judged = [(gain, path) for gain, path in judged if path not in mix.paths]
        judged.sort(key=lambda item: (-item[0], *order_of(item[1])))
        return [path for _, path in judged[:_PROMISING]]

    def _gain(self, mix: _Mix, path: Path) -> int:
        paths = (*mix.paths, path)
        best = 0
        for part in _TRIED_SHARES:
            share = self._errand.amount // part
            amounts = [amount - amount // part for amount in mix.amounts]
            amounts[0] -= sum(amounts) + share - self._errand.amount
            best = max(best, flow(paths, [*amounts, share]).brought)
        return best

    def _with(self, mix: _Mix, path: Path) -> _Mix:
        part = len(mix.paths) + 1
        amounts = [amount - amount // part for amount in mix.amounts]
        return self._shared((*mix.paths, path), [*amounts, self._errand.amount - sum(amounts)])

    def _without(self, mix: _Mix, index: int) -> _Mix:
        paths = mix.paths[:index] + mix.paths[index + 1 :]
        amounts = list(mix.amounts[:index] + mix.amounts[index + 1 :])
        largest = amounts.index(max(amounts))
        amounts[largest] += mix.amounts[index]
        return self._shared(paths, amounts)

    def _shared(self, paths: Sequence[Path], amounts: Sequence[int]) -> _Mix:
        best = shared_out(paths, amounts)[0]
        largest = best.index(max(best))
        for index, amount in enumerate(best):
            if index != largest and amount <= self._errand.amount // _LEAST_PART:
                best[largest] += amount
                best[index] = 0
        kept = [index for index, amount in enumerate(best) if amount]
        return self._mix(tuple(paths[index] for index in kept), tuple(best[index] for index in kept))

    def _mix(self, paths: tuple[Path, ...], amounts: tuple[int, ...]) -> _Mix:
        brought, legs_gas, _ = flow(paths, amounts)
        if self._gas is not None:
            brought -= self._gas.cost(ROUTE_GAS + legs_gas, data_bytes([len(path) for path in paths]))
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
