"""What recording a decision costs: what a live trade waits for, and what follows when its bytes are handed over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from bench.floor import Spread, spread
from dexlane.chain.execution.records import Stamp
from dexlane.chain.execution.thoughts import Considered, Decided, TradeThoughts, is_urgent
from dexlane.domain.circumstances import Market, Planned
from dexlane.domain.trade_quotes import quote_trade
from dexlane.domain.tried import ways
from dexlane.testing.builders import CHAIN_ID, NOW_MS, a_block_ref, a_market, a_pool_v2
from dexlane.testing.random_pools import MarketShape, random_pools, seeded
from dexlane.testing.thinking import a_thought
from dexlane.values.books import Lane

ROUNDS = 2_000
STAMP = Stamp("fast-executor", CHAIN_ID, Lane.FAST, NOW_MS * 10**6)


def run() -> Mapping[str, Spread]:
    """Processor time in milliseconds."""
    thought = a_thought()
    arguments, planned = thought.arguments, thought.result
    if not isinstance(planned, Planned):
        raise TypeError("the decision that is measured trades")
    market = a_market()
    wide = a_market(*random_pools(seeded(1), MarketShape(tokens=1_000, pools=3_000, hubs=3)))
    route = planned.plan.route
    quote = quote_trade(market.pools, [(route, planned.plan.amount_in)], {})
    thoughts = TradeThoughts(arguments["rules"])
    decided = Decided(arguments["book"], planned, Considered(arguments["holdings"], market, planned))

    def before(of: Market = market) -> None:
        kept = replace(of, pool_book=of.pool_book.frozen())
        is_urgent([Decided(arguments["book"], planned, Considered(arguments["holdings"], kept, planned))])
        tuple(ways(quote))

    def after() -> None:
        thoughts.recorded(arguments["cause"], [decided], STAMP).keep()

    def next_block() -> None:
        wide.pool_book.frozen()
        wide.pool_book.put(a_pool_v2(), a_block_ref())

    return {
        "before the hand-over, 2 pools": _measured(before),
        "before the hand-over, 3,000 pools": _measured(lambda: before(wide)),
        "the next block's first change, 3,000 pools": _measured(next_block),
        "the record, after the hand-over": _measured(after),
    }


def _measured(step: Callable[[], None]) -> Spread:
    samples: list[float] = []
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        step()
        samples.append((time.thread_time_ns() - began) / 1e6)
    return spread(samples)


def show(found: Mapping[str, Spread]) -> None:
    """One line for each figure."""
    print(f"recording a decision of one book, processor time, {ROUNDS} rounds (aim before the hand-over: p50 0.05 ms)")
    for what, samples in found.items():
        print(f"  {what:<44} {samples}")
