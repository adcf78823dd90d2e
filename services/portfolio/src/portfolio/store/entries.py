"""Entries, balances and outcomes in SQL.

No database sums decimal text exactly, so sums are made in Python or kept running in ``balances``, which every posting
moves in its own transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.ledger import AccountKind, Entry, Fill, LedgerAccount, Outcome, OutcomeState, Posting
from dexlane.events.execution import AccountOpened, FillConfirmed, FillIncluded, FillReversed, IntentFailed
from dexlane.values.chains import BlockRef
from portfolio.store.tables import balances, entries, of_account, outcomes, postings, put

OUTCOME_TYPES: Mapping[str, type[Outcome]] = {
    kind.NAME: kind for kind in (FillIncluded, FillConfirmed, FillReversed, IntentFailed)
}


@dataclass(frozen=True)
class Movement:
    """What one standing entry moved at an address; ``cause_id`` is the intent, or the opening, which has no
    transaction."""

    cause_id: str
    event: str
    version: int
    block_number: int | None
    tx_hash: str | None
    amounts: dict[str, int] = field(default_factory=dict)


def _movement(row: sa.Row[Any]) -> Movement:
    if row.event is None:
        return Movement(row.cause_id, AccountOpened.NAME, row.version, row.block_number, None)
    outcome = OUTCOME_TYPES[row.event].from_wire(row.payload)
    return Movement(row.cause_id, row.event, row.version, row.block_number, outcome.tx_hash)


class EntryStore:
    """Entries, postings, balances and outcomes, on one connection."""

    def __init__(self, conn: AsyncConnection) -> None:
        self._conn = conn

    async def post(self, entry: Entry) -> None:
        """Write an entry and move the running balances."""
        row = {
            "id": entry.id,
            "chain_id": entry.chain_id,
            "book_id": entry.book_id,
            "address": entry.address,
            "cause_id": entry.cause_id,
            "version": entry.version,
            "block_number": None if entry.block is None else entry.block.number,
            "block_hash": None if entry.block is None else entry.block.hash,
            "occurred_at_ms": entry.occurred_at_ms,
            "reverses": entry.reverses,
        }
        await self._conn.execute(entries.insert().values(**row))
        if entry.postings:
            await self._post(entry)

    async def _post(self, entry: Entry) -> None:
        rows = [
            {"entry_id": entry.id, "ordinal": n, "path": p.account.path, "token": p.token, "amount": p.amount}
            for n, p in enumerate(entry.postings)
        ]
        await self._conn.execute(postings.insert(), rows)
        # An entry has one posting for each account and token, so each balance is moved once.
        touched = sa.or_(*(sa.and_(balances.c.path == r["path"], balances.c.token == r["token"]) for r in rows))
        before = await self._conn.execute(sa.select(balances).where(touched))
        held = {(row.path, row.token): row.amount for row in before}
        moved = [
            {"path": p.account.path, "token": p.token, "amount": held.get((p.account.path, p.token), 0) + p.amount}
            for p in entry.postings
        ]
        await self._conn.execute(balances.delete().where(touched))
        await self._conn.execute(balances.insert(), moved)

    async def balance(self, account: LedgerAccount, token: str) -> int:
        """The running balance."""
        query = sa.select(balances.c.amount).where(balances.c.path == account.path, balances.c.token == token)
        return (await self._conn.execute(query)).scalar() or 0

    async def running_balances(self, account: LedgerAccount | None = None) -> dict[tuple[str, str], int]:
        """Running balances by path and token, of one account or of all; zeros are left out."""
        query = sa.select(balances)
        if account is not None:
            query = query.where(balances.c.path == account.path)
        rows = (await self._conn.execute(query)).all()
        return {(row.path, row.token): row.amount for row in rows if row.amount != 0}

    async def summed_balances(
        self, up_to_block: int | None = None, *, zeros: bool = False
    ) -> dict[tuple[str, str], int]:
        """Balances by path and token as the sum of all postings dated at or before a block.

        Postings without a date count at every block. With ``zeros`` what came and is gone is there, too.
        """
        query = sa.select(postings.c.path, postings.c.token, postings.c.amount)
        if up_to_block is not None:
            dated = sa.or_(entries.c.block_number.is_(None), entries.c.block_number <= up_to_block)
            query = query.join(entries, entries.c.id == postings.c.entry_id).where(dated)
        sums: dict[tuple[str, str], int] = defaultdict(int)
        async for row in await self._conn.stream(query):
            sums[row.path, row.token] += row.amount
        return {key: amount for key, amount in sums.items() if zeros or amount != 0}

    async def movements(self, book_id: str, address: str, up_to_block: int) -> list[Movement]:
        """What every entry that stands, dated at or before a block, moved at an address, in the order of blocks."""
        taken_back = sa.select(entries.c.reverses).where(entries.c.reverses.is_not(None))
        dated = sa.or_(entries.c.block_number.is_(None), entries.c.block_number <= up_to_block)
        stands = sa.and_(entries.c.reverses.is_(None), entries.c.id.not_in(taken_back))
        query = (
            sa.select(entries, outcomes.c.event, outcomes.c.payload)
            .join(outcomes, sa.and_(outcomes.c.entry_id == entries.c.id, outcomes.c.holds.is_(sa.true())), isouter=True)
            .where(of_account(entries, book_id, address), dated, stands)
            .order_by(entries.c.block_number, entries.c.id)
        )
        found = {row.id: _movement(row) for row in await self._conn.execute(query)}
        path = LedgerAccount(AccountKind.ASSETS, book_id, address).path
        moved = sa.select(postings).join(entries, entries.c.id == postings.c.entry_id)
        moved = moved.where(of_account(entries, book_id, address), postings.c.path == path)
        for row in await self._conn.execute(moved):
            if row.entry_id in found:
                found[row.entry_id].amounts[row.token] = row.amount
        return list(found.values())

    async def booked_to_block(self) -> dict[tuple[str, str], int]:
        """The highest block of any entry, by book and address."""
        columns = (entries.c.book_id, entries.c.address)
        query = sa.select(*columns, sa.func.max(entries.c.block_number).label("block")).group_by(*columns)
        return {(row.book_id, row.address): row.block or 0 for row in await self._conn.execute(query)}

    async def outcome(self, intent_id: str) -> OutcomeState | None:
        """The outcome that holds for an intent; None when there is none yet."""
        query = sa.select(outcomes).where(outcomes.c.intent_id == intent_id, outcomes.c.holds.is_(sa.true()))
        row = (await self._conn.execute(query)).one_or_none()
        if row is None:
            return None
        entry = None if row.entry_id is None else await self._entry(row.entry_id)
        return OutcomeState(OUTCOME_TYPES[row.event].from_wire(row.payload), entry)

    async def save_outcome(self, state: OutcomeState) -> None:
        """Make this the outcome that holds for its intent; older versions stay as history."""
        event = state.event
        of_intent = outcomes.c.intent_id == event.intent_id
        await self._conn.execute(outcomes.update().where(of_intent).values(holds=False))
        key = {"intent_id": event.intent_id, "outcome_version": event.outcome_version}
        values = {
            "event": event.NAME,
            "final": state.final,
            "holds": True,
            "entry_id": None if state.entry is None else state.entry.id,
            "book_id": event.book_id,
            "address": event.account,
            "block_number": None if event.block is None else event.block.number,
            "payload": event.to_wire().decode(),
        }
        await put(self._conn, outcomes, key, values)

    async def standing_fills(self, book_id: str, address: str) -> list[Fill]:
        """All fills of an account that hold."""
        kinds = [FillIncluded.NAME, FillConfirmed.NAME]
        holding = (outcomes.c.holds.is_(sa.true()), outcomes.c.event.in_(kinds))
        query = sa.select(outcomes).where(of_account(outcomes, book_id, address), *holding)
        events = [OUTCOME_TYPES[row.event].from_wire(row.payload) for row in await self._conn.execute(query)]
        return [event for event in events if isinstance(event, Fill)]

    async def accounts(self) -> set[tuple[str, str]]:
        """Book and address of every account of which an outcome was told."""
        rows = await self._conn.execute(sa.select(outcomes.c.book_id, outcomes.c.address).distinct())
        return {(row.book_id, row.address) for row in rows}

    async def newest_fill_block(self, book_id: str, address: str) -> int:
        """The highest block of an account's fills that hold; -1 when there is none."""
        kinds = [FillIncluded.NAME, FillConfirmed.NAME]
        query = sa.select(sa.func.max(outcomes.c.block_number)).where(
            of_account(outcomes, book_id, address), outcomes.c.holds.is_(sa.true()), outcomes.c.event.in_(kinds)
        )
        newest = (await self._conn.execute(query)).scalar()
        return -1 if newest is None else int(newest)

    async def not_final(self) -> int:
        """How many outcomes that hold are not final yet."""
        query = sa.select(sa.func.count()).where(outcomes.c.holds.is_(sa.true()), outcomes.c.final.is_(sa.false()))
        return int((await self._conn.execute(query)).scalar_one())

    async def counts(self) -> tuple[int, int]:
        """The numbers of entries and of postings."""
        query = [sa.select(sa.func.count()).select_from(table) for table in (entries, postings)]
        entry_count, posting_count = [(await self._conn.execute(count)).scalar_one() for count in query]
        return int(entry_count), int(posting_count)

    async def _entry(self, entry_id: str) -> Entry:
        row = (await self._conn.execute(sa.select(entries).where(entries.c.id == entry_id))).one()
        query = sa.select(postings).where(postings.c.entry_id == entry_id).order_by(postings.c.ordinal)
        block = None if row.block_number is None else BlockRef(number=row.block_number, hash=row.block_hash)
        return Entry(
            id=row.id,
            chain_id=row.chain_id,
            book_id=row.book_id,
            address=row.address,
            cause_id=row.cause_id,
            version=row.version,
            block=block,
            occurred_at_ms=row.occurred_at_ms,
            postings=tuple(
                Posting(LedgerAccount.parse(p.path), p.token, p.amount) for p in await self._conn.execute(query)
            ),
            reverses=row.reverses,
        )
