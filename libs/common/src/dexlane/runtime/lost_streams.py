"""Which facts of an outbox a broker has lost: those published before their stream was made."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dexlane.events.streams import STREAMS, StreamSpec
from dexlane.runtime.bus import Bus
from dexlane.runtime.journal_tables import outbox

MADE_MARGIN_MS = 5_000
"""What was published so shortly after its stream was made counts as published before: clocks of machines differ, and
twice does no harm."""

Made = Mapping[str, int]
"""When each stream was made, by its name; Unix milliseconds."""


_EARLIEST = sa.select(outbox.c.stream, sa.func.min(outbox.c.sent_ms)).group_by(outbox.c.stream)
"""Built once: every start asks it, and hardly ever does anything follow."""


async def ask_when_made(bus: Bus) -> Made:
    """Ask the broker. ``Transient`` while a stream is missing, or without an answer."""
    return {spec.name: await bus.made_ms(spec.name_in(bus.realm)) for spec in STREAMS}


async def unmark(engine: AsyncEngine, realm: str, made: Made, now_ms: int) -> int:
    """Make unsent what was lost; returns how many facts that is. Raises what the database raises."""
    async with engine.connect() as conn:
        earliest = {stream: sent_ms for stream, sent_ms in await conn.execute(_EARLIEST) if sent_ms is not None}
    sent = {spec: earliest[spec.name_in(realm)] for spec in STREAMS if spec.name_in(realm) in earliest}
    doubtful = [spec for spec, sent_ms in sent.items() if sent_ms < made[spec.name] + MADE_MARGIN_MS]
    if not doubtful:
        return 0
    async with engine.begin() as conn:
        return sum([await _unmark(conn, spec, realm, (made[spec.name], now_ms)) for spec in doubtful])


async def _unmark(conn: AsyncConnection, spec: StreamSpec, realm: str, times_ms: tuple[int, int]) -> int:
    """Of a last-value subject the newest alone, and nothing that the stream would be too old for."""
    made_ms, now_ms = times_ms
    columns = outbox.c
    before = [columns.stream == spec.name_in(realm), columns.sent_ms < made_ms + MADE_MARGIN_MS]
    if spec.max_age_s:
        before.append(columns.created_ms >= now_ms - spec.max_age_s * 1_000)
    if spec.max_messages_per_subject == 1:
        newest = sa.select(sa.func.max(columns.sequence)).where(before[0]).group_by(columns.subject)
        before.append(columns.sequence.in_(newest))
    return (await conn.execute(outbox.update().where(*before).values(sent_ms=None))).rowcount
