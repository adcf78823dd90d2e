"""The journal tables of paper-sim. Amounts and structured values are text; one process writes them."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.simulation import OwnImpact, PaperWorld
from dexlane.events.execution import AccountOpened
from dexlane.values.chains import BlockRef
from paper_sim.trades import PaperTrade, Status

metadata = sa.MetaData()
paper_account = sa.Table(
    "paper_account",
    metadata,
    sa.Column("account", sa.String(42), primary_key=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("book_id", sa.String(32), nullable=False),
    sa.Column("lane", sa.String(8), nullable=False),
)
paper_balance = sa.Table(
    "paper_balance",
    metadata,
    sa.Column("account", sa.String(42), primary_key=True),
    sa.Column("token", sa.String(42), primary_key=True),
    sa.Column("amount", sa.Text, nullable=False),
)
paper_trade = sa.Table(
    "paper_trade",
    metadata,
    sa.Column("intent_id", sa.String(32), primary_key=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("trade", sa.Text, nullable=False),
)
paper_impact = sa.Table(
    "paper_impact",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("book_id", sa.String(32), primary_key=True),
    sa.Column("pool", sa.String(42), primary_key=True),
    sa.Column("impact", sa.Text, nullable=False),
)
paper_cursor = sa.Table(
    "paper_cursor",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(66), nullable=False),
)


async def load_trades(conn: AsyncConnection, chain_id: int) -> list[PaperTrade]:
    """Every trade that is not closed, in the order of acceptance."""
    columns = paper_trade.c
    open_ones = sa.select(columns.trade).where(columns.chain_id == chain_id, columns.status != Status.CLOSED)
    rows = await conn.execute(open_ones.order_by(columns.ordinal))
    return [PaperTrade.model_validate_json(row.trade) for row in rows]


async def next_ordinal(conn: AsyncConnection, chain_id: int) -> int:
    """One more than the highest ordinal ever given on a chain."""
    highest = sa.select(sa.func.max(paper_trade.c.ordinal)).where(paper_trade.c.chain_id == chain_id)
    return int((await conn.execute(highest)).scalar() or 0) + 1


async def save_trades(conn: AsyncConnection, trades: Iterable[PaperTrade]) -> None:
    """Write trades as they now are."""
    for trade in trades:
        row = {
            "intent_id": trade.intent.id,
            "chain_id": trade.intent.chain_id,
            "ordinal": trade.ordinal,
            "status": trade.status.value,
            "trade": trade.model_dump_json(),
        }
        await _replace(conn, paper_trade, row)


async def load_world(conn: AsyncConnection, chain_id: int) -> PaperWorld:
    """Balances and own impacts of the accounts of a chain."""
    of_chain = sa.select(paper_balance).join(paper_account, paper_account.c.account == paper_balance.c.account)
    balances = await conn.execute(of_chain.where(paper_account.c.chain_id == chain_id))
    impacts = await conn.execute(sa.select(paper_impact).where(paper_impact.c.chain_id == chain_id))
    return PaperWorld(
        {(row.account, row.token): int(row.amount) for row in balances},
        {(row.book_id, row.pool): OwnImpact.model_validate_json(row.impact) for row in impacts},
    )


async def save_world(conn: AsyncConnection, chain_id: int, before: PaperWorld, after: PaperWorld) -> None:
    """Write what differs between two worlds."""
    for (account, token), amount in after.balances.items():
        if before.balances.get((account, token)) != amount:
            await _replace(conn, paper_balance, {"account": account, "token": token, "amount": str(amount)})
    columns = paper_impact.c
    for book_id, pool in before.impacts.keys() - after.impacts.keys():
        gone = (columns.chain_id == chain_id, columns.book_id == book_id, columns.pool == pool)
        await conn.execute(paper_impact.delete().where(*gone))
    for (book_id, pool), impact in after.impacts.items():
        if before.impacts.get((book_id, pool)) is not impact:
            key = {"chain_id": chain_id, "book_id": book_id, "pool": pool}
            await _replace(conn, paper_impact, {**key, "impact": impact.model_dump_json()})


async def load_accounts(conn: AsyncConnection, chain_id: int) -> set[str]:
    """Every account that was opened on a chain."""
    rows = await conn.execute(sa.select(paper_account.c.account).where(paper_account.c.chain_id == chain_id))
    return {row.account for row in rows}


async def save_account(conn: AsyncConnection, opened: AccountOpened) -> None:
    """Write a new account; its balances are written with the world."""
    row = {
        "account": opened.account,
        "chain_id": opened.chain_id,
        "book_id": opened.book_id,
        "lane": opened.lane.value,
    }
    await conn.execute(paper_account.insert().values(**row))


async def load_cursor(conn: AsyncConnection, chain_id: int) -> BlockRef | None:
    """The last block whose effects were written."""
    row = (await conn.execute(sa.select(paper_cursor).where(paper_cursor.c.chain_id == chain_id))).first()
    return None if row is None else BlockRef(number=row.number, hash=row.hash)


async def save_cursor(conn: AsyncConnection, chain_id: int, block: BlockRef) -> None:
    """Remember up to which block the effects are written."""
    await _replace(conn, paper_cursor, {"chain_id": chain_id, "number": block.number, "hash": block.hash})


async def _replace(conn: AsyncConnection, table: sa.Table, row: dict[str, object]) -> None:
    """Insert a row or overwrite the one with its key; one statement that SQLite and PostgreSQL both read."""
    keys = [column.name for column in table.primary_key]
    names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    changes = ", ".join(f"{name} = excluded.{name}" for name in row if name not in keys)
    statement = f"INSERT INTO {table.name} ({names}) VALUES ({values})"  # noqa: S608  names of our own tables
    await conn.execute(sa.text(f"{statement} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"), row)
