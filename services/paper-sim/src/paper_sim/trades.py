"""The life of a paper trade: a pure state machine whose steps carry the facts to tell, as a live executor tells them.

``planned, submitted, pending`` at acceptance; ``mined`` in a block, also when it reverted there; then ``confirmed`` or
``failed`` some blocks later, or ``reorged, pending`` when the block was replaced; ``expired`` when no block took it in
time, ``failed`` when it could not be paid for. Paper skips ``signed`` because no key exists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dexlane.domain.simulation import OpenIntent, Outcome, Result
from dexlane.events.base import Event
from dexlane.events.execution import (
    FailureReason,
    FillConfirmed,
    FillIncluded,
    FillReversed,
    IntentCreated,
    IntentFailed,
    PaperScored,
    TxChanged,
    TxState,
)
from dexlane.values.base import Value
from dexlane.values.chains import BlockRef


class Status(StrEnum):
    """Where a trade stands."""

    WAITING = "waiting"
    IN_BLOCK = "in_block"
    CLOSED = "closed"


class PaperTrade(Value):
    """An accepted intent and what became of it so far."""

    intent: IntentCreated
    ordinal: int
    eligible_from: int
    status: Status = Status.WAITING
    sequence: int = 0
    outcome_version: int = 0
    outcome: Outcome | None = None
    scored: bool = False

    @property
    def waiting(self) -> OpenIntent:
        """The trade as the simulation sees it."""
        return OpenIntent(self.intent, self.ordinal, self.eligible_from)

    @property
    def block(self) -> BlockRef | None:
        """The block it is in."""
        return self.outcome.block if self.outcome is not None else None


class Moment(StrEnum):
    """What a step of a trade is called."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    ENDED = "ended"
    CONFIRMED = "confirmed"
    REORGED = "reorged"
    SCORED = "scored"


@dataclass(frozen=True, slots=True)
class Step:
    """A trade as it now is, what happened to it, and the facts that say so."""

    moment: Moment
    trade: PaperTrade
    facts: tuple[Event, ...]


def accepted(intent: IntentCreated, *, ordinal: int, eligible_from: int, now_ns: int) -> Step:
    """The intent is on its way into a block."""
    trade = PaperTrade(intent=intent, ordinal=ordinal, eligible_from=eligible_from)
    teller = _Teller(Moment.ACCEPTED, trade, now_ns // 1_000_000)
    elapsed_ms = max(0, now_ns - intent.received_at_ns) / 1e6
    teller.tell_tx(TxState.PLANNED)
    teller.tell_tx(TxState.SUBMITTED, elapsed_ms=elapsed_ms)
    teller.tell_tx(TxState.PENDING)
    return teller.step()


def refused(intent: IntentCreated, *, ordinal: int, reason: FailureReason, detail: str, now_ms: int) -> Step:
    """The intent never got as far as a block."""
    teller = _Teller(Moment.REFUSED, PaperTrade(intent=intent, ordinal=ordinal, eligible_from=0), now_ms)
    outcome = Outcome(result=Result.REFUSED, reason=reason, detail=detail)
    teller.tell_tx(TxState.PLANNED)
    return teller.fail(outcome, TxState.FAILED, Status.CLOSED)


def ended(trade: PaperTrade, outcome: Outcome, now_ms: int) -> Step:
    """A block took the trade, or the last block that could have has passed."""
    teller = _Teller(Moment.ENDED, trade, now_ms)
    if outcome.result is Result.FILLED:
        teller.become(status=Status.IN_BLOCK, outcome=outcome, outcome_version=trade.outcome_version + 1)
        teller.tell_tx(TxState.MINED, block=outcome.block)
        teller.tell_fill(FillIncluded)
        return teller.step()
    if outcome.result is Result.REVERTED:
        return teller.fail(outcome, TxState.MINED, Status.IN_BLOCK)
    state = TxState.EXPIRED if outcome.result is Result.EXPIRED else TxState.FAILED
    return teller.fail(outcome, state, Status.CLOSED)


def confirmed(trade: PaperTrade, now_ms: int) -> Step:
    """Enough blocks are on top: the outcome is final."""
    outcome = _outcome(trade)
    teller = _Teller(Moment.CONFIRMED, trade, now_ms)
    if outcome.result is Result.REVERTED:
        return teller.fail(outcome, TxState.FAILED, Status.CLOSED)
    teller.become(status=Status.CLOSED, outcome_version=trade.outcome_version + 1)
    teller.tell_tx(TxState.CONFIRMED, block=outcome.block)
    teller.tell_fill(FillConfirmed)
    return teller.step()


def reorged(trade: PaperTrade, now_ms: int) -> Step:
    """The block of the trade was replaced: it waits for another one, under a higher outcome version."""
    block = _outcome(trade).block
    reason = f"block {block.number if block else '?'} was replaced"
    teller = _Teller(Moment.REORGED, trade, now_ms)
    teller.become(status=Status.WAITING, outcome=None, outcome_version=trade.outcome_version + 1)
    teller.tell_reversal(reason, block)
    teller.tell_tx(TxState.REORGED, block=block, reason=reason)
    teller.tell_tx(TxState.PENDING)
    return teller.step()


def scored(trade: PaperTrade, block: BlockRef, score: tuple[int, int], now_ms: int) -> Step:
    """The fill was compared with what the chain shows; once in a trade's life."""
    real_out, difference_bps = score
    fact = PaperScored(
        id=PaperScored.make_id(trade.intent.id),
        chain_id=trade.intent.chain_id,
        occurred_at_ms=now_ms,
        intent_id=trade.intent.id,
        book_id=trade.intent.book_id,
        filled_out=_outcome(trade).amount_out,
        next_block_out=real_out,
        difference_bps=difference_bps,
        block=block,
    )
    return Step(Moment.SCORED, trade.model_copy(update={"scored": True}), (fact,))


def _outcome(trade: PaperTrade) -> Outcome:
    if trade.outcome is None:
        raise ValueError(f"trade {trade.intent.id} has no outcome yet")
    return trade.outcome


@dataclass(slots=True)
class _Teller:
    """Collects the facts of one step while the trade changes."""

    moment: Moment
    trade: PaperTrade
    now_ms: int
    facts: list[Event] = field(default_factory=list)

    def step(self) -> Step:
        return Step(self.moment, self.trade, tuple(self.facts))

    def become(self, **changes: object) -> None:
        self.trade = self.trade.model_copy(update=changes)

    def tell_tx(self, state: TxState, **details: Any) -> None:
        sequence = self.trade.sequence + 1
        self.become(sequence=sequence)
        plan = self.trade.intent.plan
        self.facts.append(
            TxChanged(
                id=TxChanged.make_id(self.trade.intent.id, sequence),
                **self._common(),
                state=state,
                sequence=sequence,
                attempt=1,
                fee_cap=None if plan is None else plan.fee_cap,
                **details,
            )
        )

    def tell_fill(self, kind: type[FillIncluded] | type[FillConfirmed]) -> None:
        intent, outcome, version = self.trade.intent, _outcome(self.trade), self.trade.outcome_version
        self.facts.append(
            kind(
                id=kind.make_id(intent.id, version),
                **self._common(),
                outcome_version=version,
                fee_paid_wei=outcome.fee_paid_wei,
                gas_used=outcome.gas_used,
                block=outcome.block,
                quote=intent.quote,
                deltas=outcome.deltas,
                quoted_out=0 if intent.plan is None else intent.plan.quoted_out,
                price_impact_bps=outcome.price_impact_bps,
            )
        )

    def fail(self, outcome: Outcome, state: TxState, status: Status) -> Step:
        self.tell_tx(state, block=outcome.block, reason=outcome.detail)
        version = self.trade.outcome_version + 1
        self.become(status=status, outcome=outcome, outcome_version=version)
        self.facts.append(
            IntentFailed(
                id=IntentFailed.make_id(self.trade.intent.id, version),
                **self._common(),
                outcome_version=version,
                fee_paid_wei=outcome.fee_paid_wei,
                gas_used=outcome.gas_used,
                block=outcome.block,
                reason=outcome.reason or FailureReason.REVERTED,
                detail=outcome.detail,
                final=status is Status.CLOSED,
            )
        )
        return self.step()

    def tell_reversal(self, reason: str, block: BlockRef | None) -> None:
        version = self.trade.outcome_version
        self.facts.append(
            FillReversed(
                id=FillReversed.make_id(self.trade.intent.id, version),
                **self._common(),
                outcome_version=version,
                fee_paid_wei=0,
                block=block,
                reason=reason,
            )
        )

    def _common(self) -> dict[str, Any]:
        intent = self.trade.intent
        return {
            "chain_id": intent.chain_id,
            "occurred_at_ms": self.now_ms,
            "intent_id": intent.id,
            "book_id": intent.book_id,
            "mode": intent.mode,
            "lane": intent.lane,
            "account": intent.account,
            "purpose": intent.purpose,
            "strategy": intent.strategy,
        }
