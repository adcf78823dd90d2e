"""Pools as a graph of tokens, indexed once and asked often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dexlane.domain.amm.adapters import Pair
from dexlane.domain.routing.curves import Curve, curve_of
from dexlane.values.pools import Pool
from dexlane.values.routes import Leg


class Edge:
    """One direction of one pool. ``curve`` is built when it is first used and kept while the pool's state lasts."""

    __slots__ = ("_curve", "address", "pool", "token_in", "token_out", "tokens")

    def __init__(self, pool: Pool, token_in: str, token_out: str, tokens: frozenset[str]) -> None:
        self.pool = pool
        self.address = pool.key.address
        self.token_in = token_in
        self.token_out = token_out
        self.tokens = tokens
        self._curve: Curve | None = None

    @property
    def curve(self) -> Curve:
        """What this direction gives for an amount, for choosing."""
        if self._curve is None:
            self._curve = curve_of(self.pool, Pair(self.token_in, self.token_out))
        return self._curve

    @property
    def protocol(self) -> str:
        """The exchange protocol of the pool."""
        return self.pool.key.protocol

    @property
    def leg(self) -> Leg:
        """This direction as a leg."""
        key = self.pool.key
        return Leg(
            pool=key.address,
            protocol=key.protocol,
            fee_pips=key.fee_pips,
            token_in=self.token_in,
            token_out=self.token_out,
        )

    def put(self, pool: Pool) -> None:
        """Take over a new state of the pool."""
        self.pool = pool
        self._curve = None


class PoolGraph:
    """Who trades what. Adding a pool costs the same however many there are; a new state costs its own curves."""

    def __init__(self, pools: Iterable[Pool] = ()) -> None:
        self._from: dict[str, dict[str, list[Edge]]] = {}
        self._of_pool: dict[str, list[Edge]] = {}
        for pool in pools:
            self.put(pool)

    def __len__(self) -> int:
        return len(self._of_pool)

    def __contains__(self, address: str) -> bool:
        return address in self._of_pool

    def put(self, pool: Pool) -> None:
        """Add a pool, or replace its state."""
        known = self._of_pool.get(pool.key.address)
        if known is not None:
            for edge in known:
                if edge.pool is not pool:
                    edge.put(pool)
            return
        tokens = [token.address for token in pool.key.tokens]
        together = frozenset(tokens)
        edges = [Edge(pool, one, other, together) for one in tokens for other in tokens if one != other]
        self._of_pool[pool.key.address] = edges
        for edge in edges:
            parallel = self._from.setdefault(edge.token_in, {}).setdefault(edge.token_out, [])
            parallel.append(edge)
            parallel.sort(key=_address)

    def remove(self, address: str) -> None:
        """Forget a pool; nothing happens when it is not known."""
        for edge in self._of_pool.pop(address, ()):
            self._from[edge.token_in][edge.token_out].remove(edge)

    def follow(self, pools: Mapping[str, Pool]) -> None:
        """Become the graph of exactly these pools; states that are the same objects keep their curves."""
        for address in self._of_pool.keys() - pools.keys():
            self.remove(address)
        for pool in pools.values():
            self.put(pool)

    def edges(self, token: str) -> Mapping[str, list[Edge]]:
        """Edges that sell a token, by the token they buy; parallel ones by pool address."""
        return self._from.get(token, {})

    def directions(self, address: str) -> Sequence[Edge]:
        """All directions of one pool; none when it is not known."""
        return self._of_pool.get(address, ())

    def paths(self, token_in: str, token_out: str, legs: int) -> Iterator[tuple[Edge, ...]]:
        """Paths of exactly so many legs (0 to 2) that touch their ends only once, in no order."""
        if legs == 0:
            if token_in == token_out:
                yield ()
        elif token_in == token_out:
            return
        elif legs == 1:
            yield from ((edge,) for edge in self.edges(token_in).get(token_out, ()))
        else:
            around, back = self.edges(token_in), self.edges(token_out)
            for middle in around.keys() & back.keys():
                for first in around[middle]:
                    yield from ((first, second) for second in self.edges(middle).get(token_out, ()))

    def within(self, token: str, legs: int) -> list[frozenset[str]]:
        """The tokens from which at most 0, 1, ... ``legs`` legs lead to a token."""
        reached = {token}
        rings = [frozenset(reached)]
        for _ in range(legs):
            for other in rings[-1]:
                reached |= self.edges(other).keys()
            rings.append(frozenset(reached))
        return rings


def _address(edge: Edge) -> str:
    return edge.address
