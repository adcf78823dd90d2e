"""What nobody will ever publish again leaves the outbox little by little: last values that newer ones have superseded,
and facts that are too old for their stream."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from dexlane.events.streams import STREAMS
from dexlane.runtime.clock import Clock
from dexlane.runtime.database import DATABASE_ERRORS
from dexlane.runtime.journal_tables import outbox
from dexlane.runtime.observability import Log

EVERY_S = 3_600
"""So long after its beginning a round is followed by the next one."""
PIECE_ROWS = 200
"""So many rows go at once, under the writer's lock: no trade may wait long for it."""
PIECE_PAUSE_S = 0.1

_GOES = sa.delete(outbox).where(outbox.c.sequence == sa.bindparam("gone"))
_AGES_MS = {spec.name: spec.max_age_s * 1_000 for spec in STREAMS if spec.max_age_s}


@cache
def _newest(realm: str) -> sa.Select[Any]:
    """Of every subject that has a last value, the newest row that was published. Built once, as is what follows."""
    newest = sa.select(outbox.c.subject, sa.func.max(outbox.c.sequence)).where(*_is_last_value(realm))
    return newest.group_by(outbox.c.subject)


@cache
def _following(realm: str) -> sa.Select[Any]:
    """Published rows after one that may go, and whether they are too old for their stream: ``lost_streams`` publishes
    nothing so old."""
    columns = outbox.c
    too_old = [
        sa.and_(columns.stream == spec.name_in(realm), columns.created_ms < sa.bindparam(spec.name))
        for spec in STREAMS
        if spec.name in _AGES_MS
    ]
    is_too_old = sa.or_(*too_old)
    may_go = sa.or_(sa.and_(*_is_last_value(realm)), sa.and_(columns.sent_ms.is_not(None), is_too_old))
    found = sa.select(columns.sequence, columns.subject, is_too_old.label("is_too_old"))
    return found.where(may_go, columns.sequence > sa.bindparam("after")).order_by(columns.sequence)


def _is_last_value(realm: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    streams = [spec.name_in(realm) for spec in STREAMS if spec.max_messages_per_subject == 1]
    return outbox.c.stream.in_(streams), outbox.c.sent_ms.is_not(None)


class Pruning:
    """One round after the other over the outbox of one journal, in pieces.

    A row goes when it was published and is never published again: because its stream keeps one value of each subject
    and a later one was published, or because it is older than its stream keeps anything. What is not marked as
    published stays, whatever came after it.
    """

    def __init__(self, engine: AsyncEngine, realm: str, writer: asyncio.Lock, clock: Clock, log: Log) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock
        self._log = log
        self._realm = realm
        self._newest: dict[str, int] | None = None
        self._looked_at = 0
        self._next_ns = clock.monotonic_ns() + EVERY_S * 10**9
        self.is_under_way = False

    def begin(self) -> None:
        """Begin a round; ``piece`` goes on with it to its end."""
        self._newest, self._looked_at, self.is_under_way = None, 0, True
        self._next_ns = self._clock.monotonic_ns() + EVERY_S * 10**9

    @property
    def pause_s(self) -> float:
        """How long to wait for the next piece."""
        return PIECE_PAUSE_S if self.is_under_way else max(0, self._next_ns - self._clock.monotonic_ns()) / 10**9

    async def piece(self) -> None:
        """The next piece of a round; the first of a new one when its time has come. What the database stands in the
        way of is left to the next round."""
        if not self.is_under_way and self._clock.monotonic_ns() < self._next_ns:
            return
        if not self.is_under_way:
            self.begin()
        try:
            self.is_under_way = await self._piece()
        except DATABASE_ERRORS as error:
            self.is_under_way = False
            self._log.warning("outbox_not_pruned", reason=str(error))

    async def _piece(self) -> bool:
        """Whether there is more to do."""
        now_ms = self._clock.now_ms()
        before = {name: now_ms - age_ms for name, age_ms in _AGES_MS.items()}
        async with self._engine.connect() as conn:
            if self._newest is None:
                self._newest = {row[0]: row[1] for row in await conn.execute(_newest(self._realm))}
            rows = (
                await conn.execute(_following(self._realm).limit(PIECE_ROWS), {**before, "after": self._looked_at})
            ).all()
        newest = self._newest
        gone = [{"gone": row.sequence} for row in rows if row.is_too_old or row.sequence < newest.get(row.subject, 0)]
        if gone:
            async with self._writer, self._engine.begin() as conn:
                await conn.execute(_GOES, gone)
        self._looked_at = rows[-1].sequence if rows else 0
        return len(rows) == PIECE_ROWS
