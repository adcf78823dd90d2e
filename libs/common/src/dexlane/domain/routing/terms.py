"""What it costs to execute a route, in the token that the route gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dexlane.domain.amm.quoting import InsufficientLiquidity, spot_price_ratio, virtual_reserves
from dexlane.domain.routing.graph import Edge, PoolGraph

CALL_BYTES = 460
"""A router call without its paths, and the signed transaction around it, in bytes."""
PATH_BYTES = 384
"""One path: its command, its place among the inputs, amounts, recipient and the length of its tokens."""
LEG_BYTES = 224
"""One more leg at most: a command of its own when neighbouring legs are of different protocols."""


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

    def cost(self, gas: int, data_bytes: int = 0) -> int:
        """Gas and data in the out token, rounded up: a cost is never understated."""
        wei = gas * self.gas_price_wei
        if self.data_fee_wei is not None:
            wei += self.data_fee_wei(data_bytes)
        numerator, denominator = self.out_per_wei
        return -(-wei * numerator // denominator)


def data_bytes(legs_of_paths: Sequence[int]) -> int:
    """An upper bound of the bytes of a signed transaction with one path for each number of legs."""
    return CALL_BYTES + sum(PATH_BYTES + LEG_BYTES * (legs - 1) for legs in legs_of_paths)


def out_per_wei(graph: PoolGraph, native: str, token_out: str, *, max_legs: int = 3) -> tuple[int, int] | None:
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
