"""Exits on record: what each was judged from, written down once it is on its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dexlane.domain.exits import ExitSignal
from dexlane.domain.thoughts.calls import Occasion, Thought
from dexlane.domain.thoughts.recording import Recorder
from dexlane.domain.thoughts.saying import EXIT_TRIGGERED
from dexlane.events.execution import IntentCreated, Purpose
from dexlane.events.market import BlockApplied
from dexlane.events.portfolio import ExitReason, ExitTriggered
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.code_version import code_version
from dexlane.runtime.journal import Journal
from dexlane.values.tokens import Token
from portfolio.store.positions import ExitState, ExitStore, StoredExit, StoredPosition

CONSUMER = "portfolio-exit-records"
LOOKED_AT = 100
"""So many of a chain's newest exits are looked at after a start."""
BY_PEOPLE = frozenset({ExitReason.MANUAL, ExitReason.HALT})
"""Exits that no rule of this service triggered: who did puts them on record."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule that fires for a token, and what it was judged from."""

    token: Token
    signal: ExitSignal
    arguments: Mapping[str, Any]


@dataclass
class ExitRecords:
    """Writes them, each once: after the exit, because that takes about a millisecond."""

    journal: Journal
    recorder: Recorder = field(default_factory=Recorder)
    code: str = field(default_factory=code_version)
    _waiting: list[Thought] = field(default_factory=list)
    _looked_at: set[int] = field(default_factory=set)

    def later(self, event: ExitTriggered, stored: StoredPosition, judged: Judged) -> None:
        """An exit that was triggered by now."""
        occasion = Occasion(
            service="portfolio",
            chain_id=event.chain_id,
            at_ms=event.occurred_at_ms,
            code=self.code,
            subject_id=event.id,
            book_id=event.book_id,
            lane=event.lane,
            facts={
                "block": f"{event.block.number} {event.block.hash}",
                "position_version": str(stored.version),
                "strategy": stored.position.strategy,
            },
        )
        self._waiting.append(Thought("judge_exit", judged.arguments, judged.signal, occasion))

    async def write(self, chain_id: int) -> None:
        """Put on record what waits for it, and after a start what is missing. What fails stays for the next time."""
        while self._waiting:
            occasion = self._waiting[0].occasion
            recorded = self.recorder.recorded(self._waiting[:1], occasion.at_ms)
            async with self.journal.transaction() as tx:
                await tx.first_time(CONSUMER, occasion.subject_id)
                for event in recorded.events:
                    await tx.emit(event)
            recorded.keep()
            self._waiting.pop(0)
        if chain_id not in self._looked_at:
            await self._make_up(chain_id)
            self._looked_at.add(chain_id)

    async def _make_up(self, chain_id: int) -> None:
        """Where the process ended between an exit and its record, say at least that it was triggered. What it was
        judged from is lost."""
        async with self.journal.transaction() as tx:
            for one in await ExitStore(tx.conn).newest(chain_id, LOOKED_AT):
                if one.reason not in BY_PEOPLE and await tx.first_time(CONSUMER, one.exit_id):
                    await tx.emit(_without_reasons(one, tx.now_ms))


def exit_event(stored: StoredPosition, judged: Judged, event: BlockApplied) -> ExitTriggered:
    """The exit of a whole position, on the block that it was judged on."""
    account, signal = stored.account, judged.signal
    return ExitTriggered(
        id=ExitTriggered.make_id(account.book_id, account.address, stored.token, stored.version, signal.reason),
        chain_id=account.chain_id,
        occurred_at_ms=event.occurred_at_ms,
        book_id=account.book_id,
        mode=account.mode,
        lane=account.lane,
        account=account.address,
        token=judged.token,
        quote=account.quote,
        quantity=stored.position.quantity,
        reason=signal.reason,
        detail=signal.detail,
        strategy=stored.position.strategy,
        block=event.block,
        received_at_ns=event.received_at_ns,
        sell_tax_bps=signal.sell_tax_bps,
    )


def noted_exit(event: ExitTriggered, stored: StoredPosition, state: ExitState) -> StoredExit:
    """A triggered exit as it is kept with the position that it closes."""
    return StoredExit(
        exit_id=event.id,
        intent_id=IntentCreated.make_id(event.book_id, event.id, Purpose.EXIT),
        chain_id=event.chain_id,
        book_id=event.book_id,
        address=event.account,
        token=event.token.address,
        position_version=stored.version,
        reason=event.reason,
        state=state,
        triggered_block=event.block.number,
    )


def _without_reasons(triggered: StoredExit, now_ms: int) -> DecisionRecorded:
    rule = triggered.reason.replace("_", " ")
    return DecisionRecorded(
        id=DecisionRecorded.make_id("portfolio", triggered.exit_id, triggered.book_id, EXIT_TRIGGERED),
        chain_id=triggered.chain_id,
        occurred_at_ms=now_ms,
        service="portfolio",
        subject_id=triggered.exit_id,
        book_id=triggered.book_id,
        tokens=(triggered.token,),
        outcome=EXIT_TRIGGERED,
        reasons=(f"the rule {rule} fired, and the process ended before what it saw was written down",),
    )
