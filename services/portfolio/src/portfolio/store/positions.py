"""Accounts, positions with their lots, daily results and triggered exits in SQL."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.gas_value import traded_as
from dexlane.domain.positions import Holdings, Lot, Origin, Position
from dexlane.events.execution import AccountOpened
from dexlane.events.portfolio import ExitReason
from dexlane.values.books import Lane, Mode
from dexlane.values.tokens import Token
from portfolio.store.tables import account_openings, daily_results, exits, lots, of_account, positions, put


class ExitState(StrEnum):
    """What became of a triggered exit. Only an OPEN one keeps its position from triggering another."""

    OPEN = "open"
    FILLED = "filled"
    FAILED = "failed"
    EXPIRED = "expired"


IN_VAIN = (ExitState.FAILED, ExitState.EXPIRED)


@dataclass(frozen=True, slots=True)
class AccountRef:
    """An account of a book, and what all its positions share."""

    book_id: str
    address: str
    chain_id: int
    lane: Lane
    mode: Mode
    quote: Token

    @property
    def traded_quote(self) -> Token:
        """The quote token as pools trade it: the native coin wrapped."""
        return self.quote.model_copy(update={"address": traded_as(self.chain_id, self.quote.address)})

    @property
    def key(self) -> dict[str, str]:
        """The account's columns in every table that has them."""
        return {"book_id": self.book_id, "address": self.address}


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """A position with its version."""

    account: AccountRef
    token: str
    version: int
    position: Position


@dataclass(frozen=True, slots=True)
class StoredExit:
    """A triggered exit and what became of it."""

    exit_id: str
    intent_id: str
    chain_id: int
    book_id: str
    address: str
    token: str
    position_version: int
    reason: str
    state: ExitState
    triggered_block: int


def _account(row: Any) -> AccountRef:
    quote = Token.model_validate_json(row.quote)
    return AccountRef(row.book_id, row.address, row.chain_id, Lane(row.lane), Mode(row.mode), quote)


class PositionStore:
    """Accounts, positions with their lots, daily results and exits, on one connection."""

    def __init__(self, conn: AsyncConnection) -> None:
        self._conn = conn

    async def open_account(self, event: AccountOpened, entry_id: str) -> None:
        """Note an opened account."""
        values = {
            "book_id": event.book_id,
            "address": event.account,
            "chain_id": event.chain_id,
            "lane": event.lane,
            "mode": event.mode,
            "quote": event.quote.model_dump_json(),
            "entry_id": entry_id,
            "exposure_version": 0,
            "results_version": 0,
        }
        await self._conn.execute(account_openings.insert().values(**values))

    async def accounts(self, chain_id: int | None = None) -> list[AccountRef]:
        """All opened accounts, of one chain or of all."""
        query = sa.select(account_openings)
        if chain_id is not None:
            query = query.where(account_openings.c.chain_id == chain_id)
        return [_account(row) for row in await self._conn.execute(query)]

    async def account(self, book_id: str, address: str) -> AccountRef | None:
        """An opened account; None when it was not opened yet."""
        query = sa.select(account_openings).where(of_account(account_openings, book_id, address))
        row = (await self._conn.execute(query)).one_or_none()
        return None if row is None else _account(row)

    async def next_exposure_version(self, account: AccountRef) -> int:
        """Count up and return the version of an account's next exposure."""
        this = of_account(account_openings, account.book_id, account.address)
        raised = account_openings.c.exposure_version + 1
        await self._conn.execute(account_openings.update().where(this).values(exposure_version=raised))
        query = sa.select(account_openings.c.exposure_version).where(this)
        return int((await self._conn.execute(query)).scalar_one())

    async def results_version(self, account: AccountRef) -> int:
        """The version of the exposure that told the results of an account last; 0 when they changed since."""
        this = of_account(account_openings, account.book_id, account.address)
        query = sa.select(account_openings.c.results_version).where(this)
        return int((await self._conn.execute(query)).scalar_one())

    async def tell_results(self, book_id: str, address: str, version: int = 0) -> None:
        """Note that an exposure tells the results of an account, or that the next one has to."""
        this = of_account(account_openings, book_id, address)
        await self._conn.execute(account_openings.update().where(this).values(results_version=version))

    async def position(self, book_id: str, address: str, token: str) -> StoredPosition | None:
        """One position; None when there never was one."""
        query = sa.select(positions).where(of_account(positions, book_id, address), positions.c.token == token)
        row = (await self._conn.execute(query)).one_or_none()
        return None if row is None else await self._stored(row)

    async def positions(self, book_id: str | None = None, address: str | None = None) -> list[StoredPosition]:
        """The positions of an account, or all."""
        query = sa.select(positions).order_by(positions.c.book_id, positions.c.address, positions.c.token)
        if book_id is not None and address is not None:
            query = query.where(of_account(positions, book_id, address))
        return [await self._stored(row) for row in (await self._conn.execute(query)).all()]

    async def held_by(self) -> set[tuple[str, str]]:
        """Book and address of every account that has a position."""
        rows = await self._conn.execute(sa.select(positions.c.book_id, positions.c.address).distinct())
        return {(row.book_id, row.address) for row in rows}

    async def held(self, chain_id: int) -> list[StoredPosition]:
        """The positions of one chain in which something is held."""
        query = sa.select(positions).where(positions.c.chain_id == chain_id, positions.c.quantity != 0)
        stored = [await self._stored(row) for row in (await self._conn.execute(query)).all()]
        return [position for position in stored if position.position.quantity > 0]

    async def holdings(self, book_id: str, address: str) -> Holdings:
        """Positions and daily results of one account."""
        stored = await self.positions(book_id, address)
        query = sa.select(daily_results).where(of_account(daily_results, book_id, address))
        by_day = {row.day: row.realised for row in await self._conn.execute(query)}
        quote = stored[0].account.quote.address if stored else None
        return Holdings({one.token: one.position for one in stored}, by_day, quote)

    async def save_position(self, account: AccountRef, token: str, position: Position) -> StoredPosition:
        """Write a position under its next version."""
        before = await self.position(account.book_id, account.address, token)
        version = 1 if before is None else before.version + 1
        key = {**account.key, "token": token}
        values = {
            "chain_id": account.chain_id,
            "lane": account.lane,
            "mode": account.mode,
            "quote": account.quote.model_dump_json(),
            "position_version": version,
            "strategy": position.strategy,
            "quantity": position.quantity,
            "cost": position.cost,
            "realised": position.realised,
            "cost_in": position.cost_in,
            "cost_sold": position.cost_sold,
        }
        await put(self._conn, positions, key, values)
        await self._conn.execute(
            lots.delete().where(of_account(lots, account.book_id, account.address), lots.c.token == token)
        )
        rows = [
            {**key, "ordinal": ordinal, "quantity": lot.quantity, "cost": lot.cost, **_origin_columns(lot.origin)}
            for ordinal, lot in enumerate(position.lots)
        ]
        if rows:
            await self._conn.execute(lots.insert(), rows)
        return StoredPosition(account, token, version, position)

    async def save_day(self, account: AccountRef, day: int, realised: int) -> None:
        """Write the realised result of a day."""
        await put(self._conn, daily_results, {**account.key, "day": day}, {"realised": realised})

    async def realised_on(self, account: AccountRef, day: int) -> int:
        """The realised result of a day, zero when there is none."""
        of_day = of_account(daily_results, account.book_id, account.address), daily_results.c.day == day
        return (await self._conn.execute(sa.select(daily_results.c.realised).where(*of_day))).scalar() or 0

    async def _stored(self, row: Any) -> StoredPosition:
        mine = of_account(lots, row.book_id, row.address), lots.c.token == row.token
        found = (await self._conn.execute(sa.select(lots).where(*mine).order_by(lots.c.ordinal))).all()
        origins = [Origin(lot.block_number, lot.occurred_at_ms, lot.strategy) for lot in found]
        position = Position(
            lots=tuple(Lot(lot.quantity, lot.cost, origin) for lot, origin in zip(found, origins, strict=True)),
            realised=row.realised,
            cost_in=row.cost_in,
            cost_sold=row.cost_sold,
            strategy=row.strategy,
        )
        return StoredPosition(_account(row), row.token, row.position_version, position)


class ExitStore:
    """Triggered exits, on one connection."""

    def __init__(self, conn: AsyncConnection) -> None:
        self._conn = conn

    async def add(self, triggered: StoredExit) -> None:
        """Note a triggered exit."""
        await self._conn.execute(exits.insert().values(**asdict(triggered)))

    async def of_intent(self, intent_id: str) -> StoredExit | None:
        """The exit that led to an intent; None when the intent is none of ours."""
        row = (await self._conn.execute(sa.select(exits).where(exits.c.intent_id == intent_id))).one_or_none()
        return None if row is None else _exit(row)

    async def open(self, chain_id: int) -> list[StoredExit]:
        """The exits of one chain of which nothing was heard yet."""
        query = sa.select(exits).where(exits.c.chain_id == chain_id, exits.c.state == ExitState.OPEN)
        return [_exit(row) for row in await self._conn.execute(query)]

    async def newest(self, chain_id: int, most: int) -> list[StoredExit]:
        """The exits of one chain that were triggered last, whatever became of them."""
        query = sa.select(exits).where(exits.c.chain_id == chain_id).order_by(exits.c.triggered_block.desc())
        return [_exit(row) for row in await self._conn.execute(query.limit(most))]

    async def count(self, account: AccountRef, token: str, reason: ExitReason, since_block: int) -> int:
        """How many exits of a position for a reason came to nothing, from a block on."""
        of_position = (exits.c.book_id == account.book_id, exits.c.address == account.address, exits.c.token == token)
        query = sa.select(sa.func.count()).where(
            *of_position,
            exits.c.reason == reason,
            exits.c.state.in_(IN_VAIN),
            exits.c.triggered_block >= since_block,
        )
        return int((await self._conn.execute(query)).scalar_one())

    async def in_vain(self, account: AccountRef, token: str, since_block: int) -> tuple[int, int]:
        """How many exits of a position came to nothing from a block on and since one was filled; the newest block."""
        of_position = (exits.c.book_id == account.book_id, exits.c.address == account.address, exits.c.token == token)
        filled = sa.select(sa.func.max(exits.c.position_version)).where(*of_position, exits.c.state == ExitState.FILLED)
        query = sa.select(sa.func.count(), sa.func.max(exits.c.triggered_block)).where(
            *of_position,
            exits.c.state.in_(IN_VAIN),
            exits.c.triggered_block >= since_block,
            exits.c.position_version > sa.func.coalesce(filled.scalar_subquery(), 0),
        )
        count, newest = (await self._conn.execute(query)).one()
        return int(count), int(newest or 0)

    async def settle(self, exit_id: str, state: ExitState) -> None:
        """Note what became of an exit."""
        await self._conn.execute(exits.update().where(exits.c.exit_id == exit_id).values(state=state))


def _exit(row: Any) -> StoredExit:
    return StoredExit(**{**row._mapping, "state": ExitState(row.state)})  # noqa: SLF001  (public in SQLAlchemy 2)


def _origin_columns(origin: Origin) -> dict[str, Any]:
    return {
        "block_number": origin.block_number,
        "occurred_at_ms": origin.occurred_at_ms,
        "strategy": origin.strategy,
    }
