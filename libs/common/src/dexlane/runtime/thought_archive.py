"""The archive's chain of decisions and the documents behind them: tables of the gateway's journal.

The gateway writes them, one entry after the other; the command line reads them. What an entry means stands in
:mod:`dexlane.domain.thoughts.chain`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

import orjson
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.thoughts.chain import ChainName, Entry, EntryKind, Head, begun, forgotten, linked
from dexlane.domain.thoughts.documents import TELL_AGAIN_MS
from dexlane.events.risk import DecisionRecorded
from dexlane.events.thoughts import DocumentsRecorded

SPARE_MS = 24 * TELL_AGAIN_MS
"""Documents outlive the last decision that was recorded beside them by a day: a decision may name what was told an hour
before it, and that again what was told an hour earlier."""
PAGE = 1_000

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
    "archive", sa.column("event_id"), sa.column("name"), sa.column("chain_id"), sa.column("sequence"), sa.column("body")
)
"""Of the gateway's archive of events what is needed here."""

_PUT = sa.text(
    "INSERT INTO thought_documents (id, body, told_ms) VALUES (:id, :body, :told_ms)"
    " ON CONFLICT (id) DO UPDATE SET told_ms = excluded.told_ms"
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which decisions to look for. Times are Unix milliseconds, both ends included; ``before`` is a sequence."""

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
    is_entry = sa.and_(chain.c.sequence == told.sequence, chain.c.entry_hash == told.entry_hash)
    is_lost = chain.c.about == begun(name, None, told).about
    found = sa.select(chain.c.sequence).where(chain.c.chain_id == name.chain_id, sa.or_(is_entry, is_lost))
    return (await conn.execute(found)).first() is not None


async def begin(conn: AsyncConnection, name: ChainName, lost: Head | None) -> Head:
    """Say what the chain goes on from here: after the loss of a newer one, that one's head."""
    return await _add(conn, name, begun(name, await head(conn, name.chain_id), lost))


async def append(conn: AsyncConnection, name: ChainName, decision: DecisionRecorded) -> Head:
    """Enter a decision that is new to the archive; a chain that has none yet begins with it."""
    last = await head(conn, name.chain_id) or await begin(conn, name, None)
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
    """The chain ids that have entries."""
    return list((await conn.execute(sa.select(chain.c.chain_id).distinct().order_by(chain.c.chain_id))).scalars())


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


async def search(conn: AsyncConnection, chain_id: int, asked: Asked) -> list[Archived]:
    """Decisions that match, newest first."""
    query = (
        sa.select(chain, archive.c.body)
        .join(archive, archive.c.event_id == chain.c.decision_id, isouter=True)
        .where(chain.c.chain_id == chain_id, chain.c.kind == EntryKind.DECISION.value)
    )
    for column in ("book_id", "outcome", "service"):
        value = getattr(asked, column)
        if value is not None:
            query = query.where(chain.c[column] == value)
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
    query = (
        sa.select(chain, archive.c.body)
        .join(archive, archive.c.event_id == chain.c.decision_id, isouter=True)
        .where(chain.c.decision_id == decision_id)
    )
    row = (await conn.execute(query)).first()
    return None if row is None else Archived(_entry(row), _read(row.body))


async def forget(conn: AsyncConnection, name: ChainName, keep: int, older_than_ms: int) -> int:
    """Delete the contents of decisions beyond the newest ``keep``, and of older ones, and say so in the chain; entries
    stay. Documents go when they were last told well before the oldest decision that is left. Returns how many decisions
    went."""
    held = sa.select(archive.c.event_id).where(archive.c.event_id == chain.c.decision_id).exists()
    here = sa.and_(chain.c.chain_id == name.chain_id, chain.c.kind == EntryKind.DECISION.value, held)
    last_beyond = sa.select(chain.c.sequence).where(here).order_by(chain.c.sequence.desc()).offset(keep).limit(1)
    too_old = sa.select(sa.func.max(chain.c.sequence)).where(here, chain.c.occurred_at_ms < older_than_ms)
    up_to = max((await conn.execute(last_beyond)).scalar() or 0, (await conn.execute(too_old)).scalar() or 0)
    if not up_to:
        return 0
    doomed = sa.select(chain.c.decision_id).where(here, chain.c.sequence <= up_to)
    gone = (await conn.execute(sa.delete(archive).where(archive.c.event_id.in_(doomed)))).rowcount
    await conn.execute(tokens.delete().where(tokens.c.chain_id == name.chain_id, tokens.c.sequence <= up_to))
    await _add(conn, name, forgotten(name, await head(conn, name.chain_id), up_to))
    return gone


async def forget_documents(conn: AsyncConnection) -> int:
    """Delete documents that no archived decision can name any more; returns how many went."""
    held = sa.select(archive.c.event_id).where(archive.c.event_id == chain.c.decision_id).exists()
    oldest = (await conn.execute(sa.select(sa.func.min(chain.c.occurred_at_ms)).where(held))).scalar()
    if oldest is None:
        return 0
    return (await conn.execute(documents.delete().where(documents.c.told_ms < oldest - SPARE_MS))).rowcount


def note_of(entry: Entry) -> Mapping[str, object]:
    """What an entry that is no decision says."""
    read: Mapping[str, object] = orjson.loads(entry.about)
    return read
