"""Intents as events: who, what, why, and from which block."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from dexlane.chain.grants import Grant
from dexlane.chain.permit2 import PERMIT2
from dexlane.domain.circumstances import Market, Planned, Refused
from dexlane.events.confirmations import ConfirmationRequested
from dexlane.events.execution import IntentCreated, Purpose
from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import VerdictApproved
from dexlane.values.base import digest
from dexlane.values.books import Book, Lane
from dexlane.values.chains import BlockRef

Cause = VerdictApproved | ExitTriggered


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where and when a record is written. Unix nanoseconds."""

    service: str
    chain_id: int
    lane: Lane
    now_ns: int

    @property
    def now_ms(self) -> int:
        """The same in milliseconds."""
        return self.now_ns // 1_000_000


def trade_intent(cause: Cause, book: Book, planned: Planned, block: BlockRef, stamp: Stamp) -> IntentCreated:
    """The intent to carry a plan out."""
    verdict = cause if isinstance(cause, VerdictApproved) else None
    exit_ = cause if isinstance(cause, ExitTriggered) else None
    return IntentCreated(
        id=IntentCreated.make_id(book.id, cause.id, planned.purpose),
        chain_id=stamp.chain_id,
        occurred_at_ms=stamp.now_ms,
        book_id=book.id,
        mode=book.mode,
        lane=stamp.lane,
        account=book.accounts[stamp.lane],
        quote=book.quote,
        purpose=planned.purpose,
        strategy=planned.strategy,
        block=block,
        plan=planned.plan,
        verdict=verdict,
        exit=exit_,
        received_at_ns=exit_.received_at_ns if verdict is None and exit_ is not None else _found_ns(verdict),
        submission=planned.submission,
        size=planned.size,
    )


def _found_ns(verdict: VerdictApproved | None) -> int:
    return 0 if verdict is None else verdict.opportunity.received_at_ns


def allowance_intent(book: Book, grant: Grant, amount: int, block: BlockRef, stamp: Stamp) -> IntentCreated:
    """The intent to let somebody take up to an amount of a token, or (zero) nothing any more; one per grant and
    block."""
    cause = digest("allowance", *astuple(grant), str(amount), block.hash)
    return IntentCreated(
        id=IntentCreated.make_id(book.id, cause, Purpose.ALLOWANCE),
        chain_id=stamp.chain_id,
        occurred_at_ms=stamp.now_ms,
        book_id=book.id,
        mode=book.mode,
        lane=stamp.lane,
        account=grant.owner,
        quote=book.quote,
        purpose=Purpose.ALLOWANCE,
        strategy="allowance",
        block=block,
        allowance_token=grant.token,
        allowance_amount=amount,
        allowance_spender=None if grant.spender == PERMIT2 else grant.spender,
        allowance_in_permit2=grant.in_permit2,
        received_at_ns=stamp.now_ns,
    )


def needed_first(book: Book, trade: IntentCreated, stamp: Stamp) -> list[IntentCreated]:
    """What a trade's account must have sent just before it: a router that pulls tokens itself is approved for exactly
    this trade."""
    plan = trade.plan
    if plan is None or plan.router is None or plan.native_in:
        return []
    grant = Grant(trade.account, plan.route.token_in, plan.router)
    return [allowance_intent(book, grant, plan.amount_in, trade.block, stamp)]


def asked(cause: Cause, book: Book, refused: Refused, market: Market, stamp: Stamp) -> ConfirmationRequested | None:
    """The question to a person, where the refusal proposes something that one may confirm."""
    if refused.proposal is None or not isinstance(cause, VerdictApproved):
        return None
    return ConfirmationRequested(
        id=ConfirmationRequested.make_id(book.id, cause.id),
        chain_id=stamp.chain_id,
        occurred_at_ms=stamp.now_ms,
        book_id=book.id,
        mode=book.mode,
        lane=stamp.lane,
        quote=book.quote,
        verdict=cause,
        plan=refused.proposal.plan,
        reasons=refused.reasons,
        deadline_block=cause.opportunity.deadline_block,
        block=market.block,
    )
