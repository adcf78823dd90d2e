"""Verdicts about the devnet's deepest pool, made by hand so that a test decides when something is traded."""

from __future__ import annotations

from dataclasses import dataclass

from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Category, Check, RiskFactor, VerdictApproved, VerdictFacts
from dexlane.values.books import Lane
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Protocol
from dexlane.values.routes import Leg, Route

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
POOL = "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"
ROUTE = Route(legs=(Leg(pool=POOL, protocol=Protocol.UNISWAP_V3, fee_pips=500, token_in=USDC, token_out=WETH),))


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """WETH for ``spend`` USDC units, worth doing for so many blocks. One block, strategy and spend make one id."""

    lane: Lane = Lane.FAST
    spend: int = 1_000 * 10**6
    blocks_to_live: int = 8
    edge_bps: int = 40


def approval(block: BlockRef, purchase: Purchase, now_ns: int) -> VerdictApproved:
    """An approval of a purchase, without a seal."""
    opportunity = OpportunityFound(
        id=OpportunityFound.make_id("momentum", purchase.spend, block.hash, ROUTE, None),
        chain_id=1,
        occurred_at_ms=now_ns // 10**6,
        strategy="momentum",
        strategy_version=1,
        block=block,
        deadline_block=block.number + purchase.blocks_to_live,
        route=ROUTE,
        size_hint=purchase.spend,
        edge_bps=purchase.edge_bps,
        expected_out=1,
        received_at_ns=now_ns,
    )
    factors = tuple(
        RiskFactor(category=category, score=10, weight_bps=2_000, reasons=("a test",), evidence_block=block.number)
        for category in Category
    )
    return VerdictApproved(
        id=VerdictApproved.make_id(opportunity.id),
        chain_id=1,
        occurred_at_ms=now_ns // 10**6,
        opportunity=opportunity,
        risk_score=10,
        confidence_bps=9_500,
        factors=factors,
        lane=purchase.lane,
        checks=tuple(Check),
        facts=VerdictFacts(thinnest_depth=10**13, depth_token=USDC, price_impact_bps=1, unlisted_tokens=0),
    )
