"""Opportunities and verdicts, books and trading status."""

from __future__ import annotations

from typing import Any

from dexlane.events.breakers import BreakerChanged, BreakerKind, BreakerPhase
from dexlane.events.control import BookChanged, Status, TradingStatus
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Category, Check, RiskFactor, VerdictApproved, VerdictFacts, VerdictRejected
from dexlane.testing.builders.pools import CHAIN_ID, NOW_MS, USDC, a_block_ref, a_gap_route, a_route, an_address
from dexlane.values.books import Book, ExitRules, Lane, LaneLimits, Mode, Profile
from dexlane.values.controls import USUAL_PAPER_CONTROLS, Controls

NO_CONTROLS = Controls(max_token_bps=None, max_pool_bps=None, duplicate_blocks=0, collar_bps=None, max_heat_bps=None)
"""None stands between a decision and its trade."""


def an_opportunity(**fields: Any) -> OpportunityFound:
    """A price gap of 50 bps on 10,000 USDC, found at block 100."""
    strategy, version = fields.get("strategy", "price_gap"), fields.get("strategy_version", 1)
    block, route = fields.get("block", a_block_ref()), fields.get("route", a_gap_route())
    size, edge_bps = fields.get("size_hint", 10_000 * 10**6), fields.get("edge_bps", 50)
    defaults: dict[str, Any] = {
        "id": OpportunityFound.make_id(strategy, version, block.hash, route, fields.get("addressee")),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "strategy": strategy,
        "strategy_version": version,
        "block": block,
        "deadline_block": block.number + 2,
        "route": route,
        "size_hint": size,
        "edge_bps": edge_bps,
        "expected_out": size * (10_000 + edge_bps) // 10_000,
        "signals": {"gap": "the second pool pays 50 bps more after fees"},
        "received_at_ns": NOW_MS * 10**6,
    }
    return OpportunityFound(**(defaults | fields))


def an_entry_opportunity(**fields: Any) -> OpportunityFound:
    """A momentum entry: 1,000 USDC into WETH through the V2 pool."""
    defaults: dict[str, Any] = {
        "strategy": "momentum",
        "route": a_route(),
        "size_hint": 1_000 * 10**6,
        "edge_bps": 40,
        "expected_out": 498_475_151_013_721_965,
        "signals": {"breakout": "the price rose 80 bps over 20 blocks"},
    }
    return an_opportunity(**(defaults | fields))


def risk_factors(score: int = 20) -> tuple[RiskFactor, ...]:
    """All five categories with the same score and weight."""
    common: dict[str, Any] = {"score": score, "weight_bps": 2_000, "evidence_block": 100}
    return tuple(RiskFactor(category=category, reasons=("as assumed",), **common) for category in Category)


def verdict_facts(**fields: Any) -> VerdictFacts:
    """A deep market of known issuers: 10 million USDC within two per cent, 5 bps of price impact."""
    defaults: dict[str, Any] = {
        "thinnest_depth": 10**13,
        "depth_token": USDC.address,
        "price_impact_bps": 5,
        "unlisted_tokens": 0,
    }
    return VerdictFacts(**(defaults | fields))


def a_verdict(opportunity: OpportunityFound | None = None, **fields: Any) -> VerdictApproved:
    """An approval in the fast lane with risk score 20, after every check."""
    opportunity = opportunity or an_opportunity()
    defaults: dict[str, Any] = {
        "id": VerdictApproved.make_id(opportunity.id),
        "chain_id": opportunity.chain_id,
        "occurred_at_ms": opportunity.occurred_at_ms,
        "opportunity": opportunity,
        "risk_score": 20,
        "confidence_bps": 9_000,
        "factors": risk_factors(),
        "checks": tuple(Check),
        "facts": verdict_facts(),
        "lane": Lane.FAST,
    }
    return VerdictApproved(**(defaults | fields))


def a_rejection(opportunity: OpportunityFound | None = None, **fields: Any) -> VerdictRejected:
    """A rejection by one veto."""
    opportunity = opportunity or an_opportunity()
    defaults: dict[str, Any] = {
        "id": VerdictRejected.make_id(opportunity.id),
        "chain_id": opportunity.chain_id,
        "occurred_at_ms": opportunity.occurred_at_ms,
        "opportunity": opportunity,
        "risk_score": 90,
        "confidence_bps": 9_000,
        "factors": risk_factors(90),
        "vetoes": ("the fee quote is stale",),
    }
    return VerdictRejected(**(defaults | fields))


def lane_limits(**fields: Any) -> LaneLimits:
    """20,000 USDC at work, 10,000 a trade, 500 loss a day."""
    defaults: dict[str, Any] = {
        "capital": 20_000 * 10**6,
        "max_trade": 10_000 * 10**6,
        "max_daily_loss": 500 * 10**6,
        "max_open_positions": 5,
        "max_orders_per_minute": 30,
    }
    return LaneLimits(**(defaults | fields))


def a_book(**fields: Any) -> Book:
    """A moderate paper book of level 5 with both lanes. A live one has the usual controls of a paper book."""
    book_id = fields.get("id", "paper-one")
    defaults: dict[str, Any] = {
        "id": book_id,
        "chain_id": CHAIN_ID,
        "mode": Mode.PAPER,
        "level": 5,
        "profile": Profile.MODERATE,
        "quote": USDC,
        "strategies": ("price_gap", "momentum"),
        "accounts": {lane: an_address(f"account {book_id} {lane}") for lane in Lane},
        "limits": {lane: lane_limits() for lane in Lane},
        "exits": ExitRules(stop_loss_bps=300, take_profit_bps=600, max_age_s=3_600),
        "slippage_tolerance_bps": 50,
        "gas_reserve_wei": 10**17,
        "controls": USUAL_PAPER_CONTROLS if fields.get("mode") == Mode.LIVE else None,
    }
    return Book(**(defaults | fields))


def a_book_changed(book: Book | None = None, **fields: Any) -> BookChanged:
    """The first version of a book."""
    book, version = book or a_book(), fields.get("book_version", 1)
    defaults: dict[str, Any] = {
        "id": BookChanged.make_id(book.id, version),
        "chain_id": book.chain_id,
        "occurred_at_ms": NOW_MS,
        "book": book,
        "book_version": version,
    }
    return BookChanged(**(defaults | fields))


def a_status(status: Status = Status.HALTED, source: str = "operator", **fields: Any) -> TradingStatus:
    """One source's word on trading."""
    version = fields.get("status_version", 1)
    defaults: dict[str, Any] = {
        "id": TradingStatus.make_id(CHAIN_ID, source, version),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "source": source,
        "status": status,
        "status_version": version,
        "reason": "a test says so",
    }
    return TradingStatus(**(defaults | fields))


def losses_counted(**fields: Any) -> BreakerChanged:
    """Portfolio's breaker of live losses, closed and never stale: without it nothing live is begun."""
    kept: dict[str, Any] = {"source": "breaker-losses", "service": "portfolio", "kind": BreakerKind.LOSSES}
    return a_breaker(**(kept | {"renewed_within_ms": 10**12} | fields))


def a_breaker(phase: BreakerPhase = BreakerPhase.CLOSED, **fields: Any) -> BreakerChanged:
    """What a breaker says in this phase."""
    source, version = fields.get("source", "breaker-transaction-fast"), fields.get("breaker_version", 1)
    defaults: dict[str, Any] = {
        "id": BreakerChanged.make_id(CHAIN_ID, source, version),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "source": source,
        "service": "fast-executor",
        "kind": BreakerKind.TRANSACTION,
        "phase": phase,
        "status": Status.REDUCING if phase is BreakerPhase.OPEN else Status.ACTIVE,
        "breaker_version": version,
        "reason": "a test says so",
        "opened_at_ms": None if phase is BreakerPhase.CLOSED else NOW_MS,
        "next_probe_at_ms": NOW_MS + 300_000 if phase is BreakerPhase.OPEN else None,
        "round": int(phase is BreakerPhase.HALF_OPEN),
        "probes": 1,
    }
    return BreakerChanged(**(defaults | fields))
