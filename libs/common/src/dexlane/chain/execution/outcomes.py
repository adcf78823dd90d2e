"""From changes of a slot to events: every change is a ``tx.<state>``, some are an outcome of the intent as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dexlane.chain.answers import Receipt
from dexlane.chain.calldata import native_flow, router_of, token_flows
from dexlane.chain.execution.slots import Slot, SlotRecord, Untold
from dexlane.domain.gas_value import WRAPPED_NATIVE
from dexlane.domain.send_values import Attempt, AttemptKind, Change, Inclusion, Step
from dexlane.events.base import Event
from dexlane.events.execution import (
    FailureReason,
    FillConfirmed,
    FillIncluded,
    FillReversed,
    IntentFailed,
    Plan,
    SendPath,
    TxChanged,
    TxState,
)
from dexlane.values.chains import NATIVE
from dexlane.values.tokens import TokenDelta

ENDS = frozenset({TxState.CONFIRMED, TxState.FAILED, TxState.CANCELLED, TxState.EXPIRED})


@dataclass(frozen=True, slots=True)
class Told:
    """The events of a step and the record that counts them."""

    record: SlotRecord
    events: tuple[Event, ...]


def tell(slot: Slot, step: Step, now_ns: int, receipt: Receipt | None = None) -> Told:
    """All events of one step, numbered after those before it. ``receipt`` is that of the included attempt."""
    record = slot.record.model_copy(update={"state": step.state})
    events: list[Event] = []
    for told in (*slot.untold, *[Untold(change, now_ns) for change in step.changes]):
        change = told.change
        record = record.model_copy(update={"sequence": record.sequence + 1})
        events.append(_tx_changed(slot, change, record, told.at_ns))
        outcome = _outcome(slot, change, record, receipt, now_ns)
        if outcome is not None:
            record = record.model_copy(update={"outcome_version": record.outcome_version + 1})
            events.append(outcome)
    return Told(record, tuple(events))


def _tx_changed(slot: Slot, change: Change, record: SlotRecord, now_ns: int) -> TxChanged:
    attempt = record.state.attempt(change.attempt) if change.attempt else None
    return TxChanged(
        id=TxChanged.make_id(slot.intent.id, record.sequence),
        **_common(slot, now_ns),
        state=change.state,
        sequence=record.sequence,
        attempt=change.attempt,
        nonce=slot.nonce,
        tx_hash=None if attempt is None else attempt.tx_hash,
        fee_cap=None if attempt is None else attempt.fee,
        block=change.block,
        reason=change.reason,
        path=_path(slot, attempt, record),
        elapsed_ms=max(0, now_ns - slot.intent.received_at_ns) / 1e6,
    )


def _path(slot: Slot, attempt: Attempt | None, record: SlotRecord) -> SendPath | None:
    """Which way the attempt went, where there was a choice."""
    if slot.intent.submission is None or attempt is None:
        return None
    return record.state.path if attempt.kind is AttemptKind.TRADE else SendPath.PUBLIC


def _outcome(slot: Slot, change: Change, record: SlotRecord, receipt: Receipt | None, now_ns: int) -> Event | None:
    version = record.outcome_version + 1
    if change.state is TxState.REORGED:
        return FillReversed(
            id=FillReversed.make_id(slot.intent.id, version),
            **_common(slot, now_ns),
            outcome_version=version,
            fee_paid_wei=0,
            tx_hash=record.state.attempt(change.attempt).tx_hash if change.attempt else None,
            block=change.block,
            reason=change.reason or "",
        )
    included = record.state.included
    if change.state is not TxState.MINED and change.state not in ENDS:
        return None
    if receipt is None or included is None:
        raise ValueError(f"the receipt of intent {slot.intent.id} is missing at {change.state}")
    facts = {**_common(slot, now_ns), **_paid(receipt), "outcome_version": version}
    if record.state.is_filled:
        return _fill(slot, change, record, facts, receipt)
    return _failure(slot, change, included, facts)


def _fill(slot: Slot, change: Change, record: SlotRecord, facts: dict[str, Any], receipt: Receipt) -> Event:
    plan = slot.intent.plan
    facts |= {
        "quote": slot.intent.quote,
        "deltas": () if plan is None else deltas_of(receipt, slot.intent.chain_id, slot.intent.account, plan),
        "quoted_out": 0 if plan is None else plan.quoted_out,
        "price_impact_bps": record.price_impact_bps,
    }
    intent_id, version = slot.intent.id, facts["outcome_version"]
    if change.state is TxState.CONFIRMED:
        return FillConfirmed(id=FillConfirmed.make_id(intent_id, version), **facts)
    return FillIncluded(id=FillIncluded.make_id(intent_id, version), **facts)


def _failure(slot: Slot, change: Change, included: Inclusion, facts: dict[str, Any]) -> IntentFailed:
    """A revert, or a cancel in the trade's place: nothing was traded, and gas was paid."""
    state = slot.state
    reverted = state.attempt(included.number).kind is AttemptKind.TRADE
    reason = FailureReason.REVERTED if reverted else state.giving_up or FailureReason.CANCELLED
    detail = "the transaction reverted" if reverted else f"cancelled in its own slot: {reason.value}"
    return IntentFailed(
        id=IntentFailed.make_id(slot.intent.id, facts["outcome_version"]),
        **facts,
        reason=reason,
        detail=detail,
        final=change.state in ENDS,
    )


def deltas_of(receipt: Receipt, chain_id: int, account: str, plan: Plan) -> tuple[TokenDelta, ...]:
    """What the account gained and lost of each token of the plan, by the logs of one transaction; the gas is not in it.

    Any contract that a hostile token calls may log a transfer to us. What the plan does not trade is no part of the
    trade: it would take the cost of what was bought.
    Native coin leaves no log of its own: what the plan's router wrapped came from us, what it unwrapped came to us.
    """
    logs = [{"address": log.address, "topics": log.topics, "data": "0x" + log.data.hex()} for log in receipt.logs]
    flows = token_flows(logs, account)
    traded = {token for path in plan.paths for leg in path.route.legs for token in (leg.token_in, leg.token_out)}
    nets = {token: flows.net(token) for token in traded}
    wrapped_native = WRAPPED_NATIVE.get(chain_id)
    if wrapped_native is not None and (plan.native_in or plan.native_out):
        wrapped, unwrapped = native_flow(logs, wrapped_native, plan.router or router_of(chain_id).router)
        nets[NATIVE] = (unwrapped if plan.native_out else 0) - (wrapped if plan.native_in else 0)
    return tuple(TokenDelta(token=token, amount=nets[token]) for token in sorted(nets) if nets[token])


def _paid(receipt: Receipt) -> dict[str, Any]:
    if receipt.rollup_fee_wei is None:
        raise ValueError(f"what the rollup charged for transaction {receipt.tx_hash} is not known")
    return {
        "fee_paid_wei": receipt.gas_used * receipt.effective_gas_price_wei + receipt.rollup_fee_wei,
        "gas_used": receipt.gas_used,
        "tx_hash": receipt.tx_hash,
        "block": receipt.block,
    }


def _common(slot: Slot, now_ns: int) -> dict[str, Any]:
    intent = slot.intent
    strategy = intent.strategy
    return {
        "chain_id": intent.chain_id,
        "occurred_at_ms": now_ns // 1_000_000,
        "intent_id": intent.id,
        "book_id": intent.book_id,
        "mode": intent.mode,
        "lane": intent.lane,
        "account": intent.account,
        "purpose": intent.purpose,
        "strategy": strategy,
    }
