"""What the gateway remembers: its tables, and the archive of what was decided and traded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.thoughts.chain import ChainName
from dexlane.events.base import DEFAULT_REALM, Event
from dexlane.events.confirmations import ConfirmationGiven, ConfirmationRequested
from dexlane.events.execution import (
    AccountOpened,
    FillConfirmed,
    FillIncluded,
    FillReversed,
    IntentCreated,
    IntentFailed,
    PaperScored,
    TxChanged,
    TxState,
)
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.portfolio import ExitTriggered, PositionChanged
from dexlane.events.risk import DecisionRecorded, TokenFlagged, VerdictApproved, VerdictRejected
from dexlane.events.thoughts import ThoughtsChained
from dexlane.runtime import thought_archive
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import Journal, Tx
from dexlane.values.books import Mode
from gateway.metrics import Moments
from gateway.settings import Settings

PRUNE_INTERVAL_S = 60.0
DAY_MS = 86_400_000

metadata = sa.MetaData()
book_versions = sa.Table(
    "book_versions",
    metadata,
    sa.Column("book_id", sa.String(32), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
loaded_files = sa.Table(
    "loaded_files",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("loaded_ms", sa.BigInteger, nullable=False),
)
statuses = sa.Table(
    "statuses",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("source", sa.String(48), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)
emergency_stops = sa.Table(
    "emergency_stops",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("began_ms", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)
untold_halts = sa.Table(
    "untold_halts",
    metadata,
    sa.Column("socket", sa.Text, primary_key=True),
    sa.Column("level", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)
confirmations = sa.Table(
    "confirmations",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("book_id", sa.String(32), nullable=False),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("deadline_block", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("asked_ms", sa.BigInteger, nullable=False),
    sa.Column("decided_ms", sa.BigInteger, nullable=True),
    sa.Column("reason", sa.Text, nullable=True),
    sa.Column("body", sa.Text, nullable=False),
)
positions = sa.Table(
    "positions",
    metadata,
    sa.Column("book_id", sa.String(32), primary_key=True),
    sa.Column("account", sa.String(42), primary_key=True),
    sa.Column("token", sa.String(42), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
live_transactions = sa.Table(
    "live_transactions",
    metadata,
    sa.Column("intent_id", sa.String(32), primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
"""What was last heard of the transaction of every live intent."""
archive = sa.Table(
    "archive",
    metadata,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("event_id", sa.String(32), nullable=False, unique=True),
    sa.Column("name", sa.String(48), nullable=False),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("book_id", sa.String(32), nullable=True),
    sa.Column("intent_id", sa.String(32), nullable=True),
    sa.Column("subject_id", sa.String(64), nullable=True),
    sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

ARCHIVED: tuple[type[Event], ...] = (
    OpportunityFound,
    VerdictApproved,
    VerdictRejected,
    TokenFlagged,
    DecisionRecorded,
    IntentCreated,
    TxChanged,
    FillIncluded,
    FillReversed,
    FillConfirmed,
    IntentFailed,
    AccountOpened,
    PaperScored,
    PositionChanged,
    ExitTriggered,
    ConfirmationRequested,
    ConfirmationGiven,
)
"""The events that are kept, each by its own durable consumer."""

ON_ITS_WAY = frozenset(
    {
        TxState.PLANNED,
        TxState.SIGNED,
        TxState.SUBMITTED,
        TxState.PENDING,
        TxState.BUMPED,
        TxState.REPLACED,
        TxState.DROPPED,
        TxState.REORGED,
    }
)
"""States in which some bytes of ours may still be included."""

_TYPES = {event.NAME: event for event in ARCHIVED}

# A redelivered event is refused by its unique id; one statement on both databases.
_ADD = sa.text(
    "INSERT INTO archive (event_id, name, chain_id, book_id, intent_id, subject_id, occurred_at_ms, body) VALUES"
    " (:event_id, :name, :chain_id, :book_id, :intent_id, :subject_id, :occurred_at_ms, :body) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which records to list, newest first. ``before`` is the sequence of the last record already seen."""

    names: tuple[str, ...]
    book_id: str | None = None
    intent_id: str | None = None
    subject_id: str | None = None
    chain_id: int | None = None
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True)
class Record:
    """One archived event and its place in the archive."""

    sequence: int
    event: Event


def _subject_of(event: Event) -> str | None:
    """What the event is about, so that the story of one opportunity can be followed."""
    if isinstance(event, VerdictApproved | VerdictRejected):
        return event.opportunity.id
    if isinstance(event, DecisionRecorded):
        return event.subject_id
    if isinstance(event, ConfirmationRequested | ConfirmationGiven):
        return event.verdict.id
    if isinstance(event, IntentCreated):
        cause = event.verdict or event.exit
        return None if cause is None else cause.id
    return None


def _intent_of(event: Event) -> str | None:
    if isinstance(event, IntentCreated):
        return event.id
    return getattr(event, "intent_id", None)


async def add(conn: AsyncConnection, event: Event, realm: str = DEFAULT_REALM) -> bool:
    """Archive an event, keep the newest of a position or live transaction, and enter a decision in the chain; False
    when it was archived before, also when its contents were forgotten since."""
    if isinstance(event, DecisionRecorded) and await thought_archive.is_entered(conn, event.id):
        return False
    result = await conn.execute(
        _ADD,
        {
            "event_id": event.id,
            "name": event.NAME,
            "chain_id": event.chain_id,
            "book_id": getattr(event, "book_id", None),
            "intent_id": _intent_of(event),
            "subject_id": _subject_of(event),
            "occurred_at_ms": event.occurred_at_ms,
            "body": event.to_wire().decode(),
        },
    )
    if result.rowcount and isinstance(event, PositionChanged):
        await _put_position(conn, event)
    if result.rowcount and isinstance(event, DecisionRecorded):
        await thought_archive.append(conn, ChainName(realm, event.chain_id), event)
    if result.rowcount and isinstance(event, ConfirmationRequested):
        await _ask(conn, event)
    if result.rowcount and isinstance(event, TxChanged) and event.mode is Mode.LIVE:
        await _put_transaction(conn, event)
    return bool(result.rowcount)


async def _ask(conn: AsyncConnection, event: ConfirmationRequested) -> None:
    """Put a request into the queue; one that is there already keeps what became of it."""
    known = sa.select(confirmations.c.id).where(confirmations.c.id == event.id)
    if (await conn.execute(known)).first() is None:
        row = {
            "id": event.id,
            "book_id": event.book_id,
            "chain_id": event.chain_id,
            "deadline_block": event.deadline_block,
            "state": "waiting",
            "asked_ms": event.occurred_at_ms,
            "body": event.to_wire().decode(),
        }
        await conn.execute(confirmations.insert().values(**row))


async def _put_position(conn: AsyncConnection, event: PositionChanged) -> None:
    key = sa.and_(
        positions.c.book_id == event.book_id,
        positions.c.account == event.account,
        positions.c.token == event.token.address,
    )
    version = (await conn.execute(sa.select(positions.c.version).where(key))).scalar()
    values = {"version": event.position_version, "body": event.to_wire().decode()}
    if version is None:
        identity = {"book_id": event.book_id, "account": event.account, "token": event.token.address}
        await conn.execute(positions.insert().values(**identity, **values))
    elif version < event.position_version:
        await conn.execute(positions.update().where(key).values(**values))


async def _put_transaction(conn: AsyncConnection, event: TxChanged) -> None:
    key = live_transactions.c.intent_id == event.intent_id
    sequence = (await conn.execute(sa.select(live_transactions.c.sequence).where(key))).scalar()
    values = {
        "sequence": event.sequence,
        "is_open": event.state in ON_ITS_WAY,
        "occurred_at_ms": event.occurred_at_ms,
        "body": event.to_wire().decode(),
    }
    if sequence is None:
        await conn.execute(live_transactions.insert().values(intent_id=event.intent_id, **values))
    elif sequence < event.sequence:
        await conn.execute(live_transactions.update().where(key).values(**values))


async def open_transactions(conn: AsyncConnection) -> list[TxChanged]:
    """What was last heard of every live transaction whose bytes may still be included, whatever the archive forgot."""
    query = sa.select(live_transactions.c.body).where(live_transactions.c.is_open)
    return [TxChanged.from_wire(row.body) for row in await conn.execute(query)]


async def find(conn: AsyncConnection, search: Search) -> list[Record]:
    """The records that match, newest first."""
    query = sa.select(archive.c.sequence, archive.c.name, archive.c.body).where(archive.c.name.in_(search.names))
    for column in ("book_id", "intent_id", "subject_id", "chain_id"):
        value = getattr(search, column)
        if value is not None:
            query = query.where(archive.c[column] == value)
    if search.before is not None:
        query = query.where(archive.c.sequence < search.before)
    rows = await conn.execute(query.order_by(archive.c.sequence.desc()).limit(search.limit))
    return [Record(row.sequence, _TYPES[row.name].from_wire(row.body)) for row in rows]


async def of_intents(conn: AsyncConnection, intent_ids: Sequence[str], names: Iterable[str]) -> list[Event]:
    """Everything archived under these names that happened to these intents, oldest first."""
    query = sa.select(archive.c.name, archive.c.body).where(
        archive.c.intent_id.in_(intent_ids), archive.c.name.in_(tuple(names))
    )
    rows = await conn.execute(query.order_by(archive.c.sequence))
    return [_TYPES[row.name].from_wire(row.body) for row in rows]


async def all_positions(conn: AsyncConnection) -> list[PositionChanged]:
    """The newest version of every position that ever was."""
    rows = await conn.execute(sa.select(positions.c.body))
    return [PositionChanged.from_wire(row.body) for row in rows]


async def keep_bounded(journal: Journal, settings: Settings, moments: Moments) -> None:
    """Apply the retention and tell the heads of the chains, again and again, for ever."""
    while True:
        try:
            moments.pruned(await keep_bounded_once(journal, settings))
        except Transient as error:
            moments.not_pruned(str(error))
        await asyncio.sleep(PRUNE_INTERVAL_S)


async def keep_bounded_once(journal: Journal, settings: Settings) -> int:
    """Apply the retention; returns how many records went. A halt may wait for each of the transactions: which decisions
    go is therefore looked up outside of them, and they go piece by piece."""
    async with journal.transaction() as tx:
        oldest = tx.now_ms - settings.archive_days * DAY_MS
        gone = await prune(tx.conn, rows_per_event=settings.archive_rows_per_event, older_than_ms=oldest)
    async with journal.reading() as conn:
        chain_ids = await thought_archive.chains(conn)
    for chain_id in chain_ids:
        gone += await _forget(journal, chain_id, settings.archive_decisions, oldest)
        async with journal.transaction() as tx:
            await _tell_head(tx, chain_id)
    async with journal.reading() as conn:
        needed_since = await thought_archive.needed_since(conn)
    while needed_since is not None:
        async with journal.transaction() as tx:
            if not await thought_archive.forget_documents(tx.conn, needed_since):
                break
    return gone


async def _forget(journal: Journal, chain_id: int, keep: int, older_than_ms: int) -> int:
    async with journal.reading() as conn:
        pieces = await thought_archive.to_forget(conn, chain_id, keep, older_than_ms)
    gone = 0
    for piece in pieces:
        async with journal.transaction() as tx:
            gone += await thought_archive.forget(tx.conn, ChainName(tx.realm, chain_id), piece)
    return gone


async def _tell_head(tx: Tx, chain_id: int) -> None:
    """Say the newest entry on the bus, where it outlives this journal; once each."""
    head = await thought_archive.head(tx.conn, chain_id)
    if head is None:
        return
    told = ThoughtsChained.make_id(chain_id, head.entry_hash)
    if await tx.first_time("thoughts-chained", told):
        await tx.emit(
            ThoughtsChained(
                id=told,
                chain_id=chain_id,
                occurred_at_ms=tx.now_ms,
                sequence=head.sequence,
                entry_hash=head.entry_hash,
            )
        )


async def prune(conn: AsyncConnection, *, rows_per_event: int, older_than_ms: int) -> int:
    """Delete what is beyond the retention; returns how many records went. Positions are never deleted, of transactions
    and of requests for a person's word only those that are settled, and decisions not here: their chain has to say so.
    """
    is_settled = sa.and_(~live_transactions.c.is_open, live_transactions.c.occurred_at_ms < older_than_ms)
    await conn.execute(live_transactions.delete().where(is_settled))
    await conn.execute(confirmations.delete().where(confirmations.c.decided_ms < older_than_ms))
    too_old = sa.and_(archive.c.occurred_at_ms < older_than_ms, archive.c.name != DecisionRecorded.NAME)
    gone = (await conn.execute(archive.delete().where(too_old))).rowcount
    for name in _TYPES.keys() - {DecisionRecorded.NAME}:
        newest_first = sa.select(archive.c.sequence).where(archive.c.name == name).order_by(archive.c.sequence.desc())
        last_to_go = (await conn.execute(newest_first.offset(rows_per_event).limit(1))).scalar()
        if last_to_go is not None:
            doomed = sa.and_(archive.c.name == name, archive.c.sequence <= last_to_go)
            gone += (await conn.execute(archive.delete().where(doomed))).rowcount
    return gone
