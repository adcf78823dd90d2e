"""Intents, transactions, fills, positions and exits."""

from __future__ import annotations

from typing import Any

from dexlane.domain.amm.quoting import quote_route
from dexlane.events.confirmations import ConfirmationGiven, ConfirmationRequested
from dexlane.events.execution import (
    AccountOpened,
    FillConfirmed,
    FillIncluded,
    FillReversed,
    IntentCreated,
    IntentFailed,
    Plan,
    Purpose,
    TxChanged,
    TxState,
)
from dexlane.events.portfolio import (
    FILLS_TOLD,
    ExitReason,
    ExitTriggered,
    ExposureChanged,
    ExposurePart,
    FinalFill,
    PositionChanged,
    TradeResults,
)
from dexlane.testing.builders.decisions import a_verdict, an_entry_opportunity
from dexlane.testing.builders.market import a_fee_cap
from dexlane.testing.builders.pools import (
    CHAIN_ID,
    NOW_MS,
    USDC,
    V2_POOL,
    WETH,
    a_block_ref,
    a_hash,
    a_pool_v2,
    a_route,
    an_address,
)
from dexlane.values.base import digest
from dexlane.values.books import Lane, Mode
from dexlane.values.chains import NATIVE
from dexlane.values.tokens import TokenDelta

BOOK_ID = "paper-one"
ENTRY_IN = 1_000 * 10**6
"""What the default entry pays, in USDC units."""
ENTRY_OUT = quote_route({V2_POOL: a_pool_v2()}, a_route(), ENTRY_IN).amount_out
"""What the default entry receives, in wei of WETH."""


def an_account(book_id: str = BOOK_ID, lane: Lane = Lane.FAST) -> str:
    """The account of a built book in one lane."""
    return an_address(f"account {book_id} {lane}")


def a_plan(**fields: Any) -> Plan:
    """Buy WETH for 1,000 USDC in the V2 pool with 50 bps of slippage tolerance."""
    quoted = fields.get("quoted_out", ENTRY_OUT)
    defaults: dict[str, Any] = {
        "route": a_route(),
        "amount_in": ENTRY_IN,
        "quoted_out": quoted,
        "minimum_out": quoted * 9_950 // 10_000,
        "gas_limit": 200_000,
        "fee_cap": a_fee_cap(),
        "deadline_block": 102,
        "deadline_s": NOW_MS // 1_000 + 24,
        "pool_digest": "0" * 32,
    }
    return Plan(**(defaults | fields))


def an_intent(**fields: Any) -> IntentCreated:
    """A paper entry of the default book in the fast lane, with its verdict."""
    verdict = fields.get("verdict", a_verdict(an_entry_opportunity()))
    book_id, lane = fields.get("book_id", BOOK_ID), fields.get("lane", Lane.FAST)
    purpose = fields.get("purpose", Purpose.ENTRY)
    cause = verdict or fields.get("exit")
    defaults: dict[str, Any] = {
        "id": IntentCreated.make_id(book_id, cause.id if cause else "allowance", purpose),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "book_id": book_id,
        "mode": Mode.PAPER,
        "lane": lane,
        "account": an_account(book_id, lane),
        "quote": USDC,
        "purpose": purpose,
        "strategy": "momentum",
        "block": a_block_ref(),
        "plan": None if purpose is Purpose.ALLOWANCE else a_plan(),
        "verdict": verdict,
        "received_at_ns": NOW_MS * 10**6,
    }
    return IntentCreated(**(defaults | fields))


def an_exit_intent(trigger: ExitTriggered | None = None, **fields: Any) -> IntentCreated:
    """The intent that sells what an exit names."""
    trigger = trigger or an_exit()
    quoted = fields.pop("quoted_out", 990 * 10**6)
    defaults: dict[str, Any] = {
        "verdict": None,
        "exit": trigger,
        "purpose": Purpose.EXIT,
        "book_id": trigger.book_id,
        "lane": trigger.lane,
        "mode": trigger.mode,
        "account": trigger.account,
        "plan": a_plan(route=a_route(token_in=trigger.token.address), amount_in=trigger.quantity, quoted_out=quoted),
    }
    return an_intent(**(defaults | fields))


def _of_intent(intent: IntentCreated) -> dict[str, Any]:
    return {
        "chain_id": intent.chain_id,
        "occurred_at_ms": NOW_MS + 1_000,
        "intent_id": intent.id,
        "book_id": intent.book_id,
        "mode": intent.mode,
        "lane": intent.lane,
        "account": intent.account,
        "purpose": intent.purpose,
        "strategy": intent.strategy,
    }


def a_tx(state: TxState = TxState.SUBMITTED, intent: IntentCreated | None = None, **fields: Any) -> TxChanged:
    """A step in the life of an intent's transaction."""
    intent, sequence = intent or an_intent(), fields.get("sequence", 3)
    defaults = _of_intent(intent) | {
        "id": TxChanged.make_id(intent.id, sequence),
        "state": state,
        "sequence": sequence,
        "attempt": 1,
        "nonce": 0,
        "tx_hash": a_hash(f"transaction of {intent.id}"),
        "fee_cap": a_fee_cap(),
    }
    return TxChanged(**(defaults | fields))


def _fill_fields(intent: IntentCreated) -> dict[str, Any]:
    plan = intent.plan or a_plan()
    return _of_intent(intent) | {
        "quote": intent.quote,
        "fee_paid_wei": 105_000 * 11 * 10**9,
        "gas_used": 105_000,
        "tx_hash": a_hash(f"transaction of {intent.id}"),
        "block": a_block_ref(101),
        "deltas": (
            TokenDelta(token=plan.route.token_in, amount=-plan.amount_in),
            TokenDelta(token=plan.route.token_out, amount=plan.quoted_out),
        ),
        "quoted_out": plan.quoted_out,
    }


def a_fill(intent: IntentCreated | None = None, **fields: Any) -> FillIncluded:
    """The intent's trade in block 101, exactly as planned."""
    intent, version = intent or an_intent(), fields.get("outcome_version", 1)
    defaults = {"id": FillIncluded.make_id(intent.id, version), "outcome_version": version}
    return FillIncluded(**(_fill_fields(intent) | defaults | fields))


def a_confirmed_fill(intent: IntentCreated | None = None, **fields: Any) -> FillConfirmed:
    """The same trade, final, as version 2."""
    intent, version = intent or an_intent(), fields.get("outcome_version", 2)
    defaults = {"id": FillConfirmed.make_id(intent.id, version), "outcome_version": version}
    return FillConfirmed(**(_fill_fields(intent) | defaults | fields))


def a_reversed_fill(intent: IntentCreated | None = None, **fields: Any) -> FillReversed:
    """The fill of version 1 taken back by a reorganisation, as version 2."""
    intent, version = intent or an_intent(), fields.get("outcome_version", 2)
    defaults = _of_intent(intent) | {
        "id": FillReversed.make_id(intent.id, version),
        "outcome_version": version,
        "fee_paid_wei": 0,
        "reason": "block 101 was replaced",
    }
    return FillReversed(**(defaults | fields))


def a_failure(intent: IntentCreated | None = None, **fields: Any) -> IntentFailed:
    """The intent's transaction reverted and paid for its gas."""
    intent, version = intent or an_intent(), fields.get("outcome_version", 1)
    defaults = _of_intent(intent) | {
        "id": IntentFailed.make_id(intent.id, version),
        "outcome_version": version,
        "fee_paid_wei": 50_000 * 11 * 10**9,
        "gas_used": 50_000,
        "tx_hash": a_hash(f"transaction of {intent.id}"),
        "block": a_block_ref(101),
        "reason": "reverted",
    }
    return IntentFailed(**(defaults | fields))


def an_opened_account(**fields: Any) -> AccountOpened:
    """20,000 USDC and 1 ETH in the fast lane of the default book."""
    book_id, lane = fields.get("book_id", BOOK_ID), fields.get("lane", Lane.FAST)
    account = fields.get("account", an_account(book_id, lane))
    defaults: dict[str, Any] = {
        "id": AccountOpened.make_id(book_id, account),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "book_id": book_id,
        "mode": Mode.PAPER,
        "lane": lane,
        "account": account,
        "quote": USDC,
        "block": a_block_ref(),
        "balances": (
            TokenDelta(token=USDC.address, amount=20_000 * 10**6),
            TokenDelta(token=NATIVE, amount=10**18),
        ),
    }
    return AccountOpened(**(defaults | fields))


def a_position(**fields: Any) -> PositionChanged:
    """The position that the default entry opened."""
    book_id, lane = fields.get("book_id", BOOK_ID), fields.get("lane", Lane.FAST)
    account, token = fields.get("account", an_account(book_id, lane)), fields.get("token", WETH)
    version = fields.get("position_version", 1)
    defaults: dict[str, Any] = {
        "id": PositionChanged.make_id(book_id, account, token.address, version),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "book_id": book_id,
        "mode": Mode.PAPER,
        "lane": lane,
        "account": account,
        "token": token,
        "quote": USDC,
        "position_version": version,
        "quantity": ENTRY_OUT,
        "cost": ENTRY_IN,
        "realised": 0,
        "strategy": "momentum",
        "opened_block": 101,
        "block": a_block_ref(101),
    }
    return PositionChanged(**(defaults | fields))


def an_exposure(**fields: Any) -> ExposureChanged:
    """Nothing at work, 20,000 USDC of equity, 1 ETH for gas. What is at work lies in a token of its own."""
    at_work = fields.get("at_work", 0)
    book_id, lane = fields.get("book_id", BOOK_ID), fields.get("lane", Lane.FAST)
    version = fields.get("exposure_version", 1)
    defaults: dict[str, Any] = {
        "id": ExposureChanged.make_id(book_id, lane, version),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "book_id": book_id,
        "lane": lane,
        "quote": USDC,
        "exposure_version": version,
        "at_work": 0,
        "open_positions": 0,
        "realised_today": 0,
        "realised_total": 0,
        "fees_paid_wei": 0,
        "equity": 20_000 * 10**6,
        "native_balance_wei": 10**18,
        "block": a_block_ref(),
        "parts": (an_exposure_part(cost=at_work),) if at_work else (),
        "results": TradeResults(trades=0, good=0),
    }
    return ExposureChanged(**(defaults | fields))


def all_booked(block: int) -> TradeResults:
    """What portfolio says that has booked every fill up to a block: as many as it can name are in that block."""
    named = (FinalFill(intent_id=digest("fill", number), version=1, block=block) for number in range(FILLS_TOLD))
    return TradeResults(trades=FILLS_TOLD, good=0, fills=tuple(named))


def a_confirmation_request(**fields: Any) -> ConfirmationRequested:
    """The default entry of the default book waits for a person until block 102."""
    book_id = fields.get("book_id", BOOK_ID)
    verdict = fields.get("verdict", a_verdict(an_entry_opportunity()))
    defaults: dict[str, Any] = {
        "id": ConfirmationRequested.make_id(book_id, verdict.id),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "book_id": book_id,
        "mode": Mode.PAPER,
        "lane": Lane.FAST,
        "quote": USDC,
        "verdict": verdict,
        "plan": a_plan(),
        "reasons": ("it is among the first 10 trades of the book, which has made 0",),
        "deadline_block": verdict.opportunity.deadline_block,
        "block": a_block_ref(),
    }
    return ConfirmationRequested(**(defaults | fields))


def a_confirmation(request: ConfirmationRequested | None = None, **fields: Any) -> ConfirmationGiven:
    """A person confirmed the default request as it was shown."""
    request = request or a_confirmation_request()
    defaults: dict[str, Any] = {
        "id": ConfirmationGiven.make_id(request.id),
        "chain_id": request.chain_id,
        "occurred_at_ms": NOW_MS + 1_000,
        "request_id": request.id,
        "book_id": request.book_id,
        "mode": request.mode,
        "lane": request.lane,
        "verdict": request.verdict,
        "max_amount_in": request.plan.amount_in,
        "reason": "looked at it",
    }
    return ConfirmationGiven(**(defaults | fields))


def an_exposure_part(**fields: Any) -> ExposurePart:
    """1,000 USDC in a token of which nothing else is traded, worth what they cost."""
    cost = fields.get("cost", ENTRY_IN)
    defaults: dict[str, Any] = {
        "token": an_address("a token held"),
        "strategy": "momentum",
        "cost": cost,
        "pool": an_address("a pool of the token held"),
        "worth": cost,
        "newest_block": 90,
    }
    return ExposurePart(**(defaults | fields))


def an_exit(**fields: Any) -> ExitTriggered:
    """The stop loss of the position that the default entry opened."""
    book_id, lane = fields.get("book_id", BOOK_ID), fields.get("lane", Lane.FAST)
    account, token = fields.get("account", an_account(book_id, lane)), fields.get("token", WETH)
    reason = fields.get("reason", ExitReason.STOP_LOSS)
    defaults: dict[str, Any] = {
        "id": ExitTriggered.make_id(book_id, account, token.address, 1, reason),
        "chain_id": CHAIN_ID,
        "occurred_at_ms": NOW_MS,
        "book_id": book_id,
        "mode": Mode.PAPER,
        "lane": lane,
        "account": account,
        "token": token,
        "quote": USDC,
        "quantity": ENTRY_OUT,
        "reason": reason,
        "detail": "the price fell 300 bps below the average entry",
        "strategy": "momentum",
        "block": a_block_ref(),
        "received_at_ns": NOW_MS * 10**6,
    }
    return ExitTriggered(**(defaults | fields))
