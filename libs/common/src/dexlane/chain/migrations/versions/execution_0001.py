"""Intents with their reservations, nonce slots, signed attempts, opened accounts: the tables of an executor."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "execution_0001"
down_revision = None
branch_labels = ("execution",)
depends_on = "journal_0001"


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "execution_intents",
        sa.Column("intent_id", sa.String(32), primary_key=True),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("book_id", sa.String(32), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("reserved", sa.String(80), nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_index("execution_intents_open", "execution_intents", ["is_open", "created_ms"])
    op.create_table(
        "execution_slots",
        sa.Column("chain_id", sa.BigInteger, primary_key=True),
        sa.Column("account", sa.String(42), primary_key=True),
        sa.Column("nonce", sa.BigInteger, primary_key=True),
        sa.Column(
            "intent_id", sa.String(32), sa.ForeignKey("execution_intents.intent_id"), unique=True, nullable=False
        ),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("calldata", sa.LargeBinary, nullable=True),
    )
    op.create_index("execution_slots_open", "execution_slots", ["is_open"])
    op.create_table(
        "execution_attempts",
        sa.Column("intent_id", sa.String(32), sa.ForeignKey("execution_slots.intent_id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("tx_hash", sa.String(66), unique=True, nullable=False),
        sa.Column("max_fee_per_gas_wei", sa.String(80), nullable=False),
        sa.Column("max_priority_fee_per_gas_wei", sa.String(80), nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("signed_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "execution_accounts",
        sa.Column("book_id", sa.String(32), primary_key=True),
        sa.Column("account", sa.String(42), primary_key=True),
        sa.Column("block_number", sa.BigInteger, nullable=False),
        sa.Column("block_hash", sa.String(66), nullable=False),
        sa.Column("opened_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("execution_accounts", "execution_attempts", "execution_slots", "execution_intents"):
        op.drop_table(table)
