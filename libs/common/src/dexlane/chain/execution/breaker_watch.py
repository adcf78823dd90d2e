"""An executor's own breakers: what happens to its trades and its calls, as samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.chain.execution.breaker_facts import venues_of_paths
from dexlane.chain.execution.fencing import FencedJournal
from dexlane.domain.breakers.admission import ProbeRound
from dexlane.events.base import Event
from dexlane.events.breakers import BreakerKind, BreakerReset
from dexlane.events.execution import FailureReason, FillConfirmed, FillIncluded, IntentCreated, IntentFailed, Purpose
from dexlane.runtime.breaker_board import BreakerBoard, BreakerSpec
from dexlane.runtime.breaker_store import tend
from dexlane.runtime.journal import Tx
from dexlane.runtime.journal_tables import breaker_probes
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.books import Lane, Mode

FAILURES = frozenset(
    {
        FailureReason.REVERTED,
        FailureReason.EXPIRED,
        FailureReason.UNDERPRICED,
        FailureReason.INSUFFICIENT_FUNDS,
        FailureReason.MINIMUM_OUT,
        FailureReason.DENIED,
        FailureReason.WOULD_REVERT,
        FailureReason.OVER_BLOCK_GAS,
    }
)
"""Ends that speak against sending more; a halt or a cancel that people asked for does not."""
BEATEN = frozenset({FailureReason.EXPIRED, FailureReason.MINIMUM_OUT, FailureReason.WOULD_REVERT})
"""How a price gap ends when somebody else was faster: that is its ordinary end and no sign of a fault."""
VENUE_FAILURES = frozenset({FailureReason.REVERTED, FailureReason.WOULD_REVERT})
"""Ends that may be the pools' fault."""

_ADD_PROBE = breaker_probes.insert()
_FORGET = breaker_probes.delete().where(
    breaker_probes.c.chain_id == sa.bindparam("of_chain"),
    breaker_probes.c.source == sa.bindparam("of_source"),
    breaker_probes.c.round < sa.bindparam("before"),
)


class Watch(Protocol):
    """Hears what happens while transactions are on their way. Nothing here may wait or raise."""

    def ended(self, intent: IntentCreated, events: Sequence[Event]) -> None:
        """Facts of an intent were committed."""
        ...

    def sent(self, intent: IntentCreated, seconds: float) -> None:
        """Bytes are at the node, so long after the logs that led to them."""
        ...

    def answered(self, *, well: bool) -> None:
        """A node did or did not answer to a call, or contradicted another one."""
        ...


class NoWatch:
    """Hears nothing: where no breakers are hosted."""

    def ended(self, intent: IntentCreated, events: Sequence[Event]) -> None:
        """Not of interest."""

    def sent(self, intent: IntentCreated, seconds: float) -> None:
        """Not of interest."""

    def answered(self, *, well: bool) -> None:
        """Not of interest."""


class ExecutionBreakers:
    """The breakers that one lane hosts on one chain. Live and paper trades have their own: what happens on paper holds
    paper alone."""

    def __init__(self, board: BreakerBoard, lane: Lane) -> None:
        self.board = board
        self._chain_id = board.chain_id
        self._lane = lane
        for kind in (BreakerKind.TRANSACTION, BreakerKind.SLIPPAGE):
            self.board.add(BreakerSpec(source=self.source(kind), kind=kind))
            self.board.add(BreakerSpec(source=self.source(kind, Mode.PAPER), kind=kind, mode=Mode.PAPER))
        for kind in (BreakerKind.RPC, BreakerKind.LATENCY):
            self.board.add(BreakerSpec(source=self.source(kind), kind=kind))

    def source(self, kind: BreakerKind, mode: Mode = Mode.LIVE) -> str:
        """The name of a breaker of this lane."""
        return f"breaker-{kind}-{self._lane}" + ("-paper" if mode is Mode.PAPER else "")

    def ended(self, intent: IntentCreated, events: Iterable[Event]) -> None:
        """Facts of an intent were committed. The first outcome counts; later ones confirm it, or a reorganisation took
        it back and it is still to come."""
        for event in events:
            if isinstance(event, FillIncluded | FillConfirmed | IntentFailed) and event.outcome_version == 1:
                self.outcome(intent, event)

    def outcome(self, intent: IntentCreated, event: FillIncluded | FillConfirmed | IntentFailed) -> None:
        """An intent came to something."""
        failed = isinstance(event, IntentFailed) and _is_failure(intent, event)
        if isinstance(event, IntentFailed) and not failed:
            return
        self.board.see(self.source(BreakerKind.TRANSACTION, intent.mode), int(failed))
        if intent.plan is None:
            return
        if not isinstance(event, IntentFailed):
            self.board.see(self.source(BreakerKind.SLIPPAGE, intent.mode), used_tolerance_bps(intent, event))
        if intent.mode is Mode.LIVE and (not failed or _is_venues_fault(event)):
            for venue in venues_of_paths(intent.plan.paths):
                self._see_venue(venue, int(failed))

    def sent(self, intent: IntentCreated, seconds: float) -> None:
        """Bytes are at the node, so long after the logs that led to them."""
        if not _waited_on_purpose(intent):
            self.board.see(self.source(BreakerKind.LATENCY), _milliseconds(seconds))

    def answered(self, *, well: bool) -> None:
        """A node did or did not answer to a call, or contradicted another one."""
        self.board.see(self.source(BreakerKind.RPC), int(not well))

    async def look(self, journal: FencedJournal, resets: Iterable[BreakerReset]) -> None:
        """Look at the clock and at resets, and store what is new."""
        for word in resets:
            self.board.take(word)
        await tend(self.board, self._chain_id, journal)

    def _see_venue(self, venue: str, failed: int) -> None:
        source = f"breaker-dex-{self._lane}-{venue.replace('_', '-')}"
        if not self.board.has(source):
            if not failed:
                return  # a breaker that never saw a failure has nothing to count
            self.board.add(BreakerSpec(source=source, kind=BreakerKind.DEX, venue=venue))
        self.board.see(source, failed)


def _is_failure(intent: IntentCreated, event: IntentFailed) -> bool:
    return event.reason in FAILURES and not (intent.purpose is Purpose.GAP and event.reason in BEATEN)


def _waited_on_purpose(intent: IntentCreated) -> bool:
    """Whether the time until it was sent says nothing about how fast the system is: an exit waits for an allowance or
    the end of a halt, and the smart lane for a cheaper block. In the fast lane late means slow."""
    if intent.purpose not in {Purpose.ENTRY, Purpose.GAP} or intent.verdict is None:
        return True
    return intent.lane is Lane.SMART and intent.block.number > intent.verdict.opportunity.block.number


def _is_venues_fault(event: Event) -> bool:
    return isinstance(event, IntentFailed) and event.reason in VENUE_FAILURES


def _milliseconds(seconds: float) -> int | None:
    """Whole milliseconds; None for what is no duration."""
    try:
        return round(seconds * 1_000)
    except (ValueError, OverflowError):
        return None


def used_tolerance_bps(intent: IntentCreated, fill: FillIncluded | FillConfirmed) -> int | None:
    """How much of the way from the quoted amount down to the minimum a fill went, in basis points; below zero when it
    brought more than was quoted, None when the logs do not say what it brought."""
    plan = intent.plan
    if plan is None:
        return None
    brought = next((delta.amount for delta in fill.deltas if delta.token == plan.bought_token), None)
    if brought is None:
        return None
    if plan.paid_token == plan.bought_token:
        brought += plan.amount_in
    room = plan.quoted_out - plan.minimum_out
    short = plan.quoted_out - brought
    return short * BPS_DENOMINATOR // room if room > 0 else BPS_DENOMINATOR * int(short > 0)


class ProbeCount:
    """How many entries of this lane were begun in each half-open round, by the journal."""

    def __init__(self, begun: dict[ProbeRound, int]) -> None:
        self.begun = begun

    @classmethod
    async def load(cls, conn: AsyncConnection, chain_id: int) -> ProbeCount:
        """Read the journal."""
        keys = (breaker_probes.c.source, breaker_probes.c.round)
        query = sa.select(*keys, sa.func.count().label("begun")).where(breaker_probes.c.chain_id == chain_id)
        rows = await conn.execute(query.group_by(*keys))
        return cls({(row.source, row.round): row.begun for row in rows})

    def take(self, rounds: Iterable[ProbeRound]) -> None:
        """An entry is about to be begun: the next decision must know."""
        for key in rounds:
            self.begun[key] = self.begun.get(key, 0) + 1

    def give_back(self, rounds: Iterable[ProbeRound]) -> None:
        """It was not begun after all."""
        for key in rounds:
            self.begun[key] -= 1

    @staticmethod
    async def write(tx: Tx, intent: IntentCreated, rounds: Iterable[ProbeRound]) -> None:
        """Note it in the transaction that begins it; rounds that are over are forgotten."""
        for source, round_ in rounds:
            key = {"of_chain": intent.chain_id, "of_source": source, "before": round_}
            await tx.run(_FORGET, key)
            row = {"chain_id": intent.chain_id, "source": source, "round": round_, "intent_id": intent.id}
            await tx.run(_ADD_PROBE, row)
