"""Triangles: found through any pool the block touched, sized exactly, one for each pool."""

from __future__ import annotations

from typing import Any

from dexlane.domain.amm.quoting import optimal_cycle_size, quote_route
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.strategies import BlockContext
from dexlane.domain.strategies.triangle import Triangle, TriangleParameters
from dexlane.events.opportunity import OpportunityFound
from dexlane.testing.builders import (
    NOW_MS,
    USDC,
    V2_POOL,
    WETH,
    a_block,
    a_block_ref,
    a_pool_v2,
    a_reserves_delta,
    a_token,
    an_address,
)
from dexlane.values.pools import Pool
from dexlane.values.tokens import Token

DAI = a_token("DAI")
FAR = a_token("FAR")


def _pair(name: str, one: tuple[Token, int], other: tuple[Token, int]) -> Pool:
    (token0, reserve0), (token1, reserve1) = sorted((one, other), key=lambda side: int(side[0].address, 16))
    return a_pool_v2(address=an_address(name), token0=token0, token1=token1, reserve0=reserve0, reserve1=reserve1)


WETH_DAI = _pair("weth dai", (WETH, 5_000 * 10**18), (DAI, 10_000_000 * 10**18))
DAI_USDC = _pair("dai usdc", (DAI, 30_000_000 * 10**18), (USDC, 30_000_000 * 10**6))
CHEAP_WETH = 20_000_000 * 10**6 * 95 // 100
"""Reserve of USDC at which the USDC/WETH pool asks 5 % less than WETH brings by way of DAI."""


def _strategy(**fields: Any) -> Triangle:
    defaults: dict[str, Any] = {"min_profit": 10**6, "min_edge_bps": 1, "max_size": 10**12}
    return Triangle(TriangleParameters(**(defaults | fields)), USDC)


def _context(reserve0: int, *more: Pool, touched: bool = True) -> BlockContext:
    book = PoolBook()
    for pool in (a_pool_v2(reserve0=reserve0), WETH_DAI, DAI_USDC, *more):
        book.put(pool, a_block_ref(100))
    event = a_block(101, a_reserves_delta(reserve0=reserve0)) if touched else a_block(101)
    book.apply(event)
    return BlockContext.of(event, book, NOW_MS)


def _one(found: list[OpportunityFound]) -> OpportunityFound:
    assert len(found) == 1
    return found[0]


def test_a_triangle_is_gone_around_in_the_direction_that_gains() -> None:
    cheap = _one(_strategy().on_block(_context(CHEAP_WETH)))
    assert [leg.pool for leg in cheap.route.legs] == [V2_POOL, WETH_DAI.key.address, DAI_USDC.key.address]
    dear = _one(_strategy().on_block(_context(20_000_000 * 10**6 * 105 // 100)))
    assert [leg.pool for leg in dear.route.legs] == [DAI_USDC.key.address, WETH_DAI.key.address, V2_POOL]
    assert all(found.route.is_cycle and found.route.token_in == USDC.address for found in (cheap, dear))


def test_size_profit_and_edge_are_exact_quotes_at_this_block() -> None:
    context = _context(CHEAP_WETH)
    found = _one(_strategy().on_block(context))
    quote = quote_route(context.book.pools, found.route, found.size_hint)
    profit = quote.amount_out - found.size_hint
    assert found.expected_out == quote.amount_out
    assert found.edge_bps == profit * 10_000 // found.size_hint
    assert (found.size_hint, profit) == optimal_cycle_size(context.book.pools, found.route, 10**12)


def test_the_answer_to_a_known_block_never_changes() -> None:
    found = _one(_strategy().on_block(_context(CHEAP_WETH)))
    assert (found.size_hint, found.expected_out, found.edge_bps) == (111_345_713_961, 113_724_605_554, 213)
    assert found.signals == {
        "triangle": "USDC > WETH > DAI > USDC",
        "size": "111345.713961 USDC is the best size up to 1000000 USDC",
        "profit": "2378.891593 USDC (213 bps) by exact quotes, before gas",
    }
    assert OpportunityFound.from_wire(found.to_wire()) == found


def test_equal_prices_and_gaps_below_the_fees_are_no_triangle() -> None:
    assert _strategy().on_block(_context(20_000_000 * 10**6)) == []
    assert _strategy().on_block(_context(20_000_000 * 10**6 * 9_930 // 10_000)) == []


def test_least_profit_and_least_edge_are_kept() -> None:
    found = _one(_strategy().on_block(_context(CHEAP_WETH)))
    profit = found.expected_out - found.size_hint
    assert _strategy(min_profit=profit, min_edge_bps=found.edge_bps).on_block(_context(CHEAP_WETH)) == [found]
    assert _strategy(min_profit=profit + 1).on_block(_context(CHEAP_WETH)) == []
    assert _strategy(min_edge_bps=found.edge_bps + 1).on_block(_context(CHEAP_WETH)) == []


def test_the_size_keeps_to_the_maximum() -> None:
    size = _one(_strategy(max_size=10**9).on_block(_context(CHEAP_WETH))).size_hint
    assert 10**9 - 1 <= size <= 10**9, "one unit less may buy as much"


def test_pools_that_the_block_left_alone_are_not_looked_at() -> None:
    assert _strategy().on_block(_context(CHEAP_WETH, touched=False)) == []


def test_of_triangles_that_share_a_pool_only_the_most_profitable_is_emitted() -> None:
    shallow = _pair("shallow", (DAI, 3_000_000 * 10**18), (USDC, 3_000_000 * 10**6))
    found = _one(_strategy().on_block(_context(CHEAP_WETH, shallow)))
    assert found == _one(_strategy().on_block(_context(CHEAP_WETH)))


def test_pools_that_come_later_are_seen_and_pools_without_a_way_back_or_a_price_are_passed_over() -> None:
    strategy = _strategy()
    assert strategy.on_block(_context(20_000_000 * 10**6)) == []
    dead_end = _pair("dead end", (WETH, 10**18), (FAR, 10**30))
    empty = _pair("empty", (DAI, 0), (USDC, 0))
    assert len(strategy.on_block(_context(CHEAP_WETH, dead_end, empty))) == 1
