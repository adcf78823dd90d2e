"""What it costs to execute a route, in the token that the route gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from dexlane.domain.amm.quoting import InsufficientLiquidity, spot_price_ratio, virtual_reserves
from dexlane.domain.routing.graph import Edge, PoolGraph

CALL_BYTES = 396
"""A router call without its paths (196 bytes), and the signed EIP-1559 transaction around it (at most 200)."""
COMMAND_BYTES = 320
"""One swap command with its place among the inputs: recipient, amounts, payer, and a path of one leg."""
LEG_BYTES = 32
"""One more leg of the same command."""
GAS_PRICE_LEGS = 3
"""So many legs may lie between the native coin and a token when gas is given a price in it."""


class Leg(Protocol):
    """What data bytes depend on; legs of routes and edges of the graph say it."""

    @property
    def protocol(self) -> str:
        """Neighbouring legs of one protocol share a command."""
        ...


@dataclass(frozen=True, slots=True)
class GasTerms:
    """The price of execution. ``out_per_wei`` is (numerator, denominator): smallest units of the out token that one
    wei of the native coin is worth. ``data_fee_wei`` gives what a rollup takes for posting so many bytes of signed
    transaction to its parent chain (on an OP chain ``GasPriceOracle.getL1FeeUpperBound``); None where there is no
    such fee.
    """

    gas_price_wei: int
    out_per_wei: tuple[int, int]
    data_fee_wei: Callable[[int], int] | None = None

    def cost(self, gas: int, paths: Sequence[Sequence[Leg]] = ()) -> int:
        """Gas, and the data of these paths, in the out token, rounded up: a cost is never understated."""
        wei = gas * self.gas_price_wei
        if self.data_fee_wei is not None:
            wei += self.data_fee_wei(data_bytes(paths))
        numerator, denominator = self.out_per_wei
        return -(-wei * numerator // denominator)


def data_bytes(paths: Sequence[Sequence[Leg]]) -> int:
    """Bytes of a signed transaction that trades these paths: an upper bound, and at most a third too large."""
    size = CALL_BYTES
    for path in paths:
        commands = 1 + sum(before.protocol != after.protocol for before, after in pairwise(path))
        size += COMMAND_BYTES * commands + LEG_BYTES * (len(path) - commands)
    return size


def out_per_wei(
    graph: PoolGraph, native: str, token_out: str, *, max_legs: int = GAS_PRICE_LEGS
) -> tuple[int, int] | None:
    """What one wei of the (wrapped) native coin is worth in the out token, as (numerator, denominator), by spot prices.

    Of all chains of at most ``max_legs`` pools the one whose thinnest pool is deepest is believed, so that a dust pool
    with an odd price decides nothing; of equals the shorter. None when no chain leads there: then the cost of gas is
    not known, and nothing may assume that it is small.
    """
    best: dict[str, _Chain] = {token_out: _Chain(None, 1, 1)}
    newest = dict(best)
    for _ in range(max_legs):
        longer: dict[str, _Chain] = {}
        for token, chain in newest.items():
            for other in sorted(graph.edges(token)):
                # Edges are looked up against their direction: the chain is built from its end.
                for edge in graph.edges(other).get(token, ()):
                    found = chain.before(edge)
                    if found is not None and found.is_deeper_than(best.get(other)):
                        best[other] = longer[other] = found
        newest = longer
    chain_found = best.get(native)
    return None if chain_found is None else (chain_found.numerator, chain_found.denominator)


@dataclass(frozen=True, slots=True)
class _Chain:
    """A price towards the out token, and the depth in it of the thinnest pool (None: no pool yet)."""

    depth: int | None
    numerator: int
    denominator: int

    def before(self, edge: Edge) -> _Chain | None:
        try:
            numerator, denominator = spot_price_ratio(edge.pool, edge.token_in, edge.token_out)
        except InsufficientLiquidity:
            return None
        reserve_out = virtual_reserves(edge.pool, edge.token_in, edge.token_out)[1]
        depth = reserve_out * self.numerator // self.denominator
        if depth == 0:
            return None
        thinnest = depth if self.depth is None else min(depth, self.depth)
        return _Chain(thinnest, self.numerator * numerator, self.denominator * denominator)

    def is_deeper_than(self, other: _Chain | None) -> bool:
        return other is None or (other.depth is not None and self.depth is not None and self.depth > other.depth)
