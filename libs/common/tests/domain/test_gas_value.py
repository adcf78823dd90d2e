"""What gas is worth: the price of money that is there, asked once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.amm.quoting import virtual_reserves
from dexlane.domain.gas_value import WRAPPED_NATIVE, NativePrice, deepest
from dexlane.domain.pool_table import PoolTable
from dexlane.testing.builders import USDC, WETH, a_one_tick_pool, a_pool_v2, a_pool_v3, an_address
from dexlane.values.pools import Pool

USD = 10**6
ETHER = 10**18


@given(st.integers(150_000, 250_000))
def test_a_handful_of_dollars_in_one_tick_does_not_say_what_gas_is_worth(tick: int) -> None:
    deep, skewed = a_pool_v2(), a_one_tick_pool(tick)
    for pools in (PoolTable([deep, skewed]), {pool.key.address: pool for pool in (skewed, deep)}):
        native = NativePrice(pools, 1, USDC.address)
        assert native.of_wei(ETHER) == 2_000 * USD, "as the deep pool alone prices it"
        assert native.in_wei(2_000 * USD) == ETHER


def test_virtual_reserves_would_have_taken_the_narrow_one() -> None:
    assert virtual_reserves(a_one_tick_pool(200_311), USDC.address)[0] > virtual_reserves(a_pool_v2(), USDC.address)[0]


@given(st.integers(1, 10**6), st.integers(2, 100), st.booleans())
def test_of_two_pools_the_one_that_takes_more_gives_the_price(ether: int, times: int, swapped: bool) -> None:
    deep, shallow = (3_000, 1_000) if swapped else (1_000, 3_000)
    pools = [
        a_pool_v2(reserve0=ether * times * deep * USD, reserve1=ether * times * ETHER),
        a_pool_v2(address=an_address("shallow"), reserve0=ether * shallow * USD, reserve1=ether * ETHER),
    ]
    assert NativePrice(PoolTable(pools), 1, USDC.address).of_wei(ETHER) == deep * USD


def test_the_order_of_the_pools_does_not_matter() -> None:
    pools = [a_pool_v2(), a_pool_v2(address=an_address("twin"))]
    assert deepest(PoolTable(pools), WETH.address, USDC.address) == deepest(
        PoolTable(pools[::-1]), WETH.address, USDC.address
    )


@pytest.mark.parametrize("pools", [[], [a_one_tick_pool(200_311, liquidity=0)]], ids=["no pool", "no liquidity"])
def test_where_no_pool_takes_anything_the_worth_of_gas_is_not_known(pools: list[Pool]) -> None:
    native = NativePrice(PoolTable(pools), 1, USDC.address)
    assert (native.of_wei(ETHER), native.in_wei(USD)) == (None, None)


def test_the_wrapped_coin_is_worth_itself_and_an_unknown_chain_tells_nothing() -> None:
    assert NativePrice({}, 1, WRAPPED_NATIVE[1]).of_wei(7) == 7
    assert NativePrice(PoolTable([a_pool_v2()]), 5, USDC.address).of_wei(7) is None


class Counted(Mapping[str, Pool]):
    """Pools that count how often they are asked."""

    def __init__(self, *pools: Pool) -> None:
        self._pools = {pool.key.address: pool for pool in pools}
        self.asked = 0

    def __getitem__(self, address: str) -> Pool:
        self.asked += 1
        return self._pools[address]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pools)

    def __len__(self) -> int:
        return len(self._pools)


def test_the_pools_are_asked_once_however_often_gas_is_valued() -> None:
    pools = Counted(a_pool_v2(), a_pool_v3())
    native = NativePrice(pools, 1, USDC.address)
    for amount in range(10):
        native.of_wei(amount)
        native.in_wei(amount)
    assert pools.asked == 2
