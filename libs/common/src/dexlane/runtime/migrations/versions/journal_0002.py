"""Circuit breakers, and the entries that try them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "journal_0002"
down_revision = "journal_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "breakers",
        sa.Column("chain_id", sa.BigInteger, primary_key=True),
        sa.Column("source", sa.String(64), primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_table(
        "breaker_probes",
        sa.Column("chain_id", sa.BigInteger, primary_key=True),
        sa.Column("source", sa.String(64), primary_key=True),
        sa.Column("round", sa.BigInteger, primary_key=True),
        sa.Column("intent_id", sa.String(32), primary_key=True),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("breaker_probes")
    op.drop_table("breakers")
