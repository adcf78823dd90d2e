"""The block that an attempt was signed at, beside its bytes: they are stored before their slot's record names them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "execution_0006"
down_revision = "execution_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Of attempts that were signed before, the record says it."""
    op.add_column("execution_attempts", sa.Column("block", sa.BigInteger, nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("execution_attempts", "block")
