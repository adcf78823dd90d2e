"""Results name the final fills that are booked: what was told without them is told anew."""

from __future__ import annotations

from alembic import op

revision = "portfolio_0004"
down_revision = "portfolio_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The next exposure of each account tells its results."""
    op.execute("UPDATE account_openings SET results_version = 0")


def downgrade() -> None:
    """Nothing to undo."""
