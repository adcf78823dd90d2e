"""The journal of a money service: effects, inbox and outbox in one database transaction.

A message is consumed by one transaction that notes it in the inbox, does its work and writes the resulting facts to
the outbox. The relay publishes them in order after the commit, and again after a crash, under the same ids. The
database is therefore the truth, and the streams can be rebuilt from it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.events.base import Event
from dexlane.events.streams import stream_of
from dexlane.runtime.bus import Bus
from dexlane.runtime.clock import Clock
from dexlane.runtime.database import DATABASE_ERRORS, OwnRow, ReadBack, is_outage, make_engine
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal_tables import inbox, outbox, own_fact, own_note
from dexlane.runtime.lost_streams import ask_when_made, unmark
from dexlane.runtime.observability import Log, trace_headers
from dexlane.runtime.outbox_pruning import Pruning
from dexlane.runtime.statements import (
    CHECKPOINT_ROWS,
    OnConnection,
    Row,
    SqliteMarker,
    SqliteWriter,
    Statements,
    in_sqlite_words,
)

RELAY_RETRY_S = 0.25
RELAY_HELD_S = 0.05
"""How long the outbox waits at most for those who hold it."""
MARK_SENT_AFTER_S = 0.1
MARK_SENT_AT = 500

T = TypeVar("T")

__all__ = ["CommitUnknown", "Journal", "Tx", "inbox", "outbox"]

# One statement on both databases; a refused duplicate must not break the surrounding transaction.
_NOTE = sa.text(
    "INSERT INTO inbox (consumer, message_id, received_ms) VALUES (:consumer, :message_id, :received_ms)"
    " ON CONFLICT DO NOTHING"
)

_EMIT = outbox.insert()
"""Built once: it runs several times in the transaction that a trade waits for."""
_EMIT_AGAIN = sa.text(
    "INSERT INTO outbox (sequence, event_id, subject, stream, payload, headers, created_ms)"
    " VALUES (:sequence, :event_id, :subject, :stream, :payload, :headers, 0) ON CONFLICT DO NOTHING"
)
_MARK = "UPDATE outbox SET sent_ms = ? WHERE sequence = ?"


@dataclass(frozen=True)
class _OutboxRow:
    sequence: int
    event_id: str
    subject: str
    stream: str
    payload: bytes
    headers: str


_UNSENT = (
    sa.select(*(outbox.c[each.name] for each in fields(_OutboxRow)))
    .where(outbox.c.sent_ms.is_(None))
    .order_by(outbox.c.sequence)
)


class CommitUnknown(Transient):
    """Nobody can tell whether a transaction landed: it wrote nothing that it could be known by. Whoever keeps a copy
    of the journal in memory has to read the journal anew."""


@dataclass
class Tx:
    """One open journal transaction."""

    statements: Statements
    realm: str
    now_ms: int
    emitted: list[_OutboxRow] = field(default_factory=list)
    noted: list[dict[str, Any]] = field(default_factory=list)
    """Inbox rows that were new."""
    headers: str = field(default_factory=lambda: orjson.dumps(trace_headers()).decode())
    """Trace headers of every fact emitted here: the transaction belongs to one span."""

    @property
    def mark(self) -> OwnRow | None:
        """A row that only this transaction writes; None when there is none."""
        if self.emitted:
            return OwnRow(_EMIT_AGAIN, own_fact, vars(self.emitted[0]))
        return OwnRow(_NOTE, own_note, self.noted[0]) if self.noted else None

    @property
    def conn(self) -> AsyncConnection:
        """The connection that runs the service's own queries in this transaction. A journal with a direct writer has
        none: there, ``run`` takes prepared statements only."""
        if not isinstance(self.statements, OnConnection):
            raise TypeError("this journal writes directly; give its statements to run()")
        return self.statements.conn

    async def run(self, statement: sa.Executable, row: Row) -> int:
        """Run a statement that was built once, and return how many rows it touched."""
        return await self.statements.run(statement, row)

    async def first_time(self, consumer: str, message_id: str) -> bool:
        """Note a message as consumed; False when it was before, and then nothing may be done."""
        values = {"consumer": consumer, "message_id": message_id, "received_ms": self.now_ms}
        is_new = bool(await self.statements.run(_NOTE, values))
        if is_new:
            self.noted.append(values)
        return is_new

    async def finds(self, statement: sa.Select[Any], row: Row) -> bool:
        """Whether a query that was built once finds any row."""
        return await self.statements.finds(statement, row)

    async def emit(self, event: Event, wire: bytes | None = None) -> None:
        """Write a fact to the outbox; it is published after the commit. ``wire`` is its wire form, where the caller
        has it already."""
        row: dict[str, Any] = {
            "event_id": event.id,
            "subject": event.subject(self.realm),
            "stream": stream_of(type(event)).name_in(self.realm),
            "payload": event.to_wire() if wire is None else wire,
            "headers": self.headers,
        }
        sequence = await self.statements.add(_EMIT, {**row, "created_ms": self.now_ms})
        self.emitted.append(_OutboxRow(sequence, **row))


async def _patiently(log: Log, attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat what the broker or the database stands in the way of, until neither does."""
    while True:
        try:
            return await attempt()
        except (*DATABASE_ERRORS, Transient) as error:
            log.warning("outbox_waits", reason=str(error))
            await asyncio.sleep(RELAY_RETRY_S)


class Journal:
    """Transactions with inbox and outbox, and the relay that publishes what was committed."""

    def __init__(self, url: str, *, clock: Clock, log: Log, realm: str = "main", direct: bool = False) -> None:
        """``direct``: write to a SQLite file without SQLAlchemy in between (see ``runtime.statements``); the tables
        must exist when the first transaction begins. Without effect on PostgreSQL."""
        self.engine = make_engine(url)
        self._direct = direct and self.engine.dialect.name == "sqlite"
        self._direct_writer: SqliteWriter | None = None
        self._marker: SqliteMarker | None = None
        self._aside: SqliteMarker | None = None
        self._read_back = ReadBack(self.engine, log)
        self._unchecked_rows = 0
        self._clock = clock
        self._log = log
        self._realm = realm
        self._writer = asyncio.Lock()
        self._pruning = Pruning(self.engine, realm, self._writer, clock, log)
        self._queue: deque[_OutboxRow] = deque()
        self._sent: list[int] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._holders = 0
        self._free = asyncio.Event()
        self._free.set()

    @contextmanager
    def relay_held(self) -> Iterator[None]:
        """Publish nothing for a moment, at most ``RELAY_HELD_S``: what is done here is in more of a hurry."""
        self._holders += 1
        self._free.clear()
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._free.set()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """One write at a time; commits when the block ends without an error. ``Transient`` when the database is
        busy or gone, in which case nothing of the block holds: a commit that was not answered is read back first
        (``CommitUnknown`` when there is nothing to know it by)."""
        async with self._writer:
            tx: Tx | None = None
            is_complete = False
            try:
                async with self._begun() as statements:
                    tx = Tx(statements=statements, realm=self._realm, now_ms=self._clock.now_ms())
                    yield tx
                    is_complete = True
            except DATABASE_ERRORS as error:
                if not self._is_of_the_database(error, tx, is_complete=is_complete):
                    raise
                if tx is None or not is_complete or not await self._landed(tx, error):
                    raise Transient(f"the journal did not commit: {error}") from error
            if tx.emitted:
                # Still under the writer's lock, so rows are queued in the order of their commits.
                self._queue.extend(tx.emitted)
                self._idle.clear()
                self._wake.set()

    @staticmethod
    def _is_of_the_database(error: BaseException, tx: Tx | None, *, is_complete: bool) -> bool:
        """Whether an error is an outage of the database; one of the link may be the block's own while it runs."""
        is_in_block = tx is not None and not is_complete
        return is_outage(error) and not (is_in_block and isinstance(error, OSError))

    async def _landed(self, tx: Tx, error: BaseException) -> bool:
        """Whether a transaction holds whose commit ended in an error."""
        if tx.mark is None:
            raise CommitUnknown(f"the journal may or may not have committed: {error}") from error
        return await self._read_back.landed(tx.mark)

    def _sqlite(self) -> SqliteWriter:
        if self._direct_writer is None:
            self._direct_writer = SqliteWriter(self._path)
        return self._direct_writer

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[Statements]:
        if not self._direct:
            async with self.engine.begin() as conn:
                yield OnConnection(conn)
            return
        writer = self._sqlite()
        await writer.begin_when_free()
        with writer.begun():
            yield writer

    async def write_aside(self, statement: sa.Executable, row: Row) -> int:
        """One statement of bookkeeping, a transaction by itself; returns how many rows it touched. On SQLite neither
        the event loop nor this statement waits for the disk: it is as durable as the next transaction.

        It runs to its end also when whoever asked for it gives up. Raises what the database raises.
        """
        return await asyncio.shield(asyncio.ensure_future(self._write_aside(statement, row)))

    async def _write_aside(self, statement: sa.Executable, row: Row) -> int:
        if not self._direct:
            async with self.engine.begin() as conn:
                return (await conn.execute(statement, dict(row))).rowcount
        async with self._writer:
            aside = self._aside = self._aside or SqliteMarker(self._path)
            return await asyncio.to_thread(aside.run_one, in_sqlite_words(statement, row), row)

    @property
    def is_shared(self) -> bool:
        """Whether a process on another machine may go on with it: it is on a server, and no file of this machine."""
        return self.engine.dialect.name != "sqlite"

    @property
    def _path(self) -> str:
        return self.engine.url.database or ":memory:"

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read from, outside the writer's lock. ``Transient`` when the database is gone."""
        try:
            async with self.engine.connect() as conn:
                yield conn
        except DATABASE_ERRORS as error:
            if not is_outage(error):
                raise
            raise Transient(f"the journal could not be read: {error}") from error

    async def recover(self, chain_id: int | None = None) -> int:
        """Queue what was committed but not published before a stop, or by another process; returns how many facts
        that is. With ``chain_id`` only those of one chain. ``Transient`` when the database does not answer."""
        async with self.reading() as conn:
            rows = [_OutboxRow(*row) for row in await conn.execute(_UNSENT)]
        known = {row.sequence for row in self._queue} | set(self._sent)
        wanted = "" if chain_id is None else f"{self._realm}.{chain_id}."
        found = [row for row in rows if row.sequence not in known and row.subject.startswith(wanted)]
        self._queue.extend(found)
        if self._queue:
            self._idle.clear()
            self._wake.set()
        return len(found)

    async def relay(self, bus: Bus) -> None:
        """Publish the outbox for ever, in order; a row is marked only after the broker acknowledged it. A broker that
        lost what it stored is given everything again."""
        bus.on_link(self._wake.set)
        links = 0
        while True:
            if bus.links != links:
                links = await _patiently(self._log, lambda: self._take_up_lost(bus))
            while self._queue and bus.links == links:
                await self._until_free()
                await _patiently(self._log, lambda: self._publish(bus, self._queue[0]))
                self._sent.append(self._queue.popleft().sequence)
                if len(self._sent) >= MARK_SENT_AT:
                    await self._mark_sent()
            self._wake.clear()
            if bus.links != links:
                continue
            self._idle.set()
            try:
                # Marking and pruning are bookkeeping: done when nothing else waits, so as not to compete with trades.
                pause_s = MARK_SENT_AFTER_S if self._sent else self._pruning.pause_s
                await asyncio.wait_for(self._wake.wait(), pause_s)
            except TimeoutError:
                await self._mark_sent()
                await self._pruning.piece()

    async def _take_up_lost(self, bus: Bus) -> int:
        """Queue again, in order, what was published to a stream that the server has made since; returns the link that
        this was seen on. What was published on an earlier link and not marked goes out again under the same id."""
        links, made = bus.links, await ask_when_made(bus)
        async with self._writer:
            lost = await unmark(self.engine, self._realm, made, self._clock.now_ms())
            self._queue.clear()
            self._sent.clear()
            await self.recover()
        self._pruning.begin()
        if lost:
            self._log.warning("outbox_published_anew", facts=lost)
        return links

    async def _until_free(self) -> None:
        if self._free.is_set():
            return
        try:
            await asyncio.wait_for(self._free.wait(), RELAY_HELD_S)
        except TimeoutError:
            return

    async def _publish(self, bus: Bus, row: _OutboxRow) -> None:
        headers = orjson.loads(row.headers)
        await bus.publish_raw(row.subject, row.payload, event_id=row.event_id, stream=row.stream, headers=headers)

    async def _mark_sent(self) -> None:
        if not self._sent:
            return
        sent, self._sent = self._sent, []
        rows = [(self._clock.now_ms(), sequence) for sequence in sent]
        try:
            if self._direct:
                await self._mark_aside(rows)
            else:
                async with self._writer, self.engine.begin() as conn:
                    marked = outbox.update().where(outbox.c.sequence.in_(sent))
                    await conn.execute(marked.values(sent_ms=self._clock.now_ms()))
        except DATABASE_ERRORS as error:
            self._sent = sent + self._sent
            self._log.warning("outbox_not_marked", reason=str(error))

    async def _mark_aside(self, rows: list[tuple[int, int]]) -> None:
        """Mark, and now and then copy the write-ahead log back, in a thread: the event loop never waits for either."""
        marker = self._marker = self._marker or SqliteMarker(self._path)
        async with self._writer:
            await asyncio.to_thread(marker.run_many, _MARK, rows)
        self._unchecked_rows += len(rows)
        if self._unchecked_rows >= CHECKPOINT_ROWS:
            self._unchecked_rows = 0
            await asyncio.to_thread(marker.checkpoint)

    async def drained(self, timeout_s: float) -> bool:
        """Wait until everything committed is published; False when the time ran out."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    @property
    def unsent(self) -> int:
        """How many committed facts wait to be published."""
        return len(self._queue)

    async def stop(self) -> None:
        """Mark what was sent and close the database."""
        await self._mark_sent()
        await self.close()

    async def close(self) -> None:
        """Close the database without marking anything, as a process that dies would leave it."""
        for connection in (self._direct_writer, self._marker, self._aside):
            if connection is not None:
                connection.close()
        self._direct_writer = self._marker = self._aside = None
        await self.engine.dispose()
