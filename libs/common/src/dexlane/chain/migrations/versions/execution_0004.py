"""Which fill an intent ended in: until portfolio tells an exposure that names it, it counts against its book."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "execution_0004"
down_revision = "execution_0003"
branch_labels = None
depends_on = None

COLUMNS = ("filled_version", "filled_block")


def upgrade() -> None:
    """Add the columns. Of intents that were filled before, and by an older instance meanwhile, they are not known."""
    for name in COLUMNS:
        op.add_column("execution_intents", sa.Column(name, sa.BigInteger, nullable=True))


def downgrade() -> None:
    """Drop them."""
    for name in COLUMNS:
        op.drop_column("execution_intents", name)
