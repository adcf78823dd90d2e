"""When an intent ended in a fill: until portfolio tells an exposure that can contain it, it counts against its book."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "execution_0003"
down_revision = "execution_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Of intents that ended before, it is not known."""
    op.add_column("execution_intents", sa.Column("filled_ms", sa.BigInteger, nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("execution_intents", "filled_ms")
