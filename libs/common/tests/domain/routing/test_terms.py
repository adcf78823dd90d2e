"""What gas is worth in the token bought, and how large a transaction is."""

from __future__ import annotations

from itertools import product

import pytest

from dexlane.chain.calldata import ExactInput, execute
from dexlane.domain.routing import GasTerms, PoolGraph, out_per_wei
from dexlane.domain.routing.terms import data_bytes
from dexlane.testing.builders import USDC, WETH, a_pool_v2, a_pool_v3, a_route, a_token, an_address
from dexlane.values.pools import Pool

SIGNED_AROUND_CALLDATA = 200
"""An EIP-1559 transaction without its data: numbers, two addresses, a signature and RLP lengths take fewer bytes."""


def test_cost_is_rounded_up() -> None:
    terms = GasTerms(7, (1, 10), lambda count: count)
    assert terms.cost(100) == -(-(700 + data_bytes([])) // 10)
    assert GasTerms(0, (5, 1)).cost(10**6) == 0


def test_the_out_token_itself_is_worth_one_and_a_pool_gives_its_spot_price() -> None:
    graph = PoolGraph([a_pool_v2()])
    assert out_per_wei(graph, WETH.address, WETH.address) == (1, 1)
    numerator, denominator = out_per_wei(graph, WETH.address, USDC.address) or (0, 1)
    assert 10**18 * numerator // denominator == 2_000 * 10**6


def test_the_deepest_chain_is_believed_and_a_dust_pool_is_not() -> None:
    dai = a_token("DAI")
    dust = a_pool_v2(address=an_address("dust"), reserve0=10**6, reserve1=1)
    legs = [
        _pool("one", (WETH.address, 10_000 * 10**18), (dai.address, 20_000_000 * 10**18)),
        _pool("two", (dai.address, 20_000_000 * 10**18), (USDC.address, 20_000_000 * 10**6)),
    ]
    numerator, denominator = out_per_wei(PoolGraph([dust, *legs]), WETH.address, USDC.address) or (0, 1)
    assert 10**18 * numerator // denominator == 2_000 * 10**6
    assert out_per_wei(PoolGraph(legs), WETH.address, USDC.address, max_legs=1) is None


@pytest.mark.parametrize("pools", [[], [a_pool_v2(reserve0=0, reserve1=0)], [a_pool_v3(sqrt_price_x96=0)]])
def test_without_a_price_the_cost_is_not_known(pools: list[Pool]) -> None:
    assert out_per_wei(PoolGraph(pools), WETH.address, USDC.address) is None


def test_transactions_are_never_larger_than_said_and_not_much_smaller() -> None:
    v2, v3 = a_pool_v2(), a_pool_v3()
    for legs, paths in product(range(1, 5), range(1, 4)):
        for mixed in (True, False):
            route = a_route(*[(v2, v3)[position % 2 if mixed else 0] for position in range(legs)])
            order = ExactInput(legs=route.legs, amount_in=10**6, minimum_out=1)
            size = len(execute([order] * paths, deadline_s=1)) + SIGNED_AROUND_CALLDATA
            said = data_bytes([route.legs] * paths)
            assert size <= said
            assert said <= size * 4 // 3


def _pool(name: str, one: tuple[str, int], other: tuple[str, int]) -> Pool:
    (token0, reserve0), (token1, reserve1) = sorted((one, other), key=lambda side: int(side[0], 16))
    return a_pool_v2(
        address=an_address(name),
        token0=a_token("T0", address=token0),
        token1=a_token("T1", address=token1),
        reserve0=reserve0,
        reserve1=reserve1,
    )
