"""Verdicts about the devnet's real pools, made by hand so that a test decides when something is traded."""

from __future__ import annotations

import time

from dexlane.events.execution import FillIncluded, Purpose
from dexlane.events.market import BlockApplied
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Category, RiskFactor, VerdictApproved
from dexlane.testing.stack import Stack, Witness
from dexlane.values.books import Lane
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Protocol
from dexlane.values.routes import Leg, Route

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
POOL = "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"
BOOKS = ("paper-main", "live-devnet")


async def head(stack: Stack) -> BlockRef:
    """The chain's newest block."""
    block = await stack.rpc("eth_getBlockByNumber", "latest", False)
    return BlockRef(number=int(block["number"], 16), hash=block["hash"])


async def a_verdict(
    stack: Stack, witness: Witness, *, lane: Lane = Lane.FAST, blocks_to_live: int = 8, spend: int = 1_000 * 10**6
) -> VerdictApproved:
    """An approval to buy WETH for ``spend`` USDC units in the deepest pool, from the newest block."""
    block = await head(stack)
    tip = await witness.until(BlockApplied, lambda event: event.block.number >= block.number)
    now_ns = time.time_ns()
    route = Route(legs=(Leg(pool=POOL, protocol=Protocol.UNISWAP_V3, fee_pips=500, token_in=USDC, token_out=WETH),))
    opportunity = OpportunityFound(
        id=OpportunityFound.make_id("momentum", 1, block.hash, route, None),
        chain_id=1,
        occurred_at_ms=now_ns // 10**6,
        strategy="momentum",
        strategy_version=1,
        block=block,
        deadline_block=block.number + blocks_to_live,
        route=route,
        size_hint=spend,
        edge_bps=40,
        expected_out=1,
        received_at_ns=now_ns,
    )
    factors = tuple(
        RiskFactor(category=category, score=10, weight_bps=2_000, reasons=("a test",), evidence_block=block.number)
        for category in Category
    )
    verdict = VerdictApproved(
        id=VerdictApproved.make_id(opportunity.id),
        chain_id=1,
        occurred_at_ms=now_ns // 10**6,
        opportunity=opportunity,
        risk_score=10,
        confidence_bps=9_500,
        factors=factors,
        lane=lane,
    )
    return stack.approving().verdict(verdict, tip)


def fills(verdict: VerdictApproved, book_id: str):  # type: ignore[no-untyped-def]
    """Recognises the fill of a verdict's intent in a book."""
    from dexlane.events.execution import IntentCreated

    intent_id = IntentCreated.make_id(book_id, verdict.id, Purpose.ENTRY)
    return lambda event: event.intent_id == intent_id


def gained(fill: FillIncluded, token: str) -> int:
    """What the account gained of a token."""
    return sum(delta.amount for delta in fill.deltas if delta.token == token)
