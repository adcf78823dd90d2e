"""Which exposure told the results of an account last (0: they are to be told), and which exits are on record."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "portfolio_0003"
down_revision = "portfolio_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and note that the exits of so far went out with their records."""
    op.add_column("account_openings", sa.Column("results_version", sa.Integer, nullable=False, server_default="0"))
    op.execute(
        "INSERT INTO inbox (consumer, message_id, received_ms) SELECT 'portfolio-exit-records', exit_id, 0 FROM exits"
    )


def downgrade() -> None:
    """Undo both."""
    op.execute("DELETE FROM inbox WHERE consumer = 'portfolio-exit-records'")
    op.drop_column("account_openings", "results_version")
