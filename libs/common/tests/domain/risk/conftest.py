"""A market of two pools and complete, fresh, harmless evidence, from which each test takes something away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

import pytest

from dexlane.domain.risk.assessment import Assessment, assess
from dexlane.domain.risk.compliance import Asset, AssetFlag, ComplianceRules, check_tokens
from dexlane.domain.risk.evidence import (
    CodeFacts,
    Evidence,
    Flag,
    Impact,
    PoolDepth,
    Seen,
    TokenFacts,
    TrialFacts,
    Volatility,
)
from dexlane.domain.risk.factors import RiskLimits, pools_of, tokens_of
from dexlane.domain.risk.sanctions import day_of
from dexlane.events.opportunity import OpportunityFound
from dexlane.runtime.compliance_files import built_in_sanctions
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Protocol
from dexlane.values.routes import Leg, Route

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
UNKNOWN = "0x" + "7" * 40
POOL_A, POOL_B = "0x" + "a" * 40, "0x" + "b" * 40
BLOCK = 100
NOW_MS = 1_782_400_000_000
"""2026-06-25, the day of the built-in lists."""
CODE = "0x" + "c" * 64
RULES = ComplianceRules(
    reviewed=date(2026, 6, 25),
    jurisdictions=("EU",),
    assets=tuple(
        Asset(chain_id=1, address=token, symbol="T", flags=(AssetFlag.PLAIN,), source="a test")
        for token in (USDC, WETH, UNKNOWN)
    ),
)


def _leg(pool: str, token_in: str, token_out: str) -> Leg:
    return Leg(pool=pool, protocol=Protocol.UNISWAP_V3, fee_pips=500, token_in=token_in, token_out=token_out)


ROUTES = {
    "single": Route(legs=(_leg(POOL_A, USDC, WETH),)),
    "cycle": Route(legs=(_leg(POOL_A, USDC, WETH), _leg(POOL_B, WETH, USDC))),
    "two_pools": Route(legs=(_leg(POOL_A, USDC, WETH), _leg(POOL_B, WETH, UNKNOWN))),
    "unknown_token": Route(legs=(_leg(POOL_A, USDC, UNKNOWN),)),
}


@dataclass(frozen=True)
class Case:
    """An opportunity, its evidence and the limits; ``but`` gives the same case with other evidence."""

    opportunity: OpportunityFound
    evidence: Evidence
    limits: RiskLimits
    now_block: int = BLOCK

    def but(self, **evidence: object) -> Case:
        """The same with some evidence replaced."""
        return replace(self, evidence=replace(self.evidence, **evidence))  # type: ignore[arg-type]

    def with_depth(self, side0: int, side1: int) -> Case:
        """Every pool as deep as this."""
        seen = Seen(PoolDepth(side0, side1), BLOCK, NOW_MS)
        return self.but(depths=dict.fromkeys(self.evidence.depths, seen))

    def with_volatility(self, mean: int, peak: int, samples: int = 32) -> Case:
        """Every pool as restless as this."""
        seen = Seen(Volatility(mean, peak, samples), BLOCK, NOW_MS)
        return self.but(volatilities=dict.fromkeys(self.evidence.volatilities, seen))

    def with_impact(self, bps: int, amount_out: int | None = None) -> Case:
        """That price impact, at the expected output unless another is given."""
        out = self.opportunity.expected_out if amount_out is None else amount_out
        return self.but(impact=Seen(Impact(out, bps), BLOCK, NOW_MS))

    def with_facts(self, token: str, **facts: object) -> Case:
        """Other facts about one token."""
        seen = self.evidence.tokens[token]
        changed = Seen(seen.value.model_copy(update=facts), seen.block, seen.at_ms)
        return self.but(tokens={**self.evidence.tokens, token: changed})

    def with_flag(self, token: str, flag: Flag) -> Case:
        """A flag against one token."""
        return self.but(flags={token: frozenset({flag})})

    def assess(self) -> Assessment:
        """The assessment at the case's block."""
        return assess(self.opportunity, self.evidence, self.now_block, self.limits)


def _opportunity(route: Route) -> OpportunityFound:
    block = BlockRef(number=BLOCK, hash="0x" + "1" * 64)
    return OpportunityFound(
        id=OpportunityFound.make_id("price_gap", 1, block.hash, route, None),
        chain_id=1,
        occurred_at_ms=NOW_MS,
        strategy="price_gap",
        strategy_version=1,
        block=block,
        deadline_block=BLOCK + 2,
        route=route,
        size_hint=1_000_000_000,
        edge_bps=20,
        expected_out=1_002_000_000,
        received_at_ns=NOW_MS * 1_000_000,
    )


def make_case(name: str = "single", held: bool = True) -> Case:
    """A case that is approved."""
    route = ROUTES[name]
    depth = Seen(PoolDepth(10**13, 10**13), BLOCK, NOW_MS)
    calm = Seen(Volatility(100, 500, 32), BLOCK, NOW_MS)
    tokens = {
        token: Seen(TokenFacts(address=token, code_hash=CODE, decimals=18, symbol="T"), BLOCK, NOW_MS)
        for token in tokens_of(route)
    }
    untaxed = TrialFacts(address=UNKNOWN, verdict="safe", buy_tax_bps=0, sell_tax_bps=0, transfer_tax_bps=0)
    evidence = Evidence(
        as_of_ms=NOW_MS,
        held=held,
        depths=dict.fromkeys(pools_of(route), depth),
        volatilities=dict.fromkeys(pools_of(route), calm),
        impact=Seen(Impact(1_002_000_000, 5), BLOCK, NOW_MS),
        tokens=tokens,
        sanctions=built_in_sanctions().check((*pools_of(route), *tokens_of(route)), day_of(NOW_MS)),
        compliance=check_tokens(RULES, 1, tokens_of(route), RULES.reviewed),
        codes={UNKNOWN: CodeFacts(score=0, complete=True)} if UNKNOWN in tokens else {},
        trials={UNKNOWN: Seen(untaxed, BLOCK, NOW_MS)} if UNKNOWN in tokens else {},
    )
    return Case(_opportunity(route), evidence, RiskLimits(minimum_depth=1_000_000_000))


@pytest.fixture
def case() -> Case:
    """A single-pool entry with complete evidence."""
    return make_case()


@pytest.fixture
def cases() -> dict[str, Case]:
    """One approved case per kind of route."""
    return {name: make_case(name) for name in ROUTES}


@pytest.fixture
def case_factory() -> Callable[[], Case]:
    """Makes a single-pool case for each example of a property."""
    return make_case
