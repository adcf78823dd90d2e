"""What waits without an intent: exits that cannot be carried out yet, and trades planned for a cheaper block.

Their messages are delivered again; what is kept is only that the wait was told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from dexlane.chain.execution.fencing import FencedJournal
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.chain.execution.records import Cause, Stamp
from dexlane.chain.execution.thoughts import Decided, TradeThoughts, outcome_of
from dexlane.domain.circumstances import Market, Planned, Refused
from dexlane.domain.entry_timing import why_later
from dexlane.domain.levels import last_block
from dexlane.domain.planning import OVER_EXIT_BUDGET
from dexlane.events.risk import DecisionRecorded, VerdictApproved
from dexlane.runtime.errors import Postponed, Transient
from dexlane.runtime.journal import inbox

PLANNED_FOR_LATER = "planned"
"""The outcome of a decision to make a trade in a later block."""
SHORTEST_WAIT_S = 0.25
SHARE_OF_BLOCK = 0.25
"""How often, in block times, a trade that waits for a cheaper block, or an exit that cannot pay yet, is looked at."""


def waited_for(why: Refused, market: Market) -> Transient:
    """How an exit comes again that cannot be carried out yet. Gas is another price in each block, so one that waits for
    it is looked at within each; what holds longer, such as a halt, is asked for less and less often."""
    sentence = "; ".join(why.reasons)
    return _soon(sentence, market) if why.outcome == OVER_EXIT_BUDGET else Transient(sentence)


def _soon(sentence: str, market: Market) -> Postponed:
    return Postponed(sentence, max(SHORTEST_WAIT_S, market.block_time_s * SHARE_OF_BLOCK))


class WaitingRoom:
    """Tells each wait once."""

    def __init__(
        self,
        journal: FencedJournal,
        consumer: str,
        thoughts: TradeThoughts,
        moments: ExecutionMoments,
        stamp: Callable[[], Stamp],
    ) -> None:
        self._journal = journal
        self._consumer = consumer
        self._rules = thoughts.rules
        self._thoughts = thoughts
        self._moments = moments
        self._stamp = stamp

    async def for_cheaper_gas(
        self, verdict: VerdictApproved, decided: Sequence[Decided], market: Market, consumer: str
    ) -> None:
        """Raise ``Postponed`` when the trade that books would make now is better made in a later block.

        The verdict then comes again and is planned anew on what the market is by then: nothing is reserved meanwhile,
        and no nonce is taken.
        """
        if not self._rules.waits_for_cheaper_blocks:
            return
        trading = [one for one in decided if isinstance(one.outcome, Planned)]
        levels = [one.book.level for one in trading]
        last = min((last_block(verdict.opportunity, level, market.block_time_s) for level in levels), default=None)
        why = why_later(verdict, market, self._rules, last) if trading else None
        if why is None or await self.consumed(verdict.id, consumer):
            return
        later = Refused(outcome=PLANNED_FOR_LATER, reasons=(why,), passing=True)
        if await self.tell(verdict, [Decided(one.book, later, one.considered) for one in trading]):
            self._moments.planned_for_later(verdict.id, why)
        raise _soon(why, market)

    async def tell(self, cause: Cause, decided: Sequence[Decided]) -> bool:
        """Publish why books do nothing about something yet; whether any of it is new."""
        stamp = self._stamp()
        async with self._journal.transaction() as tx:
            new: list[Decided] = []
            for one in decided:
                told = DecisionRecorded.make_id(stamp.service, cause.id, one.book.id, outcome_of(one))
                if await tx.first_time(f"{self._consumer}-waits", told):
                    new.append(one)
            recorded = self._thoughts.recorded(cause, new, stamp)
            for event in recorded.events:
                await tx.emit(event)
        recorded.keep()
        return bool(new)

    async def consumed(self, message_id: str, consumer: str | None = None) -> bool:
        """Whether the message was carried out before, by this consumer or another one."""
        query = sa.select(inbox.c.message_id).where(
            inbox.c.consumer == (consumer or self._consumer), inbox.c.message_id == message_id
        )
        async with self._journal.reading() as conn:
            return (await conn.execute(query)).first() is not None
