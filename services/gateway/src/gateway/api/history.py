"""The archive: opportunities, verdicts, decisions, intents, transactions and fills, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from dexlane.events.base import Event
from dexlane.events.execution import FillConfirmed, FillIncluded, FillReversed, IntentCreated, IntentFailed, TxChanged
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import DecisionRecorded, VerdictApproved, VerdictRejected
from gateway.api.desk import DEFAULT_LIMIT, BookFilter, ChainFilter, Cursor, Desk, IdFilter, Limit, sequence_of
from gateway.api.envelope import Envelope
from gateway.projections.feed import FeedItem
from gateway.records import Record, Search, find, of_intents

E = TypeVar("E")
OUTCOMES = (FillIncluded, FillConfirmed, FillReversed, IntentFailed)
Outcome = FillIncluded | FillConfirmed | FillReversed | IntentFailed
SubjectFilter = Annotated[str | None, Query(max_length=64, description="id of what it is about")]


class Recorded(BaseModel, Generic[E]):
    """An archived event with its name and its place in the archive."""

    cursor: str
    event: str
    data: E


class IntentStory(BaseModel):
    """An intent, the last state of its transaction, and the outcome that holds (the highest version)."""

    intent: IntentCreated
    transaction: TxChanged | None
    outcome_event: str | None
    outcome: Outcome | None


async def _page(desk: Desk, search: Search) -> tuple[list[Record], str | None]:
    async with desk.journal.reading() as conn:
        records = await find(conn, search)
    return records, str(records[-1].sequence) if len(records) == search.limit else None


async def _listed(desk: Desk, search: Search) -> Envelope[Any]:
    records, following = await _page(desk, search)
    recorded = [Recorded[Any](cursor=str(r.sequence), event=r.event.NAME, data=r.event) for r in records]
    return desk.wrap(recorded, following)


def router(desk: Desk) -> APIRouter:
    """Every resource of the archive."""
    api = APIRouter(dependencies=[Depends(desk.may_read)])
    _add_judgements(api, desk)
    _add_trades(api, desk)
    return api


def _add_judgements(api: APIRouter, desk: Desk) -> None:
    @api.get("/opportunities", tags=["decisions"])
    async def list_opportunities(
        chain_id: ChainFilter = None, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Envelope[list[Recorded[OpportunityFound]]]:
        """Chances that strategies found."""
        names = (OpportunityFound.NAME,)
        return await _listed(desk, Search(names=names, chain_id=chain_id, before=sequence_of(cursor), limit=limit))

    @api.get("/verdicts", tags=["decisions"])
    async def list_verdicts(
        opportunity_id: IdFilter = None, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Envelope[list[Recorded[VerdictApproved | VerdictRejected]]]:
        """What the risk-scorer said, with factors and vetoes."""
        names = (VerdictApproved.NAME, VerdictRejected.NAME)
        before = sequence_of(cursor)
        return await _listed(desk, Search(names=names, subject_id=opportunity_id, before=before, limit=limit))

    @api.get("/decisions", tags=["decisions"])
    async def list_decisions(
        book_id: BookFilter = None,
        subject_id: SubjectFilter = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Envelope[list[Recorded[DecisionRecorded]]]:
        """What services decided and why, refusals included, of all chains. ``/thoughts`` has their words and chains."""
        names, before = (DecisionRecorded.NAME,), sequence_of(cursor)
        return await _listed(
            desk, Search(names=names, book_id=book_id, subject_id=subject_id, before=before, limit=limit)
        )

    @api.get("/feed", tags=["live"])
    async def read_feed(limit: Limit = DEFAULT_LIMIT) -> Envelope[list[FeedItem]]:
        """The newest entries of the page's list, in plain words, newest first."""
        oldest_first = sorted(desk.display.picture.feed.items, key=lambda item: item.at_ms)
        return desk.wrap(oldest_first[: -limit - 1 : -1])


def _add_trades(api: APIRouter, desk: Desk) -> None:
    @api.get("/intents", tags=["trades"])
    async def list_intents(
        book_id: BookFilter = None, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Envelope[list[Recorded[IntentStory]]]:
        """Intents with the state of their transaction and their outcome."""
        search = Search(names=(IntentCreated.NAME,), book_id=book_id, before=sequence_of(cursor), limit=limit)
        records, following = await _page(desk, search)
        names = (TxChanged.NAME, *(outcome.NAME for outcome in OUTCOMES))
        async with desk.journal.reading() as conn:
            events = await of_intents(conn, [record.event.id for record in records], names)
        stories = _stories(records, events)
        return desk.wrap(
            [Recorded(cursor=str(r.sequence), event=r.event.NAME, data=stories[r.event.id]) for r in records], following
        )

    @api.get("/transactions", tags=["trades"])
    async def list_transactions(
        intent_id: IdFilter = None,
        book_id: BookFilter = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Envelope[list[Recorded[TxChanged]]]:
        """Every step of every transaction; with ``intent_id`` the life of one."""
        names, before = (TxChanged.NAME,), sequence_of(cursor)
        return await _listed(
            desk, Search(names=names, book_id=book_id, intent_id=intent_id, before=before, limit=limit)
        )

    @api.get("/fills", tags=["trades"])
    async def list_fills(
        book_id: BookFilter = None,
        intent_id: IdFilter = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Envelope[list[Recorded[FillIncluded | FillConfirmed | FillReversed]]]:
        """Fills as they were told; of one intent the highest ``outcome_version`` holds."""
        names, before = (FillIncluded.NAME, FillConfirmed.NAME, FillReversed.NAME), sequence_of(cursor)
        return await _listed(
            desk, Search(names=names, book_id=book_id, intent_id=intent_id, before=before, limit=limit)
        )


def _stories(records: list[Record], events: list[Event]) -> Mapping[str, IntentStory]:
    transactions: dict[str, TxChanged] = {}
    outcomes: dict[str, Outcome] = {}
    for event in events:
        if isinstance(event, TxChanged):
            known = transactions.get(event.intent_id)
            if known is None or known.sequence < event.sequence:
                transactions[event.intent_id] = event
        elif isinstance(event, OUTCOMES):
            before = outcomes.get(event.intent_id)
            if before is None or before.outcome_version < event.outcome_version:
                outcomes[event.intent_id] = event
    return {
        record.event.id: _story(record.event, transactions.get(record.event.id), outcomes.get(record.event.id))
        for record in records
        if isinstance(record.event, IntentCreated)
    }


def _story(intent: IntentCreated, transaction: TxChanged | None, outcome: Outcome | None) -> IntentStory:
    name = None if outcome is None else outcome.NAME
    return IntentStory(intent=intent, transaction=transaction, outcome_event=name, outcome=outcome)
