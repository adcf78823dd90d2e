"""Which exposure told the results of an account last; 0: they are to be told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "portfolio_0003"
down_revision = "portfolio_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("account_openings", sa.Column("results_version", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("account_openings", "results_version")
