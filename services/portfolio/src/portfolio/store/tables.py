"""The tables of the ledger.

Amounts are decimal text, because tokens exceed 64 bits and no database may round money.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection


class AmountText(sa.types.TypeDecorator[int]):
    """An integer of any size as decimal text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> str | None:
        """To the database."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> int | None:
        """From the database."""
        return None if value is None else int(value)


metadata = sa.MetaData()


def _account_columns() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("book_id", sa.String(32), primary_key=True), sa.Column("address", sa.String(42), primary_key=True)


def _amounts(*names: str) -> tuple[sa.Column[int], ...]:
    return tuple(sa.Column(name, AmountText, nullable=False) for name in names)


entries = sa.Table(
    "entries",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("book_id", sa.String(32), nullable=False),
    sa.Column("address", sa.String(42), nullable=False),
    sa.Column("cause_id", sa.String(32), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("block_number", sa.BigInteger, nullable=True),
    sa.Column("block_hash", sa.String(66), nullable=True),
    sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
    sa.Column("reverses", sa.String(32), sa.ForeignKey("entries.id"), nullable=True, unique=True),
)
postings = sa.Table(
    "postings",
    metadata,
    sa.Column("entry_id", sa.String(32), sa.ForeignKey("entries.id"), primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True),
    sa.Column("path", sa.String(128), nullable=False),
    sa.Column("token", sa.String(42), nullable=False),
    *_amounts("amount"),
)
balances = sa.Table(
    "balances",
    metadata,
    sa.Column("path", sa.String(128), primary_key=True),
    sa.Column("token", sa.String(42), primary_key=True),
    *_amounts("amount"),
)
outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("intent_id", sa.String(32), primary_key=True),
    sa.Column("outcome_version", sa.Integer, primary_key=True),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("final", sa.Boolean, nullable=False),
    sa.Column("holds", sa.Boolean, nullable=False),
    sa.Column("entry_id", sa.String(32), sa.ForeignKey("entries.id"), nullable=True),
    sa.Column("book_id", sa.String(32), nullable=False),
    sa.Column("address", sa.String(42), nullable=False),
    sa.Column("block_number", sa.BigInteger, nullable=True),
    sa.Column("payload", sa.Text, nullable=False),
)
account_openings = sa.Table(
    "account_openings",
    metadata,
    *_account_columns(),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("lane", sa.String(8), nullable=False),
    sa.Column("mode", sa.String(8), nullable=False),
    sa.Column("quote", sa.Text, nullable=False),
    sa.Column("entry_id", sa.String(32), sa.ForeignKey("entries.id"), nullable=False),
    sa.Column("exposure_version", sa.Integer, nullable=False),
    sa.Column("results_version", sa.Integer, nullable=False),
)
positions = sa.Table(
    "positions",
    metadata,
    *_account_columns(),
    sa.Column("token", sa.String(42), primary_key=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("lane", sa.String(8), nullable=False),
    sa.Column("mode", sa.String(8), nullable=False),
    sa.Column("quote", sa.Text, nullable=False),
    sa.Column("position_version", sa.Integer, nullable=False),
    sa.Column("strategy", sa.String(48), nullable=False),
    *_amounts("quantity", "cost", "realised", "cost_in", "cost_sold"),
)
lots = sa.Table(
    "lots",
    metadata,
    *_account_columns(),
    sa.Column("token", sa.String(42), primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True),
    sa.Column("block_number", sa.BigInteger, nullable=True),
    sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
    sa.Column("strategy", sa.String(48), nullable=False),
    *_amounts("quantity", "cost"),
)
daily_results = sa.Table(
    "daily_results",
    metadata,
    *_account_columns(),
    sa.Column("day", sa.Integer, primary_key=True),
    *_amounts("realised"),
)
trades = sa.Table(
    "trades",
    metadata,
    sa.Column("intent_id", sa.String(32), primary_key=True),
    sa.Column("book_id", sa.String(32), nullable=False),
    sa.Column("address", sa.String(42), nullable=False),
    sa.Column("purpose", sa.String(16), nullable=False),
    sa.Column("token", sa.String(42), nullable=True),
    sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
    *_amounts("realised"),
    sa.Column("return_bps", sa.BigInteger, nullable=True),
    sa.Column("is_good", sa.Boolean, nullable=False),
)
exits = sa.Table(
    "exits",
    metadata,
    sa.Column("exit_id", sa.String(32), primary_key=True),
    sa.Column("intent_id", sa.String(32), nullable=False, unique=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("book_id", sa.String(32), nullable=False),
    sa.Column("address", sa.String(42), nullable=False),
    sa.Column("token", sa.String(42), nullable=False),
    sa.Column("position_version", sa.Integer, nullable=False),
    sa.Column("reason", sa.String(16), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("triggered_block", sa.BigInteger, nullable=False),
)


def of_account(table: sa.Table, book_id: str, address: str) -> sa.ColumnElement[bool]:
    """The condition that selects one account of one book."""
    return sa.and_(table.c.book_id == book_id, table.c.address == address)


async def put(conn: AsyncConnection, table: sa.Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Update the row with that key, or insert it; there is one writer, so nothing comes between."""
    matching = [table.c[name] == value for name, value in key.items()]
    changed = await conn.execute(table.update().where(*matching).values(**values))
    if changed.rowcount == 0:
        await conn.execute(table.insert().values(**key, **values))
