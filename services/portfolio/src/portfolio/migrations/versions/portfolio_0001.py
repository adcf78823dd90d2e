"""The ledger: entries, postings, balances, outcomes, accounts, positions, lots, daily results, exits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "portfolio_0001"
down_revision = None
branch_labels = ("portfolio",)
depends_on = "journal_0001"


def _amounts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _account() -> list[sa.Column[str]]:
    return [
        sa.Column("book_id", sa.String(32), primary_key=True),
        sa.Column("address", sa.String(42), primary_key=True),
    ]


def upgrade() -> None:
    """Create all tables."""
    _create_ledger()
    _create_outcomes()
    _create_positions()
    _create_exits()


def _create_ledger() -> None:
    op.create_table(
        "entries",
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
    op.create_index("entries_block", "entries", ["block_number"])
    op.create_table(
        "postings",
        sa.Column("entry_id", sa.String(32), sa.ForeignKey("entries.id"), primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True),
        sa.Column("path", sa.String(128), nullable=False),
        sa.Column("token", sa.String(42), nullable=False),
        *_amounts("amount"),
    )
    op.create_table(
        "balances",
        sa.Column("path", sa.String(128), primary_key=True),
        sa.Column("token", sa.String(42), primary_key=True),
        *_amounts("amount"),
    )


def _create_outcomes() -> None:
    op.create_table(
        "outcomes",
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
    op.create_index("outcomes_account", "outcomes", ["book_id", "address", "block_number"])
    op.create_table(
        "account_openings",
        *_account(),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("lane", sa.String(8), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("quote", sa.Text, nullable=False),
        sa.Column("entry_id", sa.String(32), sa.ForeignKey("entries.id"), nullable=False),
        sa.Column("exposure_version", sa.Integer, nullable=False),
    )


def _create_positions() -> None:
    op.create_table(
        "positions",
        *_account(),
        sa.Column("token", sa.String(42), primary_key=True),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("lane", sa.String(8), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("quote", sa.Text, nullable=False),
        sa.Column("position_version", sa.Integer, nullable=False),
        sa.Column("strategy", sa.String(48), nullable=False),
        *_amounts("quantity", "cost", "realised", "cost_in", "cost_sold"),
    )
    op.create_table(
        "lots",
        *_account(),
        sa.Column("token", sa.String(42), primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True),
        sa.Column("block_number", sa.BigInteger, nullable=True),
        sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
        sa.Column("strategy", sa.String(48), nullable=False),
        *_amounts("quantity", "cost"),
    )
    op.create_table("daily_results", *_account(), sa.Column("day", sa.Integer, primary_key=True), *_amounts("realised"))


def _create_exits() -> None:
    op.create_table(
        "exits",
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
    op.create_index("exits_open", "exits", ["chain_id", "state"])


def downgrade() -> None:
    """Drop all tables, children first."""
    for table in (
        *("exits", "daily_results", "lots", "positions", "account_openings"),
        *("outcomes", "balances", "postings", "entries"),
    ):
        op.drop_table(table)
