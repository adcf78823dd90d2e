"""Judging an opportunity from evidence that is already held: no node, no cache, no waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.floor import Spread, spread
from dexlane.domain.pool_table import PoolTable
from dexlane.domain.risk.assessment import assess
from dexlane.domain.risk.evidence import CodeFacts, Evidence, Seen, TokenFacts, TrialFacts
from dexlane.domain.risk.factors import USUAL_LIMITS, pools_of, tokens_of
from dexlane.domain.risk.pool_evidence import PoolEvidence
from dexlane.domain.risk.profiles import beyond_profile
from dexlane.events.opportunity import OpportunityFound
from dexlane.runtime.compliance_files import built_in_rules, built_in_sanctions
from dexlane.testing.builders import (
    CHAIN_ID,
    NOW_MS,
    USDC,
    a_block,
    a_block_ref,
    a_book,
    a_gap_route,
    a_pool_v2,
    a_pool_v3,
    a_route,
    a_token,
    a_verdict,
    an_address,
    an_entry_opportunity,
    an_opportunity,
)
from risk_scorer.tokens import ComplianceDesk

WARM_UP, ROUNDS = 1_000, 20_000
LIMIT_MS = 0.5
POOLS, CHANGES, BLOCKS = 1_000, 5, 400
UNLISTED = a_pool_v2(address=an_address("a pool"), token1=a_token("NEW", address="0x" + "f" * 40))


@dataclass(frozen=True)
class AssessmentsResult:
    """Milliseconds for one opportunity: by the clock, and of the processor alone."""

    clock: Spread
    processor: Spread
    lists: Spread
    profile: Spread
    block: Spread
    """For the pools of one block, which an opportunity found in it waits for."""


def run() -> AssessmentsResult:
    """One pool, a cycle of two, and a token of an unknown issuer, in turn."""
    law = ComplianceDesk(CHAIN_ID, built_in_sanctions(), built_in_rules())
    cases = [_case(opportunity, law) for opportunity in _opportunities()]
    clock: list[float] = []
    processor: list[float] = []
    for number in range(WARM_UP + ROUNDS):
        opportunity, evidence = cases[number % len(cases)]
        before = time.thread_time_ns()
        took = _clocked(lambda o=opportunity, e=evidence: assess(o, e, 100, USUAL_LIMITS))  # type: ignore[misc]
        if number >= WARM_UP:
            processor.append((time.thread_time_ns() - before) / 1e6)
            clock.append(took)
    tokens = [tokens_of(opportunity.route) for opportunity, _ in cases]
    lists = [_clocked(lambda t=t: (law.screened(t, NOW_MS), law.judged(t, NOW_MS))) for t in tokens * 3_000]  # type: ignore[misc]
    verdict, book = a_verdict(), a_book()
    profile = [_clocked(lambda: list(beyond_profile(verdict, book))) for _ in range(9_000)]
    return AssessmentsResult(spread(clock), spread(processor), spread(lists), spread(profile), spread(_blocks()))


def _blocks() -> list[float]:
    """Evidence about ``POOLS`` pools, of which ``CHANGES`` change in each block."""
    pools = PoolTable([a_pool_v2(address=an_address(f"pool {number}")) for number in range(POOLS)])
    addresses, evidence = list(pools), PoolEvidence(USDC.address)
    took: list[float] = []
    for number in range(1, BLOCKS):
        for address in addresses[number % 100 :: POOLS // CHANGES][:CHANGES]:
            pools.put(a_pool_v2(address=address, reserve0=20_000_000 * 10**6 + number))
        block = a_block(number)
        took.append(_clocked(lambda b=block, n=number: evidence.applied(b, pools, n)))  # type: ignore[misc]
    return took[50:]


def show(result: AssessmentsResult) -> None:
    """Print the figures beside what was promised."""
    print(f"assess, from held evidence (p99 at most {LIMIT_MS} ms): {result.clock}")
    print(f"  of the processor alone: {result.processor}")
    print(f"  sanctions and rules looked up for it: {result.lists}")
    print(f"  a block that changes {CHANGES} of {POOLS:,} pools, before it: {result.block}")
    print(f"  thresholds of a profile, when a book plans: {result.profile}")


def _opportunities() -> list[OpportunityFound]:
    return [an_entry_opportunity(), an_opportunity(route=a_gap_route()), an_entry_opportunity(route=a_route(UNLISTED))]


def _case(opportunity: OpportunityFound, law: ComplianceDesk) -> tuple[OpportunityFound, Evidence]:
    """What risk-scorer holds after some blocks."""
    pools = PoolTable([a_pool_v2(), a_pool_v3(), UNLISTED])
    kept = PoolEvidence(USDC.address)
    for number in range(90, 101):
        kept.applied(a_block(number), pools, NOW_MS)
    route = opportunity.route
    addresses, tokens = pools_of(route), tokens_of(route)
    facts = {
        token: Seen(TokenFacts(address=token, code_hash=a_block_ref().hash, decimals=18), 100, NOW_MS)
        for token in tokens
    }
    trials = {
        token: Seen(
            TrialFacts(address=token, verdict="safe", buy_tax_bps=0, sell_tax_bps=100, transfer_tax_bps=0), 100, NOW_MS
        )
        for token in tokens
    }
    depths = {address: kept.depth(pools[address], pools) for address in addresses}
    moves = {address: kept.volatility(address) for address in addresses}
    return opportunity, Evidence(
        as_of_ms=NOW_MS,
        held=True,
        quote_token=USDC.address,
        depths={address: seen for address, seen in depths.items() if seen is not None},
        volatilities={address: seen for address, seen in moves.items() if seen is not None},
        impact=kept.impact(route, opportunity.size_hint, pools),
        tokens=facts,
        codes={token: CodeFacts(score=20, flags=("pausable",), complete=True) for token in tokens},
        sanctions=law.screened((*addresses, *tokens), NOW_MS),
        compliance=law.judged(tokens, NOW_MS),
        trials=trials,
    )


def _clocked(work: Callable[[], object]) -> float:
    before = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - before) / 1e6
