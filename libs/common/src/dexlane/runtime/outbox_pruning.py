"""Last values in an outbox that newer ones have superseded: they are never published again, and go little by little."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from dexlane.events.streams import STREAMS
from dexlane.runtime.database import DATABASE_ERRORS
from dexlane.runtime.journal_tables import outbox
from dexlane.runtime.observability import Log

PIECE_ROWS = 200
"""So many rows go at once, under the writer's lock: no trade may wait long for it."""

_GOES = sa.delete(outbox).where(outbox.c.sequence == sa.bindparam("gone"))


class Pruning:
    """One round after the other over the outbox of one journal, in pieces.

    A row goes when it is of a stream that keeps one value of each subject, and both it and a later one of its subject
    were published. What is not marked as published stays, whatever came after it.
    """

    def __init__(self, engine: AsyncEngine, realm: str, writer: asyncio.Lock, log: Log) -> None:
        self._engine = engine
        self._writer = writer
        self._log = log
        streams = [spec.name_in(realm) for spec in STREAMS if spec.max_messages_per_subject == 1]
        self._published = outbox.c.stream.in_(streams), outbox.c.sent_ms.is_not(None)
        self._newest: dict[str, int] | None = None
        self._looked_at = 0
        self.is_due = False

    def begin(self) -> None:
        """Begin a round; ``piece`` goes on with it until nothing is due."""
        self._newest, self._looked_at, self.is_due = None, 0, True

    async def piece(self) -> None:
        """The next piece of a round. What the database stands in the way of is left to the next round."""
        if not self.is_due:
            return
        try:
            self.is_due = await self._piece()
        except DATABASE_ERRORS as error:
            self.is_due = False
            self._log.warning("outbox_not_pruned", reason=str(error))

    async def _piece(self) -> bool:
        """Whether there is more to do."""
        columns = outbox.c
        following = sa.select(columns.sequence, columns.subject).where(
            *self._published, columns.sequence > self._looked_at
        )
        async with self._engine.connect() as conn:
            if self._newest is None:
                each = sa.select(columns.subject, sa.func.max(columns.sequence)).where(*self._published)
                self._newest = {row[0]: row[1] for row in await conn.execute(each.group_by(columns.subject))}
            rows = (await conn.execute(following.order_by(columns.sequence).limit(PIECE_ROWS))).all()
        gone = [{"gone": row.sequence} for row in rows if row.sequence < self._newest.get(row.subject, 0)]
        if gone:
            async with self._writer, self._engine.begin() as conn:
                await conn.execute(_GOES, gone)
        self._looked_at = rows[-1].sequence if rows else 0
        return len(rows) == PIECE_ROWS
