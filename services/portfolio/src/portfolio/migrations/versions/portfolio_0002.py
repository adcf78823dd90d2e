"""What each standing trade realised. The service fills it from the outcomes when it starts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "portfolio_0002"
down_revision = "portfolio_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "trades",
        sa.Column("intent_id", sa.String(32), primary_key=True),
        sa.Column("book_id", sa.String(32), nullable=False),
        sa.Column("address", sa.String(42), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("token", sa.String(42), nullable=True),
        sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
        sa.Column("realised", sa.Text, nullable=False),
        sa.Column("return_bps", sa.BigInteger, nullable=True),
        sa.Column("is_good", sa.Boolean, nullable=False),
    )
    op.create_index("trades_account", "trades", ["book_id", "address", "occurred_at_ms"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("trades")
