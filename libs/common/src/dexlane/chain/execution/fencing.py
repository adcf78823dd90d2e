"""Two instances of one executor, one acts: a lease in the journal's database, and transactions that name its epoch.

The lease says who begins to act and when to stop; by itself it does not stop a process that was frozen between looking
and writing. Therefore every transaction of an executor first asks, in the same transaction, whether the row of the
lease still bears its name and epoch. On SQLite the transaction holds the file's lock from its beginning; on PostgreSQL
the question locks the row, so that a takeover is either before it or after its commit. After a stale answer nothing is
written, and the process gives up its place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.chain.execution.tables import leases
from dexlane.runtime.database import DATABASE_ERRORS, is_outage
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import CommitUnknown, Journal, Tx
from dexlane.runtime.lease import Conflict, Entry, Lease

_LOOK = sa.select(leases).where(
    leases.c.service == sa.bindparam("of_service"), leases.c.chain_id == sa.bindparam("of_chain")
)
_TAKE = sa.text(
    "INSERT INTO execution_leases (service, chain_id, holder, epoch, ttl_ms, revision)"
    " VALUES (:service, :chain_id, :holder, :epoch, :ttl_ms, :next) ON CONFLICT DO NOTHING"
)
_REPLACE = (
    leases.update()
    .where(
        leases.c.service == sa.bindparam("of_service"),
        leases.c.chain_id == sa.bindparam("of_chain"),
        leases.c.revision == sa.bindparam("last"),
    )
    .values(
        holder=sa.bindparam("holder"),
        epoch=sa.bindparam("epoch"),
        ttl_ms=sa.bindparam("ttl_ms"),
        revision=sa.bindparam("next"),
    )
)
_IS_OURS = (
    sa.select(leases.c.revision)
    .where(
        leases.c.service == sa.bindparam("of_service"),
        leases.c.chain_id == sa.bindparam("of_chain"),
        leases.c.epoch == sa.bindparam("epoch"),
        leases.c.holder == sa.bindparam("holder"),
    )
    .with_for_update(read=True)
)
"""Built once: it is asked in every transaction of a trade. SQLite knows no row locks and leaves that part out."""


class Deposed(Transient):
    """Another instance of this executor acts, or may act; what was under way here is left to it."""


@dataclass(frozen=True, slots=True)
class LeaseKey:
    """Whose right to act a lease is: a service on a chain."""

    service: str
    chain_id: int


class JournalLeaseStore:
    """The lease as a row of the executor's own journal; implements ``dexlane.runtime.lease.LeaseStore``."""

    def __init__(self, journal: Journal, key: LeaseKey) -> None:
        self._journal = journal
        self._key = key

    async def read(self) -> Entry | None:
        """The entry, or None."""
        key = {"of_service": self._key.service, "of_chain": self._key.chain_id}
        try:
            async with self._journal.reading() as conn:
                row = (await conn.execute(_LOOK, key)).first()
        except Transient as error:
            raise OSError(str(error)) from error
        return None if row is None else Entry(row.holder, row.epoch, row.ttl_ms, row.revision)

    async def write(self, entry: Entry) -> int:
        """Replace the revision that ``entry`` names (zero: there is none)."""
        key, revision = self._key, entry.revision + 1
        row = {"holder": entry.holder, "epoch": entry.epoch, "ttl_ms": entry.ttl_ms, "next": revision}
        try:
            if entry.revision == 0:
                written = await self._journal.write_aside(
                    _TAKE, {"service": key.service, "chain_id": key.chain_id, **row}
                )
            else:
                last = {"of_service": key.service, "of_chain": key.chain_id, "last": entry.revision}
                written = await self._journal.write_aside(_REPLACE, {**last, **row})
        except DATABASE_ERRORS as error:
            raise _unreachable(error) from error
        if not written:
            raise Conflict(f"the lease of {key.service} on chain {key.chain_id} was written by somebody else")
        return revision


def _unreachable(error: Exception) -> Exception:
    return OSError(str(error)) if is_outage(error) else error


class Term:
    """One holding of the lease, from the takeover to its end. What was begun in a term ends with it: a later term of
    the same process has another epoch and builds everything anew from the journal."""

    def __init__(self, lease: Lease, key: LeaseKey) -> None:
        self.key = key
        self.epoch = lease.epoch
        self.holder = lease.holder
        self._lease = lease
        self._is_over = False
        self._row = {
            "of_service": key.service,
            "of_chain": key.chain_id,
            "epoch": lease.epoch,
            "holder": lease.holder,
        }

    @property
    def runs(self) -> bool:
        """Whether this process may act, by its own clock."""
        return not self._is_over and self._lease.held and self._lease.epoch == self.epoch

    def require(self) -> None:
        """``Deposed`` when the term is over."""
        if not self.runs:
            raise self._deposed()

    def end(self) -> None:
        """Act no more in this term, and let go of the lease: somebody takes it up again from the journal."""
        self._is_over = True
        if self._lease.epoch == self.epoch:
            self._lease.resign()

    def followed(self) -> Deposed:
        """The signer knows a later epoch, so this term is over: another instance acts, or the lease is read from a
        journal that is older than the signer's record, and a few terms on its numbers are past those."""
        self.end()
        return self._deposed()

    async def prove(self, tx: Tx) -> None:
        """Ask the database within a transaction; ``Deposed``, and the end of the term, when the row is not ours."""
        if not await tx.finds(_IS_OURS, self._row):
            self.end()
            raise self._deposed()

    def _deposed(self) -> Deposed:
        key = self.key
        return Deposed(f"epoch {self.epoch} of {key.service} on chain {key.chain_id} is over: another instance acts")


class FencedJournal:
    """The journal as an executor sees it in one term: no transaction of it commits after the term."""

    def __init__(self, journal: Journal, term: Term) -> None:
        self.term = term
        self._journal = journal

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """As ``Journal.transaction``. ``Deposed``, with nothing written, when another instance has the lease or this
        one's is running out."""
        self.term.require()
        try:
            async with self._journal.transaction() as tx:
                await self.term.prove(tx)
                yield tx
        except CommitUnknown:
            self.term.end()  # whoever acts next reads what really is in the journal
            raise

    @property
    def is_shared(self) -> bool:
        """As ``Journal.is_shared``."""
        return self._journal.is_shared

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """As ``Journal.reading``."""
        return self._journal.reading()

    def relay_held(self) -> AbstractContextManager[None]:
        """As ``Journal.relay_held``."""
        return self._journal.relay_held()
