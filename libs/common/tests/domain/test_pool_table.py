"""Rules of the table of pools: what it says about tokens and pairs is what a scan of all pools says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.pool_table import PoolTable
from dexlane.testing.builders import a_pool_v2, a_token, an_address
from dexlane.values.pools import Pool

TOKENS = [a_token(name) for name in ("one", "two", "three", "four")]


def a_pool(pair: tuple[int, int], number: int) -> Pool:
    first, second = sorted((TOKENS[at] for at in pair), key=lambda token: token.address)
    return a_pool_v2(address=an_address(f"pool {number}"), token0=first, token1=second)


pairs = st.lists(st.integers(0, 3), min_size=2, max_size=2, unique=True).map(lambda two: (two[0], two[1]))
steps = st.lists(st.tuples(st.sampled_from(["put", "remove", "copy"]), pairs, st.integers(0, 5)), max_size=20)


def scanned(table: PoolTable, one: str, other: str) -> tuple[str, ...]:
    return tuple(sorted(address for address, pool in table.items() if pool.key.trades(one, other)))


@given(steps)
def test_pools_between_two_tokens_are_those_that_a_scan_finds_whatever_happened_before(steps: Any) -> None:
    table, former = PoolTable(), list[tuple[PoolTable, list[tuple[str, ...]]]]()
    known: dict[int, Pool] = {}
    asked = [(one.address, other.address) for one in TOKENS for other in TOKENS if one is not other]
    for what, pair, number in steps:
        if what == "put":
            pool = known.setdefault(number, a_pool(pair, number))
            table.put(pool)
        elif what == "remove":
            known.pop(number, None)
            table.remove(an_address(f"pool {number}"))
        else:
            former.append((table, [scanned(table, *two) for two in asked]))
            table = table.copied()
        for two in asked:
            assert table.between(*two) == scanned(table, *two) == table.between(*reversed(two))
    for before, then in former:
        assert [before.between(*two) for two in asked] == then
