"""What an executor decided about a cause for each of its books, on record with everything it was computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from dexlane.chain.execution.fencing import FencedJournal
from dexlane.chain.execution.records import Cause, Stamp
from dexlane.chain.execution.tables import intents
from dexlane.domain.breakers.admission import ProbeRound
from dexlane.domain.circumstances import Holdings, Market, Planned, PlanningRules, Refused
from dexlane.domain.thoughts.calls import Occasion, Thought
from dexlane.domain.thoughts.recording import Recorded, Recorder
from dexlane.domain.thoughts.saying import TRADED
from dexlane.domain.thoughts.visible import seen_market, tokens_about
from dexlane.events.execution import IntentCreated, Purpose
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.code_version import code_version
from dexlane.runtime.journal import Tx
from dexlane.values.books import Book, Mode

MADE_UP = "it was traded, and the process ended before the reasons were written down"
"""The reason of a decision whose inputs were lost."""
_TRADES = (Purpose.ENTRY, Purpose.GAP, Purpose.EXIT)
_IS_WRITTEN = sa.select(intents.c.intent_id).where(intents.c.intent_id == sa.bindparam("wanted"))
_RECORDED = "recorded"
"""The inbox notes decisions under this name whose record follows later."""


@dataclass(frozen=True, slots=True)
class Considered:
    """What planning was given for one book, and what it said before anything else was asked."""

    holdings: Holdings
    market: Market
    planned: Planned | Refused


@dataclass(frozen=True, slots=True)
class Decided:
    """What one book does about a cause, and what that follows from. ``rounds`` are the half-open rounds of breakers
    that this entry takes a probe of."""

    book: Book
    outcome: Planned | Refused
    considered: Considered
    rounds: tuple[ProbeRound, ...] = ()


def outcome_of(one: Decided) -> str:
    """The word that the decision is recorded under."""
    return one.outcome.outcome if isinstance(one.outcome, Refused) else TRADED


def is_urgent(decided: Sequence[Decided]) -> bool:
    """Whether a trade is to be signed now, so that its record has to wait."""
    return any(one.book.mode is Mode.LIVE and isinstance(one.outcome, Planned) for one in decided)


@dataclass
class TradeThoughts:
    """Writes them. ``rules`` are those of planning."""

    rules: PlanningRules
    recorder: Recorder = field(default_factory=Recorder)
    code: str = field(default_factory=code_version)

    def recorded(self, cause: Cause, decided: Sequence[Decided], stamp: Stamp) -> Recorded:
        """The decisions of all books about one cause. Takes about a millisecond: not for the way of a trade."""
        return self.recorder.recorded([self._thought(cause, one, stamp) for one in decided], stamp.now_ms)

    async def follow(self, journal: FencedJournal, cause: Cause, decided: Sequence[Decided], stamp: Stamp) -> None:
        """Put on record what was too urgent for it before: a live trade, whose bytes are on their way by now."""
        if not is_urgent(decided):
            return
        recorded = self.recorded(cause, decided, stamp)
        async with journal.transaction() as tx:
            for event in recorded.events:
                if not isinstance(event, DecisionRecorded) or await tx.first_time(_RECORDED, event.id):
                    await tx.emit(event)
        recorded.keep()

    async def make_up(self, tx: Tx, cause: Cause, books: Sequence[Book], stamp: Stamp) -> None:
        """A cause came again that was carried out before. Where the process ended between a live trade's hand-over and
        its record, say at least that it was traded: what it was computed from is lost."""
        for book in books:
            told = DecisionRecorded.make_id(stamp.service, cause.id, book.id, TRADED)
            ids = [IntentCreated.make_id(book.id, cause.id, purpose) for purpose in _TRADES]
            is_traded = any([await tx.finds(_IS_WRITTEN, {"wanted": one}) for one in ids])
            if book.mode is Mode.LIVE and is_traded and await tx.first_time(_RECORDED, told):
                await tx.emit(
                    DecisionRecorded(
                        id=told,
                        chain_id=stamp.chain_id,
                        occurred_at_ms=stamp.now_ms,
                        service=stamp.service,
                        subject_id=cause.id,
                        book_id=book.id,
                        lane=stamp.lane,
                        tokens=tokens_about(cause),
                        outcome=TRADED,
                        reasons=(MADE_UP,),
                    )
                )

    def _thought(self, cause: Cause, one: Decided, stamp: Stamp) -> Thought:
        considered, book = one.considered, one.book
        was_planned = isinstance(considered.planned, Planned)
        occasion = Occasion(
            service=stamp.service,
            chain_id=stamp.chain_id,
            at_ms=stamp.now_ms,
            code=self.code,
            subject_id=cause.id,
            book_id=book.id,
            lane=stamp.lane,
            overruled=one.outcome if was_planned and isinstance(one.outcome, Refused) else None,
            facts=_sending(one.outcome, considered.planned),
        )
        arguments = {
            "cause": cause,
            "book": book,
            "holdings": considered.holdings,
            "market": seen_market(cause, book, considered.market, self.rules),
            "rules": self.rules,
        }
        return Thought("plan", arguments, considered.planned, occasion)


def _sending(outcome: Planned | Refused, preferred: Planned | Refused) -> dict[str, str]:
    """How a trade is sent, where that was chosen, and its size where it is not the one that planning preferred."""
    if isinstance(outcome, Refused):
        return {}
    facts = {} if outcome.plan.router is None else {"router": outcome.plan.router}
    if outcome.submission is not None:
        facts["submission"] = f"{outcome.submission.path.value}: {outcome.submission.reason}"
    if isinstance(preferred, Planned) and outcome.plan.amount_in != preferred.plan.amount_in:
        facts["amount_in"] = str(outcome.plan.amount_in)
    return facts
