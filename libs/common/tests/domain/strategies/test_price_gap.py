"""Price gaps: found in both directions, sized exactly, judged by profit and edge."""

from __future__ import annotations

from typing import Any

from dexlane.domain.amm.quoting import optimal_cycle_size, quote_route
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.strategies import BlockContext
from dexlane.domain.strategies.price_gap import PriceGap, PriceGapParameters
from dexlane.events.opportunity import OpportunityFound
from dexlane.testing.builders import (
    NOW_MS,
    USDC,
    V2_POOL,
    V3_POOL_500,
    V3_POOL_3000,
    a_block,
    a_block_ref,
    a_pool_v2,
    a_pool_v3,
    a_reserves_delta,
    a_token,
)
from dexlane.values.pools import Pool

CHEAP_WETH = 20_000_000 * 10**6 * 97 // 100
"""Reserve of USDC at which the V2 pool asks 3 % less for WETH than the V3 pool pays."""
DEAR_WETH = 20_000_000 * 10**6 * 103 // 100


def _strategy(**fields: Any) -> PriceGap:
    defaults: dict[str, Any] = {"min_profit": 10**6, "min_edge_bps": 1, "max_size": 10**12}
    return PriceGap(PriceGapParameters(**(defaults | fields)), USDC)


def _context(reserve0: int, *more: Pool, touched: bool = True) -> BlockContext:
    book = PoolBook()
    for pool in (a_pool_v2(reserve0=reserve0), a_pool_v3(), *more):
        book.put(pool, a_block_ref(100))
    event = a_block(101, a_reserves_delta(reserve0=reserve0)) if touched else a_block(101)
    book.apply(event)
    return BlockContext.of(event, book, NOW_MS)


def _one(found: list[OpportunityFound]) -> OpportunityFound:
    assert len(found) == 1
    return found[0]


def test_a_gap_is_bought_where_it_is_cheap_and_sold_where_it_is_dear() -> None:
    cheap = _one(_strategy().on_block(_context(CHEAP_WETH)))
    assert [leg.pool for leg in cheap.route.legs] == [V2_POOL, V3_POOL_500]
    dear = _one(_strategy().on_block(_context(DEAR_WETH)))
    assert [leg.pool for leg in dear.route.legs] == [V3_POOL_500, V2_POOL]
    assert all(found.route.is_cycle and found.route.token_in == USDC.address for found in (cheap, dear))


def test_size_profit_and_edge_are_exact_quotes_at_this_block() -> None:
    context = _context(CHEAP_WETH)
    found = _one(_strategy().on_block(context))
    quote = quote_route(context.book.pools, found.route, found.size_hint)
    profit = quote.amount_out - found.size_hint
    assert found.expected_out == quote.amount_out
    assert found.edge_bps == profit * 10_000 // found.size_hint
    assert (found.size_hint, profit) == optimal_cycle_size(context.book.pools, found.route, 10**12)


def test_the_event_carries_block_deadline_and_times_it_was_given() -> None:
    context = _context(CHEAP_WETH)
    found = _one(_strategy(deadline_blocks=3).on_block(context))
    assert (found.block, found.deadline_block) == (context.event.block, 104)
    assert (found.occurred_at_ms, found.received_at_ns) == (NOW_MS, context.event.received_at_ns)
    assert OpportunityFound.from_wire(found.to_wire()) == found
    assert {"gap", "size", "profit", "choice"} == set(found.signals)


def test_the_same_block_gives_the_same_id_whenever_it_is_looked_at() -> None:
    context = _context(CHEAP_WETH)
    later = BlockContext.of(context.event, context.book, NOW_MS + 5_000)
    strategy = _strategy()
    assert [found.id for found in strategy.on_block(context)] == [found.id for found in strategy.on_block(later)]
    assert _strategy().on_block(context) == strategy.on_block(context)


def test_equal_prices_are_no_gap() -> None:
    assert _strategy().on_block(_context(20_000_000 * 10**6)) == []


def test_a_gap_smaller_than_both_fees_is_no_gap() -> None:
    assert _strategy().on_block(_context(20_000_000 * 10**6 * 9_970 // 10_000)) == []


def test_a_gap_below_the_least_profit_is_left_alone() -> None:
    profit = _profit_of(_one(_strategy().on_block(_context(CHEAP_WETH))))
    assert _strategy(min_profit=profit).on_block(_context(CHEAP_WETH))
    assert _strategy(min_profit=profit + 1).on_block(_context(CHEAP_WETH)) == []


def test_a_gap_below_the_least_edge_is_left_alone() -> None:
    edge = _one(_strategy().on_block(_context(CHEAP_WETH))).edge_bps
    assert _strategy(min_edge_bps=edge).on_block(_context(CHEAP_WETH))
    assert _strategy(min_edge_bps=edge + 1).on_block(_context(CHEAP_WETH)) == []


def test_the_size_keeps_to_the_maximum() -> None:
    assert _one(_strategy(max_size=10**9).on_block(_context(CHEAP_WETH))).size_hint == 10**9


def test_pools_that_the_block_left_alone_are_not_looked_at() -> None:
    assert _strategy().on_block(_context(CHEAP_WETH, touched=False)) == []


def test_only_the_most_profitable_gap_of_a_pair_is_emitted() -> None:
    third = a_pool_v3(fee_pips=3000, liquidity=10**17)
    context = _context(CHEAP_WETH, third)
    found = _one(_strategy().on_block(context))
    alone = _one(_strategy().on_block(_context(CHEAP_WETH)))
    assert found.route == alone.route
    assert "2 gaps" in found.signals["choice"]
    assert V3_POOL_3000 not in {leg.pool for leg in found.route.legs}


def test_pools_without_the_quote_token_or_without_a_price_are_passed_over() -> None:
    foreign = a_pool_v2(
        address="0x" + "1" * 40,
        token0=a_token("AAA", address="0x" + "2" * 40),
        token1=a_token("BBB", address="0x" + "3" * 40),
    )
    empty = a_pool_v2(address="0x" + "4" * 40, reserve0=0, reserve1=0)
    found = _one(_strategy().on_block(_context(CHEAP_WETH, foreign, empty)))
    assert [leg.pool for leg in found.route.legs] == [V2_POOL, V3_POOL_500]


def _profit_of(found: OpportunityFound) -> int:
    return found.expected_out - found.size_hint
