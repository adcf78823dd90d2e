"""Breakers in the journal of a money service: states, and the facts beside them in the outbox."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.breakers.machine import BreakerState
from dexlane.runtime.breaker_board import BreakerBoard, Told
from dexlane.runtime.journal import Tx
from dexlane.runtime.journal_tables import breakers

_PUT = sa.text(
    "INSERT INTO breakers (chain_id, source, state) VALUES (:chain_id, :source, :state)"
    " ON CONFLICT (chain_id, source) DO UPDATE SET state = excluded.state"
)


class Writes(Protocol):
    """A journal, whole or as one term of an executor sees it."""

    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        """One transaction."""
        ...


async def load_states(conn: AsyncConnection, chain_id: int) -> list[BreakerState]:
    """The breakers that a journal holds."""
    rows = await conn.execute(sa.select(breakers.c.state).where(breakers.c.chain_id == chain_id))
    return [BreakerState.model_validate_json(row.state) for row in rows]


async def tend(board: BreakerBoard, chain_id: int, journal: Writes) -> None:
    """Let a board look at the clock, and store what is new. ``Transient`` when the journal does not commit; then it is
    stored the next time."""
    board.judge()
    told = board.changes()
    if told:
        async with journal.transaction() as tx:
            await _save(tx, chain_id, told)
        board.stored(told)


async def _save(tx: Tx, chain_id: int, told: Iterable[Told]) -> None:
    for one in told:
        row = {"chain_id": chain_id, "source": one.state.source, "state": one.state.model_dump_json()}
        await tx.run(_PUT, row)
        for event in one.events:
            await tx.emit(event)
