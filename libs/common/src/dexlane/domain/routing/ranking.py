"""The most promising of very many two-pool cycles, by columns of floating-point numbers.

A cycle sells the quote token for a base token in one pool and the base token back in the other. Between constant
products (a pool with ticks is taken by its virtual reserves) it turns ``a`` into ``g * a / (b + s * a)``, whose profit
is at most ``(sqrt(g) - sqrt(b)) ** 2 / s``. Which pool comes first follows from the reserves. This ranks; sizes and
profits that count are exact quotes (:func:`dexlane.domain.amm.quoting.optimal_cycle_size`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dexlane.domain.amm.quoting import virtual_reserves
from dexlane.values.amounts import PIPS_DENOMINATOR
from dexlane.values.pools import Pool

Column = NDArray[np.float64]
Rows = NDArray[np.intp]
_CHUNK = 32_768
"""Rows looked at together: their intermediate columns stay in the processor's cache."""


class PairColumns(NamedTuple):
    """Two pools a row: their reserves of quote and base token, and the part of an input that their fees leave."""

    quote1: Column
    base1: Column
    keep1: Column
    quote2: Column
    base2: Column
    keep2: Column

    @classmethod
    def of(cls, pairs: Iterable[tuple[Pool, Pool]], quote: str) -> PairColumns:
        """The columns of pairs of pools, each of which trades ``quote`` against the same other token."""
        rows = [(*_terms(one, quote), *_terms(other, quote)) for one, other in pairs]
        return cls(*np.array(rows, dtype=np.float64).reshape(-1, 6).T.copy())

    def between(self, start: int, end: int) -> PairColumns:
        """Some of the rows."""
        return PairColumns(*(column[start:end] for column in self))

    def at(self, rows: Rows) -> PairColumns:
        """These rows."""
        return PairColumns(*(column[rows] for column in self))


class Ranked(NamedTuple):
    """Rows, most profitable first, and the greatest profit of each in units of the quote token."""

    rows: Rows
    profits: Column


def most_profitable(pairs: PairColumns, count: int) -> Ranked:
    """The ``count`` most profitable rows, fewer when fewer profit; of equals the earlier row."""
    best = Ranked(np.empty(0, np.intp), np.empty(0))
    spare = tuple(np.empty(_CHUNK) for _ in range(4))
    for start in range(0, len(pairs.quote1), _CHUNK):
        chunk = pairs.between(start, start + _CHUNK)
        enough = best.profits[-1] if len(best.rows) == count else 0.0
        rows = _hopeful(chunk, enough, spare)
        if not len(rows):
            continue
        profits = _profits(chunk.at(rows))
        best = _best_of(
            Ranked(np.concatenate((best.rows, rows + start)), np.concatenate((best.profits, profits))), count
        )
    return best


def _hopeful(chunk: PairColumns, enough: float, spare: tuple[Column, ...]) -> Rows:
    """Rows that may earn more than ``enough``, without a root: profit is at most ``(g - b) / s``, and ``s`` is at
    least both fees' share of both base reserves."""
    one, other, keep, bound = (column[: len(chunk.quote1)] for column in spare)
    np.multiply(chunk.base1, chunk.quote2, out=one)
    np.multiply(chunk.base2, chunk.quote1, out=other)
    np.maximum(one, other, out=bound)
    np.minimum(one, other, out=other)
    np.multiply(chunk.keep1, chunk.keep2, out=keep)
    np.multiply(bound, keep, out=bound)
    np.subtract(bound, other, out=bound)
    np.add(chunk.base1, chunk.base2, out=one)
    np.multiply(one, keep, out=one)
    np.multiply(one, enough, out=one)
    return np.flatnonzero(bound > one)


def _profits(rows: PairColumns) -> Column:
    forward, backward = rows.base1 * rows.quote2, rows.base2 * rows.quote1
    first = forward > backward
    keep_in = np.where(first, rows.keep1, rows.keep2)
    keep_out = np.where(first, rows.keep2, rows.keep1)
    bought = np.where(first, rows.base1, rows.base2)
    sold = np.where(first, rows.base2, rows.base1)
    gain = np.sqrt(keep_in * keep_out * np.maximum(forward, backward)) - np.sqrt(np.minimum(forward, backward))
    profits: Column = gain * gain / (keep_in * (sold + keep_out * bought))
    return profits


def _best_of(found: Ranked, count: int) -> Ranked:
    if len(found.rows) > count:
        least = np.partition(found.profits, -count)[-count]
        kept = np.flatnonzero(found.profits >= least)
        found = Ranked(found.rows[kept], found.profits[kept])
    order = np.lexsort((found.rows, -found.profits))[:count]
    return Ranked(found.rows[order], found.profits[order])


def _terms(pool: Pool, quote: str) -> tuple[float, float, float]:
    reserve_quote, reserve_base = virtual_reserves(pool, quote)
    return float(reserve_quote), float(reserve_base), (PIPS_DENOMINATOR - pool.key.fee_pips) / PIPS_DENOMINATOR
