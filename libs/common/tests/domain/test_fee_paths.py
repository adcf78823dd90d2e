"""Whatever the price of gas does, no trade costs more than its budget, and an exit that can pay is in within three
blocks.

Each seed is one path of fees, and an entry and an exit sent into it. ``make fee-paths`` runs 100,000 of them.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dexlane.domain.circumstances import Holdings, Market, Planned, PlanningRules, Refused
from dexlane.domain.fees import GWEI, fee_parameters, tiers
from dexlane.domain.gas_value import NativePrice
from dexlane.domain.planning import plan
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.send_state import EXIT_BLOCKS
from dexlane.domain.send_values import AttemptKind, SendPolicy
from dexlane.events.control import Status
from dexlane.events.portfolio import ExitReason
from dexlane.testing.builders import (
    USDC,
    a_block_ref,
    a_book,
    a_fee_quote,
    a_pool_v2,
    a_pool_v3,
    a_verdict,
    an_entry_opportunity,
    an_exit,
    an_exposure,
    lane_limits,
)
from dexlane.testing.fee_paths import (
    FULL_PERCENT,
    GAS_LIMIT,
    HISTORY,
    KINDS,
    FeePath,
    PathBlock,
    Voyage,
    drawn_path,
    sail,
)
from dexlane.testing.random_pools import seeded
from dexlane.values.amounts import apply_bps
from dexlane.values.books import Lane

PATHS = int(os.environ.get("DEXLANE_FEE_PATHS", "600"))
GOLDEN = Path(__file__).parent / "golden"
RULES = PlanningRules()
POLICY = SendPolicy(cancel_fee_cap_wei=625 * GWEI)
PARAMS = fee_parameters(1)
BOOK = a_book(level=10, limits={lane: lane_limits(capital=10**13, max_trade=10**12) for lane in Lane})
URGENT = (ExitReason.STOP_LOSS, ExitReason.HALT, ExitReason.TOKEN_FLAGGED)


@cache
def recorded(chain: str) -> tuple[PathBlock, ...]:
    """Recorded blocks: how full they were, and the tenth percentile of the tips they took."""
    with (GOLDEN / f"{chain}_fee_history.csv").open() as rows:
        return tuple(
            PathBlock(
                int(row["base_fee_per_gas"]),
                GAS_LIMIT if (ratio := float(row["gas_used_ratio"])) * 100 >= FULL_PERCENT else int(GAS_LIMIT * ratio),
                int(row["tip_p10"]),
            )
            for row in csv.DictReader(rows)
        )


@cache
def pools() -> PoolBook:
    book = PoolBook()
    for pool in (a_pool_v2(), a_pool_v3()):
        book.put(pool, a_block_ref())
    return book


def market_of(path: FeePath) -> Market:
    base_fee, block = path.next_base_fee_wei(HISTORY - 1), a_block_ref(HISTORY - 1)
    quote = a_fee_quote(block, next_base_fee_per_gas_wei=base_fee, tiers=tiers(path.history(), base_fee, PARAMS))
    return Market(
        chain_id=1,
        block=block,
        timestamp_s=1_700_000_000,
        next_base_fee_wei=base_fee,
        age_ms=5,
        block_time_s=12,
        pool_book=pools(),
        fee_quote=quote,
        status=Status.ACTIVE,
    )


def an_entry(chance: Random) -> Any:
    return a_verdict(
        an_entry_opportunity(
            deadline_block=HISTORY - 1 + chance.randint(1, 25), edge_bps=chance.choice([0, 20, 100, 300])
        )
    )


def decide(cause: Any, market: Market) -> Planned | Refused:
    exposure = an_exposure(at_work=0, open_positions=0, realised_today=0)
    return plan(cause, BOOK, Holdings(exposure=exposure), market, RULES)


def check_cost(voyage: Voyage) -> None:
    for attempt in voyage.attempts:
        assert voyage.most_wei(attempt) <= voyage.budget_wei, attempt
        if attempt.kind is AttemptKind.TRADE:
            assert attempt.fee.max_fee_per_gas_wei <= voyage.planned.max_fee_per_gas_budget_wei
    assert voyage.paid_wei <= voyage.budget_wei


def check_entry(planned: Planned, cause: Any, market: Market) -> None:
    """A budget above the first cap is no more than the edge brings, and no more than half as much again."""
    cap, budget = planned.plan.fee_cap.max_fee_per_gas_wei, planned.max_fee_per_gas_budget_wei
    assert cap <= budget <= max(cap, apply_bps(cap, RULES.entry_fee_budget_bps))
    edge = cause.opportunity.edge_bps
    if edge and budget > cap:
        gain = NativePrice(market.pools, 1, USDC.address).in_wei(apply_bps(planned.plan.amount_in, edge))
        assert gain is not None
        assert budget * planned.plan.gas_limit <= gain


def check_exit(voyage: Voyage, exit_: Any, path: FeePath, market: Market) -> str:
    planned = voyage.planned
    share = RULES.urgent_exit_budget_bps if exit_.reason in URGENT else RULES.exit_budget_bps
    worth = NativePrice(market.pools, 1, USDC.address).in_wei(planned.plan.quoted_out)
    assert worth is not None
    assert voyage.budget_wei <= apply_bps(worth, share)
    allowed = [
        block.base_fee_wei + block.required_tip_wei(planned.plan.gas_limit, POLICY.least_tip_wei)
        <= planned.max_fee_per_gas_budget_wei
        for block in path.blocks[HISTORY : HISTORY + EXIT_BLOCKS]
    ]
    is_in = voyage.included is not None and voyage.included.kind is AttemptKind.TRADE
    in_time = is_in and voyage.blocks_waited <= EXIT_BLOCKS
    if allowed[-1]:
        assert in_time, (path.kind, voyage.attempts)
    if in_time:
        return f"exit in block {voyage.blocks_waited} by attempt {len(voyage.attempts)}"
    return "exit late or out, its budget does not allow more"


def one_path(seed: int) -> Iterator[str]:
    """Send an entry and an exit into the path of a seed; what became of them."""
    chance = seeded(seed)
    kind = KINDS[seed % len(KINDS)]
    path = drawn_path(kind, PARAMS, chance, recorded(("ethereum", "base", "polygon")[seed // len(KINDS) % 3]))
    market = market_of(path)
    entry = an_entry(chance)
    found = decide(entry, market)
    if isinstance(found, Planned):
        check_entry(found, entry, market)
        voyage = sail(path, found, POLICY)
        check_cost(voyage)
        yield f"entry {'in' if voyage.included and voyage.included.kind is AttemptKind.TRADE else 'given up'}"
    else:
        yield f"entry refused: {found.outcome}"
    exit_ = an_exit(quantity=round(10 ** chance.uniform(14, 20)), reason=chance.choice(list(ExitReason)))
    found = decide(exit_, market)
    if isinstance(found, Planned):
        voyage = sail(path, found, POLICY)
        check_cost(voyage)
        yield check_exit(voyage, exit_, path, market)
    else:
        assert found.outcome == "over_exit_budget", found
        yield "exit not worth its gas"


@pytest.mark.long
@pytest.mark.timeout(3_600)  # a hundred thousand paths take minutes
def test_no_path_of_fees_breaks_a_budget_or_keeps_an_exit_that_can_pay() -> None:
    seen = Counter(outcome for seed in range(PATHS) for outcome in one_path(seed))
    print(f"{PATHS} paths: {dict(sorted(seen.items()))}")  # noqa: T201 - the figure of `make fee-paths`
    assert seen["exit in block 1 by attempt 1"] > PATHS / 4
    for block in (2, 3):
        assert seen[f"exit in block {block} by attempt {block}"], "some exits had to raise their fee"
    assert seen["exit late or out, its budget does not allow more"]
    assert seen["exit not worth its gas"]
    assert seen["entry in"]
    assert seen["entry given up"]


@pytest.mark.parametrize("seed", range(3))
def test_a_climb_of_an_eighth_for_twenty_blocks_is_one(seed: int) -> None:
    path = drawn_path("climbing", PARAMS, seeded(seed), ())
    fees = [block.base_fee_wei for block in path.blocks[HISTORY : HISTORY + 21]]
    assert all(later >= before * 9 // 8 for before, later in pairwise(fees))
    assert fees[-1] > 10 * fees[0]
