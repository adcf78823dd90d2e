"""Decisions with everything they were computed from: search, detail, documents, and the head of their chain."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel

from dexlane.domain.thoughts.words import Detail, told
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime import thought_archive
from dexlane.runtime.thought_archive import Archived, Asked
from gateway.api.desk import DEFAULT_LIMIT, LARGEST, BookFilter, ChainFilter, Cursor, Desk, Limit, sequence_of
from gateway.api.envelope import Envelope, Problem

SubjectFilter = Annotated[str | None, Query(max_length=64, description="id of what it is about")]
Word = Annotated[str | None, Query(pattern="^[a-z_-]{1,32}$")]
TokenFilter = Annotated[str | None, Query(pattern="^0x[0-9a-fA-F]{40}$", description="address of a token")]
Moment = Annotated[int | None, Query(ge=0, le=LARGEST, description="Unix time in milliseconds")]
DecisionId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
ContentHash = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


class ChainEntry(BaseModel):
    """The place of a decision in the chain."""

    sequence: int
    content_hash: str
    previous_hash: str
    entry_hash: str


class Thought(BaseModel):
    """A decision in plain words, with its place in the chain; ``decision`` is None when its contents are gone."""

    id: str
    entry: ChainEntry
    text: str
    decision: DecisionRecorded | None


class ChainHead(BaseModel):
    """The newest entry of a chain: note it down, and ``dexlane thoughts verify --head`` compares it later."""

    chain_id: int
    sequence: int
    entry_hash: str


def router(desk: Desk) -> APIRouter:
    """Search, one decision, one document, the heads."""
    api = APIRouter(dependencies=[Depends(desk.may_read)], tags=["decisions"])

    @api.get("/thoughts")
    async def list_thoughts(asked: Annotated[Filters, Depends()]) -> Envelope[list[Thought]]:
        """What services decided and why, approvals, trades and refusals, newest first. Without ``chain_id`` those of
        the only chain that is served."""
        chain_id = asked.chain_id or _only_chain(desk)
        async with desk.journal.reading() as conn:
            found = await thought_archive.search(conn, chain_id, asked.wanted)
        more = str(found[-1].entry.sequence) if len(found) == asked.wanted.limit else None
        return desk.wrap([_shown(one, asked.detail) for one in found], more)

    @api.get("/thoughts/heads")
    async def read_heads() -> Envelope[list[ChainHead]]:
        """The newest entry of every chain."""
        heads: list[ChainHead] = []
        async with desk.journal.reading() as conn:
            for chain_id in await thought_archive.chains(conn):
                head = await thought_archive.head(conn, chain_id)
                if head is not None:
                    heads.append(ChainHead(chain_id=chain_id, sequence=head.sequence, entry_hash=head.entry_hash))
        return desk.wrap(heads)

    @api.get("/thoughts/{decision_id}")
    async def read_thought(decision_id: DecisionId, detail: Detail = Detail.FULL) -> Envelope[Thought]:
        """One decision."""
        async with desk.journal.reading() as conn:
            found = await thought_archive.of_id(conn, decision_id)
        if found is None:
            raise Problem(404, "Unknown decision", f"no decision {decision_id} is in the archive")
        return desk.wrap(_shown(found, detail))

    @api.get(
        "/documents/{document_id}", response_class=Response, responses={200: {"content": {"application/json": {}}}}
    )
    async def read_document(document_id: ContentHash) -> Response:
        """A document that decisions were computed from, to the byte: its SHA-256 is its id."""
        async with desk.journal.reading() as conn:
            text = await thought_archive.document(conn, document_id)
        if text is None:
            raise Problem(404, "Unknown document", f"no document {document_id} is in the archive")
        return Response(text, media_type="application/json")

    return api


def _only_chain(desk: Desk) -> int:
    chains = desk.settings.chains
    if len(chains) > 1:
        known = ", ".join(map(str, chains))
        raise Problem(422, "Which chain?", f"each chain has a chain of decisions; say which with chain_id: {known}")
    return chains[0]


class Filters:
    """What a search asks for, from the query."""

    def __init__(  # noqa: PLR0913  one parameter per filter of the query
        self,
        *,
        chain_id: ChainFilter = None,
        book_id: BookFilter = None,
        subject_id: SubjectFilter = None,
        token: TokenFilter = None,
        outcome: Word = None,
        service: Word = None,
        since_ms: Moment = None,
        until_ms: Moment = None,
        detail: Detail = Detail.SHORT,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> None:
        self.chain_id = chain_id
        self.detail = detail
        self.wanted = Asked(
            book_id=book_id,
            subject_id=subject_id,
            token=None if token is None else token.lower(),
            outcome=outcome,
            service=service,
            since_ms=since_ms,
            until_ms=until_ms,
            before=sequence_of(cursor),
            limit=limit,
        )


def _shown(one: Archived, detail: Detail) -> Thought:
    entry = one.entry
    place: dict[str, Any] = {
        name: getattr(entry, name) for name in ("sequence", "content_hash", "previous_hash", "entry_hash")
    }
    gone = "its contents are gone: the archive keeps only newer ones"
    text = gone if one.decision is None else told(one.decision, detail)
    return Thought(id=entry.about, entry=ChainEntry(**place), text=text, decision=one.decision)
