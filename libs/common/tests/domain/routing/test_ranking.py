"""Ranking of very many two-pool cycles, against the exact profit of each."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import optimal_cycle_size
from dexlane.domain.routing import ranking
from dexlane.domain.routing.ranking import PairColumns, most_profitable
from dexlane.testing.builders import USDC, a_gap_route, a_pool_v2, a_pool_v3, an_address
from dexlane.testing.random_pools import seeded
from dexlane.values.pools import Pool


def _exact_profit(one: Pool, other: Pool) -> int:
    """The better direction at its best size."""
    pools = {pool.key.address: pool for pool in (one, other)}
    found = [optimal_cycle_size(pools, a_gap_route(*pair), 10**18) for pair in ((one, other), (other, one))]
    return max((profit for item in found if item for profit in item[1:]), default=0)


def _pairs(seed: int, count: int) -> list[tuple[Pool, Pool]]:
    rng = seeded(seed)

    def pool(name: str, fee_pips: int) -> Pool:
        weth = rng.randint(10**20, 10**23)
        usdc = weth * rng.randint(1_950, 2_050) // 10**12
        return a_pool_v2(address=an_address(name), reserve0=usdc, reserve1=weth, fee_pips=fee_pips)

    return [(pool("one", 3000), pool("other", rng.choice([500, 3000]))) for _ in range(count)]


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 10))
def test_the_best_rows_are_those_with_the_greatest_exact_profit(seed: int, count: int, best: int) -> None:
    pairs = _pairs(seed, count)
    ranked = most_profitable(PairColumns.of(pairs, USDC.address), best)
    exact = [_exact_profit(*pair) for pair in pairs]
    gaining = sorted((profit for profit in exact if profit > 10), reverse=True)[:best]
    assert len(ranked.rows) >= len(gaining)
    for row, stated, profit in zip(ranked.rows, ranked.profits, gaining, strict=False):
        assert abs(exact[row] - profit) <= 3, "ranks differ only where profits are equal up to rounding"
        assert abs(int(stated) - profit) <= 3 + profit // 10**6


def test_many_chunks_are_ranked_as_one() -> None:
    rng = np.random.default_rng(3)
    count = ranking._CHUNK * 2 + 17
    reserves = [rng.uniform(1e20, 1e24, count) for _ in range(4)]
    keep = np.full(count, 0.997)
    pairs = PairColumns(reserves[0], reserves[1], keep, reserves[2], reserves[3], keep)
    ranked = most_profitable(pairs, 50)
    everything = ranking._profits(pairs)
    assert ranked.rows.tolist() == np.argsort(-everything, kind="stable")[:50].tolist()
    assert all(one >= other for one, other in pairwise(ranked.profits.tolist()))


def test_a_pool_with_ticks_is_taken_by_its_virtual_reserves_and_an_empty_one_is_passed_over() -> None:
    cheap = a_pool_v2(reserve0=19_000_000 * 10**6)
    pairs = [(a_pool_v2(), a_pool_v2(address=an_address("twin"))), (cheap, a_pool_v3())]
    pairs.append((cheap, a_pool_v2(reserve0=0, reserve1=0)))
    assert most_profitable(PairColumns.of(pairs, USDC.address), 5).rows.tolist() == [1]
    assert most_profitable(PairColumns.of([], USDC.address), 5).rows.tolist() == []
