"""Trades that wait for a person's word."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "gateway_0004"
down_revision = "gateway_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "confirmations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("book_id", sa.String(32), nullable=False),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("deadline_block", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("asked_ms", sa.BigInteger, nullable=False),
        sa.Column("decided_ms", sa.BigInteger, nullable=True),
        sa.Column("reason", sa.Text, nullable=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("confirmations_state", "confirmations", ["state"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("confirmations")
