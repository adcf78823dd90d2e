"""Decisions about the markets of the builders, as services record them."""

from __future__ import annotations

from typing import Any

from dexlane.domain.circumstances import Holdings, Market, PlanningRules, Refused
from dexlane.domain.planning import plan
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.thoughts.calls import Occasion, Thought
from dexlane.domain.thoughts.recording import Recorder
from dexlane.domain.thoughts.visible import seen_market
from dexlane.events.base import Event, FeeCap
from dexlane.events.control import Status
from dexlane.events.fees import FeeTier
from dexlane.testing.builders import (
    NOW_MS,
    a_block_ref,
    a_book,
    a_fee_quote,
    a_pool_v2,
    a_pool_v3,
    a_verdict,
    an_entry_opportunity,
    an_exposure,
)
from dexlane.values.books import Lane
from dexlane.values.pools import Pool

GWEI = 10**9
CAP = FeeCap(max_fee_per_gas_wei=2 * GWEI, max_priority_fee_per_gas_wei=GWEI // 10)


def a_planning_market(*pools: Pool, **fields: Any) -> Market:
    """The V2 and the V3 pool of USDC and WETH at block 100."""
    defaults: dict[str, Any] = {
        "chain_id": 1,
        "block": a_block_ref(),
        "timestamp_s": 1_700_000_000,
        "next_base_fee_wei": GWEI,
        "age_ms": 5,
        "block_time_s": 12,
        "pool_book": PoolBook.of({pool.key.address: pool for pool in pools or (a_pool_v2(), a_pool_v3())}),
        "fee_quote": a_fee_quote(next_base_fee_per_gas_wei=GWEI, tiers=dict.fromkeys(FeeTier, CAP)),
        "status": Status.ACTIVE,
    }
    return Market(**(defaults | fields))


def planning_arguments(**changes: Any) -> dict[str, Any]:
    """What planning is given: an entry that a moderate book of level 5 makes."""
    defaults: dict[str, Any] = {
        "cause": a_verdict(an_entry_opportunity()),
        "book": a_book(),
        "holdings": Holdings(exposure=an_exposure(at_work=0, open_positions=0, realised_today=0)),
        "market": a_planning_market(),
        "rules": PlanningRules(),
    }
    return defaults | changes


def a_thought(overruled: Refused | None = None, **changes: Any) -> Thought:
    """Such a decision, as an executor records it."""
    arguments = planning_arguments(**changes)
    result = plan(**arguments)
    arguments["market"] = seen_market(arguments["cause"], arguments["book"], arguments["market"], arguments["rules"])
    occasion = Occasion(
        service="fast-executor",
        chain_id=1,
        at_ms=NOW_MS,
        code="0123456789abcdef",
        subject_id=arguments["cause"].id,
        book_id=arguments["book"].id,
        lane=Lane.FAST,
        overruled=overruled,
    )
    return Thought("plan", arguments, result, occasion)


def recorded_thoughts(*thoughts: Thought) -> tuple[Event, ...]:
    """What a service publishes about them: documents, then decisions."""
    return Recorder().recorded(thoughts or (a_thought(),), NOW_MS).events
