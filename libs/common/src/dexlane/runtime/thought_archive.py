"""The archive's chain of decisions and the documents behind them: tables of the gateway's journal.

The gateway writes them, one entry after the other; the command line reads them. What an entry means stands in
:mod:`dexlane.domain.thoughts.chain`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.thoughts.chain import (
    ChainName,
    Entry,
    EntryKind,
    Head,
    begun,
    forgotten,
    linked,
    lost_head_of,
    up_to_of,
)
from dexlane.domain.thoughts.documents import TELL_AGAIN_MS
from dexlane.events.risk import DecisionRecorded
from dexlane.events.thoughts import DocumentsRecorded

SPARE_MS = 24 * TELL_AGAIN_MS
"""Documents outlive the last decision that was recorded beside them by a day: a decision may name what was told an hour
before it, and that again what was told an hour earlier."""
PAGE = 1_000
PIECE = 200
"""So many go in one transaction: a halt may be waiting for its end."""
Piece = tuple[int, int]
"""Entries after the first sequence, up to the second."""

metadata = sa.MetaData()
chain = sa.Table(
    "thought_chain",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("previous_hash", sa.String(64), nullable=False),
    sa.Column("entry_hash", sa.String(64), nullable=False),
    sa.Column("decision_id", sa.String(32), nullable=True, unique=True),
    sa.Column("service", sa.String(32), nullable=True),
    sa.Column("outcome", sa.String(32), nullable=True),
    sa.Column("book_id", sa.String(32), nullable=True),
    sa.Column("occurred_at_ms", sa.BigInteger, nullable=True),
)
tokens = sa.Table(
    "thought_tokens",
    metadata,
    sa.Column("token", sa.String(42), primary_key=True),
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True),
)
documents = sa.Table(
    "thought_documents",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("told_ms", sa.BigInteger, nullable=False),
)
archive = sa.table(
    "archive",
    *map(sa.column, ("event_id", "name", "chain_id", "sequence", "subject_id", "body")),
)
"""Of the gateway's archive of events what is needed here."""

_PUT = sa.text(
    "INSERT INTO thought_documents (id, body, told_ms) VALUES (:id, :body, :told_ms)"
    " ON CONFLICT (id) DO UPDATE SET told_ms = excluded.told_ms"
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which decisions to look for. Times are Unix milliseconds, both ends included; ``before`` is a sequence, and
    ``decision_id`` an id or its beginning. What a decision is about is known only while its contents are kept."""

    decision_id: str | None = None
    subject_id: str | None = None
    book_id: str | None = None
    token: str | None = None
    outcome: str | None = None
    service: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Archived:
    """A decision with its entry; None for contents that were deleted or cannot be read."""

    entry: Entry
    decision: DecisionRecorded | None


def _entry(row: sa.Row[tuple[object, ...]]) -> Entry:
    return Entry(
        sequence=row.sequence,
        kind=EntryKind(row.kind),
        about=row.about,
        content_hash=row.content_hash,
        previous_hash=row.previous_hash,
        entry_hash=row.entry_hash,
    )


async def head(conn: AsyncConnection, chain_id: int) -> Head | None:
    """The newest entry of a chain; None when there is none."""
    newest = sa.select(chain.c.sequence, chain.c.entry_hash).where(chain.c.chain_id == chain_id)
    row = (await conn.execute(newest.order_by(chain.c.sequence.desc()).limit(1))).first()
    return None if row is None else Head(row.sequence, row.entry_hash)


async def knows(conn: AsyncConnection, name: ChainName, told: Head) -> bool:
    """Whether a head that was told once is an entry of the chain, or named as one that was lost."""
    here = sa.and_(chain.c.chain_id == name.chain_id, chain.c.sequence == told.sequence)
    entry = sa.select(chain.c.sequence).where(here, chain.c.entry_hash == told.entry_hash)
    if (await conn.execute(entry)).first() is not None:
        return True
    return any(lost_head_of(entry.about) == str(told) for entry in await beginnings(conn, name.chain_id))


async def beginnings(conn: AsyncConnection, chain_id: int) -> list[Entry]:
    """The entries that say what the chain goes on from, oldest first."""
    query = sa.select(chain).where(chain.c.chain_id == chain_id, chain.c.kind == EntryKind.BEGUN.value)
    return [_entry(row) for row in await conn.execute(query.order_by(chain.c.sequence))]


async def begin(conn: AsyncConnection, name: ChainName, lost: Head | None, at_ms: int) -> Head:
    """Say what the chain goes on from here, and when: after the loss of a newer one, that one's head."""
    return await _add(conn, name, begun(name, await head(conn, name.chain_id), lost, at_ms))


async def is_entered(conn: AsyncConnection, decision_id: str) -> bool:
    """Whether a decision has an entry, whether or not its contents are still kept."""
    entry = sa.select(chain.c.sequence).where(chain.c.decision_id == decision_id)
    return (await conn.execute(entry)).first() is not None


async def append(conn: AsyncConnection, name: ChainName, decision: DecisionRecorded) -> Head:
    """Enter a decision that is new to the archive; a chain that has none yet begins with it."""
    last = await head(conn, name.chain_id) or await begin(conn, name, None, decision.occurred_at_ms)
    entry = linked(name, last, EntryKind.DECISION, decision.id, decision.content_hash)
    added = await _add(
        conn,
        name,
        entry,
        decision_id=decision.id,
        service=decision.service,
        outcome=decision.outcome,
        book_id=decision.book_id,
        occurred_at_ms=decision.occurred_at_ms,
    )
    about = [{"token": token, "chain_id": name.chain_id, "sequence": entry.sequence} for token in set(decision.tokens)]
    if about:
        await conn.execute(tokens.insert(), about)
    return added


async def _add(conn: AsyncConnection, name: ChainName, entry: Entry, **columns: object) -> Head:
    values = {
        "chain_id": name.chain_id,
        "sequence": entry.sequence,
        "kind": entry.kind.value,
        "about": entry.about,
        "content_hash": entry.content_hash,
        "previous_hash": entry.previous_hash,
        "entry_hash": entry.entry_hash,
    }
    await conn.execute(chain.insert().values(**values, **columns))
    return Head(entry.sequence, entry.entry_hash)


async def append_missing(conn: AsyncConnection, name: ChainName) -> int:
    """Enter archived decisions that have no entry, in the order of the archive; returns how many there were. A journal
    from before the chain has such, and nothing else may."""
    entered = sa.select(chain.c.decision_id).where(chain.c.decision_id == archive.c.event_id)
    missing = sa.select(archive.c.body).where(
        archive.c.name == DecisionRecorded.NAME, archive.c.chain_id == name.chain_id, ~entered.exists()
    )
    rows = (await conn.execute(missing.order_by(archive.c.sequence))).all()
    for row in rows:
        await append(conn, name, DecisionRecorded.from_wire(row.body))
    return len(rows)


async def put_documents(conn: AsyncConnection, event: DocumentsRecorded, now_ms: int) -> None:
    """Keep documents, each once, and note that they were told."""
    await conn.execute(_PUT, [{"id": key, "body": text, "told_ms": now_ms} for key, text in event.documents.items()])


async def document(conn: AsyncConnection, document_id: str) -> str | None:
    """The text of a document."""
    return (await conn.execute(sa.select(documents.c.body).where(documents.c.id == document_id))).scalar()


async def texts(conn: AsyncConnection, wanted: Iterable[str]) -> dict[str, str]:
    """The texts of these documents, those that are missing left out."""
    found: dict[str, str] = {}
    names = list(wanted)
    for first in range(0, len(names), PAGE):
        page = documents.c.id.in_(names[first : first + PAGE])
        rows = await conn.execute(sa.select(documents.c.id, documents.c.body).where(page))
        found.update({row.id: row.body for row in rows})
    return found


async def chains(conn: AsyncConnection) -> list[int]:
    """The chain ids that have entries, found one after the other: a chain is long."""
    found: list[int] = []
    least = sa.select(sa.func.min(chain.c.chain_id))
    while (following := (await conn.execute(least.where(chain.c.chain_id > (found or [0])[-1]))).scalar()) is not None:
        found.append(following)
    return found


async def entries(conn: AsyncConnection, chain_id: int) -> list[Entry]:
    """All entries of a chain, oldest first."""
    query = sa.select(chain).where(chain.c.chain_id == chain_id).order_by(chain.c.sequence)
    return [_entry(row) for row in await conn.execute(query)]


async def contents(conn: AsyncConnection, chain_id: int) -> AsyncIterator[tuple[str, DecisionRecorded | None]]:
    """Every archived decision of a chain by its id; None for one that cannot be read, or whose hash does not fit."""
    query = sa.select(archive.c.event_id, archive.c.sequence, archive.c.body).where(
        archive.c.name == DecisionRecorded.NAME, archive.c.chain_id == chain_id
    )
    last = 0
    while True:
        page = await conn.execute(query.where(archive.c.sequence > last).order_by(archive.c.sequence).limit(PAGE))
        rows = page.all()
        for row in rows:
            yield row.event_id, _read(row.body)
        if len(rows) < PAGE:
            return
        last = rows[-1].sequence


def _read(body: str | None) -> DecisionRecorded | None:
    try:
        return None if body is None else DecisionRecorded.from_wire(body)
    except ValidationError:
        return None


async def listed(conn: AsyncConnection, chain_id: int) -> AsyncIterator[Archived]:
    """All entries of a chain with their decisions, oldest first, a page at a time."""
    query = _with_contents().where(chain.c.chain_id == chain_id).order_by(chain.c.sequence).limit(PAGE)
    last = 0
    while rows := (await conn.execute(query.where(chain.c.sequence > last))).all():
        for row in rows:
            yield Archived(_entry(row), _read(row.body))
        last = rows[-1].sequence


def _with_contents() -> sa.Select[Any]:
    joined = chain.join(archive, archive.c.event_id == chain.c.decision_id, isouter=True)
    return sa.select(chain, archive.c.body).select_from(joined)


async def search(conn: AsyncConnection, chain_id: int, asked: Asked) -> list[Archived]:
    """Decisions that match, newest first."""
    query = _with_contents().where(chain.c.chain_id == chain_id, chain.c.kind == EntryKind.DECISION.value)
    for column in ("book_id", "outcome", "service"):
        value = getattr(asked, column)
        if value is not None:
            query = query.where(chain.c[column] == value)
    if asked.decision_id is not None:
        # A range, for the index; no hex digit comes after "g".
        query = query.where(chain.c.decision_id >= asked.decision_id, chain.c.decision_id < asked.decision_id + "g")
    if asked.subject_id is not None:
        query = query.where(archive.c.subject_id == asked.subject_id)
    if asked.since_ms is not None:
        query = query.where(chain.c.occurred_at_ms >= asked.since_ms)
    if asked.until_ms is not None:
        query = query.where(chain.c.occurred_at_ms <= asked.until_ms)
    if asked.before is not None:
        query = query.where(chain.c.sequence < asked.before)
    if asked.token is not None:
        about = sa.select(tokens.c.sequence).where(tokens.c.chain_id == chain_id, tokens.c.token == asked.token)
        query = query.where(chain.c.sequence.in_(about))
    rows = await conn.execute(query.order_by(chain.c.sequence.desc()).limit(asked.limit))
    return [Archived(_entry(row), _read(row.body)) for row in rows]


async def of_id(conn: AsyncConnection, decision_id: str) -> Archived | None:
    """One decision with its entry."""
    row = (await conn.execute(_with_contents().where(chain.c.decision_id == decision_id))).first()
    return None if row is None else Archived(_entry(row), _read(row.body))


async def to_forget(conn: AsyncConnection, chain_id: int, keep: int, older_than_ms: int) -> list[Piece]:
    """What lies beyond the newest ``keep`` decisions, or before the first that is young enough: oldest first. Only
    reads, and only what was not forgotten; of a large archive that takes long, so ask outside of transactions."""
    after = await _forgotten_to(conn, chain_id)
    here = sa.and_(chain.c.chain_id == chain_id, chain.c.sequence > after, chain.c.kind == EntryKind.DECISION.value)
    newest_first = sa.select(chain.c.sequence).where(here).order_by(chain.c.sequence.desc()).limit(1)
    oldest_first = sa.select(chain.c.sequence).where(here).order_by(chain.c.sequence).limit(1)
    first_young = (await conn.execute(oldest_first.where(chain.c.occurred_at_ms >= older_than_ms))).scalar()
    old = newest_first if first_young is None else newest_first.where(chain.c.sequence < first_young)
    beyond = (await conn.execute(newest_first.offset(keep))).scalar() or after
    up_to = max(beyond, (await conn.execute(old)).scalar() or after)
    ends = [*range(after + PIECE, up_to, PIECE), up_to] if up_to > after else []
    return list(pairwise([after, *ends]))


async def _forgotten_to(conn: AsyncConnection, chain_id: int) -> int:
    """The sequence up to which contents are gone."""
    notes = sa.select(chain.c.about).where(chain.c.chain_id == chain_id, chain.c.kind == EntryKind.FORGOTTEN.value)
    note = (await conn.execute(notes.order_by(chain.c.sequence.desc()).limit(1))).scalar()
    return 0 if note is None else up_to_of(note)


async def forget(conn: AsyncConnection, name: ChainName, piece: Piece) -> int:
    """Delete the contents of one piece of decisions and say so in the chain; entries stay. Returns how many went."""
    after, up_to = piece
    inside = sa.and_(chain.c.chain_id == name.chain_id, chain.c.sequence > after, chain.c.sequence <= up_to)
    doomed = archive.c.event_id.in_(sa.select(chain.c.decision_id).where(inside))
    gone = (await conn.execute(sa.delete(archive).where(doomed))).rowcount
    about = sa.and_(tokens.c.chain_id == name.chain_id, tokens.c.sequence > after, tokens.c.sequence <= up_to)
    await conn.execute(tokens.delete().where(about))
    await _add(conn, name, forgotten(name, await head(conn, name.chain_id), up_to))
    return gone


async def needed_since(conn: AsyncConnection) -> int | None:
    """Documents that were last told before this moment can be named by no archived decision any more; None when there
    is none. Only reads."""
    oldest: list[int] = []
    for chain_id in await chains(conn):
        kept = sa.and_(chain.c.chain_id == chain_id, chain.c.sequence > await _forgotten_to(conn, chain_id))
        first = (await conn.execute(sa.select(sa.func.min(chain.c.occurred_at_ms)).where(kept))).scalar()
        oldest += [] if first is None else [first]
    return min(oldest) - SPARE_MS if oldest else None


async def forget_documents(conn: AsyncConnection, told_before_ms: int) -> bool:
    """Delete a piece of the documents that were last told before a moment; whether there may be more."""
    oldest = sa.select(documents.c.id).where(documents.c.told_ms < told_before_ms).limit(PIECE)
    return (await conn.execute(documents.delete().where(documents.c.id.in_(oldest)))).rowcount == PIECE


def note_of(entry: Entry) -> Mapping[str, object]:
    """What an entry that is no decision says."""
    read: Mapping[str, object] = orjson.loads(entry.about)
    return read
