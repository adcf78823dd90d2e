"""Paper accounts, balances, trades, own impacts and the block cursor."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "paper_sim_0001"
down_revision = None
branch_labels = ("paper_sim",)
depends_on = "journal_0001"


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "paper_account",
        sa.Column("account", sa.String(42), primary_key=True),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("book_id", sa.String(32), nullable=False),
        sa.Column("lane", sa.String(8), nullable=False),
    )
    op.create_table(
        "paper_balance",
        sa.Column("account", sa.String(42), primary_key=True),
        sa.Column("token", sa.String(42), primary_key=True),
        sa.Column("amount", sa.Text, nullable=False),
    )
    op.create_table(
        "paper_trade",
        sa.Column("intent_id", sa.String(32), primary_key=True),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("ordinal", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("trade", sa.Text, nullable=False),
    )
    # Two writers would give the same ordinal; the second one fails here instead of trading twice.
    op.create_index("paper_trade_ordinal", "paper_trade", ["chain_id", "ordinal"], unique=True)
    op.create_index("paper_trade_status", "paper_trade", ["chain_id", "status"])
    op.create_table(
        "paper_impact",
        sa.Column("chain_id", sa.BigInteger, primary_key=True),
        sa.Column("book_id", sa.String(32), primary_key=True),
        sa.Column("pool", sa.String(42), primary_key=True),
        sa.Column("impact", sa.Text, nullable=False),
    )
    op.create_table(
        "paper_cursor",
        sa.Column("chain_id", sa.BigInteger, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(66), nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("paper_cursor", "paper_impact", "paper_trade", "paper_balance", "paper_account"):
        op.drop_table(table)
